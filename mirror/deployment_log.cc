#include "mirror/deployment_log.h"

#include <string>

#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {
namespace {

// ?1 origin, ?2 base, ?3 target.
constexpr std::string_view kVisibleAtTarget =
    " AND EXISTS (SELECT 1 FROM revision_identity i JOIN revision r ON r.id = i.id "
    "JOIN change c ON c.id = r.change_id WHERE i.guid = deployment.update_guid "
    "AND i.revision = deployment.update_revision AND c.generation <= ?3) ORDER BY id";

// What ended after the target is as if alive, if the caller has to hear of its beginning now; the
// end comes with a later anchor.
constexpr std::string_view kMoved =
    "WHERE origin = ?1 AND generation > ?2 AND created_generation <= ?3 "
    "AND (is_dead = 0 OR (generation > ?3 AND created_generation > ?2))";

// Unchanged since the base, but the caller could not know the revision then.
constexpr std::string_view kRevealed =
    "WHERE origin = ?1 AND generation <= ?2 AND is_dead = 0 AND id IN (SELECT d.id FROM change c "
    "JOIN revision r ON r.change_id = c.id JOIN revision_identity i ON i.id = r.id "
    "JOIN deployment d ON d.update_guid = i.guid AND d.update_revision = i.revision "
    "AND d.origin = ?1 WHERE c.generation > ?2 AND c.generation <= ?3)";

Result<void> Collect(Database& db, std::string_view condition, IntentOrigin origin, Generation base,
                     Generation target, std::vector<Deployment>& out) {
  std::string rest(condition);
  rest += kVisibleAtTarget;
  TRY_ASSIGN(auto rows, db.Prepare(DeploymentSelect(rest)));
  rows.BindAll(static_cast<int>(origin), base, target);
  TRY_ASSIGN(auto found, ReadDeployments(rows));
  for (Deployment& deployment : found) out.push_back(std::move(deployment));
  return {};
}

}  // namespace

Result<DeploymentLog> ReadDeploymentLog(Mirror& mirror, Generation base, Generation target) {
  Database& db = mirror.db();
  TRY_ASSIGN(const IntentOrigin origin, mirror.intent().Effective());
  DeploymentLog log;
  TRY(Collect(db, kMoved, origin, base, target, log.live));
  if (base <= 0) return log;  // everything has moved since
  TRY(Collect(db, kRevealed, origin, base, target, log.live));
  TRY_ASSIGN(auto rows, db.Prepare("SELECT guid FROM deployment WHERE origin = ? AND is_dead = 1 "
                                   "AND generation > ? AND generation <= ? ORDER BY id"));
  rows.BindAll(static_cast<int>(origin), base, target);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    log.dead.push_back(rows.GuidAt(0));
  }
  TRY(rows.Check());
  return log;
}

}  // namespace gapferry::mirror
