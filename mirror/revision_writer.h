#pragma once

#include <span>

#include "base/result.h"
#include "mirror/decoded_revision.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

// For the sources of mirror/ only.

namespace gapferry::mirror {

/// The id that was given to a revision, or a new one, within the open write transaction.
Result<RevisionId> GiveRevisionId(Database& db, const protocol::UpdateId& update);

/// Writes the rows of a revision (not its identity, fragments and document) within the open write
/// transaction, and marks it when a file contradicts what is known.
Result<void> WriteRevisionRows(Database& db, RevisionId id, ChangeId change,
                               const DecodedRevision::Impl& revision);

/// Remembers where the vendor offers files; the latest word counts.
Result<void> WriteFileUrls(Database& db, ChangeId change,
                           std::span<const IncomingRevision::FileUrl> urls);

/// Remembers the keys of files; the latest word counts.
Result<void> WriteFileKeys(Database& db, ChangeId change, std::span<const FileKey> keys);

/// Replaces the parts [first, first + count) of a document; false when there were no more.
Result<bool> WriteDocumentParts(Database& db, RevisionId id, ByteView bytes, std::size_t first,
                                std::size_t count);

}  // namespace gapferry::mirror
