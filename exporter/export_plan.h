#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "exporter/export_base.h"
#include "exporter/export_content.h"
#include "exporter/export_counts.h"
#include "manifests/keys.h"
#include "manifests/manifest.h"
#include "mirror/catalog.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// What a bundle would carry. Made from one consistent view of the mirror; changes nothing.
struct ExportPlan {
  mirror::Destination site;  ///< or the group of sites
  bool full = false;
  mirror::KnownState base;  ///< generation 0: nothing
  mirror::KnownState target;
  std::uint64_t volume_bytes = 0;
  unsigned parity = 0;                ///< percent of repair blocks
  std::uint64_t passed_sequence = 0;  ///< the last one that all recipients acknowledged
  /// The recipients' encryption keys, in their order: the bundle is sealed; empty: it is not.
  std::vector<manifests::EncryptionPublicKey> seal_for;
  mirror::exchange::IntentObject intent;
  ContentPlan content;
  UpdateCounts updates;
  ApprovalCounts approvals;
  std::uint64_t revisions_listed = 0;
  std::uint64_t revisions_carried = 0;
  std::uint64_t document_bytes = 0;  ///< of the carried ones, as stored
  /// Revisions whose prerequisites or members this mirror does not hold either; at most 1,000.
  std::vector<mirror::Catalog::Dangling> dangling;

  std::uint64_t BytesNeeded() const;  ///< on the media, about
  std::uint64_t Seconds() const;      ///< a rough estimate
};

/// Whether bundles for these sites are sealed, and their percentage of repair blocks, unless a
/// command says otherwise: each site's own setting, else gapferry.yaml. Of several sites the most
/// careful one decides: sealed when it is for one of them, and the largest percentage.
bool SealsFor(const mirror::Config& config, const mirror::Destination& destination);
unsigned ParityFor(const mirror::Config& config, const mirror::Destination& destination);

/// From the oldest state among those of the recipients (FindSiteBase): without a receipt the bundle
/// is full. Documents and intent are complete whatever a site's settings say; those decide on
/// files. Fails as FindSiteBase and FindDestination do; kUsage (reason "history-changed") when a
/// delta cannot lead to the present state; kCorrupt (reason "closure") when a carried revision
/// refers to one that is neither carried nor at the base.
Result<ExportPlan> PlanExport(mirror::Mirror& mirror, const ExportRequest& request);

/// The manifest of the plan as far as it is known before the volumes are written.
Result<manifests::Manifest> DraftManifest(mirror::Mirror& mirror, const ExportPlan& plan);

/// How this mirror's upstream was last asked, as the manifest tells it.
Result<manifests::UpstreamSync> LastUpstreamSync(mirror::Mirror& mirror,
                                                 mirror::Generation generation);

}  // namespace gapferry::exporter
