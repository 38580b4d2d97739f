#pragma once

#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/intent.h"
#include "mirror/state.h"

namespace gapferry::mirror {

class Mirror;

/// Where an approval of the effective origin ended, so that a server can tell clients that cached
/// it: the update, the group and the generation of the end.
struct EndedApproval {
  Guid update;
  Guid group;
  Generation generation = 0;
};

Result<std::vector<EndedApproval>> ReadEndedApprovals(Mirror& mirror);

/// Approvals of this mirror itself (IntentOrigin::kLocal) that changed above a generation, whatever
/// became of them, at the cost of those.
struct DeploymentChanges {
  std::vector<Deployment> live;  ///< in their state now, ascending by id
  std::vector<Deployment> dead;
};
Result<DeploymentChanges> ReadDeploymentChanges(Mirror& mirror, Generation after);

}  // namespace gapferry::mirror
