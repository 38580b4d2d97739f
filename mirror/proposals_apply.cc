#include <fmt/format.h>

#include <algorithm>

#include "base/sort.h"
#include "base/text.h"
#include "mirror/deadlines.h"
#include "mirror/held_intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"
#include "mirror/proposals.h"

// Proposals: applying and rejecting them.

namespace gapferry::mirror {

namespace {

constexpr std::size_t kPerCommit = 500;

std::string AuditObject(const Proposal& proposal) {
  if (proposal.above) return proposal.above->update.ToString();
  return fmt::format("{} {}", IntentKindName(proposal.kind), proposal.guid.ToString());
}

Result<void> PutDecision(Database& db, UtcTime now, const Proposal& proposal, bool applied,
                         std::optional<Guid> local, std::string_view actor) {
  return db.Run(
      "INSERT OR REPLACE INTO proposal_decision (kind, guid, value, is_applied, local_guid, actor, "
      "at) VALUES (?, ?, ?, ?, ?, ?, ?)",
      static_cast<int>(proposal.kind), proposal.guid, proposal.value, applied ? 1 : 0, local, actor,
      now);
}

// ---- On a replica ------------------------------------------------------------------------------

Result<void> FollowSome(Mirror& mirror, std::span<const Proposal> proposals,
                        std::string_view actor) {
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "proposal"));
  for (const Proposal& proposal : proposals) {
    TRY(Follow(commit, proposal.kind, proposal.guid, mirror.config().import.deadline_floor));
    TRY(commit.db().Run("DELETE FROM proposal_decision WHERE kind = ? AND guid = ?",
                        static_cast<int>(proposal.kind), proposal.guid));
    TRY(commit.Audit({std::string(actor), "proposal.apply", AuditObject(proposal),
                      fmt::format("{{\"proposal\":\"{}\"}}", proposal.id)}));
  }
  TRY(EndHoldWhenEqual(commit));
  TRY(commit.Finish());
  return {};
}

Result<ApplyOutcome> FollowAll(Mirror& mirror, std::vector<Proposal> proposals,
                               std::string_view actor) {
  // Groups before what is approved for them; groups that go come last, with nothing left for them.
  const auto place = [](const Proposal& one) {
    const bool goes = one.kind == IntentKind::kGroup && one.is_removal;
    return goes ? 9 : static_cast<int>(one.kind);
  };
  SortStably(proposals, [&](const Proposal& a, const Proposal& b) { return place(a) < place(b); });
  ApplyOutcome outcome;
  const std::span<const Proposal> all(proposals);
  for (std::size_t at = 0; at < all.size(); at += kPerCommit) {
    const auto some = all.subspan(at, std::min(kPerCommit, all.size() - at));
    TRY(FollowSome(mirror, some, actor));
    outcome.applied += some.size();
  }
  return outcome;
}

// ---- Where this mirror decides by itself -------------------------------------------------------

class LocalApply {
 public:
  LocalApply(Mirror& mirror, const ApplyOptions& options) : mirror_(mirror), options_(options) {}

  Result<ApplyOutcome> Run(const std::vector<Proposal>& proposals) {
    // Licences first: approvals ask for them.
    for (const auto kind : {IntentKind::kEula, IntentKind::kApproval, IntentKind::kDecline}) {
      for (const Proposal& proposal : proposals) {
        if (proposal.kind != kind) continue;
        auto done = ApplyOne(proposal);
        if (done) {
          ++outcome_.applied;
        } else if (done.error().code == ErrorCode::kUsage ||
                   done.error().code == ErrorCode::kNotFound) {
          outcome_.failures.push_back({proposal.id, std::move(done.error())});
        } else {
          return std::unexpected(std::move(done.error()));
        }
      }
    }
    return std::move(outcome_);
  }

 private:
  Result<void> ApplyOne(const Proposal& proposal) {
    std::optional<Guid> local;
    switch (proposal.kind) {
      case IntentKind::kEula:
        TRY(ApplyEula(proposal));
        break;
      case IntentKind::kDecline:
        TRY(ApplyDecline(proposal));
        break;
      case IntentKind::kApproval: {
        TRY_ASSIGN(local, ApplyApproval(proposal));
        break;
      }
      case IntentKind::kGroup:
        return {};
    }
    TRY_ASSIGN(auto tx, Transaction::Begin(mirror_.db(), TransactionKind::kWrite));
    const UtcTime now = mirror_.clock().Now();
    TRY(PutDecision(mirror_.db(), now, proposal, /*applied=*/true, local, options_.actor));
    TRY(AppendAudit(mirror_.db(), now,
                    {options_.actor, "proposal.apply", AuditObject(proposal),
                     fmt::format("{{\"proposal\":\"{}\"}}", proposal.id)}));
    return tx.Commit();
  }

  Result<void> ApplyEula(const Proposal& proposal) {
    if (!proposal.is_removal) return mirror_.intent().AcceptEulas({proposal.guid}, options_.actor);
    TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "eula"));
    TRY(EndEula(commit, IntentOrigin::kLocal, proposal.guid));
    TRY(commit.Finish());
    return {};
  }

  Result<void> ApplyDecline(const Proposal& proposal) {
    if (proposal.is_removal) {
      TRY(mirror_.intent().Undecline({proposal.guid}, options_.actor));
    } else {
      TRY(mirror_.intent().Decline({proposal.guid}, options_.actor));
    }
    return {};
  }

  /// The local approval that was made.
  Result<std::optional<Guid>> ApplyApproval(const Proposal& proposal) {
    const IncomingDeployment& above = *proposal.above;
    if (proposal.is_removal) {
      TRY(mirror_.intent().Unapprove({above.update.guid}, proposal.here->group, options_.actor));
      return std::optional<Guid>();
    }
    Intent::Approval approval{above.update, {}, above.action, {}, options_.accept_eulas};
    TRY_ASSIGN(approval.group, GroupFor(proposal));
    TRY_ASSIGN(const auto not_before, ClockNotBefore(mirror_));
    approval.deadline = SettleDeadline(above.deadline, mirror_.clock().Now(),
                                       mirror_.config().import.deadline_floor, not_before)
                            .effective;
    if (above.deadline && !approval.deadline) {
      return Fail(ErrorCode::kUsage, "clock-behind",
                  fmt::format("the clock of this machine ({}) is behind the last bundle: a "
                              "deadline cannot be set by it",
                              mirror_.clock().Now().ToXml()));
    }
    TRY_ASSIGN(const auto approved, mirror_.intent().Approve({approval}, options_.actor));
    return std::optional(approved.front().deployment.guid);
  }

  Result<Guid> GroupFor(const Proposal& proposal) {
    const std::string name =
        proposal.group ? proposal.group->name : proposal.above->group.ToString();
    for (const auto& [above, here] : options_.groups) {
      if (EqualsIgnoreCase(above, name)) return here;
    }
    if (proposal.local_group) return *proposal.local_group;
    // One proposal before may have created it.
    const auto found = mirror_.intent().FindGroup(name);
    if (found) return found->id;
    if (options_.create_groups && proposal.group) {
      TRY_ASSIGN(const auto group, mirror_.intent().AddGroup(name, kAllComputers, options_.actor));
      return group.id;
    }
    return Fail(
        ErrorCode::kUsage, "no-local-group",
        fmt::format("group '{}' of the sender does not exist here", EscapeForDisplay(name)));
  }

  Mirror& mirror_;
  const ApplyOptions& options_;
  ApplyOutcome outcome_;
};

}  // namespace

Result<ApplyOutcome> ApplyProposals(Mirror& mirror, const std::vector<Proposal>& proposals,
                                    const ApplyOptions& options) {
  TRY_ASSIGN(const IntentOrigin followed, mirror.intent().Effective());
  if (followed == IntentOrigin::kLocal) return LocalApply(mirror, options).Run(proposals);
  return FollowAll(mirror, proposals, options.actor);
}

Result<void> RejectProposals(Mirror& mirror, const std::vector<Proposal>& proposals,
                             std::string_view actor) {
  const std::span<const Proposal> all(proposals);
  for (std::size_t at = 0; at < all.size(); at += kPerCommit) {
    TRY_ASSIGN(auto tx, Transaction::Begin(mirror.db(), TransactionKind::kWrite));
    const UtcTime now = mirror.clock().Now();
    for (const Proposal& one : all.subspan(at, std::min(kPerCommit, all.size() - at))) {
      TRY(PutDecision(mirror.db(), now, one, /*applied=*/false, {}, actor));
      TRY(AppendAudit(mirror.db(), now,
                      {std::string(actor), "proposal.reject", AuditObject(one),
                       fmt::format("{{\"proposal\":\"{}\"}}", one.id)}));
    }
    TRY(tx.Commit());
  }
  return {};
}

}  // namespace gapferry::mirror
