#include <algorithm>
#include <limits>
#include <set>

#include "mirror/deadlines.h"
#include "mirror/digest_tree.h"
#include "mirror/held_intent.h"
#include "mirror/intent.h"
#include "mirror/intent_arrival.h"
#include "mirror/intent_history.h"
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

  /// Approvals whose rows are there, and their lines.
  void Reveal(const std::vector<IncomingDeployment>& arrived,
              const std::vector<std::string>& lines) {
    arrived_ = &arrived;
    arrived_lines_ = &lines;
  }

  Result<IntentImported> Run() {
    TRY_ASSIGN(const IntentOrigin followed, commit_.mirror().intent().Effective());
    is_held_ = followed == IntentOrigin::kFollowed;
    TRY(Groups());
    if (arrived_ != nullptr && !arrived_->empty()) TRY(RevealDeployments());
    TRY(PutDeployments());
    TRY(EndDeployments());
    TRY(Declines());
    TRY(Eulas());
    if (is_held_) TRY(EndHoldWhenEqual(commit_));
    return std::move(result_);
  }

 private:
  /// What changed is followed at once, unless it is held.
  Result<void> Count(Result<bool> changed, IntentKind kind, const Guid& guid) {
    if (!changed) return std::unexpected(std::move(changed).error());
    if (!*changed) return {};
    ++result_.changed;
    return is_held_ && !import_.hold ? Follow(commit_, kind, guid) : Result<void>();
  }

  Result<void> Groups() {
    std::set<Guid> listed;
    for (const auto& group : import_.groups) {
      if (IsBuiltinGroup(group.id)) continue;
      listed.insert(group.id);
      TRY(Count(PutGroup(commit_, kUpstream, group), IntentKind::kGroup, group.id));
    }
    std::vector<Guid> dead = import_.dead_groups;
    if (import_.groups_are_full) {
      TRY_ASSIGN(const auto live, LiveGuids(commit_.db(), "target_group", kUpstream));
      std::copy_if(live.begin(), live.end(), std::back_inserter(dead),
                   [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& guid : dead) {
      TRY(Count(EndGroup(commit_, kUpstream, guid), IntentKind::kGroup, guid));
    }
    return {};
  }

  SettledDeadline Settle(std::optional<UtcTime> given) const {
    if (!import_.deadline_floor) return {given, {}};
    return SettleDeadline(given, ReckonedFrom(commit_), *import_.deadline_floor,
                          import_.not_before);
  }

  Result<void> RevealDeployments() {
    // What the floor makes of a deadline that is long past; of a later one nothing.
    const SettledDeadline least = Settle(UtcTime{std::numeric_limits<std::int64_t>::min()});
    TRY(commit_.db().Run(
        "UPDATE deployment SET is_dead = 0, generation = ?1, "
        "created_generation = ?1, effective_deadline = max(deadline, ?2), "
        "floored_at = CASE WHEN deadline IS NULL THEN NULL ELSE ?3 END "
        "WHERE origin = 1 AND generation = ?4",
        commit_.generation(), least.effective, least.floored_at, kArrivingGeneration));
    if (commit_.db().ChangedRows() != static_cast<std::int64_t>(arrived_->size())) {
      return Fail(ErrorCode::kInternal, "rows of approvals that were written before are missing");
    }
    std::set<std::size_t> buckets;
    for (const auto& deployment : *arrived_) {
      buckets.insert(BucketOf(deployment.update.guid));
      const auto effective = Settle(deployment.deadline).effective;
      if (effective == deployment.deadline) continue;
      result_.moved_deadlines.push_back(
          {deployment.update, deployment.group, *deployment.deadline, effective});
    }
    commit_.RecordIntentChanges(kUpstream, buckets, *arrived_lines_);
    result_.changed += arrived_->size();
    return {};
  }

  Result<void> PutDeployments() {
    for (const auto& deployment : import_.deployments) {
      const SettledDeadline settled = Settle(deployment.deadline);
      const auto& effective = settled.effective;
      TRY_ASSIGN(const bool changed,
                 PutDeployment(commit_, kUpstream, deployment, effective, settled.floored_at));
      if (!changed) continue;
      TRY(Count(changed, IntentKind::kApproval, deployment.guid));
      if (effective == deployment.deadline) continue;
      // A row whose deadline did not change keeps what was made of it before.
      TRY_ASSIGN(const auto row, FindDeployment(commit_.db(), kUpstream, deployment.guid));
      if (row && row->effective_deadline == effective) {
        result_.moved_deadlines.push_back(
            {deployment.update, deployment.group, *deployment.deadline, effective});
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
      if (!deployment) continue;
      TRY(Count(EndDeployment(commit_, *deployment), IntentKind::kApproval, guid));
    }
    return {};
  }

  Result<void> Declines() {
    std::set<Guid> listed(import_.declined.begin(), import_.declined.end());
    for (const Guid& guid : listed) {
      TRY(Count(PutDecline(commit_, kUpstream, guid, true), IntentKind::kDecline, guid));
    }
    std::vector<Guid> undeclined = import_.undeclined;
    if (import_.declined_are_full) {
      TRY_ASSIGN(const auto live, LiveGuids(commit_.db(), "decline", kUpstream));
      std::copy_if(live.begin(), live.end(), std::back_inserter(undeclined),
                   [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& guid : undeclined) {
      TRY(Count(PutDecline(commit_, kUpstream, guid, false), IntentKind::kDecline, guid));
    }
    return {};
  }

  Result<void> Eulas() {
    std::vector<Guid> dead = import_.dead_eulas;
    const std::set<Guid> listed(import_.accepted_eulas.begin(), import_.accepted_eulas.end());
    for (const Guid& eula : listed) {
      TRY(Count(PutEula(commit_, kUpstream, eula), IntentKind::kEula, eula));
    }
    if (import_.eulas_are_full) {
      TRY_ASSIGN(const auto live, LiveGuids(commit_.db(), "eula_acceptance", kUpstream));
      std::copy_if(live.begin(), live.end(), std::back_inserter(dead),
                   [&](const Guid& guid) { return !listed.contains(guid); });
    }
    for (const Guid& eula : dead) {
      TRY(Count(EndEula(commit_, kUpstream, eula), IntentKind::kEula, eula));
    }
    return {};
  }

  CommitTransaction& commit_;
  const IntentImport& import_;
  const std::vector<IncomingDeployment>* arrived_ = nullptr;
  const std::vector<std::string>* arrived_lines_ = nullptr;
  bool is_held_ = false;
  IntentImported result_;
};

}  // namespace

Result<IntentImported> Intent::Import(CommitTransaction& commit, const IntentImport& import) {
  return Importer(commit, import).Run();
}

Result<IntentImported> IntentArrival::Enter(CommitTransaction& commit) const {
  commit.UseBuckets(kUpstream, buckets_);
  Importer importer(commit, rest_);
  importer.Reveal(arrived_, arrived_lines_);
  return importer.Run();
}

Result<IntentImported> Intent::Preview(Mirror& mirror, const IntentImport& import) {
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "preview"));
  return Importer(commit, import).Run();  // the commit is never finished: all is rolled back
}

}  // namespace gapferry::mirror
