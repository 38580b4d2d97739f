#pragma once

#include <cstdint>
#include <string>

#include "base/hash.h"
#include "base/stream.h"
#include "tests/support/catalogue/random.h"

namespace gapferry::catalogue {

/// The bytes of a generated file: a function of seed and key, incompressible, streamed with fixed
/// memory at any size.
class ContentSource : public Source {
 public:
  ContentSource(std::uint64_t seed, const std::string& key, std::uint64_t size_bytes);
  Result<std::size_t> Read(std::span<std::uint8_t> out) override;

 private:
  Random random_;
  std::uint64_t rest_;
  std::uint64_t word_ = 0;
  unsigned word_bytes_ = 0;  ///< bytes of word_ not yet given out
};

struct ContentDigests {
  Sha1Digest sha1;
  Sha256Digest sha256;
};

/// Generates the whole file and hashes it.
ContentDigests DigestContent(std::uint64_t seed, const std::string& key, std::uint64_t size_bytes);

}  // namespace gapferry::catalogue
