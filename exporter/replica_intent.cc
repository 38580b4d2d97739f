#include "exporter/replica_intent.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace gapferry::exporter {
namespace {

mirror::IncomingDeployment ToIncoming(const protocol::SyncDeployment& deployment) {
  mirror::IncomingDeployment incoming;
  incoming.guid = deployment.deployment_guid;
  incoming.update = deployment.update;
  incoming.group = deployment.target_group_id;
  incoming.action = static_cast<mirror::DeploymentAction>(deployment.action);
  // "None" is the end of time, which other writers round.
  if (deployment.deadline < kEndOfTime - std::chrono::hours(24) && deployment.deadline > kNever) {
    incoming.deadline = deployment.deadline;
  }
  incoming.is_assigned = deployment.is_assigned;
  incoming.download_priority =
      static_cast<std::uint8_t>(std::clamp(deployment.download_priority, 1, 3));
  incoming.go_live = deployment.go_live_time;
  incoming.last_change = deployment.go_live_time;  // the protocol carries no other time
  incoming.admin_name = deployment.admin_name;
  return incoming;
}

bool Differs(const mirror::Deployment& held, const mirror::IncomingDeployment& incoming) {
  return held.update != incoming.update || held.group != incoming.group ||
         held.action != incoming.action || held.deadline != incoming.deadline ||
         held.is_assigned != incoming.is_assigned ||
         held.download_priority != incoming.download_priority || held.go_live != incoming.go_live;
}

}  // namespace

Result<mirror::IntentImport> ToIntent(protocol::GetDeploymentsResponse answer, bool is_complete) {
  if (answer.groups.empty()) {
    return std::unexpected(Error{
        ErrorCode::kTransient, "GetDeployments: the answer lists no group, not even All Computers",
        "no-groups", "look at the upstream's computer groups; then type the same command again"});
  }
  mirror::IntentImport intent;
  intent.groups_are_full = true;
  intent.declined_are_full = true;
  intent.deployments_are_full = is_complete;
  for (const auto& group : answer.groups) {
    intent.groups.push_back({group.id, group.parent_id, group.name, group.is_builtin});
  }
  for (const auto& deployment : answer.deployments) {
    const bool is_defined = deployment.action >= 0 && deployment.action <= 3;
    if (is_defined) intent.deployments.push_back(ToIncoming(deployment));
  }
  intent.dead_deployments = std::move(answer.dead_deployments);
  intent.declined = std::move(answer.hidden_updates);
  intent.accepted_eulas = std::move(answer.accepted_eulas);
  return intent;
}

Result<IntentPlan> PlanIntent(mirror::Mirror& mirror, const mirror::IntentImport& intent) {
  constexpr auto kUpstream = mirror::IntentOrigin::kUpstream;
  IntentPlan plan;
  TRY_ASSIGN(const auto groups, mirror.intent().Groups(kUpstream));
  std::unordered_set<Guid> known_groups;
  for (const auto& group : groups) known_groups.insert(group.id);
  std::unordered_set<Guid> listed_groups;
  for (const auto& group : intent.groups) {
    listed_groups.insert(group.id);
    if (!group.is_builtin && !known_groups.contains(group.id)) ++plan.groups_added;
  }
  std::unordered_set<Guid> removed_groups;
  for (const auto& group : groups) {
    if (!group.is_builtin && !listed_groups.contains(group.id)) removed_groups.insert(group.id);
  }
  plan.groups_removed = removed_groups.size();

  TRY_ASSIGN(const auto deployments, mirror.intent().Deployments(kUpstream));
  std::unordered_map<Guid, const mirror::Deployment*> held;
  for (const auto& one : deployments) held.emplace(one.guid, &one);
  std::unordered_set<Guid> listed;
  for (const auto& one : intent.deployments) {
    listed.insert(one.guid);
    const auto before = held.find(one.guid);
    if (before == held.end()) {
      ++plan.approvals_added;
    } else if (Differs(*before->second, one)) {
      ++plan.approvals_changed;
    }
  }
  const std::unordered_set<Guid> dead(intent.dead_deployments.begin(),
                                      intent.dead_deployments.end());
  for (const auto& one : deployments) {
    const bool ends = dead.contains(one.guid) || removed_groups.contains(one.group) ||
                      (intent.deployments_are_full && !listed.contains(one.guid));
    if (ends) ++plan.approvals_ended;
  }

  TRY_ASSIGN(const auto declined, mirror.intent().Declined());
  const std::unordered_set<Guid> declined_now(declined.begin(), declined.end());
  std::unordered_set<Guid> hidden;
  for (const Guid& id : intent.declined) {
    if (hidden.insert(id).second && !declined_now.contains(id)) plan.declined.push_back(id);
  }
  for (const Guid& id : declined) {
    if (!hidden.contains(id)) ++plan.undeclined;
  }
  TRY_ASSIGN(const auto eulas, mirror.intent().AcceptedEulas());
  const std::unordered_set<Guid> accepted(eulas.begin(), eulas.end());
  for (const Guid& id : intent.accepted_eulas) {
    if (!accepted.contains(id)) ++plan.eulas_accepted;
  }
  return plan;
}

}  // namespace gapferry::exporter
