#pragma once

#include <cstdint>

#include "base/result.h"
#include "mirror/intent.h"
#include "mirror/mirror.h"
#include "protocol/sync_messages.h"

namespace gapferry::exporter {

/// An answer to GetDeployments as this mirror takes it (companion of MS-WSUSSS 2.6): groups and
/// hidden updates are complete lists, deployments are changes unless `is_complete` (asked without
/// deploymentAnchor), licences are only ever added. Deployments with an action that is not defined
/// are left out. Fails with kTransient (reason "no-groups") when no group is listed, not even All
/// Computers: an upstream that lost its groups must not take approvals along.
Result<mirror::IntentImport> ToIntent(protocol::GetDeploymentsResponse answer, bool is_complete);

/// What it would change, counted without writing.
struct IntentPlan {
  std::uint64_t groups_added = 0;
  std::uint64_t groups_removed = 0;
  std::uint64_t approvals_added = 0;
  std::uint64_t approvals_changed = 0;
  std::uint64_t approvals_ended = 0;
  std::vector<Guid> declined;  ///< not declined before
  std::uint64_t undeclined = 0;
  std::uint64_t eulas_accepted = 0;
};
Result<IntentPlan> PlanIntent(mirror::Mirror& mirror, const mirror::IntentImport& intent);

}  // namespace gapferry::exporter
