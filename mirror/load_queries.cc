#include "mirror/load_queries.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "mirror/catalog_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

using protocol::UpdateId;

namespace {

Result<std::vector<RevisionRow>> ReadRows(Statement& rows) {
  std::vector<RevisionRow> revisions;
  for (;;) {
    TRY_ASSIGN(auto row, ReadOneRevision(rows));
    if (!row) return revisions;
    revisions.push_back(*std::move(row));
  }
}

Result<std::vector<UpdateId>> ReadIds(Statement& rows) {
  std::vector<UpdateId> ids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return ids;
    ids.push_back({rows.GuidAt(0), rows.Int32(1)});
  }
}

bool Names(const std::vector<UpdateId>& sorted, const Guid& guid) {
  const UpdateId lowest{guid, std::numeric_limits<std::int32_t>::min()};
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), lowest);
  return at != sorted.end() && at->guid == guid;
}

}  // namespace

Result<void> ForEachLoadedRow(Mirror& mirror, CatalogLoad& load,
                              const std::function<Result<void>(const RevisionRow&)>& visit) {
  TRY(load.Flush());
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(RevisionSelect(Sight::kLoading, "AND c.id = ? ORDER BY r.id")));
  rows.BindAll(load.change());
  for (;;) {
    TRY_ASSIGN(const auto row, ReadOneRevision(rows));
    if (!row) return {};
    TRY(visit(*row));
  }
}

Result<RevisionRelations> RelationsOf(Mirror& mirror, const RevisionRow& row) {
  RevisionRelations relations;
  relations.row = row;
  TRY_ASSIGN(auto reader, RelationsReader::Open(mirror.db(), RelationsReader::Pattern::kFew));
  TRY(reader.Fill(relations));
  return relations;
}

Result<std::vector<RevisionRow>> BundlesNaming(Mirror& mirror, const CatalogLoad* load,
                                               const Guid& member) {
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(RevisionSelect(
                 load ? Sight::kLoading : Sight::kPublished,
                 "AND r.id IN (SELECT b.revision_id FROM bundle_member b WHERE b.guid = ?)")));
  rows.BindAll(member);
  TRY_ASSIGN(auto bundles, ReadRows(rows));
  std::erase_if(bundles, [](const RevisionRow& row) {
    const bool is_update = row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver;
    return !is_update || !row.is_latest || row.is_withdrawn;
  });
  return bundles;
}

Result<std::vector<UpdateId>> UnknownMembers(Mirror& mirror, CatalogLoad& load) {
  TRY(load.Flush());
  TRY_ASSIGN(auto rows, mirror.db().Prepare(
                            "SELECT DISTINCT b.guid, b.revision FROM revision r "
                            "JOIN bundle_member b ON b.revision_id = r.id WHERE r.change_id = ? "
                            "AND NOT EXISTS (SELECT 1 FROM revision_identity i JOIN revision s "
                            "ON s.id = i.id WHERE i.guid = b.guid AND i.revision = b.revision) "
                            "ORDER BY b.guid, b.revision"));
  rows.BindAll(load.change());
  return ReadIds(rows);
}

Result<std::vector<RevisionRow>> LoadedCategories(Mirror& mirror, CatalogLoad& load) {
  TRY(load.Flush());
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(RevisionSelect(
                 Sight::kLoading, "AND c.id = ? AND r.category_type <> 0 ORDER BY r.id")));
  rows.BindAll(load.change());
  return ReadRows(rows);
}

Result<std::vector<UpdateId>> WithdrawnAmong(Mirror& mirror, const std::vector<UpdateId>& listed) {
  std::vector<UpdateId> found;
  TRY_ASSIGN(const auto counts, mirror.catalog().Counts());
  if (counts.withdrawn == 0) return found;
  if (listed.size() < counts.withdrawn) {
    std::optional<Guid> last;
    for (const UpdateId& id : listed) {
      if (last == id.guid) continue;
      last = id.guid;
      TRY_ASSIGN(const auto revisions, mirror.catalog().RevisionsOf(id.guid));
      for (const RevisionRow& row : revisions) {
        if (row.is_withdrawn) found.push_back(row.update);
      }
    }
    return found;
  }
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(
                 "SELECT i.guid, i.revision FROM revision r INDEXED BY revision_withdrawn "
                 "JOIN revision_identity i ON i.id = r.id JOIN change c ON c.id = r.change_id "
                 "WHERE r.withdrawn_generation IS NOT NULL AND r.is_withdrawn = 1 "
                 "AND c.generation IS NOT NULL"));
  TRY_ASSIGN(found, ReadIds(rows));
  std::erase_if(found, [&](const UpdateId& id) { return !Names(listed, id.guid); });
  return found;
}

// ---- Keys of encrypted files -------------------------------------------------------------------

Result<std::vector<MissingKeys>> FindMissingKeys(Mirror& mirror, CatalogLoad& load) {
  TRY(load.Flush());
  // Where no file is marked as encrypted, all of them may be.
  TRY_ASSIGN(auto rows, mirror.db().Prepare(
                            "SELECT r.id, i.guid, i.revision, r.change_id = ?1, f.sha1 "
                            "FROM revision r "
                            "JOIN revision_identity i ON i.id = r.id "
                            "JOIN revision_file f ON f.revision_id = r.id "
                            "WHERE r.needs_file_keys = 1 "
                            "AND (r.change_id = ?1 OR (r.is_expired = 0 AND r.is_withdrawn = 0)) "
                            "AND (f.is_encrypted = 1 OR NOT EXISTS (SELECT 1 FROM revision_file g "
                            "WHERE g.revision_id = r.id AND g.is_encrypted = 1)) "
                            "AND NOT EXISTS (SELECT 1 FROM file_key k WHERE k.sha1 = f.sha1) "
                            "ORDER BY r.id, f.ordinal"));
  rows.BindAll(load.change());
  std::vector<MissingKeys> missing;
  std::int64_t last = 0;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return missing;
    if (rows.Int(0) != last) {
      last = rows.Int(0);
      missing.push_back({{rows.GuidAt(1), rows.Int32(2)}, rows.Bool(3), {}});
    }
    missing.back().files.push_back(rows.DigestAt<Sha1Digest>(4));
  }
}

Result<void> PublishFileKeys(Mirror& mirror, const std::vector<FileKey>& keys) {
  if (keys.empty()) return {};
  TRY_ASSIGN(auto tx, Transaction::Begin(mirror.db(), TransactionKind::kWrite));
  for (const FileKey& one : keys) {
    TRY(mirror.db().Run(
        "INSERT INTO file_key (sha1, change_id, key) SELECT ?1, x.id, ?2 FROM "
        "(SELECT max(c.id) AS id FROM revision_file f JOIN revision r ON r.id = f.revision_id "
        "JOIN change c ON c.id = r.change_id WHERE f.sha1 = ?1 AND c.generation IS NOT NULL) x "
        "WHERE x.id IS NOT NULL ON CONFLICT DO UPDATE SET key = excluded.key",
        one.sha1, ByteView(one.key)));
  }
  return tx.Commit();
}

}  // namespace gapferry::mirror
