#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/progress.h"
#include "base/stream.h"
#include "manifests/bundle_verifier.h"
#include "manifests/manifest.h"
#include "manifests/medium.h"

namespace gapferry::manifests {

/// `hex SP SP name LF`, ascending by name.
using Sums = std::map<std::string, Sha256Digest, std::less<>>;

/// A MediumFile as a stream; `file` must outlive it.
class MediumSource : public Source {
 public:
  enum class Reading { kFast, kCareful };
  explicit MediumSource(const MediumFile& file, Reading reading = Reading::kFast)
      : file_(file), reading_(reading) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    TRY_ASSIGN(const std::size_t count,
               reading_ == Reading::kFast ? file_.ReadAt(at_, out) : file_.ReadCarefully(at_, out));
    at_ += count;
    return count;
  }

 private:
  const MediumFile& file_;
  Reading reading_;
  std::uint64_t at_ = 0;
};

/// A file without which there is no bundle: kNotFound (reason "bundle-unfinished") when absent.
Result<Bytes> ReadRequired(Medium& medium, std::string_view name, std::uint64_t limit_bytes);

/// The files whose sums are listed, with the sizes they must have (0: not stated). Of `sums` it
/// only matters whether it has kTrustFileName.
std::map<std::string, std::uint64_t> ExpectedFiles(const Sums& sums, const Manifest& manifest);

/// SHA256SUMS against the manifest, the listing, sizes, and digests of all files but volumes;
/// sealed files as they are stored. Fails as VerifyIndex. Returns the volumes that are not there,
/// which only a medium that may lack some has. With `damaged`, files that are not needed to read
/// the others (README.txt, blocks files) are noted there instead.
Result<std::set<std::uint32_t>> CheckStoredFiles(Medium& medium, const Manifest& manifest,
                                                 DamagedFiles* damaged = nullptr);

}  // namespace gapferry::manifests
