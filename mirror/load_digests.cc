#include "mirror/load_digests.h"

#include <fmt/format.h>

#include <set>

namespace gapferry::mirror {

namespace {

std::string RevisionLine(const protocol::UpdateId& update, const Sha256Digest& sha256) {
  return fmt::format("R {} {}\n", update.ToString(), sha256.ToHex());
}

/// Withdrawals that would change something, by revision id, with their updates.
struct RealChange {
  RevisionId id;
  protocol::UpdateId update;
  bool withdrawn;
};

Result<std::vector<RealChange>> FindRealChanges(Database& db, ChangeId change,
                                                const std::map<protocol::UpdateId, bool>& asked) {
  std::vector<RealChange> real;
  TRY_ASSIGN(auto row, db.Prepare("SELECT r.id, r.is_withdrawn FROM revision_identity i "
                                  "JOIN revision r ON r.id = i.id JOIN change c "
                                  "ON c.id = r.change_id WHERE i.guid = ? AND i.revision = ? "
                                  "AND (c.generation IS NOT NULL OR c.id = ?)"));
  for (const auto& [update, withdrawn] : asked) {
    row.Reset();
    row.BindAll(update.guid, update.revision, change);
    TRY_ASSIGN(const bool found, row.Step());
    if (!found) {
      return Fail(ErrorCode::kNotFound,
                  fmt::format("revision {} to be withdrawn is not known", update.ToString()));
    }
    if (row.Bool(1) != withdrawn) real.push_back({row.Int32(0), update, withdrawn});
  }
  TRY(row.Check());
  return real;
}

/// The digest over the sorted lines of what changes. R lines come from the database in the order of
/// (guid, revision), which is the order of no sorted text when revisions differ in digits: the text
/// order of lines is defined over GUID, then number, kinds L, R, W apart.
Result<Sha256Digest> ChangeLines(Database& db, ChangeId change, const std::vector<RealChange>& real,
                                 std::set<std::size_t>& touched, bool& has_revisions) {
  Sha256Hasher hasher;
  for (const auto& item : real) {
    touched.insert(BucketOf(item.update.guid));
    if (!item.withdrawn) hasher.Update(fmt::format("L {}\n", item.update.ToString()));
  }
  TRY_ASSIGN(auto rows, db.Prepare("SELECT i.guid, i.revision, r.document_sha256 FROM revision r "
                                   "JOIN revision_identity i ON i.id = r.id "
                                   "WHERE r.change_id = ? ORDER BY i.guid, i.revision"));
  rows.BindAll(change);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const protocol::UpdateId update{rows.GuidAt(0), rows.Int32(1)};
    touched.insert(BucketOf(update.guid));
    hasher.Update(RevisionLine(update, rows.DigestAt<Sha256Digest>(2)));
    has_revisions = true;
  }
  for (const auto& item : real) {
    if (item.withdrawn) hasher.Update(fmt::format("W {}\n", item.update.ToString()));
  }
  return hasher.Finish();
}

Result<Sha256Digest> ComputeBucket(Database& db, std::size_t bucket, ChangeId change,
                                   const std::map<RevisionId, bool>& withdrawn) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT r.id, i.guid, i.revision, r.document_sha256, "
                                   "r.is_withdrawn FROM revision_identity i "
                                   "JOIN revision r ON r.id = i.id "
                                   "JOIN change c ON c.id = r.change_id "
                                   "WHERE i.guid >= ?1 AND (i.guid < ?2 OR ?3) "
                                   "AND (c.generation IS NOT NULL OR c.id = ?4)"));
  rows.BindAll(FirstKeyOf(bucket), FirstKeyOf(bucket + 1), bucket + 1 == kBuckets ? 1 : 0, change);
  std::vector<std::string> lines;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const protocol::UpdateId update{rows.GuidAt(1), rows.Int32(2)};
    lines.push_back(RevisionLine(update, rows.DigestAt<Sha256Digest>(3)));
    const auto asked = withdrawn.find(rows.Int32(0));
    if (asked != withdrawn.end() ? asked->second : rows.Bool(4)) {
      lines.push_back(fmt::format("W {}\n", update.ToString()));
    }
  }
  return BucketDigest(lines);
}

}  // namespace

Result<PreparedDocuments> PrepareDocuments(Database& db, ChangeId change,
                                           const std::map<protocol::UpdateId, bool>& withdrawn) {
  PreparedDocuments prepared;
  prepared.change = change;
  TRY_ASSIGN(const auto real, FindRealChanges(db, change, withdrawn));
  for (const auto& item : real) prepared.withdrawn[item.id] = item.withdrawn;
  std::set<std::size_t> touched;
  TRY_ASSIGN(prepared.lines_digest, ChangeLines(db, change, real, touched, prepared.has_revisions));
  for (const std::size_t bucket : touched) {
    TRY_ASSIGN(prepared.buckets[bucket], ComputeBucket(db, bucket, change, prepared.withdrawn));
  }
  return prepared;
}

Result<std::vector<Sha256Digest>> ComputeDocumentBuckets(Database& db) {
  std::vector<Sha256Digest> buckets;
  buckets.reserve(kBuckets);
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    TRY_ASSIGN(const auto digest, ComputeBucket(db, bucket, /*change=*/0, {}));
    buckets.push_back(digest);
  }
  return buckets;
}

}  // namespace gapferry::mirror
