#include "mirror/catalog_rows.h"

#include <fmt/format.h>

namespace gapferry::mirror {

namespace {

std::string_view VisibleCondition(Sight sight, bool inner) {
  if (sight == Sight::kLoading) return "1";
  return inner ? "d.generation IS NOT NULL" : "c.generation IS NOT NULL";
}

}  // namespace

std::string RevisionSelect(Sight sight, std::string_view rest) {
  return fmt::format(
      "SELECT r.id, i.guid, i.revision, r.type, r.category_type, coalesce(c.generation, 0), "
      "r.is_expired, r.is_explicitly_deployable, r.is_withdrawn, r.has_digest_conflict, "
      "r.can_uninstall, r.eula_id, r.protocol_version, r.document_sha256, r.document_bytes, "
      "NOT EXISTS (SELECT 1 FROM revision_identity j JOIN revision s ON s.id = j.id "
      "JOIN change d ON d.id = s.change_id "
      "WHERE j.guid = i.guid AND j.revision > i.revision AND {}), r.needs_file_keys, r.is_unlisted "
      "FROM revision r JOIN revision_identity i ON i.id = r.id JOIN change c ON c.id = r.change_id "
      "WHERE {} {}",
      VisibleCondition(sight, /*inner=*/true), VisibleCondition(sight, /*inner=*/false), rest);
}

RevisionRow ReadRevision(Statement& row) {
  RevisionRow r;
  r.id = row.Int32(0);
  r.update.guid = row.GuidAt(1);
  r.update.revision = row.Int32(2);
  r.type = static_cast<UpdateType>(row.Int32(3));
  r.category_type = static_cast<CategoryType>(row.Int32(4));
  r.generation = row.Int(5);
  r.is_expired = row.Bool(6);
  r.is_explicitly_deployable = row.Bool(7);
  r.is_withdrawn = row.Bool(8);
  r.has_digest_conflict = row.Bool(9);
  r.can_uninstall = row.Bool(10);
  if (!row.IsNull(11)) r.eula_id = row.GuidAt(11);
  r.compatible_protocol_version = row.String(12);
  r.document_sha256 = row.DigestAt<Sha256Digest>(13);
  r.document_bytes = static_cast<std::uint64_t>(row.Int(14));
  r.is_latest = row.Bool(15);
  r.needs_file_keys = row.Bool(16);
  r.is_unlisted = row.Bool(17);
  return r;
}

Result<std::optional<RevisionRow>> ReadOneRevision(Statement& row) {
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<RevisionRow>();
  RevisionRow revision = ReadRevision(row);
  TRY(row.Check());
  return std::optional<RevisionRow>(std::move(revision));
}

// ---- Relations ---------------------------------------------------------------------------------

Result<RelationsReader> RelationsReader::Open(Database& db, Pattern pattern) {
  const std::string_view which = pattern == Pattern::kFew ? "WHERE t.revision_id = ? " : "";
  const auto prepare = [&](std::string_view columns, std::string_view table,
                           std::string_view order) -> Result<Cursor> {
    TRY_ASSIGN(auto rows, db.Prepare(fmt::format("SELECT t.revision_id, {} FROM {} {}"
                                                 "ORDER BY t.revision_id, {}",
                                                 columns, table, which, order)));
    return Cursor{std::move(rows)};
  };
  TRY_ASSIGN(auto prerequisites,
             prepare("t.clause, t.is_category, t.guid", "prerequisite t", "t.clause, t.ordinal"));
  TRY_ASSIGN(auto members,
             prepare("t.clause, t.guid, t.revision", "bundle_member t", "t.clause, t.ordinal"));
  TRY_ASSIGN(auto superseded, prepare("t.guid", "superseded t", "t.guid"));
  TRY_ASSIGN(auto files, prepare("t.kind, t.sha1, t.sha256, t.size_bytes, t.name, t.extension, "
                                 "t.patching_type, t.language, t.geo_id, t.is_encrypted, "
                                 "EXISTS (SELECT 1 FROM content h WHERE h.sha1 = t.sha1)",
                                 "revision_file t", "t.ordinal"));
  return RelationsReader(pattern, std::move(prerequisites), std::move(members),
                         std::move(superseded), std::move(files));
}

Result<void> RelationsReader::Each(Cursor& cursor, RevisionId id,
                                   const std::function<void(Statement&)>& take) {
  if (pattern_ == Pattern::kFew) {
    cursor.rows.Reset();
    cursor.rows.BindAll(id);
    for (;;) {
      TRY_ASSIGN(const bool row, cursor.rows.Step());
      if (!row) return {};
      take(cursor.rows);
    }
  }
  if (!cursor.started) {
    TRY_ASSIGN(cursor.has_row, cursor.rows.Step());
    cursor.started = true;
  }
  while (cursor.has_row) {
    const std::int64_t owner = cursor.rows.Int(0);
    if (owner > id) return {};
    if (owner == id) take(cursor.rows);
    TRY_ASSIGN(cursor.has_row, cursor.rows.Step());
  }
  return {};
}

namespace {

DeclaredFile ReadFile(Statement& row) {
  DeclaredFile file;
  file.kind = static_cast<FileKind>(row.Int32(1));
  file.sha1 = row.DigestAt<Sha1Digest>(2);
  file.sha256 = row.OptionalDigest<Sha256Digest>(3);
  file.size_bytes = static_cast<std::uint64_t>(row.Int(4));
  file.name = row.String(5);
  file.extension = row.String(6);
  file.patching_type = row.String(7);
  file.language = row.String(8);
  file.geo_id = row.String(9);
  file.is_encrypted = row.Bool(10);
  file.is_held = row.Bool(11);
  return file;
}

}  // namespace

Result<void> RelationsReader::Fill(RevisionRelations& out) {
  out.prerequisites.clear();
  out.bundled.clear();
  out.superseded.clear();
  const RevisionId id = out.row.id;
  std::int64_t clause = -1;
  TRY(Each(prerequisites_, id, [&](Statement& row) {
    if (row.Int(1) != clause) out.prerequisites.push_back({row.Bool(2), {}});
    clause = row.Int(1);
    out.prerequisites.back().alternatives.push_back(row.GuidAt(3));
  }));
  clause = -1;
  TRY(Each(members_, id, [&](Statement& row) {
    if (row.Int(1) != clause) out.bundled.emplace_back();
    clause = row.Int(1);
    out.bundled.back().push_back({row.GuidAt(2), row.Int32(3)});
  }));
  TRY(Each(superseded_, id, [&](Statement& row) { out.superseded.push_back(row.GuidAt(1)); }));
  return FillFiles(out);
}

Result<void> RelationsReader::FillFiles(RevisionRelations& out) {
  out.files.clear();
  return Each(files_, out.row.id, [&](Statement& row) { out.files.push_back(ReadFile(row)); });
}

// ---- Sets of identities ------------------------------------------------------------------------

namespace {

/// Above it, reading all identities in their order costs less than looking each one up.
constexpr std::size_t kFewIds = 2000;

Result<std::vector<protocol::UpdateId>> LookUpEach(Database& db, std::string_view visible,
                                                   const std::vector<protocol::UpdateId>& ids) {
  TRY_ASSIGN(auto row, db.Prepare(fmt::format("SELECT 1 FROM revision_identity i JOIN revision r "
                                              "ON r.id = i.id JOIN change c ON c.id = r.change_id "
                                              "WHERE i.guid = ? AND i.revision = ? AND {}",
                                              visible)));
  std::vector<protocol::UpdateId> unknown;
  for (const auto& id : ids) {
    row.Reset();
    row.BindAll(id.guid, id.revision);
    TRY_ASSIGN(const bool found, row.Step());
    if (!found) unknown.push_back(id);
  }
  return unknown;
}

}  // namespace

Result<std::vector<protocol::UpdateId>> FindUnknown(Database& db, Sight sight,
                                                    const std::vector<protocol::UpdateId>& sorted) {
  const std::string_view visible = VisibleCondition(sight, /*inner=*/false);
  if (sorted.size() < kFewIds) return LookUpEach(db, visible, sorted);
  TRY_ASSIGN(auto rows, db.Prepare(fmt::format("SELECT i.guid, i.revision FROM revision_identity i "
                                               "INDEXED BY revision_identity_by_update "
                                               "CROSS JOIN revision r ON r.id = i.id "
                                               "CROSS JOIN change c ON c.id = r.change_id "
                                               "WHERE {} ORDER BY i.guid, i.revision",
                                               visible)));
  std::vector<protocol::UpdateId> unknown;
  bool more = true;
  protocol::UpdateId known;
  const auto next = [&]() -> Result<void> {
    TRY_ASSIGN(more, rows.Step());
    if (more) known = {rows.GuidAt(0), rows.Int32(1)};
    return {};
  };
  TRY(next());
  for (const auto& id : sorted) {
    while (more && known < id) TRY(next());
    if (!more || known != id) unknown.push_back(id);
  }
  TRY(rows.Check());
  return unknown;
}

// ---- Dangling references -----------------------------------------------------------------------

namespace {

/// An empty clause can exist in a document; it leaves no rows and needs nothing.
std::string DanglingClauses(std::string_view visible, std::string_view which) {
  return fmt::format(
      "SELECT DISTINCT i.guid, i.revision, t.guid, 0 FROM prerequisite t "
      "JOIN revision r ON r.id = t.revision_id JOIN revision_identity i ON i.id = r.id "
      "JOIN change c ON c.id = r.change_id "
      "WHERE t.ordinal = 0 AND {0} {1} AND NOT EXISTS ("
      "SELECT 1 FROM prerequisite q JOIN revision_identity j ON j.guid = q.guid "
      "JOIN revision s ON s.id = j.id JOIN change d ON d.id = s.change_id "
      "WHERE q.revision_id = t.revision_id AND q.clause = t.clause AND {2}) ",
      visible == "1" ? "1" : "c.generation IS NOT NULL", which,
      visible == "1" ? "1" : "d.generation IS NOT NULL");
}

std::string DanglingMembers(std::string_view visible, std::string_view which) {
  return fmt::format(
      "SELECT DISTINCT i.guid, i.revision, t.guid, t.revision FROM bundle_member t "
      "JOIN revision r ON r.id = t.revision_id JOIN revision_identity i ON i.id = r.id "
      "JOIN change c ON c.id = r.change_id "
      "WHERE {0} {1} AND NOT EXISTS ("
      "SELECT 1 FROM revision_identity j JOIN revision s ON s.id = j.id "
      "JOIN change d ON d.id = s.change_id "
      "WHERE j.guid = t.guid AND j.revision = t.revision AND {2}) ",
      visible == "1" ? "1" : "c.generation IS NOT NULL", which,
      visible == "1" ? "1" : "d.generation IS NOT NULL");
}

}  // namespace

Result<std::vector<Catalog::Dangling>> FindDanglingIn(Database& db, Sight sight,
                                                      std::string_view which, int limit) {
  const std::string_view visible = VisibleCondition(sight, /*inner=*/false);
  std::vector<Catalog::Dangling> found;
  for (const bool members : {false, true}) {
    const std::string sql =
        members ? DanglingMembers(visible, which) : DanglingClauses(visible, which);
    TRY_ASSIGN(auto rows, db.Prepare(sql + fmt::format("LIMIT {}", limit)));
    while (static_cast<int>(found.size()) < limit) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      Catalog::Dangling dangling;
      dangling.update = {rows.GuidAt(0), rows.Int32(1)};
      const protocol::UpdateId other{rows.GuidAt(2), rows.Int32(3)};
      dangling.what = members ? fmt::format("bundled {} is not there", other.ToString())
                              : fmt::format(
                                    "no alternative of the prerequisite that begins with "
                                    "{} is there",
                                    other.guid.ToString());
      found.push_back(std::move(dangling));
    }
  }
  return found;
}

}  // namespace gapferry::mirror
