#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "protocol/sync_messages.h"

namespace gapferry::exporter {

/// A subscription as it is asked for: both lists filled or both empty (everything).
struct UpdateFilter {
  std::vector<Guid> products;         ///< sorted
  std::vector<Guid> classifications;  ///< sorted
  std::vector<std::int32_t> languages;

  bool all() const { return products.empty(); }
  /// Names the filter in anchors: hex of a digest over its members.
  std::string Digest() const;
  protocol::SyncFilter ToWire(const std::optional<std::string>& anchor) const;
};

/// Category GUIDs of one type, published or in the open change of `load`.
Result<std::vector<Guid>> KnownCategories(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                                          mirror::CategoryType type);

/// Fails with kUsage, naming the languages there are, when one is unknown to the upstream.
Result<std::vector<std::int32_t>> LanguageIds(const std::vector<std::string>& languages,
                                              const std::vector<protocol::SyncLanguage>& offered);

/// What this mirror holds of live software and drivers, to be compared with a complete list.
class LiveUpdates {
 public:
  /// Newest, not withdrawn, not expired revisions.
  static Result<LiveUpdates> Read(mirror::Catalog& catalog);

  /// Newest revisions that `filter` selects (with what they bundle) and that `listed` does not
  /// name: the upstream has them no more. Sorted.
  std::vector<protocol::UpdateId> Missing(const UpdateFilter& filter,
                                          const std::unordered_set<Guid>& listed) const;
  /// Products all of whose live updates are in `gone`.
  std::vector<Guid> ProductsLeftEmpty(const std::vector<protocol::UpdateId>& gone,
                                      const std::vector<Guid>& products) const;
  std::uint64_t count() const { return updates_.size(); }
  bool Contains(const Guid& guid) const { return updates_.contains(guid); }

 private:
  struct Entry {
    protocol::UpdateId id;
    std::vector<Guid> names;    ///< every GUID of its prerequisite clauses
    std::vector<Guid> members;  ///< of its bundle
  };
  std::unordered_map<Guid, Entry> updates_;
};

}  // namespace gapferry::exporter
