#pragma once

#include <optional>

#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

enum class Arrival { kNew, kAlreadyImported };

struct ArrivalRules {
  bool new_history = false;  ///< the sender was made anew or restored, and somebody decided for it
};

/// Whether a bundle's turn has come (docs/format.md, "Order"): its sequence lies above the last one
/// imported, it is of the history this mirror follows, and the mirror has reached its base. Fails
/// with kUntrusted (reasons "bundle-replayed", "bundle-older", "history-changed") or kNotFound
/// (reason "base-missing", naming what is missing). Reads the ledger only.
Result<Arrival> CheckArrival(mirror::Ledger& ledger, const manifests::VerifiedManifest& manifest,
                             const ArrivalRules& rules);

/// The trust policy of a mirror and itself as addressee.
struct OwnSide {
  manifests::TrustPolicy policy;
  manifests::Addressee addressee;
};
/// Fails with kUntrusted (reason "no-trust") when no card was added yet, kUsage (reason "no-gap")
/// on a mirror that is not fed by a gap.
Result<OwnSide> ReadOwnSide(mirror::Mirror& mirror);

}  // namespace gapferry::importer
