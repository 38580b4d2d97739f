#include "tests/support/catalogue/content.h"

#include <algorithm>
#include <vector>

namespace gapferry::catalogue {

ContentSource::ContentSource(std::uint64_t seed, const std::string& key, std::uint64_t size_bytes)
    : random_(seed, "content/" + key), rest_(size_bytes) {}

Result<std::size_t> ContentSource::Read(std::span<std::uint8_t> out) {
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), rest_));
  std::size_t done = 0;
  while (done < count) {
    if (word_bytes_ == 0) {
      word_ = random_.Next();
      word_bytes_ = 8;
    }
    if (word_bytes_ == 8 && count - done >= 8) {
      for (unsigned i = 0; i < 8; ++i) out[done + i] = static_cast<std::uint8_t>(word_ >> (8 * i));
      done += 8;
      word_bytes_ = 0;
      continue;
    }
    out[done++] = static_cast<std::uint8_t>(word_);
    word_ >>= 8;
    --word_bytes_;
  }
  rest_ -= count;
  return count;
}

ContentDigests DigestContent(std::uint64_t seed, const std::string& key, std::uint64_t size_bytes) {
  ContentSource source(seed, key, size_bytes);
  Sha1Hasher sha1;
  Sha256Hasher sha256;
  std::vector<std::uint8_t> buffer(
      static_cast<std::size_t>(std::clamp<std::uint64_t>(size_bytes, 1, 65536)));
  while (true) {
    const std::size_t count = source.Read(buffer).value();
    if (count == 0) break;
    const ByteView piece(buffer.data(), count);
    sha1.Update(piece);
    sha256.Update(piece);
  }
  return {sha1.Finish(), sha256.Finish()};
}

}  // namespace gapferry::catalogue
