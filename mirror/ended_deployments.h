#pragma once

#include <vector>

#include "base/guid.h"
#include "base/result.h"
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

}  // namespace gapferry::mirror
