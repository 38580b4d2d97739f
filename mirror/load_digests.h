#pragma once

#include <map>

#include "base/result.h"
#include "mirror/commit_impl.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

// For the sources of mirror/ only.

namespace gapferry::mirror {

/// The canonical lines of the documents tree and of a change, each with LF:
///   R <guid>/<revision> <sha256 of the text>     a revision
///   W <guid>/<revision>                          it is withdrawn
///   U <guid>/<revision>                          (changes only) it leaves the tree: unlisted
///   L <guid>/<revision>                          (changes only) it is listed again
/// Computes what publishing `change` and `listings` will make of the tree. Costs what changes plus
/// the buckets it falls into.
Result<PreparedDocuments> PrepareDocuments(Database& db, ChangeId change,
                                           const std::map<protocol::UpdateId, Listing>& listings);

/// What is kept about all updates, and the same counted afresh: for `store check --deep`.
Result<CatalogCounts> ReadCounts(Database& db);
Result<CatalogCounts> ComputeCounts(Database& db);
/// Adds what a commit changes.
Result<void> MoveCounts(Database& db, const CountChanges& changes);

/// Computes the whole documents tree afresh from what is published: for `store check --deep`.
Result<std::vector<Sha256Digest>> ComputeDocumentBuckets(Database& db);

/// The same for the content tree (content_store.cc).
Result<std::vector<Sha256Digest>> ComputeContentBuckets(Database& db);

}  // namespace gapferry::mirror
