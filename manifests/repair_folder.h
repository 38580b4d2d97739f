#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "manifests/repair_request.h"
#include "manifests/volume_mender.h"

namespace gapferry::manifests {

inline constexpr const char* kRepairListName = "repair.jsonl";
inline constexpr const char* kRepairBlocksName = "repair.blocks";
inline constexpr const char* kRepairFilesName = "files";

/// A repair folder: `repair.jsonl`, a RepairRequest that says what it holds; `repair.blocks`, the
/// blocks of its runs one after the other, each 64 KiB, the last one of a volume filled up with
/// zeros; `files/NAME`, its small files. Nothing in it is believed: each block and file counts only
/// when the bundle's own digests say that it is right. Thread-safe.
class RepairFolder : public SpareParts {
 public:
  /// kCorrupt, reasons of DecodeRepairRequest, "repair-short".
  static Result<std::unique_ptr<RepairFolder>> Load(std::filesystem::path folder);

  const RepairRequest& list() const { return list_; }
  Result<bool> ReadBlock(std::uint32_t volume, std::uint64_t block,
                         std::span<std::uint8_t> out) const override;
  bool HasBlocksOf(std::uint32_t volume) const override;
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) const override;

 private:
  RepairFolder(std::filesystem::path folder, RepairRequest list, File blocks);
  std::filesystem::path folder_;
  RepairRequest list_;
  std::vector<std::uint64_t> offsets_;  ///< of the runs, in blocks
  File blocks_;
};

/// Opens folders as one source for the bundle with this manifest; null without folders. kUntrusted,
/// reason "repair-foreign", when one is for another bundle.
Result<std::shared_ptr<const SpareParts>> OpenRepairFolders(
    const std::vector<std::filesystem::path>& folders, const Sha256Digest& manifest);

}  // namespace gapferry::manifests
