#pragma once

#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/intent.h"
#include "mirror/state.h"

namespace gapferry::mirror {

class Mirror;

/// What a replica that followed this mirror up to `base` has to hear to follow it up to `target`
/// (MS-WSUSSS 3.1.4.10), of the intent that is passed on.
struct DeploymentLog {
  /// Made or changed in (base, target], and older ones of revisions that became visible only then.
  /// As they are now; those that ended after `target` as they were then. Only of revisions that are
  /// visible at `target`.
  std::vector<Deployment> live;
  /// Ended in (base, target]; none for base 0, which means the whole set.
  std::vector<Guid> dead;
};

Result<DeploymentLog> ReadDeploymentLog(Mirror& mirror, Generation base, Generation target);

}  // namespace gapferry::mirror
