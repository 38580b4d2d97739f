#include "mirror/ended_deployments.h"

#include "mirror/intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

Result<std::vector<EndedApproval>> ReadEndedApprovals(Mirror& mirror) {
  TRY_ASSIGN(const IntentOrigin origin, mirror.intent().Effective());
  TRY_ASSIGN(
      auto statement,
      mirror.db().Prepare("SELECT update_guid, target_group, max(generation) FROM deployment "
                          "WHERE origin = ? AND is_dead = 1 "
                          "GROUP BY update_guid, target_group"));
  statement.Bind(1, static_cast<int>(origin));
  std::vector<EndedApproval> ended;
  while (true) {
    TRY_ASSIGN(const bool row, statement.Step());
    if (!row) break;
    ended.push_back({statement.GuidAt(0), statement.GuidAt(1), statement.Int(2)});
  }
  TRY(statement.Check());
  return ended;
}

Result<DeploymentChanges> ReadDeploymentChanges(Mirror& mirror, Generation after) {
  // Rows that an import has written and not yet committed are neither alive nor dead.
  TRY_ASSIGN(auto rows, mirror.db().Prepare(DeploymentSelect("WHERE origin = ? AND generation > ? "
                                                             "AND is_dead IN (0, 1) ORDER BY id")));
  rows.BindAll(static_cast<int>(IntentOrigin::kLocal), after);
  TRY_ASSIGN(auto all, ReadDeployments(rows));
  DeploymentChanges changes;
  for (Deployment& one : all) {
    (one.is_dead ? changes.dead : changes.live).push_back(std::move(one));
  }
  return changes;
}

}  // namespace gapferry::mirror
