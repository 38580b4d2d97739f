#include "manifests/repair_folder.h"

#include <algorithm>

#include "manifests/block_hasher.h"

namespace gapferry::manifests {
namespace {

/// The first folder that has it.
class SeveralFolders : public SpareParts {
 public:
  explicit SeveralFolders(std::vector<std::unique_ptr<RepairFolder>> folders)
      : folders_(std::move(folders)) {}

  Result<bool> ReadBlock(std::uint32_t volume, std::uint64_t block,
                         std::span<std::uint8_t> out) const override {
    for (const auto& folder : folders_) {
      const auto found = folder->ReadBlock(volume, block, out);
      if (found && *found) return true;
    }
    return false;
  }

  bool HasBlocksOf(std::uint32_t volume) const override {
    return std::ranges::any_of(folders_,
                               [&](const auto& folder) { return folder->HasBlocksOf(volume); });
  }

  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) const override {
    for (const auto& folder : folders_) {
      auto found = folder->Open(name);
      if (found) return found;
    }
    return Fail(ErrorCode::kNotFound, "no repair folder has '" + std::string(name) + "'");
  }

 private:
  std::vector<std::unique_ptr<RepairFolder>> folders_;
};

}  // namespace

RepairFolder::RepairFolder(fs::path folder, RepairRequest list, File blocks)
    : folder_(std::move(folder)), list_(std::move(list)), blocks_(std::move(blocks)) {
  std::uint64_t at = 0;
  for (const BlockRun& run : list_.runs) {
    offsets_.push_back(at);
    at += run.count;
  }
}

Result<std::unique_ptr<RepairFolder>> RepairFolder::Load(fs::path folder) {
  TRY_ASSIGN(const std::string text,
             ReadTextFile(folder / kRepairListName, kMaxRepairRequestBytes));
  TRY_ASSIGN(RepairRequest list, DecodeRepairRequest(text),
             "'" + (folder / kRepairListName).string() + "'");
  TRY_ASSIGN(File blocks, File::OpenRead(folder / kRepairBlocksName));
  TRY_ASSIGN(const std::uint64_t size, blocks.Size());
  if (size != list.blocks() * kBlockBytes) {
    return Fail(ErrorCode::kCorrupt, "repair-short",
                "'" + blocks.path().string() + "' has " + std::to_string(size) +
                    " bytes, expected " + std::to_string(list.blocks() * kBlockBytes));
  }
  return std::unique_ptr<RepairFolder>(
      new RepairFolder(std::move(folder), std::move(list), std::move(blocks)));
}

Result<bool> RepairFolder::ReadBlock(std::uint32_t volume, std::uint64_t block,
                                     std::span<std::uint8_t> out) const {
  const auto behind = std::ranges::upper_bound(
      list_.runs, std::pair(volume, block), {},
      [](const BlockRun& run) { return std::pair(run.volume, run.block); });
  if (behind == list_.runs.begin()) return false;
  const BlockRun& run = *std::prev(behind);
  if (run.volume != volume || block >= run.block + run.count) return false;
  const auto index = static_cast<std::size_t>(std::prev(behind) - list_.runs.begin());
  const std::uint64_t at = (offsets_[index] + block - run.block) * kBlockBytes;
  TRY_ASSIGN(const std::size_t count, blocks_.ReadAt(at, out));
  return count == out.size();
}

bool RepairFolder::HasBlocksOf(std::uint32_t volume) const {
  return std::ranges::find(list_.runs, volume, &BlockRun::volume) != list_.runs.end();
}

Result<std::unique_ptr<MediumFile>> RepairFolder::Open(std::string_view name) const {
  if (!list_.files.contains(std::string(name))) {
    return Fail(ErrorCode::kNotFound, "no '" + std::string(name) + "' here");
  }
  return DirectoryMedium(folder_ / kRepairFilesName).Open(name);
}

Result<std::shared_ptr<const SpareParts>> OpenRepairFolders(const std::vector<fs::path>& folders,
                                                            const Sha256Digest& manifest) {
  std::vector<std::unique_ptr<RepairFolder>> opened;
  for (const fs::path& path : folders) {
    TRY_ASSIGN(auto folder, RepairFolder::Load(path), "'" + path.string() + "'");
    if (folder->list().manifest != manifest) {
      return Fail(ErrorCode::kUntrusted, "repair-foreign",
                  "'" + path.string() + "' repairs bundle " + folder->list().stream + " " +
                      std::to_string(folder->list().sequence) +
                      " with manifest sha256:" + folder->list().manifest.ToHex() +
                      ", this bundle's is sha256:" + manifest.ToHex());
    }
    opened.push_back(std::move(folder));
  }
  if (opened.empty()) return std::shared_ptr<const SpareParts>();
  return std::shared_ptr<const SpareParts>(std::make_shared<SeveralFolders>(std::move(opened)));
}

}  // namespace gapferry::manifests
