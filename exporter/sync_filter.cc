#include "exporter/sync_filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/hash.h"
#include "base/text.h"
#include "mirror/load_queries.h"

namespace gapferry::exporter {

using mirror::CategoryType;

const Guid kDriversClassification = *Guid::Parse("ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0");
const Guid kDriverSetsClassification = *Guid::Parse("77835c8d-62a7-41f5-82ad-f28d1af1e3b1");

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

namespace {

bool NamesAny(const mirror::RevisionRelations& revision, const std::vector<Guid>& sorted) {
  for (const auto& clause : revision.prerequisites) {
    for (const Guid& guid : clause.alternatives) {
      if (std::binary_search(sorted.begin(), sorted.end(), guid)) return true;
    }
  }
  return false;
}

}  // namespace

bool UpdateFilter::Selects(const mirror::RevisionRelations& revision) const {
  return all() || (NamesAny(revision, products) && NamesAny(revision, classifications));
}

namespace {

struct Offered {
  std::vector<Guid> products;  ///< with families and companies: some updates name only these
  std::vector<Guid> classifications;
};

void SortDistinct(std::vector<Guid>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

Result<Offered> ReadOffered(mirror::Mirror& mirror, mirror::CatalogLoad* load) {
  Offered offered;
  const auto take = [&](CategoryType type, const Guid& guid) {
    if (type == CategoryType::kClassification) {
      offered.classifications.push_back(guid);
    } else if (type != CategoryType::kNone) {
      offered.products.push_back(guid);
    }
  };
  for (const auto type : {CategoryType::kClassification, CategoryType::kProduct,
                          CategoryType::kProductFamily, CategoryType::kCompany}) {
    TRY_ASSIGN(const auto guids, mirror.catalog().CategoryGuids(type));
    for (const Guid& guid : guids) take(type, guid);
  }
  if (load != nullptr) {
    TRY_ASSIGN(const auto loaded, mirror::LoadedCategories(mirror, *load));
    for (const auto& row : loaded) take(row.category_type, row.update.guid);
  }
  SortDistinct(offered.products);
  SortDistinct(offered.classifications);
  return offered;
}

}  // namespace

Result<UpdateFilter> FilterOf(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                              const std::vector<protocol::SyncLanguage>& offered) {
  TRY_ASSIGN(const auto subscription, mirror.catalog().ReadSubscription());
  return FilterOf(mirror, load, offered, subscription);
}

Result<UpdateFilter> FilterOf(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                              const std::vector<protocol::SyncLanguage>& languages,
                              const mirror::Subscription& subscription) {
  UpdateFilter filter;
  TRY_ASSIGN(filter.languages, LanguageIds(subscription.languages, languages));
  filter.products = subscription.products;
  filter.classifications = subscription.classifications;
  SortDistinct(filter.products);
  SortDistinct(filter.classifications);
  if (!filter.products.empty() && !filter.classifications.empty()) return filter;

  TRY_ASSIGN(Offered offered, ReadOffered(mirror, load));
  if (filter.classifications.empty() && !subscription.drivers) {
    const auto removed = std::erase_if(offered.classifications, [](const Guid& id) {
      return id == kDriversClassification || id == kDriverSetsClassification;
    });
    if (filter.products.empty() && removed == 0) return filter;  // everything, and no drivers in it
  } else if (filter.products.empty() && filter.classifications.empty()) {
    return filter;
  }
  if (filter.products.empty()) filter.products = std::move(offered.products);
  if (filter.classifications.empty()) filter.classifications = std::move(offered.classifications);
  if (filter.products.empty() || filter.classifications.empty()) {
    return std::unexpected(
        Error{ErrorCode::kUsage,
              "subscription: the upstream has listed no products or no classifications",
              "no-categories", "gapferry sync --categories-only --full"});
  }
  return filter;
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

void MergeLanguages(const std::vector<protocol::SyncLanguage>& known,
                    std::vector<protocol::SyncLanguage>& changes) {
  std::map<std::int32_t, protocol::SyncLanguage> merged;
  for (const auto& one : known) merged[one.language_id] = one;
  for (auto& one : changes) merged[one.language_id] = std::move(one);
  changes.clear();
  for (auto& [id, one] : merged) changes.push_back(std::move(one));
}

bool IsLowerVersion(std::string_view version, std::string_view than) {
  const auto numbers = [](std::string_view text) {
    const std::size_t dot = text.find('.');
    const auto major = ParseInt<std::int32_t>(text.substr(0, dot));
    const auto minor = dot == std::string_view::npos ? std::optional<std::int32_t>(0)
                                                     : ParseInt<std::int32_t>(text.substr(dot + 1));
    return major && minor ? std::pair(*major, *minor) : std::pair(-1, -1);
  };
  return numbers(version) < numbers(than);
}

}  // namespace gapferry::exporter
