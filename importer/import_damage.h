#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "manifests/mending.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// What was wrong on the media of a bundle and given right all the same.
struct MendedDamage {
  std::vector<manifests::VolumeDamage> volumes;
  std::vector<std::string> files;
  bool any() const { return !volumes.empty() || !files.empty(); }
};

/// Makes the blocks of these folders part of `medium`, which lies around `raw`. Before anything was
/// opened. Fails as OpenRepairFolders, and when there is no manifest to compare them with.
Result<void> UseRepairFolders(manifests::MendingMedium& medium, manifests::Medium& raw,
                              const std::vector<std::filesystem::path>& folders);

/// After a refusal for damage: looks at every block of the volumes that are here, and remembers the
/// lost ones, so that the next return asks for them. Nothing when the bundle cannot be named.
Result<void> RememberDamage(mirror::Mirror& mirror, manifests::MendingMedium& medium,
                            const manifests::Manifest& manifest, Progress& progress,
                            const std::stop_token& stop);

}  // namespace gapferry::importer
