#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/catalog.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// What another choice of products, classifications and languages means.
struct SubscriptionCost {
  std::uint64_t held_inside = 0;   ///< updates offered here that it asks for
  std::uint64_t held_outside = 0;  ///< that it leaves out: they stay, and are followed no more
  /// As the upstream lists them for it, categories not counted; absent when it was not asked.
  std::optional<std::uint64_t> listed;
  std::optional<std::uint64_t> unknown;  ///< of these: not here, fetched by the next sync
};

/// From the catalogue alone: one pass over it.
Result<SubscriptionCost> CostOf(mirror::Mirror& mirror, const mirror::Subscription& subscription);

/// Asks the upstream for its complete list of that choice too. Stores nothing. Fails as Sync with
/// dry_run.
Result<SubscriptionCost> AskCostOf(mirror::Mirror& mirror, const FetcherFactory& fetchers,
                                   const mirror::Subscription& subscription, Progress& progress,
                                   std::stop_token stop);

}  // namespace gapferry::exporter
