#include "cli/update_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::cli {

using nlohmann::json;

Result<Decisions> ReadDecisions(mirror::Mirror& mirror) {
  Decisions decisions;
  TRY_ASSIGN(auto deployments, mirror.intent().Deployments());
  for (auto& deployment : deployments) {
    const Guid update = deployment.update.guid;
    decisions.approvals[update].push_back(std::move(deployment));
  }
  TRY_ASSIGN(const auto declined, mirror.intent().Declined());
  decisions.declined.insert(declined.begin(), declined.end());
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(const auto counts, activity->CountsByUpdate());
  for (const auto& count : counts) decisions.counts.emplace(count.update, count);
  TRY_ASSIGN(decisions.groups, ReadGroupNames(mirror));
  return decisions;
}

Result<UpdateView> ViewOf(mirror::Mirror& mirror, const Decisions& decisions,
                          mirror::UpdateSummary summary) {
  UpdateView view;
  view.summary = std::move(summary);
  const Guid& guid = view.summary.row.update.guid;
  if (const auto found = decisions.approvals.find(guid); found != decisions.approvals.end()) {
    view.approvals = found->second;
  }
  view.declined = decisions.declined.contains(guid);
  if (const auto found = decisions.counts.find(guid); found != decisions.counts.end()) {
    view.counts = found->second;
  }
  TRY_ASSIGN(view.payload, mirror.catalog().PayloadOf(view.summary.row.id));
  return view;
}

std::string_view ApprovalState(const UpdateView& view) {
  if (view.declined) return "Declined";
  return view.approvals.empty() ? "NotApproved" : "Approved";
}

std::string StateText(const UpdateView& view, const GroupNames& groups) {
  const mirror::RevisionRow& row = view.summary.row;
  std::string text;
  const auto add = [&](std::string_view part) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", part);
  };
  if (view.declined) add("declined");
  for (const auto& approval : view.approvals) {
    add(fmt::format("{}: {}", DeploymentActionName(approval.action),
                    EscapeForDisplay(GroupName(groups, approval.group))));
  }
  if (!view.approvals.empty() && view.payload.missing_files > 0) add("waits for files");
  if (row.is_expired) add("expired");
  if (row.is_withdrawn) add("withdrawn");
  if (row.has_digest_conflict) add("withheld");
  return text.empty() ? "not approved" : text;
}

json ApprovalToJson(const mirror::Deployment& deployment, const GroupNames& groups) {
  return {{"group", GroupName(groups, deployment.group)},
          {"group_guid", deployment.group.ToString()},
          {"revision", deployment.update.revision},
          {"action", DeploymentActionName(deployment.action)},
          {"deadline", TimeToJson(deployment.deadline)},
          {"effective_deadline", TimeToJson(deployment.effective_deadline)},
          {"approved_by", deployment.admin_name},
          {"approved_at", TimeToJson(deployment.last_change)}};
}

json ViewToJson(const UpdateView& view, const GroupNames& groups) {
  const mirror::RevisionRow& row = view.summary.row;
  json object = {{"guid", row.update.guid.ToString()},
                 {"revision", row.update.revision},
                 {"title", view.summary.title},
                 {"type", protocol::UpdateTypeName(row.type)},
                 {"kb", view.summary.kb_article},
                 {"severity", view.summary.severity},
                 {"created", TimeToJson(view.summary.created_at)},
                 {"state", ApprovalState(view)},
                 {"approvals", json::array()},
                 {"expired", row.is_expired},
                 {"withdrawn", row.is_withdrawn},
                 {"withheld", row.has_digest_conflict},
                 {"files", view.payload.files},
                 {"bytes", view.payload.bytes},
                 {"missing_files", view.payload.missing_files},
                 {"missing_bytes", view.payload.missing_bytes},
                 {"needed", view.counts.needed},
                 {"downloaded", view.counts.downloaded},
                 {"installed", view.counts.installed},
                 {"pending_reboot", view.counts.pending_reboot},
                 {"failed", view.counts.failed}};
  for (const auto& approval : view.approvals) {
    object["approvals"].push_back(ApprovalToJson(approval, groups));
  }
  return object;
}

}  // namespace gapferry::cli
