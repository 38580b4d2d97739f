#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "importer/bundle_source.h"
#include "importer/import_damage.h"
#include "importer/import_plan.h"
#include "importer/import_scan.h"
#include "manifests/bundle_verifier.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

struct ImportOptions {
  std::vector<std::filesystem::path> more_media;  ///< of the same bundle, here at the same time
  std::vector<std::filesystem::path> repair;      ///< repair folders for this bundle
  std::optional<std::uint64_t> accept_removals;   ///< the number that an earlier run showed
  bool new_history = false;
  /// Documents and content come in; what was decided above waits until somebody applies it.
  bool hold = false;
  std::string actor;
  Progress* progress = &NoProgress();
  std::stop_token stop;
};

struct ImportResult {
  manifests::Manifest manifest;
  manifests::SignatureReport signatures;
  bool already_imported = false;
  /// Volumes whose media are still to come; then nothing was imported yet, what was here is staged,
  /// and the next call with other media goes on.
  std::set<std::uint32_t> missing_volumes;
  std::vector<OtherBundle> others;    ///< that lie beside it
  MendedDamage mended;                ///< read right all the same
  std::vector<std::string> warnings;  ///< of what follows an import and could not be done now
  std::uint64_t documents = 0;
  std::uint64_t content_files = 0;
  std::uint64_t content_bytes = 0;
  std::uint64_t missing_files = 0;  ///< declared by what came, not held: their updates wait
  std::uint64_t withdrawn = 0;
  std::vector<ImportScan::Withheld> withheld;  ///< files in quarantine, their updates wait
  mirror::IntentImported intent;
  std::uint64_t proposals = 0;        ///< decisions from above that wait here afterwards
  mirror::Generation generation = 0;  ///< ours afterwards
};

/// Imports one bundle, which FindBundle finds at `bundle` and options.more_media: verify, stage,
/// load, publish content, commit. Each byte of the medium is read at most once, and everything
/// after works on the staged copy. Interrupted anywhere, the same call goes on; a bundle that was
/// imported already changes nothing and succeeds. While some of its media are elsewhere, those that
/// are here are verified and staged, and the call succeeds with `missing_volumes`. Holds the job
/// lock; every call has its record in the history of jobs.
///
/// A refusal (codes and reasons of VerifyManifest, VerifyIndex, VerifyVolumes, CheckArrival,
/// LoadDocuments, CheckDeclarations; "state-digest"; "removals-need-acceptance" of
/// mirror/removal_guard.h) leaves nothing visible but one audit record "import.refused".
Result<ImportResult> RunImport(mirror::Mirror& mirror, const std::filesystem::path& bundle,
                               const ImportOptions& options);

struct DryRun {
  manifests::Manifest manifest;
  manifests::SignatureReport signatures;
  bool already_imported = false;
  std::set<std::uint32_t> absent_volumes;  ///< on media that are not here
  std::vector<OtherBundle> others;
  ImportPlan plan;
};
/// What RunImport would do: checks all but the content, changes nothing at all.
Result<DryRun> PlanImport(mirror::Mirror& mirror, const std::filesystem::path& bundle,
                          const ImportOptions& options);

}  // namespace gapferry::importer
