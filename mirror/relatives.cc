#include "mirror/relatives.h"

#include <fmt/format.h>

namespace gapferry::mirror {
namespace {

/// Identities of published revisions; `condition` may use ?1 and ?2.
std::string Select(std::string_view condition, int limit) {
  return fmt::format(
      "SELECT i.guid, max(i.revision) FROM revision r JOIN revision_identity i ON i.id = r.id "
      "JOIN change c ON c.id = r.change_id WHERE c.generation IS NOT NULL AND {} "
      "GROUP BY i.guid ORDER BY i.guid LIMIT {}",
      condition, limit);
}

Result<std::vector<protocol::UpdateId>> ReadIds(Statement& rows) {
  std::vector<protocol::UpdateId> ids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return ids;
    ids.push_back({rows.GuidAt(0), rows.Int32(1)});
  }
}

}  // namespace

Result<std::vector<protocol::UpdateId>> SupersedingUpdates(Database& catalog, const Guid& update,
                                                           int limit) {
  TRY_ASSIGN(auto rows, catalog.Prepare(Select(
                            "r.id IN (SELECT revision_id FROM superseded WHERE guid = ?)", limit)));
  rows.BindAll(update);
  return ReadIds(rows);
}

Result<std::vector<protocol::UpdateId>> BundlesOf(Database& catalog,
                                                  const protocol::UpdateId& member, int limit) {
  TRY_ASSIGN(auto rows, catalog.Prepare(Select("r.id IN (SELECT revision_id FROM bundle_member "
                                               "WHERE guid = ? AND revision = ?)",
                                               limit)));
  rows.BindAll(member.guid, member.revision);
  return ReadIds(rows);
}

Result<std::vector<protocol::UpdateId>> DigestConflicts(Database& catalog, int limit) {
  TRY_ASSIGN(auto rows, catalog.Prepare(Select("r.has_digest_conflict = 1", limit)));
  return ReadIds(rows);
}

}  // namespace gapferry::mirror
