#include <fmt/format.h>

#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/catalog_rows.h"
#include "mirror/load_digests.h"

// Catalog: titles, lists and counts for people.

namespace gapferry::mirror {

Result<UpdateText> Catalog::Text(RevisionId id) {
  TRY_ASSIGN(auto row, db_.Prepare("SELECT title, description, language FROM revision_text "
                                   "WHERE revision_id = ?"));
  row.BindAll(id);
  TRY_ASSIGN(const bool found, row.Step());
  UpdateText text;
  if (!found) return text;  // a document without titles is allowed
  text = {row.String(0), row.String(1), row.String(2)};
  TRY(row.Check());
  return text;
}

namespace {

std::string LikePattern(std::string_view word) {
  std::string pattern = "%";
  for (const char c : word) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c;
  }
  return pattern + "%";
}

struct Condition {
  std::string sql;
  std::vector<std::string> words;
};

std::string_view Not(bool wanted) { return wanted ? "" : "NOT "; }

Condition ConditionOf(const FindUpdates& query) {
  Condition condition;
  std::string& sql = condition.sql;
  if (query.type) sql += fmt::format("AND r.type = {} ", static_cast<int>(*query.type));
  if (query.deployable_only) sql += "AND r.is_explicitly_deployable = 1 ";
  if (!query.include_expired) sql += "AND r.is_expired = 0 ";
  if (!query.include_old_revisions) {
    sql +=
        "AND NOT EXISTS (SELECT 1 FROM revision_identity j JOIN revision s ON s.id = j.id "
        "JOIN change d ON d.id = s.change_id "
        "WHERE j.guid = i.guid AND j.revision > i.revision AND d.generation IS NOT NULL) ";
  }
  for (const Guid& guid : query.categories) {
    sql += fmt::format(
        "AND EXISTS (SELECT 1 FROM prerequisite p WHERE p.revision_id = r.id "
        "AND p.guid = x'{}') ",
        HexEncode(guid.View()));
  }
  const int origin = static_cast<int>(query.origin);
  if (query.approved) {
    sql += fmt::format(
        "AND {}EXISTS (SELECT 1 FROM deployment a WHERE a.update_guid = i.guid "
        "AND a.origin = {} AND a.is_dead = 0 AND a.action IN (0, 1, 6)) ",
        Not(*query.approved), origin);
  }
  if (query.declined) {
    sql += fmt::format(
        "AND {}EXISTS (SELECT 1 FROM decline a WHERE a.guid = i.guid "
        "AND a.origin = {} AND a.is_dead = 0) ",
        Not(*query.declined), origin);
  }
  for (const auto word : Split(query.text, ' ')) {
    if (word.empty()) continue;
    condition.words.push_back(LikePattern(word));
    sql += fmt::format(
        "AND (t.title LIKE ?{0} ESCAPE '\\' OR 'KB' || r.kb_articles LIKE ?{0} "
        "ESCAPE '\\') ",
        condition.words.size());
  }
  return condition;
}

#define EXTRA_TABLES                                                                 \
  "FROM revision r JOIN revision_identity i ON i.id = r.id JOIN change c ON c.id = " \
  "r.change_id LEFT JOIN revision_text t ON t.revision_id = r.id "                   \
  "WHERE c.generation IS NOT NULL "
constexpr std::string_view kExtraTables = EXTRA_TABLES;
constexpr std::string_view kExtraColumns =
    "SELECT r.id, coalesce(t.title, ''), r.kb_articles, r.severity, r.created_at " EXTRA_TABLES;
#undef EXTRA_TABLES

UpdateSummary ReadExtra(Statement& rows) {
  UpdateSummary summary;
  summary.row.id = rows.Int32(0);
  summary.title = rows.String(1);
  const std::string_view articles = rows.Text(2);
  summary.kb_article = std::string(articles.substr(0, articles.find(' ')));
  summary.severity = rows.String(3);
  summary.created_at = rows.OptionalTime(4);
  return summary;
}

}  // namespace

Result<std::vector<UpdateSummary>> Catalog::FindSummaries(const FindUpdates& query) {
  const Condition condition = ConditionOf(query);
  std::string sql = fmt::format("{}{}ORDER BY coalesce(r.created_at, 0) DESC, i.guid, i.revision ",
                                kExtraColumns, condition.sql);
  if (query.limit > 0) sql += fmt::format("LIMIT {}", query.limit);
  std::vector<UpdateSummary> summaries;
  {
    TRY_ASSIGN(auto rows, db_.Prepare(sql));
    for (std::size_t i = 0; i < condition.words.size(); ++i) {
      rows.Bind(static_cast<int>(i) + 1, condition.words[i]);
    }
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      summaries.push_back(ReadExtra(rows));
    }
  }
  for (auto& summary : summaries) {
    TRY_ASSIGN(auto row, FindById(summary.row.id));
    if (row) summary.row = *std::move(row);
    TRY_ASSIGN(const Payload payload, PayloadOf(summary.row.id));
    summary.files_bytes = payload.bytes;
  }
  return summaries;
}

Result<std::uint64_t> Catalog::CountUpdates(const FindUpdates& query) {
  const Condition condition = ConditionOf(query);
  TRY_ASSIGN(auto rows, db_.Prepare(fmt::format("SELECT count(DISTINCT found.guid) FROM (SELECT "
                                                "i.guid AS guid {}{}) AS found",
                                                kExtraTables, condition.sql)));
  for (std::size_t i = 0; i < condition.words.size(); ++i) {
    rows.Bind(static_cast<int>(i) + 1, condition.words[i]);
  }
  TRY(rows.Step());
  const auto count = static_cast<std::uint64_t>(rows.Int(0));
  TRY(rows.Check());
  return count;
}

Result<std::optional<UpdateSummary>> Catalog::Summary(RevisionId id) {
  TRY_ASSIGN(auto row, FindById(id));
  if (!row) return std::optional<UpdateSummary>();
  TRY_ASSIGN(auto rows, db_.Prepare(fmt::format("{}AND r.id = ?", kExtraColumns)));
  rows.BindAll(id);
  TRY_ASSIGN(const bool found, rows.Step());
  if (!found) return std::optional<UpdateSummary>();
  UpdateSummary summary = ReadExtra(rows);
  TRY(rows.Check());
  summary.row = *std::move(row);
  TRY_ASSIGN(const Payload payload, PayloadOf(id));
  summary.files_bytes = payload.bytes;
  return std::optional<UpdateSummary>(std::move(summary));
}

Result<std::vector<CategoryRow>> Catalog::Categories(CategoryType type) {
  TRY_ASSIGN(
      auto rows,
      db_.Prepare(
          "SELECT i.guid, coalesce(t.title, ''), "
          "(SELECT p.guid FROM prerequisite p JOIN revision_identity k ON k.guid = p.guid "
          "JOIN revision q ON q.id = k.id WHERE p.revision_id = r.id AND q.category_type IN (2, 3) "
          "LIMIT 1), "
          "(SELECT count(DISTINCT ui.guid) FROM prerequisite p JOIN revision u "
          "ON u.id = p.revision_id JOIN revision_identity ui ON ui.id = u.id "
          "JOIN change uc ON uc.id = u.change_id WHERE p.guid = i.guid "
          "AND uc.generation IS NOT NULL AND u.type IN (2, 3) AND u.is_expired = 0 "
          "AND u.is_explicitly_deployable = 1 AND NOT EXISTS (SELECT 1 FROM revision_identity j "
          "JOIN revision s ON s.id = j.id JOIN change d ON d.id = s.change_id "
          "WHERE j.guid = ui.guid AND j.revision > ui.revision AND d.generation IS NOT NULL)) "
          "FROM revision r JOIN revision_identity i ON i.id = r.id "
          "JOIN change c ON c.id = r.change_id LEFT JOIN revision_text t ON t.revision_id = r.id "
          "WHERE c.generation IS NOT NULL AND r.category_type = ? "
          "AND NOT EXISTS (SELECT 1 FROM revision_identity j JOIN revision s ON s.id = j.id "
          "JOIN change d ON d.id = s.change_id WHERE j.guid = i.guid AND j.revision > i.revision "
          "AND d.generation IS NOT NULL) ORDER BY 2, 1"));
  rows.BindAll(static_cast<int>(type));
  std::vector<CategoryRow> categories;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return categories;
    CategoryRow category;
    category.guid = rows.GuidAt(0);
    category.type = type;
    category.title = rows.String(1);
    if (!rows.IsNull(2)) category.parent = rows.GuidAt(2);
    category.updates = static_cast<std::uint64_t>(rows.Int(3));
    categories.push_back(std::move(category));
  }
}

Result<std::vector<Guid>> Catalog::CategoryGuids(CategoryType type) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT DISTINCT i.guid FROM revision r "
                                    "JOIN revision_identity i ON i.id = r.id "
                                    "JOIN change c ON c.id = r.change_id "
                                    "WHERE c.generation IS NOT NULL AND r.category_type = ? "
                                    // for the index: a parameter alone may be 0
                                    "AND r.category_type <> 0 ORDER BY i.guid"));
  rows.BindAll(static_cast<int>(type));
  std::vector<Guid> guids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return guids;
    guids.push_back(rows.GuidAt(0));
  }
}

Result<CatalogCounts> Catalog::Counts() { return ReadCounts(db_); }

}  // namespace gapferry::mirror
