#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/export_plan.h"
#include "manifests/read_back.h"
#include "mirror/job_lock.h"

namespace gapferry::exporter {

/// What the next medium is for.
struct MediumWanted {
  std::string volumes;  ///< "4-6, 9"
  std::size_t count = 0;
  std::uint64_t bytes = 0;
};

struct ExportOptions {
  /// The media, in this order; the bundle's folder is made inside each.
  std::vector<std::filesystem::path> to;
  /// How much of a medium may be taken, 0: what is free. With one folder in `to`, media are folders
  /// medium-1, medium-2, ... in it.
  std::uint64_t medium_bytes = 0;
  /// This medium of the last bundle was lost or is bad: what was on it is written again.
  std::optional<std::uint32_t> again;
  /// Asked for a further medium when those in `to` are full; null or without an answer the run
  /// ends, and the next one goes on.
  std::function<Result<std::optional<std::filesystem::path>>(const MediumWanted&)> next_medium;
  std::string actor;  ///< for the audit trail
  Progress* progress = &NoProgress();
  std::stop_token stop;
};

/// A medium that counts.
struct ExportMedium {
  std::uint32_t number = 0;
  std::string path;  ///< as `to` named it
  std::vector<std::uint32_t> volumes;
  std::uint64_t bytes = 0;
  bool has_manifest = false;
  std::string read_back;
  std::string label;  ///< text for the courier
};

struct ExportResult {
  std::filesystem::path path;  ///< the bundle's folder on the last medium
  bool complete = true;        ///< otherwise media ran out; the next run goes on
  std::vector<ExportMedium> media;
  std::vector<std::uint32_t> pending;  ///< volumes that have no place yet
  std::uint32_t volumes = 0;
  manifests::Manifest manifest;
  bool sealed = false;
  Sha256Digest manifest_sha256;
  std::uint64_t bytes = 0;  ///< of all files
  manifests::ReadBack read_back = manifests::ReadBack::kDirect;
  bool resumed = false;   ///< an earlier run had reserved the number
  bool repeated = false;  ///< an earlier run had finished this very bundle; nothing was written
  std::uint64_t missing_files = 0;
  std::uint64_t dangling = 0;
};

/// Copies of the small files of a bundle that this mirror wrote; of the last few of each stream.
std::filesystem::path KeptSmallFiles(mirror::Mirror& mirror, const manifests::Manifest& manifest);

/// Writes the next bundle for a site, or finishes the one that an earlier run reserved: its number
/// stands for that plan whatever has changed since. When the last bundle is still in `to`, not
/// acknowledged, and nothing has changed since, it is named again. Holds the job lock throughout.
/// Fails as PlanExport and BundleWriter do; kUsage (reason "unfinished-export") when an unfinished
/// bundle was begun with other options and has a volume on some medium (one that has none is given
/// up, and planned anew), (reason "volume-too-small", the number is given up) when an object that
/// cannot be cut does not fit; as MediaRun::PlaceVolumes.
Result<ExportResult> RunExport(mirror::Mirror& mirror, const ExportRequest& request,
                               const ExportOptions& options);

}  // namespace gapferry::exporter
