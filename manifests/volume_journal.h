#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "manifests/index.h"

namespace gapferry::manifests {

/// What a finished volume is remembered by on the sender's own disk, so that it need not be written
/// again, nor be there, while the rest of the bundle is written.
struct VolumeRecord {
  Sha256Digest plan;  ///< of all that decided its bytes
  std::uint64_t size = 0;
  std::map<std::string, Sha256Digest> sums;  ///< of the volume and the files beside it
  std::vector<Sha256Digest> parts;           ///< of the part lines of the volume, in order
};

/// Of all that decides a volume's text. Digests of parts are unknown when the layout is made, so
/// they are left out.
Sha256Digest LayoutDigest(std::span<const IndexLine> lines);

/// A folder with one file for each finished volume. Thread-compatible.
class VolumeJournal {
 public:
  explicit VolumeJournal(std::filesystem::path folder) : folder_(std::move(folder)) {}
  /// Nothing when no volume after this plan was finished, or the record cannot be read: it is then
  /// written again.
  std::optional<VolumeRecord> Find(std::uint32_t volume, const Sha256Digest& plan,
                                   std::span<const IndexLine> lines) const;
  Result<void> Put(std::uint32_t volume, const VolumeRecord& record) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace gapferry::manifests
