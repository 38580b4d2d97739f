#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "manifests/manifest.h"

namespace gapferry::exporter {

/// What the ledger keeps of a plan beside the states: the manifest as far as it is known, and how
/// volumes are made.
struct StoredPlan {
  manifests::Manifest draft;
  std::uint64_t volume_bytes = 0;  ///< 0: one volume
};

std::string EncodePlan(const StoredPlan& plan);
Result<StoredPlan> DecodePlan(std::string_view text);

}  // namespace gapferry::exporter
