#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

class Mirror;

// Questions that a sync asks of what it has loaded and of what is held, each at the cost of its
// answer: a list of changes must not read the whole catalogue. Thread rule of the mirror. Where a
// `load` is given, what it holds back is written first.

/// The revisions of the open change without their relations, ascending by id.
Result<void> ForEachLoadedRow(Mirror& mirror, CatalogLoad& load,
                              const std::function<Result<void>(const RevisionRow&)>& visit);

/// The relations of a revision that is published or loaded.
Result<RevisionRelations> RelationsOf(Mirror& mirror, const RevisionRow& row);

/// Newest revisions, not withdrawn, of software updates that bundle any revision of `member`:
/// published, and with `load` also loaded.
Result<std::vector<RevisionRow>> BundlesNaming(Mirror& mirror, const CatalogLoad* load,
                                               const Guid& member);

/// Exact members of loaded bundles that are neither published nor loaded, ascending.
Result<std::vector<protocol::UpdateId>> UnknownMembers(Mirror& mirror, CatalogLoad& load);

/// The categories of the open change.
Result<std::vector<RevisionRow>> LoadedCategories(Mirror& mirror, CatalogLoad& load);

/// Published revisions that are withdrawn and that `listed` (ascending) names in any revision.
Result<std::vector<protocol::UpdateId>> WithdrawnAmong(
    Mirror& mirror, const std::vector<protocol::UpdateId>& listed);

/// A revision that needs keys of files, and the files whose keys are not known.
struct MissingKeys {
  protocol::UpdateId update;
  bool is_loaded = false;  ///< in the open change, not published
  std::vector<Sha1Digest> files;
};
/// Of the open change, and of what is published and neither expired nor withdrawn; ascending by id.
/// Costs the few revisions whose files are encrypted.
Result<std::vector<MissingKeys>> FindMissingKeys(Mirror& mirror, CatalogLoad& load);

/// Makes keys of files that published revisions declare known at once: like content they are no
/// part of any state. Keys of other files are dropped.
Result<void> PublishFileKeys(Mirror& mirror, const std::vector<FileKey>& keys);

}  // namespace gapferry::mirror
