#include "importer/intent_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/deadlines.h"
#include "mirror/proposals.h"
#include "mirror/update_block.h"

namespace gapferry::importer {
namespace {

using mirror::Deployment;
using mirror::DeploymentAction;
using mirror::IncomingDeployment;
using mirror::Mirror;

constexpr auto kUpstream = mirror::IntentOrigin::kUpstream;

bool Offers(DeploymentAction action) {
  return action == DeploymentAction::kInstall || action == DeploymentAction::kUninstall ||
         action == DeploymentAction::kOptionalInstall;
}

std::string Words(DeploymentAction action, std::optional<UtcTime> deadline) {
  std::string text(mirror::DeploymentActionName(action));
  if (deadline) text += ", deadline " + deadline->ToXml();
  return text;
}

class Planner {
 public:
  Planner(Mirror& mirror, const mirror::IntentImport& intent, ImportPlan& plan,
          mirror::Removals& removals)
      : mirror_(mirror), intent_(intent), plan_(plan), removals_(removals) {}

  Result<void> Run() {
    plan_.hold = intent_.hold;
    plan_.decides_itself = !mirror_.config().replica;
    now_ = mirror_.clock().Now();
    plan_.clock_behind = intent_.not_before && now_ < *intent_.not_before;
    TRY(ReadHere());
    TRY(CompareGroups());
    TRY(CompareApprovals());
    TRY(CompareDeclines());
    return CompareEulas();
  }

 private:
  using Target = std::pair<Guid, Guid>;  // update, group

  Result<void> ReadHere() {
    TRY_ASSIGN(deployments_, mirror_.intent().Deployments(kUpstream));
    for (const auto& one : deployments_) known_[one.guid] = &one;
    TRY_ASSIGN(const auto blocked, mirror::NotOfferedByBlocks(mirror_));
    blocked_.insert(blocked.begin(), blocked.end());
    TRY_ASSIGN(const auto declined, mirror_.intent().Declined());
    declined_here_.insert(declined.begin(), declined.end());
    TRY_ASSIGN(const auto proposals, mirror::ReadProposals(mirror_));
    for (const auto& one : proposals) {
      if (one.is_rejected) rejected_.insert(one.guid);
    }
    if (!plan_.decides_itself) return {};
    TRY_ASSIGN(local_, mirror_.intent().Deployments());
    for (const auto& one : local_) local_by_target_[{one.update.guid, one.group}] = &one;
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups());
    for (const auto& group : groups) local_groups_[ToLowerAscii(group.name)] = group.id;
    return {};
  }

  Result<void> CompareGroups() {
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups(kUpstream));
    for (const auto& group : groups) names_[group.id] = group.name;
    std::set<Guid> listed;
    for (const auto& group : intent_.groups) {
      listed.insert(group.id);
      if (!names_.contains(group.id)) ++plan_.groups_added;
      names_[group.id] = group.name;
    }
    gone_groups_.insert(intent_.dead_groups.begin(), intent_.dead_groups.end());
    if (intent_.groups_are_full) {
      for (const auto& group : groups) {
        if (!group.is_builtin && !listed.contains(group.id)) gone_groups_.insert(group.id);
      }
    }
    plan_.groups_removed = gone_groups_.size();
    return {};
  }

  std::string NameOf(const Guid& group) const {
    const auto found = names_.find(group);
    return found == names_.end() ? group.ToString() : found->second;
  }

  ImportPlan::GroupChange& ChangeOf(const Guid& group) {
    const std::string name = NameOf(group);
    changes_[name].group = name;
    return changes_[name];
  }

  Result<void> CompareApprovals() {
    std::unordered_set<Guid> listed;
    for (const auto& one : intent_.deployments) {
      listed.insert(one.guid);
      const auto before = known_.find(one.guid);
      const Deployment* known = before == known_.end() ? nullptr : before->second;
      const bool is_same = known != nullptr && known->last_change == one.last_change &&
                           known->action == one.action && known->deadline == one.deadline &&
                           known->update == one.update && known->group == one.group;
      if (is_same) continue;
      ++(known == nullptr ? ChangeOf(one.group).added : ChangeOf(one.group).changed);
      MoveDeadline(one, known);
      TRY(FindConflict(one));
    }
    const std::unordered_set<Guid> dead(intent_.dead_deployments.begin(),
                                        intent_.dead_deployments.end());
    for (const auto& one : deployments_) {
      const bool gone = dead.contains(one.guid) || gone_groups_.contains(one.group) ||
                        (intent_.deployments_are_full && !listed.contains(one.guid));
      if (gone) ++ChangeOf(one.group).ended;
    }
    for (auto& [name, change] : changes_) plan_.approvals.push_back(std::move(change));
    return {};
  }

  /// What waits as a proposal gets its deadline when it is applied.
  void MoveDeadline(const IncomingDeployment& one, const Deployment* known) {
    if (plan_.decides_itself || plan_.hold || !intent_.deadline_floor) return;
    const bool same_meaning = known != nullptr && known->deadline == one.deadline &&
                              known->update == one.update && known->group == one.group &&
                              known->action == one.action;
    if (same_meaning || !one.deadline) return;
    const auto settled =
        mirror::SettleDeadline(one.deadline, now_, *intent_.deadline_floor, intent_.not_before);
    if (settled.effective == one.deadline) return;
    plan_.moved_deadlines.push_back({one.update, one.group, *one.deadline, settled.effective});
  }

  Result<void> AddConflict(std::string kind, const Guid& update, std::string group,
                           std::string here, std::string above, bool here_wins) {
    ++plan_.conflict_count;
    if (plan_.conflicts.size() == kPlanItems) return {};
    ImportPlan::Conflict conflict{std::move(kind), update,           {},       std::move(group),
                                  std::move(here), std::move(above), here_wins};
    TRY_ASSIGN(const auto row, mirror_.catalog().FindLatest(update));
    if (row) {
      TRY_ASSIGN(auto text, mirror_.catalog().Text(row->id));
      conflict.title = std::move(text.title);
    }
    plan_.conflicts.push_back(std::move(conflict));
    return {};
  }

  Result<void> FindConflict(const IncomingDeployment& one) {
    if (!Offers(one.action)) return {};
    const Guid& update = one.update.guid;
    const std::string above = Words(one.action, one.deadline);
    if (blocked_.contains(update)) {
      return AddConflict("block", update, NameOf(one.group), "blocked", above, true);
    }
    if (!plan_.decides_itself) {
      if (!rejected_.contains(one.guid)) return {};
      return AddConflict("rejected", update, NameOf(one.group), "rejected before", above,
                         plan_.hold);
    }
    if (declined_here_.contains(update)) {
      return AddConflict("decline", update, NameOf(one.group), "declined", above, true);
    }
    const Deployment* local = LocalFor(one);
    if (local == nullptr || (local->action == one.action && local->deadline == one.deadline)) {
      return {};
    }
    return AddConflict("approval", update, NameOf(one.group),
                       Words(local->action, local->effective_deadline), above, true);
  }

  const Deployment* LocalFor(const IncomingDeployment& one) const {
    Guid group = one.group;
    const auto same_name = local_groups_.find(ToLowerAscii(NameOf(one.group)));
    if (same_name != local_groups_.end()) group = same_name->second;
    const auto found = local_by_target_.find({one.update.guid, group});
    return found == local_by_target_.end() ? nullptr : found->second;
  }

  /// Where this mirror decides by itself nothing is declined by a bundle: it is proposed.
  Result<void> CompareDeclines() {
    std::set<Guid> before;
    TRY(ForEachGuid("decline", [&](const Guid& guid) { before.insert(guid); }));
    std::set<Guid> listed;
    for (const Guid& guid : intent_.declined) {
      if (!listed.insert(guid).second || before.contains(guid)) continue;
      ++plan_.declined;
      if (!plan_.decides_itself) {
        if (!plan_.hold && !declined_here_.contains(guid)) removals_.declined.push_back(guid);
      } else {
        const auto local = std::ranges::find(
            local_, guid, [](const Deployment& one) -> const Guid& { return one.update.guid; });
        if (local != local_.end()) {
          TRY(AddConflict("decline", guid, "", Words(local->action, local->effective_deadline),
                          "declined", true));
        }
      }
    }
    for (const Guid& guid : intent_.undeclined) plan_.undeclined += before.contains(guid) ? 1 : 0;
    if (intent_.declined_are_full) {
      for (const Guid& guid : before) plan_.undeclined += listed.contains(guid) ? 0 : 1;
    }
    return {};
  }

  Result<void> CompareEulas() {
    std::set<Guid> before;
    TRY(ForEachGuid("eula_acceptance", [&](const Guid& guid) { before.insert(guid); }));
    const std::set<Guid> listed(intent_.accepted_eulas.begin(), intent_.accepted_eulas.end());
    for (const Guid& guid : listed) plan_.eulas_accepted += before.contains(guid) ? 0 : 1;
    for (const Guid& guid : intent_.dead_eulas) plan_.eulas_ended += before.contains(guid) ? 1 : 0;
    if (intent_.eulas_are_full) {
      for (const Guid& guid : before) plan_.eulas_ended += listed.contains(guid) ? 0 : 1;
    }
    return {};
  }

  /// What the upstream had said so far.
  Result<void> ForEachGuid(const char* table, const std::function<void(const Guid&)>& visit) {
    TRY_ASSIGN(auto rows, mirror_.db().Prepare(fmt::format(
                              "SELECT guid FROM {} WHERE origin = 1 AND is_dead = 0", table)));
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      visit(rows.GuidAt(0));
    }
    TRY(rows.Check());
    return {};
  }

  Mirror& mirror_;
  const mirror::IntentImport& intent_;
  ImportPlan& plan_;
  mirror::Removals& removals_;
  UtcTime now_;
  std::vector<Deployment> deployments_;  // the upstream's, live
  std::unordered_map<Guid, const Deployment*> known_;
  std::vector<Deployment> local_;
  std::map<Target, const Deployment*> local_by_target_;
  std::map<std::string, Guid> local_groups_;  // by name in lower case
  std::map<Guid, std::string> names_;
  std::set<Guid> gone_groups_, blocked_, declined_here_, rejected_;
  std::map<std::string, ImportPlan::GroupChange> changes_;
};

}  // namespace

Result<void> PlanIntent(Mirror& mirror, const mirror::IntentImport& intent, ImportPlan& plan,
                        mirror::Removals& removals) {
  return Planner(mirror, intent, plan, removals).Run();
}

}  // namespace gapferry::importer
