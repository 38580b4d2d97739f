#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"

namespace gapferry::manifests {

inline constexpr std::uint64_t kMaxRepairRequestBytes = 64ULL << 20;
inline constexpr std::size_t kMaxRepairLines = 500'000;
inline constexpr std::uint64_t kMaxRepairRun = 1024;  ///< blocks in one line

/// Blocks of one volume next to each other.
struct BlockRun {
  std::uint32_t volume = 0;  ///< from 1
  std::uint64_t block = 0;   ///< the first, from 0
  std::uint64_t count = 0;   ///< 1 to kMaxRepairRun
  /// 8 bytes of SHA-256 of each; empty when the asker does not know them.
  Bytes digests = {};
  bool operator==(const BlockRun&) const = default;
};

/// `gapferry-repair/1`: which blocks and small files of a bundle are asked for, and, at the head of
/// a repair folder, which it holds (docs/format.md, "Repair requests"). It is not signed: whoever
/// forges one gets bytes of a bundle that its sender would send him anyway, and what comes back is
/// checked against the bundle's own digests.
struct RepairRequest {
  std::string stream;
  std::uint64_t sequence = 0;
  Sha256Digest manifest;                      ///< of manifest.json: which bundle
  std::map<std::string, Sha256Digest> files;  ///< small files, with the digests they must have
  std::vector<BlockRun> runs;                 ///< ascending, without overlap
  std::uint64_t blocks() const;
  bool operator==(const RepairRequest&) const = default;
};

/// Ascending block numbers of one volume as runs. `digests` is the whole blocks file, or empty.
void AppendRuns(std::vector<BlockRun>& runs, std::uint32_t volume,
                const std::vector<std::uint64_t>& blocks, ByteView digests);

/// Canonical JSON lines, the header first.
std::string EncodeRepairRequest(const RepairRequest& request);
/// Fails with kCorrupt, reason "repair-malformed", at the first line that EncodeRepairRequest would
/// not have written; kUnsupported, reason "document-version". `text` has at most
/// kMaxRepairRequestBytes.
Result<RepairRequest> DecodeRepairRequest(std::string_view text);

}  // namespace gapferry::manifests
