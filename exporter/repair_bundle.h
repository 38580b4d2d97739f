#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "manifests/repair_request.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

struct RepairOptions {
  std::filesystem::path to;  ///< the repair folder is made inside
  std::string actor;         ///< for the audit trail
  Progress* progress = &NoProgress();
  std::stop_token stop;
};

struct RepairResult {
  std::filesystem::path path;
  std::string bundle;  ///< gapferry-plant-000007
  std::uint64_t blocks = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::vector<std::string> missing_files;  ///< asked for, and not to be had any more
};

/// Makes the blocks and small files that a request names again, from the plan that the ledger keeps
/// of the bundle and from the content it pinned, and writes them as a repair folder
/// (manifests/repair_folder.h). Sealed bundles too: their secret is kept as long. Each volume with
/// wanted blocks is made in memory piece by piece up to its last wanted block; nothing is signed.
/// kNotFound: reasons "repair-unknown" (no such bundle of ours), "repair-nothing"; kUntrusted,
/// reason "repair-foreign", for another manifest of this number; kUsage, reason "plan-gone", when
/// the bundle was acknowledged, given up or overtaken; kCorrupt, reason "repair-changed", when the
/// bytes made again are not those that were written, and as BundleObjects::Build and
/// BundleWriter::StreamVolume when content is gone, which name the object.
Result<RepairResult> WriteRepairFolder(mirror::Mirror& mirror,
                                       const manifests::RepairRequest& request,
                                       const RepairOptions& options);

/// What the last return of a site asked for, one request per bundle, without digests. kNotFound,
/// reason "repair-nothing".
Result<std::vector<manifests::RepairRequest>> AskedRepairs(mirror::Mirror& mirror,
                                                           const std::string& site);

}  // namespace gapferry::exporter
