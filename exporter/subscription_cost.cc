#include "exporter/subscription_cost.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "exporter/sync.h"
#include "exporter/sync_filter.h"

namespace gapferry::exporter {

using protocol::UpdateType;

namespace {

Result<SubscriptionCost> CountHeld(mirror::Mirror& mirror, const UpdateFilter& filter) {
  SubscriptionCost cost;
  TRY(mirror.catalog().ForEachRelations(
      0, [&](mirror::RevisionRelations& revision) -> Result<void> {
        const auto& row = revision.row;
        const bool counts =
            (row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver) &&
            row.is_latest && !row.is_expired && !row.is_withdrawn && row.is_explicitly_deployable;
        if (counts) ++(filter.Selects(revision) ? cost.held_inside : cost.held_outside);
        return {};
      }));
  return cost;
}

}  // namespace

Result<SubscriptionCost> CostOf(mirror::Mirror& mirror, const mirror::Subscription& subscription) {
  mirror::Subscription wanted = subscription;
  wanted.languages.clear();  // they choose nothing that can be counted
  TRY_ASSIGN(const UpdateFilter filter, FilterOf(mirror, nullptr, {}, wanted));
  return CountHeld(mirror, filter);
}

Result<SubscriptionCost> AskCostOf(mirror::Mirror& mirror, const FetcherFactory& fetchers,
                                   const mirror::Subscription& subscription, Progress& progress,
                                   std::stop_token stop) {
  TRY_ASSIGN(UpstreamOptions options, UpstreamOptionsOf(mirror, progress));
  TRY_ASSIGN(const auto fetcher, fetchers());
  Upstream upstream(*fetcher, mirror.clock(), std::move(options), std::move(stop));
  TRY(upstream.Authorize(), "authorization");
  TRY_ASSIGN(const auto config, upstream.GetConfigData());
  TRY_ASSIGN(const UpdateFilter filter, FilterOf(mirror, nullptr, config.languages, subscription));
  TRY_ASSIGN(SubscriptionCost cost, CountHeld(mirror, filter));
  TRY_ASSIGN(auto list, upstream.GetRevisionIdList(filter.ToWire(std::nullopt)));
  auto& ids = list.new_revisions;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  TRY_ASSIGN(const auto unknown, mirror.catalog().Unknown(ids));
  cost.listed = ids.size();
  cost.unknown = unknown.size();
  return cost;
}

}  // namespace gapferry::exporter
