#include "mirror/ended_deployments.h"

#include "mirror/intent.h"
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

}  // namespace gapferry::mirror
