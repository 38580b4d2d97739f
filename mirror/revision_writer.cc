#include "mirror/revision_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "mirror/catalog_rows.h"

namespace gapferry::mirror {

namespace {

using protocol::UpdateDocument;

CategoryType CategoryTypeOf(const UpdateDocument& document) {
  if (!document.category) return CategoryType::kNone;
  const std::string& type = document.category->type;
  if (type == "UpdateClassification") return CategoryType::kClassification;
  if (type == "Company") return CategoryType::kCompany;
  if (type == "ProductFamily") return CategoryType::kProductFamily;
  if (type == "Product") return CategoryType::kProduct;
  return CategoryType::kNone;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) {
    if (!text.empty()) text += ' ';
    text += word;
  }
  return text;
}

std::string DetailOf(const UpdateDocument& document) {
  nlohmann::json json = nlohmann::json::object();
  const auto put = [&](const char* key, const auto& value) {
    if (!value.empty()) json[key] = value;
  };
  put("bulletins", document.security_bulletins);
  put("cves", document.cve_ids);
  put("languages", document.languages);
  put("reboot", document.install_reboot_behavior);
  put("impact", document.install_impact);
  put("support_url", document.support_url);
  put("handler_data", document.handler_data_type);
  if (document.publisher_id) json["publisher"] = document.publisher_id->ToString();
  if (document.is_beta) json["beta"] = true;
  if (document.per_user) json["per_user"] = true;
  if (document.has_secured_fragment) json["secured"] = true;
  for (const auto& command : document.command_lines) {
    json["commands"].push_back({{"program", command.program}, {"arguments", command.arguments}});
  }
  // Documents may hold any bytes that expat takes as UTF-8; nothing here throws.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// Where the fragment's kind is told in a form that we do not know, encrypted files tell.
bool NeedsFileKeys(const UpdateDocument& document) {
  return document.needs_file_keys ||
         (document.has_secured_fragment &&
          std::any_of(document.files.begin(), document.files.end(),
                      [](const auto& file) { return file.is_encrypted; }));
}

std::string DriverDetail(const protocol::DriverMetadata& driver) {
  nlohmann::json json = nlohmann::json::object();
  if (!driver.compatible_providers.empty()) json["providers"] = driver.compatible_providers;
  for (const auto& score : driver.feature_scores) {
    json["scores"].push_back({score.operating_system, score.score});
  }
  for (const Guid& guid : driver.distribution_computer_ids) {
    json["distribution"].push_back(guid.ToString());
  }
  for (const Guid& guid : driver.target_computer_ids) json["target"].push_back(guid.ToString());
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<void> WriteRelations(Database& db, RevisionId id, const UpdateDocument& document) {
  TRY_ASSIGN(auto need, db.Prepare("INSERT INTO prerequisite (revision_id, clause, ordinal, "
                                   "is_category, guid) VALUES (?, ?, ?, ?, ?)"));
  for (std::size_t clause = 0; clause < document.prerequisites.size(); ++clause) {
    const auto& any_of = document.prerequisites[clause].any_of;
    for (std::size_t ordinal = 0; ordinal < any_of.size(); ++ordinal) {
      TRY(need.Run(id, clause, ordinal, document.prerequisites[clause].is_category ? 1 : 0,
                   any_of[ordinal]));
    }
  }
  TRY_ASSIGN(auto member, db.Prepare("INSERT INTO bundle_member (revision_id, clause, ordinal, "
                                     "guid, revision) VALUES (?, ?, ?, ?, ?)"));
  for (std::size_t clause = 0; clause < document.bundled.size(); ++clause) {
    const auto& any_of = document.bundled[clause].any_of;
    for (std::size_t ordinal = 0; ordinal < any_of.size(); ++ordinal) {
      TRY(member.Run(id, clause, ordinal, any_of[ordinal].guid, any_of[ordinal].revision));
    }
  }
  TRY_ASSIGN(auto old, db.Prepare("INSERT OR IGNORE INTO superseded (revision_id, guid) "
                                  "VALUES (?, ?)"));
  for (const Guid& guid : document.superseded) TRY(old.Run(id, guid));
  return {};
}

Result<void> WriteFile(Database& db, RevisionId id, std::size_t ordinal, FileKind kind,
                       const protocol::UpdateFile& file, std::string_view language,
                       std::string_view geo_id) {
  if (file.size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("file {}: size {} is out of range", file.sha1.ToHex(), file.size));
  }
  return db.Run(
      "INSERT INTO revision_file (revision_id, ordinal, kind, sha1, sha256, size_bytes, "
      "name, extension, patching_type, language, geo_id, is_encrypted) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      id, ordinal, static_cast<int>(kind), file.sha1, file.sha256, file.size, file.file_name,
      file.Extension(), file.patching_type, language, geo_id, file.is_encrypted ? 1 : 0);
}

Result<void> WriteFiles(Database& db, RevisionId id, const UpdateDocument& document) {
  std::size_t ordinal = 0;
  for (const auto& file : document.files) {
    TRY(WriteFile(db, id, ordinal++, FileKind::kPayload, file, "", ""));
  }
  for (const auto& eula : document.eula_files) {
    TRY(WriteFile(db, id, ordinal++, FileKind::kEula, eula.file, eula.language, eula.geo_id));
  }
  if (ordinal == 0) return {};
  // What is held was verified; among declarations the earlier one counts.
  return db.Run(
      "UPDATE revision SET has_digest_conflict = 1 WHERE id = ?1 AND EXISTS ("
      "SELECT 1 FROM revision_file f LEFT JOIN content h ON h.sha1 = f.sha1 "
      "WHERE f.revision_id = ?1 AND ("
      "(h.sha1 IS NOT NULL AND (h.size_bytes <> f.size_bytes OR "
      "(f.sha256 IS NOT NULL AND f.sha256 <> h.sha256))) OR "
      "(h.sha1 IS NULL AND EXISTS (SELECT 1 FROM revision_file o JOIN revision q "
      "ON q.id = o.revision_id AND q.has_digest_conflict = 0 "
      "WHERE o.sha1 = f.sha1 AND (o.revision_id, o.ordinal) <> (f.revision_id, f.ordinal) "
      "AND (o.size_bytes <> f.size_bytes OR (o.sha256 IS NOT NULL AND f.sha256 IS NOT NULL "
      "AND o.sha256 <> f.sha256))))))",
      id);
}

Result<void> WriteDrivers(Database& db, RevisionId id, const UpdateDocument& document) {
  if (document.drivers.empty()) return {};
  TRY_ASSIGN(auto put, db.Prepare("INSERT INTO driver (revision_id, ordinal, hardware_id, "
                                  "version_date, version, whql_id, class, company, provider, "
                                  "manufacturer, model, detail) "
                                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  std::size_t ordinal = 0;
  for (const auto& driver : document.drivers) {
    TRY(put.Run(id, ordinal++, ToLowerAscii(driver.hardware_id), driver.ver_date,
                driver.ver_version, driver.whql_driver_id, driver.driver_class, driver.company,
                driver.provider, driver.manufacturer, driver.model, DriverDetail(driver)));
  }
  return {};
}

}  // namespace

Result<RevisionId> GiveRevisionId(Database& db, const protocol::UpdateId& update) {
  TRY_ASSIGN(const auto known,
             db.QueryInt("SELECT id FROM revision_identity WHERE guid = ? AND revision = ?",
                         update.guid, update.revision));
  if (known) return static_cast<RevisionId>(*known);
  TRY(db.Run("INSERT INTO revision_identity (guid, revision) VALUES (?, ?)", update.guid,
             update.revision));
  return static_cast<RevisionId>(db.LastInsertRowId());
}

Result<void> WriteRevisionRows(Database& db, RevisionId id, ChangeId change,
                               const DecodedRevision::Impl& revision) {
  const UpdateDocument& d = revision.document;
  TRY(
      db.Run("INSERT INTO revision (id, change_id, type, category_type, is_expired, "
             "is_explicitly_deployable, is_locally_published, can_uninstall, eula_id, "
             "protocol_version, handler, severity, kb_articles, created_at, default_language, "
             "document_form, document_sha256, document_bytes, stored_bytes, detail, "
             "needs_file_keys) "
             "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             id, change, static_cast<int>(d.type), static_cast<int>(CategoryTypeOf(d)),
             d.is_expired ? 1 : 0, d.explicitly_deployable ? 1 : 0, d.is_locally_published ? 1 : 0,
             d.has_uninstall_behavior ? 1 : 0, d.eula_id, d.compatible_protocol_version, d.handler,
             d.msrc_severity, Joined(d.kb_articles), d.creation_date, d.default_language,
             static_cast<int>(revision.incoming.form), revision.sha256, revision.document_bytes,
             revision.incoming.bytes.size(), DetailOf(d), NeedsFileKeys(d) ? 1 : 0));
  if (const auto* text = d.Text("en")) {
    TRY(
        db.Run("INSERT INTO revision_text (revision_id, language, title, description) "
               "VALUES (?, ?, ?, ?)",
               id, text->language, text->title, text->description));
  }
  TRY(WriteRelations(db, id, d));
  TRY(WriteFiles(db, id, d));
  return WriteDrivers(db, id, d);
}

Result<void> WriteFileUrls(Database& db, ChangeId change,
                           std::span<const IncomingRevision::FileUrl> urls) {
  if (urls.empty()) return {};
  TRY_ASSIGN(auto put, db.Prepare("INSERT INTO file_url (sha1, change_id, url) SELECT ?1, ?2, ?3 "
                                  "WHERE ?3 <> coalesce((SELECT url FROM file_url WHERE sha1 = ?1 "
                                  "AND change_id < ?2 ORDER BY change_id DESC LIMIT 1), '') "
                                  "ON CONFLICT DO UPDATE SET url = excluded.url"));
  for (const auto& file : urls) TRY(put.Run(file.sha1, change, file.url));
  return {};
}

Result<void> WriteFileKeys(Database& db, ChangeId change, std::span<const FileKey> keys) {
  for (const FileKey& one : keys) {
    TRY(
        db.Run("INSERT INTO file_key (sha1, change_id, key) SELECT ?1, ?2, ?3 "
               "WHERE ?3 IS NOT (SELECT key FROM file_key WHERE sha1 = ?1 AND change_id < ?2 "
               "ORDER BY change_id DESC LIMIT 1) "
               "ON CONFLICT DO UPDATE SET key = excluded.key",
               one.sha1, change, ByteView(one.key)));
  }
  return {};
}

Result<bool> WriteDocumentParts(Database& db, RevisionId id, ByteView bytes, std::size_t first,
                                std::size_t count) {
  TRY_ASSIGN(auto put, db.Prepare("INSERT INTO document_part (id, bytes) VALUES (?, ?)"));
  std::size_t part = first;
  for (; part < first + count && part * kPartBytes < bytes.size(); ++part) {
    const std::size_t offset = part * kPartBytes;
    TRY(put.Run(PartId(id, static_cast<std::int64_t>(part)),
                bytes.subspan(offset, std::min(kPartBytes, bytes.size() - offset))));
  }
  return part * kPartBytes < bytes.size();
}

}  // namespace gapferry::mirror
