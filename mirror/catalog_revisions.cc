#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "mirror/catalog.h"
#include "mirror/catalog_rows.h"

// Catalog: revisions, relations, documents.

namespace gapferry::mirror {

Result<std::optional<RevisionRow>> Catalog::Find(const protocol::UpdateId& update) {
  TRY_ASSIGN(auto row,
             db_.Prepare(RevisionSelect(Sight::kPublished, "AND i.guid = ? AND i.revision = ?")));
  row.BindAll(update.guid, update.revision);
  return ReadOneRevision(row);
}

Result<std::optional<RevisionRow>> Catalog::FindLatest(const Guid& guid) {
  TRY_ASSIGN(auto row, db_.Prepare(RevisionSelect(
                           Sight::kPublished, "AND i.guid = ? ORDER BY i.revision DESC LIMIT 1")));
  row.BindAll(guid);
  return ReadOneRevision(row);
}

Result<std::optional<RevisionRow>> Catalog::FindById(RevisionId id) {
  TRY_ASSIGN(auto row, db_.Prepare(RevisionSelect(Sight::kPublished, "AND r.id = ?")));
  row.BindAll(id);
  return ReadOneRevision(row);
}

Result<std::vector<RevisionRow>> Catalog::RevisionsOf(const Guid& guid) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(RevisionSelect(Sight::kPublished, "AND i.guid = ? ORDER BY i.revision")));
  rows.BindAll(guid);
  std::vector<RevisionRow> revisions;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return revisions;
    revisions.push_back(ReadRevision(rows));
  }
}

namespace {

Result<void> VisitAll(Statement& rows,
                      const std::function<Result<void>(const RevisionRow&)>& visit) {
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    const RevisionRow revision = ReadRevision(rows);
    TRY(rows.Check());
    TRY(visit(revision));
  }
}

}  // namespace

Result<void> Catalog::ForEachChanged(Generation base, Generation target,
                                     const std::function<Result<void>(const RevisionRow&)>& visit) {
  // By generation first, so that a delta costs what changed and not what is there.
  TRY_ASSIGN(
      auto rows,
      db_.Prepare(RevisionSelect(
          Sight::kPublished,
          "AND r.id IN (SELECT r2.id FROM change c2 JOIN revision r2 ON r2.change_id = c2.id "
          "WHERE c2.generation > ?1 AND c2.generation <= ?2 "
          "UNION SELECT w.id FROM revision w WHERE w.withdrawn_generation > ?1 "
          "AND w.withdrawn_generation <= ?2) "
          "AND c.generation <= ?2 AND r.is_unlisted = 0 ORDER BY i.guid, i.revision")));
  rows.BindAll(base, target);
  return VisitAll(rows, visit);
}

Result<void> Catalog::ForEachRevision(
    const std::function<Result<void>(const RevisionRow&)>& visit) {
  TRY_ASSIGN(auto rows, db_.Prepare(RevisionSelect(Sight::kPublished, "ORDER BY r.id")));
  return VisitAll(rows, visit);
}

Result<void> Catalog::ForEachRelations(
    Generation after_generation, const std::function<Result<void>(RevisionRelations&)>& visit) {
  // One view for all cursors, unless the caller holds one.
  std::optional<Transaction> view;
  if (!db_.in_transaction()) {
    TRY_ASSIGN(view, Transaction::Begin(db_, TransactionKind::kRead));
  }
  const bool all = after_generation <= 0;
  TRY_ASSIGN(auto rows,
             db_.Prepare(all ? RevisionSelect(Sight::kPublished, "ORDER BY r.id")
                             : RevisionSelect(Sight::kPublished,
                                              "AND r.id IN (SELECT r2.id FROM change c2 "
                                              "JOIN revision r2 ON r2.change_id = c2.id "
                                              "WHERE c2.generation > ?) ORDER BY r.id")));
  if (!all) rows.BindAll(after_generation);
  TRY_ASSIGN(auto reader, RelationsReader::Open(db_, all ? RelationsReader::Pattern::kMost
                                                         : RelationsReader::Pattern::kFew));
  RevisionRelations relations;
  return VisitAll(rows, [&](const RevisionRow& row) -> Result<void> {
    relations.row = row;
    TRY(reader.Fill(relations));
    return visit(relations);
  });
}

Result<bool> Catalog::AnyNaming(const Guid& guid,
                                const std::function<bool(const RevisionRow&)>& is_it) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(RevisionSelect(Sight::kPublished,
                                        "AND r.id IN (SELECT p.revision_id FROM prerequisite p "
                                        "WHERE p.guid = ?) ORDER BY r.id DESC")));
  rows.BindAll(guid);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return false;
    const RevisionRow revision = ReadRevision(rows);
    TRY(rows.Check());
    if (is_it(revision)) return true;
  }
}

Result<void> Catalog::ForEachWithLicence(
    const std::function<Result<void>(RevisionRelations&)>& visit) {
  std::optional<Transaction> view;
  if (!db_.in_transaction()) {
    TRY_ASSIGN(view, Transaction::Begin(db_, TransactionKind::kRead));
  }
  TRY_ASSIGN(auto rows,
             db_.Prepare(RevisionSelect(Sight::kPublished,
                                        "AND r.id IN (SELECT f.revision_id FROM revision_file f "
                                        "WHERE f.kind = 1) ORDER BY r.id")));
  TRY_ASSIGN(auto reader, RelationsReader::Open(db_, RelationsReader::Pattern::kFew));
  RevisionRelations relations;
  return VisitAll(rows, [&](const RevisionRow& row) -> Result<void> {
    relations.row = row;
    TRY(reader.FillFiles(relations));
    return visit(relations);
  });
}

Result<std::optional<RevisionRelations>> Catalog::Relations(RevisionId id) {
  TRY_ASSIGN(auto row, FindById(id));
  if (!row) return std::optional<RevisionRelations>();
  RevisionRelations relations;
  relations.row = *std::move(row);
  TRY_ASSIGN(auto reader, RelationsReader::Open(db_, RelationsReader::Pattern::kFew));
  TRY(reader.Fill(relations));
  return std::optional<RevisionRelations>(std::move(relations));
}

Result<std::vector<DeclaredFile>> Catalog::Files(RevisionId id) {
  RevisionRelations relations;
  relations.row.id = id;
  TRY_ASSIGN(auto reader, RelationsReader::Open(db_, RelationsReader::Pattern::kFew));
  TRY(reader.FillFiles(relations));
  return std::move(relations.files);
}

namespace {

/// `detail` was written by us; what is not in it stays empty.
void ReadDriverDetail(std::string_view text, protocol::DriverMetadata& driver) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return;
  for (const auto& name : json.value("providers", nlohmann::json::array())) {
    if (name.is_string()) driver.compatible_providers.push_back(name.get<std::string>());
  }
  for (const auto& score : json.value("scores", nlohmann::json::array())) {
    if (!score.is_array() || score.size() != 2 || !score[0].is_string() ||
        !score[1].is_number_unsigned()) {
      continue;
    }
    driver.feature_scores.push_back({score[0].get<std::string>(), score[1].get<std::uint8_t>()});
  }
  const auto guids = [&](const char* key, std::vector<Guid>& out) {
    for (const auto& item : json.value(key, nlohmann::json::array())) {
      if (!item.is_string()) continue;
      if (auto guid = Guid::Parse(item.get<std::string>())) out.push_back(*guid);
    }
  };
  guids("distribution", driver.distribution_computer_ids);
  guids("target", driver.target_computer_ids);
}

}  // namespace

Result<std::vector<protocol::DriverMetadata>> Catalog::Drivers(RevisionId id) {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT hardware_id, version_date, version, whql_id, class, company, "
                         "provider, manufacturer, model, detail FROM driver "
                         "WHERE revision_id = ? ORDER BY ordinal"));
  rows.BindAll(id);
  std::vector<protocol::DriverMetadata> drivers;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return drivers;
    protocol::DriverMetadata driver;
    driver.hardware_id = rows.String(0);
    driver.ver_date = rows.String(1);
    driver.ver_version = rows.String(2);
    driver.whql_driver_id = rows.String(3);
    driver.driver_class = rows.String(4);
    driver.company = rows.String(5);
    driver.provider = rows.String(6);
    driver.manufacturer = rows.String(7);
    driver.model = rows.String(8);
    ReadDriverDetail(rows.Text(9), driver);
    drivers.push_back(std::move(driver));
  }
}

Result<std::vector<FileKey>> Catalog::FileKeys(RevisionId id) {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT DISTINCT f.sha1, (SELECT k.key FROM file_key k JOIN change c "
                         "ON c.id = k.change_id WHERE k.sha1 = f.sha1 "
                         "AND c.generation IS NOT NULL ORDER BY k.change_id DESC LIMIT 1) AS key "
                         "FROM revision_file f WHERE f.revision_id = ? AND key IS NOT NULL "
                         "ORDER BY f.sha1"));
  rows.BindAll(id);
  std::vector<FileKey> keys;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return keys;
    const ByteView key = rows.Blob(1);
    keys.push_back({rows.DigestAt<Sha1Digest>(0), Bytes(key.begin(), key.end())});
    TRY(rows.Check());
  }
}

Result<Catalog::Payload> Catalog::PayloadOf(RevisionId id) {
  TRY_ASSIGN(auto row, db_.Prepare("WITH RECURSIVE part(id) AS (VALUES (?1) UNION "
                                   "SELECT j.id FROM part p "
                                   "JOIN bundle_member b ON b.revision_id = p.id "
                                   "JOIN revision_identity j ON j.guid = b.guid "
                                   "AND j.revision = b.revision), "
                                   "file(sha1, size_bytes) AS (SELECT f.sha1, max(f.size_bytes) "
                                   "FROM part p JOIN revision_file f ON f.revision_id = p.id "
                                   "AND f.kind = 0 GROUP BY f.sha1) "
                                   "SELECT count(*), coalesce(sum(f.size_bytes), 0), "
                                   "coalesce(sum(h.sha1 IS NULL), 0), "
                                   "coalesce(sum(iif(h.sha1 IS NULL, f.size_bytes, 0)), 0) "
                                   "FROM file f LEFT JOIN content h ON h.sha1 = f.sha1"));
  row.BindAll(id);
  TRY(row.Step());
  Payload payload;
  payload.files = static_cast<std::uint64_t>(row.Int(0));
  payload.bytes = static_cast<std::uint64_t>(row.Int(1));
  payload.missing_files = static_cast<std::uint64_t>(row.Int(2));
  payload.missing_bytes = static_cast<std::uint64_t>(row.Int(3));
  TRY(row.Check());
  return payload;
}

Result<std::vector<Catalog::Dangling>> Catalog::FindDangling(int limit,
                                                             Generation after_generation) {
  const std::string which =
      after_generation <= 0 ? ""
                            : fmt::format(
                                  "AND t.revision_id IN (SELECT r2.id FROM change c2 JOIN revision "
                                  "r2 ON r2.change_id = c2.id WHERE c2.generation > {})",
                                  after_generation);
  return FindDanglingIn(db_, Sight::kPublished, which, limit);
}

// ---- Documents ---------------------------------------------------------------------------------

Result<Catalog::DocumentInfo> Catalog::Document(RevisionId id) {
  TRY_ASSIGN(auto row, db_.Prepare("SELECT document_form, stored_bytes, document_sha256 "
                                   "FROM revision WHERE id = ?"));
  row.BindAll(id);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return Fail(ErrorCode::kNotFound, fmt::format("revision id {} is not known", id));
  DocumentInfo info;
  info.form = static_cast<DocumentForm>(row.Int32(0));
  info.stored_bytes = static_cast<std::uint64_t>(row.Int(1));
  info.sha256 = row.DigestAt<Sha256Digest>(2);
  TRY(row.Check());
  return info;
}

Result<void> Catalog::CopyDocument(RevisionId id, Sink& sink) {
  TRY_ASSIGN(const DocumentInfo info, Document(id));
  std::uint64_t copied = 0;
  for (std::int64_t part = 0; copied < info.stored_bytes; ++part) {
    Bytes bytes;
    {
      TRY_ASSIGN(auto row, db_.Prepare("SELECT bytes FROM document_part WHERE id = ?"));
      row.BindAll(PartId(id, part));
      TRY_ASSIGN(const bool found, row.Step());
      if (found) {
        const ByteView view = row.Blob(0);
        bytes.assign(view.begin(), view.end());
        TRY(row.Check());
      }
    }  // no transaction is open while the sink works
    if (bytes.empty()) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("document of revision id {}: part {} is missing", id, part));
    }
    TRY(sink.Write(bytes));
    copied += bytes.size();
  }
  return {};
}

Result<Bytes> Catalog::ReadDocument(RevisionId id) {
  MemorySink sink(kMaxPartsBytes);
  TRY(CopyDocument(id, sink));
  return sink.Take();
}

}  // namespace gapferry::mirror
