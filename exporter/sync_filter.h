#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/mirror.h"
#include "protocol/sync_messages.h"

namespace gapferry::exporter {

/// Classifications that are left out of "all" unless Subscription::drivers: they are the larger
/// half of a catalogue, and few sites distribute drivers this way.
extern const Guid kDriversClassification;
extern const Guid kDriverSetsClassification;

/// A subscription as it is asked for: both lists filled or both empty (everything).
struct UpdateFilter {
  std::vector<Guid> products;         ///< sorted; "all" includes families and companies
  std::vector<Guid> classifications;  ///< sorted
  std::vector<std::int32_t> languages;

  bool all() const { return products.empty(); }
  /// Whether an upstream lists a revision for it: it names one of each in any prerequisite.
  bool Selects(const mirror::RevisionRelations& revision) const;
  /// Names the filter in anchors: hex of a digest over its members.
  std::string Digest() const;
  protocol::SyncFilter ToWire(const std::optional<std::string>& anchor) const;
};

/// The subscription of `mirror`, or `subscription`, as it is asked for. An upstream answers nothing
/// to half a filter, so "all" of one list is spelled out by the categories that are published or in
/// the open change of `load` (may be null); nothing is spelled out where everything is wanted.
/// Fails with kUsage when there are none to spell out (reason "no-categories"), or as LanguageIds.
Result<UpdateFilter> FilterOf(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                              const std::vector<protocol::SyncLanguage>& offered);
Result<UpdateFilter> FilterOf(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                              const std::vector<protocol::SyncLanguage>& offered,
                              const mirror::Subscription& subscription);

/// Fails with kUsage, naming the languages there are, when one is unknown to the upstream.
Result<std::vector<std::int32_t>> LanguageIds(const std::vector<std::string>& languages,
                                              const std::vector<protocol::SyncLanguage>& offered);

/// `changes` over `known`: what a later answer to GetConfigData lists replaces the same language.
void MergeLanguages(const std::vector<protocol::SyncLanguage>& known,
                    std::vector<protocol::SyncLanguage>& changes);

/// Versions of the protocol, "1.20" above "1.8". One that cannot be read is lower than none.
bool IsLowerVersion(std::string_view version, std::string_view than);

}  // namespace gapferry::exporter
