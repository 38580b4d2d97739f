#pragma once

#include <cstdint>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/sqlite.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

// Questions against the direction in which documents refer to others, for people who look at one
// update. Published revisions only; at most `limit` of them, newest revisions of each update,
// ascending. Thread rule of the database.

/// Updates that say they replace `update`.
Result<std::vector<protocol::UpdateId>> SupersedingUpdates(Database& catalog, const Guid& update,
                                                           int limit);

/// Updates that bundle this revision.
Result<std::vector<protocol::UpdateId>> BundlesOf(Database& catalog,
                                                  const protocol::UpdateId& member, int limit);

/// Published revisions that are never offered because a file they declare contradicts what is known
/// under the same SHA-1.
Result<std::vector<protocol::UpdateId>> DigestConflicts(Database& catalog, int limit);

}  // namespace gapferry::mirror
