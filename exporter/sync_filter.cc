#include "exporter/sync_filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

using mirror::CategoryType;
using mirror::RevisionRelations;
using protocol::UpdateId;
using protocol::UpdateType;

std::string UpdateFilter::Digest() const {
  Sha256Hasher hasher;
  const auto add = [&](std::string_view kind, const auto& ids, auto text) {
    for (const auto& id : ids) hasher.Update(fmt::format("{}:{}\n", kind, text(id)));
  };
  const auto guid_text = [](const Guid& id) { return id.ToString(); };
  add("product", products, guid_text);
  add("classification", classifications, guid_text);
  add("language", languages, [](std::int32_t id) { return std::to_string(id); });
  return hasher.Finish().ToHex();
}

protocol::SyncFilter UpdateFilter::ToWire(const std::optional<std::string>& anchor) const {
  protocol::SyncFilter filter;
  filter.anchor = anchor;
  const bool delta = anchor.has_value();  // with Delta=false an anchor changes nothing
  for (const Guid& id : products) filter.categories.push_back({id, delta});
  for (const Guid& id : classifications) filter.classifications.push_back({id, delta});
  for (const std::int32_t id : languages) filter.languages.push_back({id, delta});
  return filter;
}

Result<std::vector<Guid>> KnownCategories(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                                          CategoryType type) {
  std::vector<Guid> ids;
  TRY_ASSIGN(const auto rows, mirror.catalog().Categories(type));
  for (const auto& row : rows) ids.push_back(row.guid);
  if (load != nullptr) {
    TRY(load->ForEachLoaded([&](RevisionRelations& revision) -> Result<void> {
      if (revision.row.category_type == type) ids.push_back(revision.row.update.guid);
      return {};
    }));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<std::vector<std::int32_t>> LanguageIds(const std::vector<std::string>& languages,
                                              const std::vector<protocol::SyncLanguage>& offered) {
  std::vector<std::int32_t> ids;
  for (const std::string& language : languages) {
    const auto found = std::find_if(offered.begin(), offered.end(), [&](const auto& one) {
      return EqualsIgnoreCase(one.short_language, language);
    });
    if (found != offered.end()) {
      ids.push_back(found->language_id);
      continue;
    }
    std::vector<std::string> names;
    for (const auto& one : offered) {
      if (one.language_id != 0) names.push_back(EscapeForDisplay(one.short_language, 20));
    }
    return Fail(
        ErrorCode::kUsage, "unknown-language",
        fmt::format("language '{}': the upstream offers {}", language, fmt::join(names, ", ")));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<LiveUpdates> LiveUpdates::Read(mirror::Catalog& catalog) {
  LiveUpdates live;
  TRY(catalog.ForEachRelations(0, [&](RevisionRelations& revision) -> Result<void> {
    const auto& row = revision.row;
    const bool counts = row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver;
    if (!counts || !row.is_latest || row.is_withdrawn || row.is_expired) return {};
    Entry entry;
    entry.id = row.update;
    for (const auto& clause : revision.prerequisites) {
      entry.names.insert(entry.names.end(), clause.alternatives.begin(), clause.alternatives.end());
    }
    for (const auto& group : revision.bundled) {
      for (const UpdateId& member : group) entry.members.push_back(member.guid);
    }
    live.updates_.insert_or_assign(row.update.guid, std::move(entry));
    return {};
  }));
  return live;
}

namespace {

bool NamesAny(const std::vector<Guid>& names, const std::vector<Guid>& sorted) {
  return std::any_of(names.begin(), names.end(), [&](const Guid& id) {
    return std::binary_search(sorted.begin(), sorted.end(), id);
  });
}

}  // namespace

std::vector<UpdateId> LiveUpdates::Missing(const UpdateFilter& filter,
                                           const std::unordered_set<Guid>& listed) const {
  std::unordered_set<Guid> selected;
  std::vector<Guid> pending;
  for (const auto& [guid, entry] : updates_) {
    if (filter.all() ||
        (NamesAny(entry.names, filter.products) && NamesAny(entry.names, filter.classifications))) {
      pending.push_back(guid);
    }
  }
  while (!pending.empty()) {  // bundle members come along with their parents
    const Guid guid = pending.back();
    pending.pop_back();
    const auto found = updates_.find(guid);
    if (found == updates_.end() || !selected.insert(guid).second) continue;
    pending.insert(pending.end(), found->second.members.begin(), found->second.members.end());
  }
  std::vector<UpdateId> missing;
  for (const Guid& guid : selected) {
    if (!listed.contains(guid)) missing.push_back(updates_.at(guid).id);
  }
  std::sort(missing.begin(), missing.end());
  return missing;
}

std::vector<Guid> LiveUpdates::ProductsLeftEmpty(const std::vector<UpdateId>& gone,
                                                 const std::vector<Guid>& products) const {
  std::unordered_set<Guid> going;
  for (const UpdateId& id : gone) going.insert(id.guid);
  std::unordered_map<Guid, std::pair<std::uint64_t, std::uint64_t>> counts;  // all, going
  const std::unordered_set<Guid> known(products.begin(), products.end());
  for (const auto& [guid, entry] : updates_) {
    std::unordered_set<Guid> counted;
    for (const Guid& name : entry.names) {
      if (!known.contains(name) || !counted.insert(name).second) continue;
      auto& [all, leaving] = counts[name];
      ++all;
      if (going.contains(guid)) ++leaving;
    }
  }
  std::vector<Guid> empty;
  for (const auto& [product, count] : counts) {
    if (count.first == count.second) empty.push_back(product);
  }
  std::sort(empty.begin(), empty.end());
  return empty;
}

}  // namespace gapferry::exporter
