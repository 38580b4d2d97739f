#include "importer/import_damage.h"

#include "manifests/manifest.h"
#include "manifests/repair_folder.h"
#include "mirror/bundle_damage.h"

namespace gapferry::importer {

Result<void> UseRepairFolders(manifests::MendingMedium& medium, manifests::Medium& raw,
                              const std::vector<fs::path>& folders) {
  if (folders.empty()) return {};
  TRY_ASSIGN(const Bytes manifest,
             manifests::ReadMediumFile(raw, "manifest.json", manifests::kMaxManifestBytes));
  TRY_ASSIGN(auto spares, manifests::OpenRepairFolders(folders, Sha256(manifest)));
  medium.UseSpares(std::move(spares));
  return {};
}

Result<void> RememberDamage(mirror::Mirror& mirror, manifests::MendingMedium& medium,
                            const manifests::Manifest& manifest, Progress& progress,
                            const std::stop_token& stop) {
  std::uint64_t bytes = 0;
  for (const auto& volume : manifest.volumes) bytes += volume.size;
  progress.Begin("looking for damage", 0, bytes);
  const auto between = [&]() -> Result<void> {
    if (stop.stop_requested())
      return Fail(ErrorCode::kCancelled, "stopped while looking for damage");
    progress.Advance(0, manifests::kBlockBytes);
    return {};
  };
  const auto surveyed = medium.Survey(manifests::MendingMedium::Depth::kEverything, between);
  progress.End();
  if (!surveyed) return surveyed;
  std::vector<mirror::ReturnEffect::Block> runs;
  for (const auto& damage : medium.Damage()) {
    for (const std::uint64_t block : damage.lost) {
      const bool continues = !runs.empty() && runs.back().volume == damage.volume &&
                             runs.back().block + runs.back().count == block;
      if (continues) {
        ++runs.back().count;
      } else {
        runs.push_back({manifest.stream, manifest.sequence, damage.volume, block, 1});
      }
    }
  }
  return mirror::NoteBundleDamage(mirror.db(), manifest.sender.guid, manifest.stream,
                                  manifest.sequence, runs);
}

}  // namespace gapferry::importer
