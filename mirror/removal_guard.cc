#include "mirror/removal_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/text.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {
namespace {

constexpr std::size_t kShown = 20;

bool IsUpdate(const RevisionRow& row) {
  return row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver;
}
bool IsLive(const RevisionRow& row) {
  return IsUpdate(row) && row.is_latest && !row.is_expired && !row.is_withdrawn;
}

Guid GuidOf(const Guid& guid) { return guid; }
Guid GuidOf(const protocol::UpdateId& id) { return id.guid; }
bool IsMeant(const RevisionRow&, const Guid&) { return true; }
bool IsMeant(const RevisionRow& newest, const protocol::UpdateId& id) {
  return newest.update == id;
}

// Counts those of `updates` that are offered now and puts them into `going`.
template <class Id>
Result<std::uint64_t> CountLive(Catalog& catalog, const std::vector<Id>& updates,
                                std::unordered_set<Guid>& going, RemovalVerdict& verdict) {
  std::uint64_t count = 0;
  for (const Id& id : updates) {
    const Guid guid = GuidOf(id);
    TRY_ASSIGN(const auto row, catalog.FindLatest(guid));
    if (!row || !IsLive(*row) || !IsMeant(*row, id)) continue;
    ++count;
    if (!going.insert(guid).second || verdict.first.size() == kShown) continue;
    TRY_ASSIGN(auto text, catalog.Text(row->id));
    verdict.first.push_back({guid, std::move(text.title)});
  }
  return count;
}

/// The products that what goes names: no other can be emptied by it.
Result<std::set<Guid>> NamedProducts(Catalog& catalog, const std::unordered_set<Guid>& going,
                                     const std::set<Guid>& arriving) {
  TRY_ASSIGN(const auto all, catalog.CategoryGuids(CategoryType::kProduct));
  const std::unordered_set<Guid> products(all.begin(), all.end());
  std::set<Guid> named;
  for (const Guid& guid : going) {
    TRY_ASSIGN(const auto row, catalog.FindLatest(guid));
    if (!row) continue;
    TRY_ASSIGN(const auto revision, catalog.Relations(row->id));
    if (!revision) continue;
    for (const auto& clause : revision->prerequisites) {
      for (const Guid& category : clause.alternatives) {
        if (products.contains(category) && !arriving.contains(category)) named.insert(category);
      }
    }
  }
  return named;
}

// Products all of whose updates go. Of a product that stays, a few updates are read.
Result<std::vector<RemovalVerdict::Named>> EmptiedProducts(Catalog& catalog,
                                                           const std::unordered_set<Guid>& going,
                                                           const std::set<Guid>& arriving) {
  TRY_ASSIGN(const auto products, NamedProducts(catalog, going, arriving));
  std::vector<RemovalVerdict::Named> emptied;
  for (const Guid& product : products) {
    TRY_ASSIGN(const bool stays, catalog.AnyNaming(product, [&](const RevisionRow& row) {
      return IsLive(row) && !going.contains(row.update.guid);
    }));
    if (stays) continue;
    TRY_ASSIGN(const auto row, catalog.FindLatest(product));
    UpdateText text;
    if (row) {
      TRY_ASSIGN(text, catalog.Text(row->id));
    }
    emptied.push_back({product, std::move(text.title)});
  }
  return emptied;
}

}  // namespace

Result<RemovalVerdict> JudgeRemovals(Mirror& mirror, const Removals& removals,
                                     const std::set<Guid>& arriving) {
  Catalog& catalog = mirror.catalog();
  RemovalVerdict verdict;
  std::unordered_set<Guid> going;
  TRY_ASSIGN(verdict.withdrawn, CountLive(catalog, removals.withdrawn, going, verdict));
  TRY_ASSIGN(verdict.expired, CountLive(catalog, removals.expired, going, verdict));
  TRY_ASSIGN(verdict.declined, CountLive(catalog, removals.declined, going, verdict));
  verdict.removals = going.size();
  TRY_ASSIGN(const auto counts, catalog.Counts());
  verdict.live = counts.live_updates;
  const bool is_alone = verdict.removals < 2;
  if (is_alone && verdict.withdrawn == 0) return verdict;
  TRY_ASSIGN(verdict.emptied_products, EmptiedProducts(catalog, going, arriving));
  const std::uint64_t percent = mirror.config().limits.withdraw_percent;
  verdict.needs_consent = !verdict.emptied_products.empty() ||
                          (!is_alone && verdict.removals * 100 > verdict.live * percent);
  return verdict;
}

Result<std::set<Guid>> ArrivingNames(CatalogLoad& load) {
  std::set<Guid> names;
  TRY(load.ForEachLoaded([&](RevisionRelations& revision) -> Result<void> {
    if (!IsUpdate(revision.row) || revision.row.is_expired) return {};
    for (const auto& clause : revision.prerequisites) {
      names.insert(clause.alternatives.begin(), clause.alternatives.end());
    }
    return {};
  }));
  return names;
}

Error RemovalsNeedConsent(const RemovalVerdict& verdict, std::string_view what, std::string next) {
  std::string text = fmt::format(
      "{} would take away {} of {} live updates: {} withdrawn, {} expired, {} declined", what,
      verdict.removals, verdict.live, verdict.withdrawn, verdict.expired, verdict.declined);
  if (!verdict.emptied_products.empty()) {
    const auto& product = verdict.emptied_products.front();
    text += fmt::format("; {} product(s) would be left without any, such as {} {}",
                        verdict.emptied_products.size(), product.guid.ToString(),
                        EscapeForDisplay(product.title, 100));
  }
  for (const auto& one : verdict.first) {
    text += fmt::format("\n  {} {}", one.guid.ToString(), EscapeForDisplay(one.title, 100));
  }
  if (verdict.removals > verdict.first.size()) {
    text += fmt::format("\n  and {} more", verdict.removals - verdict.first.size());
  }
  return Error{ErrorCode::kUsage, std::move(text), "removals-need-acceptance", std::move(next)};
}

}  // namespace gapferry::mirror
