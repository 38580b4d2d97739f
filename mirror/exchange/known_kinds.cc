#include "mirror/exchange/known_kinds.h"

namespace gapferry::mirror::exchange {
namespace {

constexpr std::string_view kPublished =
    " FROM revision r JOIN change c ON c.id = r.change_id AND c.generation IS NOT NULL";

Result<std::set<std::string>> ReadTexts(Database& db, const std::string& sql) {
  TRY_ASSIGN(auto rows, db.Prepare(sql));
  std::set<std::string> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    if (!rows.IsNull(0)) out.insert(rows.String(0));
  }
  TRY(rows.Check());
  return out;
}

}  // namespace

Result<KnownKinds> ReadKnownKinds(Mirror& mirror) {
  const std::string from(kPublished);
  KnownKinds kinds;
  TRY_ASSIGN(kinds.handlers, ReadTexts(mirror.db(), "SELECT DISTINCT r.handler" + from));
  TRY_ASSIGN(kinds.publishers,
             ReadTexts(mirror.db(), "SELECT DISTINCT r.detail ->> '$.publisher'" + from));
  TRY_ASSIGN(kinds.commands, ReadTexts(mirror.db(),
                                       "SELECT DISTINCT (e.value ->> '$.program') || ' ' || "
                                       "(e.value ->> '$.arguments')" +
                                           from + ", json_each(r.detail, '$.commands') e"));
  return kinds;
}

}  // namespace gapferry::mirror::exchange
