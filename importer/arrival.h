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
/// with kUntrusted (reasons "bundle-replayed", "bundle-older", "history-changed",
/// "fast-forwarded") or kNotFound (reason "base-missing", naming what is missing). What a key
/// signed that was rotated or revoked since binds no order. Changes nothing.
Result<Arrival> CheckArrival(mirror::Mirror& mirror, const manifests::VerifiedManifest& manifest,
                             const ArrivalRules& rules);

}  // namespace gapferry::importer
