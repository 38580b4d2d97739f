#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/result.h"
#include "manifests/parity.h"
#include "manifests/read_back.h"

namespace gapferry::manifests {

/// What the repair blocks of a volume may take in memory while it is written. Those of larger
/// volumes are made afterwards, stripe by stripe: the volume is then read once more.
inline constexpr std::uint64_t kRepairMemory = 256ULL << 20;

/// Writes repair-NNNN: the repair blocks in their order, then a copy of blocks-NNNN. One volume,
/// one thread, but Stream may be fed by another one until Write is called.
class RepairWriter {
 public:
  explicit RepairWriter(const ParityLayout& layout, std::uint64_t memory_bytes = kRepairMemory);

  /// Where the bytes of the volume go while they are written; null when they do not fit in memory
  /// and Write reads them again.
  ParityStream* stream() { return stream_ ? &*stream_ : nullptr; }

  struct Written {
    Sha256Digest sha256;  ///< of the repair file
    Bytes blocks;         ///< the whole of blocks-NNNN: digests of the volume's and repair blocks
  };
  /// `streamed`: stream() was given the whole volume. `volume_blocks`: digests of the volume's
  /// blocks. kCorrupt (reason "read-back") when the medium gives other bytes than written.
  Result<Written> Write(const std::filesystem::path& volume, const std::filesystem::path& repair,
                        ByteView volume_blocks, bool streamed, ReadBack& mode,
                        std::stop_token stop);

 private:
  Result<void> WriteGroups(const std::filesystem::path& volume, File& out, bool streamed,
                           Bytes& blocks, std::stop_token stop);
  Result<void> WriteGroup(const ParityGroup& group, File& out, Bytes& blocks) const;
  ParityLayout layout_;
  std::uint64_t memory_bytes_;
  std::optional<ParityGroup> group_;
  std::optional<ParityStream> stream_;
};

/// repair-0000: what SHA256SUMS says of all other files, and copies of the small ones among them.
/// One line of canonical JSON, then the copies in its order.
struct CopiedFile {
  std::string name;
  Sha256Digest sha256;
  std::uint64_t size = 0;  ///< of the copy
  bool is_copied = false;
};
inline constexpr std::uint64_t kMaxCopiesHeader = 4 << 20;

std::string EncodeCopiesHeader(const std::vector<CopiedFile>& files);
/// `text` is the file's beginning, at most kMaxCopiesHeader bytes. kCorrupt, reason
/// "copies-malformed". Nothing it says is true before the digests of the manifest say so.
struct CopiesHeader {
  std::vector<CopiedFile> files;
  std::uint64_t bytes = 0;  ///< of the line: where the copies begin
};
Result<CopiesHeader> DecodeCopiesHeader(std::string_view text);

/// The text of SHA256SUMS.
std::string EncodeSums(const std::map<std::string, Sha256Digest>& sums);

}  // namespace gapferry::manifests
