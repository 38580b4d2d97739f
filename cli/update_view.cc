#include "cli/update_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "mirror/quarantine.h"

namespace gapferry::cli {

using nlohmann::json;

namespace {

/// Whether a file that the revision or what it bundles needs lies in quarantine.
Result<bool> NeedsQuarantined(mirror::Mirror& mirror, mirror::RevisionId id,
                              const std::set<Sha1Digest>& quarantined) {
  std::vector<mirror::RevisionId> open = {id};
  std::set<mirror::RevisionId> seen;
  while (!open.empty()) {
    const mirror::RevisionId next = open.back();
    open.pop_back();
    if (!seen.insert(next).second) continue;
    TRY_ASSIGN(const auto relations, mirror.catalog().Relations(next));
    if (!relations) continue;
    for (const auto& file : relations->files) {
      if (!file.is_held && quarantined.contains(file.sha1)) return true;
    }
    for (const auto& group : relations->bundled) {
      for (const auto& member : group) {
        TRY_ASSIGN(const auto row, mirror.catalog().Find(member));
        if (row) open.push_back(row->id);
      }
    }
  }
  return false;
}

}  // namespace

Result<Decisions> ReadDecisions(mirror::Mirror& mirror) {
  Decisions decisions;
  TRY_ASSIGN(auto deployments, mirror.intent().Deployments());
  for (auto& deployment : deployments) {
    const Guid update = deployment.update.guid;
    decisions.approvals[update].push_back(std::move(deployment));
  }
  TRY_ASSIGN(const auto declined, mirror.intent().Declined());
  decisions.declined.insert(declined.begin(), declined.end());
  TRY_ASSIGN(const auto blocks, mirror::ReadBlocks(mirror));
  for (const auto& block : blocks) decisions.blocks.emplace(block.update, block);
  TRY_ASSIGN(const auto stopped, mirror::NotOfferedByBlocks(mirror));
  decisions.stopped.insert(stopped.begin(), stopped.end());
  TRY_ASSIGN(const auto quarantined, mirror::Quarantine(mirror).List(/*all=*/false));
  for (const auto& file : quarantined) decisions.quarantined.insert(file.sha1);
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
  if (const auto found = decisions.blocks.find(guid); found != decisions.blocks.end()) {
    view.block = found->second;
  }
  view.is_stopped = decisions.stopped.contains(guid);
  TRY_ASSIGN(view.payload, mirror.catalog().PayloadOf(view.summary.row.id));
  if (view.payload.missing_files > 0 && !decisions.quarantined.empty()) {
    TRY_ASSIGN(view.waits_for_quarantine,
               NeedsQuarantined(mirror, view.summary.row.id, decisions.quarantined));
  }
  return view;
}

std::vector<std::string_view> WaitReasons(const UpdateView& view) {
  const mirror::RevisionRow& row = view.summary.row;
  std::vector<std::string_view> reasons;
  if (view.is_stopped) reasons.push_back(view.block ? "blocked" : "part-blocked");
  if (view.declined) reasons.push_back("declined");
  if (row.is_expired) reasons.push_back("expired");
  if (row.has_digest_conflict) reasons.push_back("digest-conflict");
  if (view.waits_for_quarantine) reasons.push_back("quarantined");
  if (view.payload.missing_files > 0 && !view.waits_for_quarantine) {
    reasons.push_back("missing-files");
  }
  return reasons;
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
  if (view.block) add("blocked here");
  if (view.is_stopped && !view.block) add("a part of it is blocked here");
  if (view.declined) add("declined");
  for (const auto& approval : view.approvals) {
    add(fmt::format("{}: {}", DeploymentActionName(approval.action),
                    EscapeForDisplay(GroupName(groups, approval.group))));
  }
  if (!view.approvals.empty() && view.waits_for_quarantine) {
    add("a file is in quarantine");
  } else if (!view.approvals.empty() && view.payload.missing_files > 0) {
    add("waits for files");
  }
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
                 {"failed", view.counts.failed},
                 {"blocked", nullptr},
                 {"waits", WaitReasons(view)},
                 {"offered", !view.approvals.empty() && WaitReasons(view).empty()}};
  if (view.block) {
    object["blocked"] = {{"reason", view.block->reason},
                         {"by", view.block->actor},
                         {"at", TimeToJson(view.block->at)}};
  }
  for (const auto& approval : view.approvals) {
    object["approvals"].push_back(ApprovalToJson(approval, groups));
  }
  return object;
}

}  // namespace gapferry::cli
