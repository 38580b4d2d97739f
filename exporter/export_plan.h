#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "manifests/manifest.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

struct ExportRequest {
  std::string site;  ///< stream, name or GUID
  bool full = false;
  /// A delta from the target of this bundle, whose files the site is taken to hold: somebody knows
  /// that it has arrived.
  std::optional<std::uint64_t> since;
  std::uint64_t volume_bytes = 0;  ///< 0: one volume
};

/// What a bundle would carry. Made from one consistent view of the mirror; changes nothing.
struct ExportPlan {
  mirror::Site site;
  bool full = false;
  mirror::KnownState base;  ///< generation 0: nothing
  mirror::KnownState target;
  std::uint64_t volume_bytes = 0;
  mirror::exchange::IntentObject intent;
  std::vector<mirror::PinnedFile> content;  ///< ascending by SHA-1
  std::uint64_t content_bytes = 0;
  std::uint64_t revisions_listed = 0;
  std::uint64_t revisions_carried = 0;
  std::uint64_t document_bytes = 0;  ///< of the carried ones, as stored
  std::uint64_t believed_files = 0;  ///< left out: the site holds them
  std::uint64_t missing_files = 0;   ///< needed, but not held here
  /// Revisions whose prerequisites or members this mirror does not hold either; at most 1,000.
  std::vector<mirror::Catalog::Dangling> dangling;
};

/// The base is the last acknowledged state of the site, nothing else is assumed: without a receipt
/// the bundle is full. Fails with kNotFound (site, bundle of --since), kUsage (reason "diverged",
/// "history-changed": only a full bundle helps; "since-void"), kCorrupt (reason "closure") when a
/// carried revision bundles one that is neither carried nor at the base.
Result<ExportPlan> PlanExport(mirror::Mirror& mirror, const ExportRequest& request);

/// The manifest of the plan as far as it is known before the volumes are written.
Result<manifests::Manifest> DraftManifest(mirror::Mirror& mirror, const ExportPlan& plan);

/// How this mirror's upstream was last asked, as the manifest tells it.
Result<manifests::UpstreamSync> LastUpstreamSync(mirror::Mirror& mirror,
                                                 mirror::Generation generation);

}  // namespace gapferry::exporter
