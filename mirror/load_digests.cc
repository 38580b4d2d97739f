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
  Listing listing;
};

Listing ListingOf(bool is_withdrawn, bool is_unlisted) {
  if (is_unlisted) return Listing::kUnlisted;
  return is_withdrawn ? Listing::kWithdrawn : Listing::kListed;
}

Result<std::vector<RealChange>> FindRealChanges(
    Database& db, ChangeId change, const std::map<protocol::UpdateId, Listing>& asked) {
  std::vector<RealChange> real;
  TRY_ASSIGN(auto row,
             db.Prepare("SELECT r.id, r.is_withdrawn, r.is_unlisted FROM revision_identity i "
                        "JOIN revision r ON r.id = i.id JOIN change c "
                        "ON c.id = r.change_id WHERE i.guid = ? AND i.revision = ? "
                        "AND (c.generation IS NOT NULL OR c.id = ?)"));
  for (const auto& [update, listing] : asked) {
    row.Reset();
    row.BindAll(update.guid, update.revision, change);
    TRY_ASSIGN(const bool found, row.Step());
    if (!found) {
      return Fail(ErrorCode::kNotFound,
                  fmt::format("revision {} to be withdrawn is not known", update.ToString()));
    }
    if (ListingOf(row.Bool(1), row.Bool(2)) != listing) {
      real.push_back({row.Int32(0), update, listing});
    }
  }
  TRY(row.Check());
  return real;
}

/// The digest over the sorted lines of what changes. R lines come from the database in the order of
/// (guid, revision), which is the order of no sorted text when revisions differ in digits: the text
/// order of lines is defined over GUID, then number, kinds L, R, U, W apart.
Result<Sha256Digest> ChangeLines(Database& db, ChangeId change, const std::vector<RealChange>& real,
                                 std::set<Guid>& touched, bool& has_revisions) {
  Sha256Hasher hasher;
  for (const auto& item : real) {
    touched.insert(item.update.guid);
    if (item.listing == Listing::kListed) {
      hasher.Update(fmt::format("L {}\n", item.update.ToString()));
    }
  }
  TRY_ASSIGN(auto rows, db.Prepare("SELECT i.guid, i.revision, r.document_sha256 FROM revision r "
                                   "JOIN revision_identity i ON i.id = r.id "
                                   "WHERE r.change_id = ? ORDER BY i.guid, i.revision"));
  rows.BindAll(change);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const protocol::UpdateId update{rows.GuidAt(0), rows.Int32(1)};
    touched.insert(touched.end(), update.guid);
    hasher.Update(RevisionLine(update, rows.DigestAt<Sha256Digest>(2)));
    has_revisions = true;
  }
  for (const auto& [listing, kind] :
       {std::pair{Listing::kUnlisted, 'U'}, std::pair{Listing::kWithdrawn, 'W'}}) {
    for (const auto& item : real) {
      if (item.listing != listing) continue;
      hasher.Update(fmt::format("{} {}\n", kind, item.update.ToString()));
    }
  }
  return hasher.Finish();
}

Result<Sha256Digest> ComputeBucket(Database& db, std::size_t bucket, ChangeId change,
                                   const std::map<RevisionId, Listing>& listings) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT r.id, i.guid, i.revision, r.document_sha256, "
                                   "r.is_withdrawn, r.is_unlisted FROM revision_identity i "
                                   "JOIN revision r ON r.id = i.id "
                                   "JOIN change c ON c.id = r.change_id "
                                   "WHERE i.guid >= ?1 AND i.guid < CASE WHEN ?3 THEN "
                                   "x'ffffffffffffffffffffffffffffffffff' ELSE ?2 END "
                                   "AND (c.generation IS NOT NULL OR c.id = ?4)"));
  rows.BindAll(FirstKeyOf(bucket), FirstKeyOf(bucket + 1), bucket + 1 == kBuckets ? 1 : 0, change);
  std::vector<std::string> lines;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const protocol::UpdateId update{rows.GuidAt(1), rows.Int32(2)};
    const auto asked = listings.find(rows.Int32(0));
    const Listing listing =
        asked != listings.end() ? asked->second : ListingOf(rows.Bool(4), rows.Bool(5));
    if (listing == Listing::kUnlisted) continue;
    lines.push_back(RevisionLine(update, rows.DigestAt<Sha256Digest>(3)));
    if (listing == Listing::kWithdrawn) {
      lines.push_back(fmt::format("W {}\n", update.ToString()));
    }
  }
  return BucketDigest(lines);
}

/// The part of one update in the counts, from its revisions in ascending order.
struct Tally {
  bool any = false;
  UpdateType type = UpdateType::kSoftware;
  bool is_expired = false;
  bool is_deployable = false;
  bool is_withdrawn = false;
  std::int64_t revisions = 0;
  std::int64_t withdrawn = 0;

  void Take(Statement& row, bool row_is_withdrawn) {
    any = true;
    type = static_cast<UpdateType>(row.Int32(1));
    is_expired = row.Bool(2);
    is_deployable = row.Bool(3);
    is_withdrawn = row_is_withdrawn;
    ++revisions;
    if (is_withdrawn) ++withdrawn;
  }

  void AddTo(CountChanges& counts, int sign) const {
    if (!any) return;
    const bool update = type == UpdateType::kSoftware || type == UpdateType::kDriver;
    const std::array<std::int64_t, 8> part = {revisions,
                                              update,
                                              update && is_deployable && !is_expired,
                                              update && is_expired,
                                              update && !is_expired && !is_withdrawn,
                                              type == UpdateType::kCategory,
                                              type == UpdateType::kDetectoid,
                                              withdrawn};
    for (std::size_t i = 0; i < part.size(); ++i) counts[i] += sign * part[i];
  }
};

Result<CountChanges> CountTouched(Database& db, ChangeId change, const std::set<Guid>& touched,
                                  const std::map<RevisionId, Listing>& listings) {
  CountChanges counts{};
  TRY_ASSIGN(auto rows, db.Prepare("SELECT r.id, r.type, r.is_expired, "
                                   "r.is_explicitly_deployable, r.is_withdrawn, "
                                   "c.generation IS NOT NULL FROM revision_identity i "
                                   "JOIN revision r ON r.id = i.id JOIN change c "
                                   "ON c.id = r.change_id WHERE i.guid = ? "
                                   "AND (c.generation IS NOT NULL OR c.id = ?) "
                                   "ORDER BY i.revision"));
  for (const Guid& guid : touched) {
    rows.Reset();
    rows.BindAll(guid, change);
    Tally before;
    Tally after;
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      const bool is_withdrawn = rows.Bool(4);
      const auto asked = listings.find(rows.Int32(0));
      if (rows.Bool(5)) before.Take(rows, is_withdrawn);
      after.Take(rows, asked != listings.end() ? asked->second != Listing::kListed : is_withdrawn);
    }
    before.AddTo(counts, -1);
    after.AddTo(counts, 1);
  }
  return counts;
}

CatalogCounts ReadCountRow(Statement& row) {
  const auto at = [&](int column) { return static_cast<std::uint64_t>(row.Int(column)); };
  CatalogCounts counts;
  counts.revisions = at(0);
  counts.updates = at(1);
  counts.deployable_updates = at(2);
  counts.expired_updates = at(3);
  counts.live_updates = at(4);
  counts.categories = at(5);
  counts.detectoids = at(6);
  counts.withdrawn = at(7);
  return counts;
}

Result<CatalogCounts> QueryCounts(Database& db, std::string_view sql) {
  TRY_ASSIGN(auto row, db.Prepare(sql));
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return Fail(ErrorCode::kCorrupt, db.path().string() + ": the counts are missing");
  const CatalogCounts counts = ReadCountRow(row);
  TRY(row.Check());
  return counts;
}

}  // namespace

Result<CatalogCounts> ReadCounts(Database& db) {
  return QueryCounts(db,
                     "SELECT revisions, updates, deployable_updates, expired_updates, "
                     "live_updates, categories, detectoids, withdrawn FROM catalog_count");
}

Result<CatalogCounts> ComputeCounts(Database& db) {
  return QueryCounts(
      db,
      "WITH seen AS (SELECT r.*, NOT EXISTS (SELECT 1 FROM revision_identity j "
      "JOIN revision s ON s.id = j.id JOIN change d ON d.id = s.change_id "
      "WHERE j.guid = i.guid AND j.revision > i.revision AND d.generation IS NOT NULL) AS latest "
      "FROM revision r JOIN revision_identity i ON i.id = r.id "
      "JOIN change c ON c.id = r.change_id WHERE c.generation IS NOT NULL) "
      "SELECT count(*), coalesce(sum(latest AND type IN (2, 3)), 0), "
      "coalesce(sum(latest AND type IN (2, 3) AND is_explicitly_deployable AND NOT is_expired), "
      "0), "
      "coalesce(sum(latest AND type IN (2, 3) AND is_expired), 0), "
      "coalesce(sum(latest AND type IN (2, 3) AND NOT is_expired AND NOT is_withdrawn), 0), "
      "coalesce(sum(latest AND type = 0), 0), coalesce(sum(latest AND type = 1), 0), "
      "coalesce(sum(is_withdrawn), 0) FROM seen");
}

Result<void> MoveCounts(Database& db, const CountChanges& c) {
  return db.Run(
      "UPDATE catalog_count SET revisions = revisions + ?, updates = updates + ?, "
      "deployable_updates = deployable_updates + ?, "
      "expired_updates = expired_updates + ?, live_updates = live_updates + ?, "
      "categories = categories + ?, detectoids = detectoids + ?, "
      "withdrawn = withdrawn + ?",
      c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]);
}

Result<PreparedDocuments> PrepareDocuments(Database& db, ChangeId change,
                                           const std::map<protocol::UpdateId, Listing>& listings) {
  PreparedDocuments prepared;
  prepared.change = change;
  TRY_ASSIGN(const auto real, FindRealChanges(db, change, listings));
  for (const auto& item : real) prepared.listings[item.id] = item.listing;
  std::set<Guid> touched;
  TRY_ASSIGN(prepared.lines_digest, ChangeLines(db, change, real, touched, prepared.has_revisions));
  TRY_ASSIGN(prepared.counts, CountTouched(db, change, touched, prepared.listings));
  std::set<std::size_t> buckets;
  for (const Guid& guid : touched) buckets.insert(buckets.end(), BucketOf(guid));
  for (const std::size_t bucket : buckets) {
    TRY_ASSIGN(prepared.buckets[bucket], ComputeBucket(db, bucket, change, prepared.listings));
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
