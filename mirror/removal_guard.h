#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/catalog_load.h"

// The one rule that keeps a sync and an import from emptying a mirror (design section 4).

namespace gapferry::mirror {

class Mirror;

/// Updates (in any order) that would cease to be offered. Those that are not offered now (unknown,
/// expired or withdrawn already) are passed over, and so are withdrawals of older revisions.
struct Removals {
  std::vector<protocol::UpdateId> withdrawn;
  std::vector<Guid> expired;
  std::vector<Guid> declined;  ///< only those that are not declined yet
};

struct RemovalVerdict {
  std::uint64_t withdrawn = 0;
  std::uint64_t expired = 0;
  std::uint64_t declined = 0;
  std::uint64_t removals = 0;  ///< distinct updates: what --accept-removals must name
  std::uint64_t live = 0;      ///< updates offered now
  struct Named {
    Guid guid;
    std::string title;
  };
  std::vector<Named> first;             ///< at most 20 of the updates
  std::vector<Named> emptied_products;  ///< left without any update
  bool needs_consent = false;
};

/// The rule: more than `limits.withdraw_percent` of the updates offered now, or a whole product,
/// needs a person's consent. One removal alone is no percentage; and one that somebody stated (an
/// expiry, a decline) passes even where it empties a product, one that is only no longer listed
/// does not. `arriving`: GUIDs that new updates name as prerequisites; a product among them is not
/// left empty. Reads what is published.
Result<RemovalVerdict> JudgeRemovals(Mirror& mirror, const Removals& removals,
                                     const std::set<Guid>& arriving);

/// `arriving` of the open change of a load.
Result<std::set<Guid>> ArrivingNames(CatalogLoad& load);

/// What is said when consent is missing: kUsage, reason "removals-need-acceptance". `what` is who
/// would do it ("sync"), `next` the command with the number.
Error RemovalsNeedConsent(const RemovalVerdict& verdict, std::string_view what, std::string next);

}  // namespace gapferry::mirror
