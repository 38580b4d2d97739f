#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "manifests/object_name.h"

namespace gapferry::manifests {

inline constexpr std::uint64_t kTarBlock = 512;
inline constexpr std::uint64_t kTarTrailer = 1024;  ///< two zero blocks end a volume
inline constexpr std::uint64_t kMinVolumeBytes = 1 << 20;
inline constexpr std::uint32_t kMaxVolumes = 4096;
inline constexpr std::uint64_t kMaxIndexLines = 2'000'000;
inline constexpr std::uint64_t kMaxIndexRawBytes = 640ULL << 20;
inline constexpr std::size_t kMaxIndexLineBytes = 512;

/// One object or part of a bundle and where it lies. Everything in a volume is a function of its
/// index lines and the objects' bytes: a reader compares headers and padding, it parses no tar.
struct IndexLine {
  ObjectName name;
  std::uint32_t volume = 0;     ///< from 1
  std::uint64_t offset = 0;     ///< of the tar header in the volume
  std::uint64_t size = 0;       ///< of the object's or part's bytes, which follow the header
  Sha256Digest sha256;          ///< of these bytes
  std::uint64_t full_size = 0;  ///< content only: of the whole file
  std::optional<Sha256Digest> full_sha256;  ///< parts only: of the whole file

  std::uint64_t data_offset() const { return offset + kTarBlock; }
  std::uint64_t padding() const { return (kTarBlock - size % kTarBlock) % kTarBlock; }
  std::uint64_t end() const { return data_offset() + size + padding(); }
  const Sha256Digest& file_sha256() const { return full_sha256 ? *full_sha256 : sha256; }
  bool operator==(const IndexLine&) const = default;
};

/// The 512 bytes before an object: ustar, mode 0644, no times, owners or names; a size above 8 GiB
/// in base-256 (docs/format.md, "Volumes").
std::array<std::uint8_t, kTarBlock> TarHeader(const IndexLine& line);

std::string VolumeName(std::uint32_t number);  ///< volume-0001.tar
std::string BlocksName(std::uint32_t number);  ///< blocks-0001

/// Without LF.
std::string EncodeIndexLine(const IndexLine& line);
Result<IndexLine> DecodeIndexLine(std::string_view text, std::uint64_t line_number);

/// Checks lines as they come: order of names, volumes without gaps, parts complete and in order.
/// Fails with kCorrupt: reasons "index-order", "index-gap", "index-parts".
class IndexChecker {
 public:
  Result<void> Add(const IndexLine& line);
  /// Sizes of the volumes, trailer included.
  Result<std::vector<std::uint64_t>> Finish();

 private:
  Result<void> CheckPlace(const IndexLine& line);
  Result<void> CheckPart(const IndexLine& line);
  std::optional<IndexLine> last_;
  std::uint64_t part_bytes_ = 0;  ///< of the file that is being put together
  std::vector<std::uint64_t> volume_sizes_;
};

/// A whole object before it has a place.
struct PlannedObject {
  ObjectName name;
  std::uint64_t size = 0;
  Sha256Digest sha256;
  bool operator==(const PlannedObject&) const = default;
};

/// How volumes are stored.
enum class VolumeForm { kPlain, kSealed };

/// Places `objects` (strictly ascending by name) into volumes of at most `volume_bytes` (0: one
/// volume without limit). Only content is cut; the parts' digests are left empty for the writer.
/// Sealed volumes hold a little less, so that the stored ones keep the limit.
/// Fails with kUsage when volume_bytes is below kMinVolumeBytes, when an object that cannot be cut
/// is larger than a volume, or when more than kMaxVolumes are needed.
Result<std::vector<IndexLine>> LayOut(std::span<const PlannedObject> objects,
                                      std::uint64_t volume_bytes,
                                      VolumeForm form = VolumeForm::kPlain);

}  // namespace gapferry::manifests
