#include <algorithm>
#include <set>

#include "mirror/intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

// Intent: what an upstream or a bundle brings.

namespace gapferry::mirror {

namespace {

constexpr IntentOrigin kUpstream = IntentOrigin::kUpstream;

class Importer {
 public:
  Importer(CommitTransaction& commit, const IntentImport& import)
      : commit_(commit), import_(import) {}

  Result<IntentImported> Run() {
    TRY(Groups());
    TRY(PutDeployments());
    TRY(EndDeployments());
    TRY(Declines());
    for (const Guid& eula : import_.accepted_eulas) TRY(Count(PutEula(commit_, kUpstream, eula)));
    return std::move(result_);
  }

 private:
  Result<void> Count(Result<bool> changed) {
    if (!changed) return std::unexpected(std::move(changed).error());
    if (*changed) ++result_.changed;
    return {};
  }

  Result<void> Groups() {
    std::set<Guid> listed;
    for (const auto& group : import_.groups) {
      if (IsBuiltinGroup(group.id)) continue;
      listed.insert(group.id);
      TRY(Count(PutGroup(commit_, kUpstream, group)));
    }
    std::vector<Guid> dead = import_.dead_groups;
    if (import_.groups_are_full) {
      TRY_ASSIGN(const auto live, LiveGuids(commit_.db(), "target_group", kUpstream));
      std::copy_if(live.begin(), live.end(), std::back_inserter(dead),
                   [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& guid : dead) TRY(Count(EndGroup(commit_, kUpstream, guid)));
    return {};
  }

  std::optional<UtcTime> Floored(const IncomingDeployment& deployment) const {
    if (!deployment.deadline || !import_.deadline_floor) return deployment.deadline;
    return std::max(*deployment.deadline, commit_.committed_at() + *import_.deadline_floor);
  }

  Result<void> PutDeployments() {
    for (const auto& deployment : import_.deployments) {
      const auto effective = Floored(deployment);
      TRY_ASSIGN(const bool changed, PutDeployment(commit_, kUpstream, deployment, effective));
      if (!changed) continue;
      ++result_.changed;
      // A row whose deadline did not change keeps what was made of it before.
      TRY_ASSIGN(const auto row, FindDeployment(commit_.db(), kUpstream, deployment.guid));
      if (row && row->effective_deadline == effective && effective != deployment.deadline) {
        result_.moved_deadlines.push_back(
            {deployment.update, deployment.group, *deployment.deadline, *effective});
      }
    }
    return {};
  }

  Result<void> EndDeployments() {
    std::set<Guid> dead(import_.dead_deployments.begin(), import_.dead_deployments.end());
    if (import_.deployments_are_full) {
      std::set<Guid> listed;
      for (const auto& deployment : import_.deployments) listed.insert(deployment.guid);
      TRY_ASSIGN(auto rows, commit_.db().Prepare(
                                DeploymentSelect("WHERE origin = 1 AND is_dead = 0 ORDER BY id")));
      TRY_ASSIGN(const auto live, ReadDeployments(rows));
      for (const auto& deployment : live) {
        if (!listed.contains(deployment.guid)) dead.insert(deployment.guid);
      }
    }
    for (const Guid& guid : dead) {
      TRY_ASSIGN(const auto deployment, FindDeployment(commit_.db(), kUpstream, guid));
      if (deployment) TRY(Count(EndDeployment(commit_, *deployment)));
    }
    return {};
  }

  Result<void> Declines() {
    std::set<Guid> listed(import_.declined.begin(), import_.declined.end());
    for (const Guid& guid : listed) TRY(Count(PutDecline(commit_, kUpstream, guid, true)));
    std::vector<Guid> undeclined = import_.undeclined;
    if (import_.declined_are_full) {
      TRY_ASSIGN(const auto live, LiveGuids(commit_.db(), "decline", kUpstream));
      std::copy_if(live.begin(), live.end(), std::back_inserter(undeclined),
                   [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& guid : undeclined) TRY(Count(PutDecline(commit_, kUpstream, guid, false)));
    return {};
  }

  CommitTransaction& commit_;
  const IntentImport& import_;
  IntentImported result_;
};

}  // namespace

Result<IntentImported> Intent::Import(CommitTransaction& commit, const IntentImport& import) {
  return Importer(commit, import).Run();
}

Result<IntentImported> Intent::Preview(Mirror& mirror, const IntentImport& import) {
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "preview"));
  return Importer(commit, import).Run();  // the commit is never finished: all is rolled back
}

}  // namespace gapferry::mirror
