// GetDeployments, MS-WSUSSS 3.1.4.10: the five lists have different semantics (wsusss.md 2.6).
#include "mirror/deployment_log.h"
#include "mirror/intent.h"
#include "server/sync_service.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

/// The wire knows four actions; a choice of the user's cannot be handed down and is scanned only.
protocol::SyncDeploymentAction WireAction(mirror::DeploymentAction action) {
  using Wire = protocol::SyncDeploymentAction;
  switch (action) {
    case mirror::DeploymentAction::kInstall:
      return Wire::kInstall;
    case mirror::DeploymentAction::kUninstall:
      return Wire::kUninstall;
    case mirror::DeploymentAction::kBlock:
      return Wire::kBlock;
    case mirror::DeploymentAction::kPreDeploymentCheck:
    case mirror::DeploymentAction::kOptionalInstall:
    case mirror::DeploymentAction::kEvaluate:
    case mirror::DeploymentAction::kBundle:
      return Wire::kScanOnly;
  }
  return Wire::kScanOnly;
}

protocol::SyncDeployment ToWire(const mirror::Deployment& deployment) {
  protocol::SyncDeployment out;
  out.update = deployment.update;
  out.action = static_cast<std::int32_t>(WireAction(deployment.action));
  out.admin_name = deployment.admin_name;
  out.deadline = deployment.deadline.value_or(kEndOfTime);
  out.is_assigned = deployment.is_assigned;
  out.go_live_time = deployment.go_live;
  out.deployment_guid = deployment.guid;
  out.target_group_id = deployment.group;
  out.download_priority = deployment.download_priority;
  return out;
}

}  // namespace

Result<protocol::GetDeploymentsResponse> SyncService::GetDeployments(
    CallContext& call, const protocol::GetDeploymentsRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  if (!ask.sync_anchor || ask.sync_anchor->empty()) {
    return FailFault(FaultCode::kInvalidParameters, "syncAnchor");
  }
  TRY_ASSIGN(const mirror::Generation target, CheckAnchor(call, ask.sync_anchor, "syncAnchor"));
  TRY_ASSIGN(const mirror::Generation base,
             CheckAnchor(call, ask.deployment_anchor, "deploymentAnchor"));
  if (base > target) return FailFault(FaultCode::kInvalidParameters, "deploymentAnchor");

  // One view, so that the full lists belong to the changes.
  TRY_ASSIGN(auto view, call.worker.mirror.catalog().BeginRead());
  mirror::Intent& intent = call.worker.mirror.intent();
  TRY_ASSIGN(mirror::DeploymentLog log,
             mirror::ReadDeploymentLog(call.worker.mirror, base, target));
  protocol::GetDeploymentsResponse answer;
  answer.anchor = *ask.sync_anchor;
  TRY_ASSIGN(const auto groups, intent.Groups());
  for (const mirror::TargetGroup& group : groups) {
    answer.groups.push_back({group.id, group.parent, group.name, group.is_builtin});
  }
  for (const mirror::Deployment& deployment : log.live) {
    answer.deployments.push_back(ToWire(deployment));
  }
  answer.dead_deployments = std::move(log.dead);
  TRY_ASSIGN(answer.hidden_updates, intent.Declined());
  TRY_ASSIGN(answer.accepted_eulas, intent.AcceptedEulas());
  return answer;
}

}  // namespace gapferry::server
