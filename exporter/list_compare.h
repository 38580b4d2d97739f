#pragma once

#include <vector>

#include "base/result.h"
#include "exporter/sync_filter.h"
#include "mirror/catalog_load.h"
#include "mirror/mirror.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

/// What a list says by what it does not name.
struct ListDifference {
  /// Offered here and no longer listed by the upstream: newest revisions, ascending.
  std::vector<protocol::UpdateId> withdrawn;
  /// Loaded by an interrupted run and no longer listed: never seen by anybody yet.
  std::vector<protocol::UpdateId> lost;
  /// Withdrawn before, listed again.
  std::vector<protocol::UpdateId> again;
};

enum class ListKind {
  kComplete,  ///< asked for without anchor
  kChanges,   ///< since an anchor: says nothing of what was published before
};

/// Compares what is held with `listed` (ascending). An update is missing when `filter` selects it,
/// or when all it belongs to as a bundle member is missing; a member of something that is still
/// offered is not, whether the list names it or not. What lies outside the filter is left alone: a
/// narrower subscription withdraws nothing. `load` may be null (dry run).
/// Memory: about 250 bytes for each update that is held and not listed. A list of changes costs
/// what was loaded and what it names, whatever is held.
Result<ListDifference> CompareWithList(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                                       const UpdateFilter& filter,
                                       const std::vector<protocol::UpdateId>& listed,
                                       ListKind kind);

/// Whether `sorted` holds a revision of that update.
bool Lists(const std::vector<protocol::UpdateId>& sorted, const Guid& guid);

}  // namespace gapferry::exporter
