#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/export_plan.h"
#include "manifests/read_back.h"
#include "mirror/job_lock.h"

namespace gapferry::exporter {

struct ExportOptions {
  std::filesystem::path to;  ///< the bundle's folder is made inside
  std::string actor;         ///< for the audit trail
  Progress* progress = &NoProgress();
  std::stop_token stop;
};

struct ExportResult {
  std::filesystem::path path;
  manifests::Manifest manifest;
  Sha256Digest manifest_sha256;
  std::uint64_t bytes = 0;  ///< of all files
  manifests::ReadBack read_back = manifests::ReadBack::kDirect;
  bool resumed = false;   ///< an earlier run had reserved the number
  bool repeated = false;  ///< an earlier run had finished this very bundle; nothing was written
  std::uint64_t missing_files = 0;
  std::uint64_t dangling = 0;
};

/// Writes the next bundle for a site, or finishes the one that an earlier run reserved: its number
/// stands for that plan whatever has changed since. When the last bundle is still in `to`, not
/// acknowledged, and nothing has changed since, it is named again. Holds the job lock throughout.
/// Fails as PlanExport and BundleWriter do; kUsage (reason "unfinished-export") when an unfinished
/// bundle was begun with other options, (reason "volume-too-small", the number is given up) when an
/// object that cannot be cut does not fit; kNoSpace before anything is written.
Result<ExportResult> RunExport(mirror::Mirror& mirror, const ExportRequest& request,
                               const ExportOptions& options);

}  // namespace gapferry::exporter
