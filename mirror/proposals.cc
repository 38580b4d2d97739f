#include "mirror/proposals.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

constexpr auto kUpstream = IntentOrigin::kUpstream;

struct Decision {
  Sha256Digest value;
  bool is_applied = false;
  std::optional<Guid> local;
};
using Decisions = std::map<std::pair<IntentKind, Guid>, Decision>;

Result<Decisions> ReadDecisions(Database& db) {
  TRY_ASSIGN(auto rows,
             db.Prepare("SELECT kind, guid, value, is_applied, local_guid FROM proposal_decision"));
  Decisions decisions;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    Decision one{rows.DigestAt<Sha256Digest>(2), rows.Bool(3), {}};
    if (!rows.IsNull(4)) one.local = rows.GuidAt(4);
    decisions[{static_cast<IntentKind>(rows.Int32(0)), rows.GuidAt(1)}] = one;
  }
  TRY(rows.Check());
  return decisions;
}

Result<std::vector<Deployment>> AllDeployments(Database& db, IntentOrigin origin) {
  TRY_ASSIGN(auto rows, db.Prepare(DeploymentSelect("WHERE origin = ? AND is_dead < 2 "
                                                    "ORDER BY guid")));
  rows.BindAll(static_cast<int>(origin));
  return ReadDeployments(rows);
}

std::string IdOf(IntentKind kind, const Guid& guid) {
  // GUIDs need not be random: their digest is.
  const auto digest = Sha256(AsText(guid.View()));
  return fmt::format("{}-{}", IntentKindName(kind), digest.ToHex().substr(0, 12));
}

/// What the upstream says of an approval, without what the sender counts for itself.
Sha256Digest ValueOf(const IncomingDeployment& d, bool is_dead) {
  return Sha256(fmt::format("{} {} {} {} {} {}", is_dead ? "-" : "+", d.update.ToString(),
                            d.group.ToString(), static_cast<int>(d.action),
                            d.deadline ? d.deadline->ticks : -1, d.is_assigned ? 1 : 0));
}

Sha256Digest ValueOf(const TargetGroup& group, bool is_dead) {
  return Sha256(fmt::format("{} {} {}", is_dead ? "-" : "+", group.parent.ToString(), group.name));
}

Sha256Digest ValueOf(const Guid& guid, bool is_dead) {
  return Sha256(fmt::format("{} {}", is_dead ? "-" : "+", guid.ToString()));
}

bool NeedsNobody(DeploymentAction action) {
  return action != DeploymentAction::kInstall && action != DeploymentAction::kUninstall &&
         action != DeploymentAction::kOptionalInstall;
}

class Reader {
 public:
  explicit Reader(Mirror& mirror) : mirror_(mirror), db_(mirror.db()) {}

  Result<std::vector<Proposal>> Run() {
    std::optional<Transaction> view;
    if (!db_.in_transaction()) {
      TRY_ASSIGN(view, Transaction::Begin(db_, TransactionKind::kRead));
    }
    TRY_ASSIGN(followed_, mirror_.intent().Effective());
    if (followed_ == kUpstream) return std::move(proposals_);
    TRY_ASSIGN(decisions_, ReadDecisions(db_));
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups(kUpstream));
    for (const auto& group : groups) groups_above_[group.id] = group;
    if (followed_ == IntentOrigin::kFollowed) {
      TRY(CompareGroups());
      TRY(CompareHeldApprovals());
    } else {
      TRY(CompareLocalApprovals());
    }
    TRY(CompareLists(IntentKind::kDecline, "decline"));
    TRY(CompareLists(IntentKind::kEula, "eula_acceptance"));
    return std::move(proposals_);
  }

 private:
  const Decision* DecisionOn(IntentKind kind, const Guid& guid) const {
    const auto found = decisions_.find({kind, guid});
    return found == decisions_.end() ? nullptr : &found->second;
  }

  void Add(Proposal proposal) {
    proposal.id = IdOf(proposal.kind, proposal.guid);
    const Decision* decision = DecisionOn(proposal.kind, proposal.guid);
    proposal.is_rejected =
        decision != nullptr && !decision->is_applied && decision->value == proposal.value;
    proposals_.push_back(std::move(proposal));
  }

  Result<void> CompareGroups() {
    TRY_ASSIGN(const auto followed, mirror_.intent().Groups(followed_));
    std::map<Guid, TargetGroup> here;
    for (const auto& group : followed) here[group.id] = group;
    for (const auto& [guid, group] : groups_above_) {
      const auto found = here.find(guid);
      if (found != here.end() && found->second.name == group.name &&
          found->second.parent == group.parent) {
        continue;
      }
      Add({{}, IntentKind::kGroup, guid, false, false, {}, group, {}, {}, ValueOf(group, false)});
    }
    for (const auto& [guid, group] : here) {
      if (groups_above_.contains(guid)) continue;
      Add({{}, IntentKind::kGroup, guid, true, false, {}, group, {}, {}, ValueOf(group, true)});
    }
    return {};
  }

  std::optional<TargetGroup> GroupAbove(const Guid& guid) const {
    const auto found = groups_above_.find(guid);
    return found == groups_above_.end() ? std::nullopt : std::optional(found->second);
  }

  Result<void> CompareHeldApprovals() {
    TRY_ASSIGN(const auto above, AllDeployments(db_, kUpstream));
    TRY_ASSIGN(const auto here, AllDeployments(db_, followed_));
    std::unordered_map<Guid, const Deployment*> known;
    for (const auto& one : here) known[one.guid] = &one;
    for (const auto& one : above) {
      const auto found = known.find(one.guid);
      const Deployment* stands =
          found == known.end() || found->second->is_dead ? nullptr : found->second;
      if (one.is_dead ? stands == nullptr
                      : stands != nullptr && Travelling(*stands) == Travelling(one)) {
        continue;
      }
      AddApproval(one, stands);
    }
    return {};
  }

  void AddApproval(const Deployment& above, const Deployment* here) {
    Proposal proposal;
    proposal.kind = IntentKind::kApproval;
    proposal.guid = above.guid;
    proposal.is_removal = above.is_dead;
    proposal.above = Travelling(above);
    proposal.group = GroupAbove(above.group);
    if (here != nullptr) proposal.here = *here;
    proposal.value = ValueOf(*proposal.above, above.is_dead);
    Add(std::move(proposal));
  }

  Result<void> CompareLocalApprovals() {
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups(followed_));
    TRY_ASSIGN(const auto here, mirror_.intent().Deployments(followed_));
    TRY_ASSIGN(const auto above, AllDeployments(db_, kUpstream));
    std::map<std::pair<Guid, Guid>, const Deployment*> by_target;
    std::unordered_map<Guid, const Deployment*> by_guid;
    for (const auto& one : here) {
      by_target[{one.update.guid, one.group}] = &one;
      by_guid[one.guid] = &one;
    }
    for (const auto& one : above) {
      if (NeedsNobody(one.action)) continue;
      const Decision* decision = DecisionOn(IntentKind::kApproval, one.guid);
      const bool was_applied = decision != nullptr && decision->is_applied;
      if (was_applied && decision->value == ValueOf(Travelling(one), one.is_dead)) continue;
      const auto made =
          was_applied && decision->local ? by_guid.find(*decision->local) : by_guid.end();
      if (one.is_dead) {  // only what was made of it here can end
        if (made != by_guid.end()) AddApproval(one, made->second);
        continue;
      }
      const auto group = made != by_guid.end() ? std::optional(made->second->group)
                                               : LocalGroup(groups, one.group);
      const Deployment* stands = nullptr;
      if (group) {
        const auto found = by_target.find({one.update.guid, *group});
        if (found != by_target.end()) stands = found->second;
      }
      if (stands != nullptr && Agree(*stands, one)) continue;
      AddApproval(one, stands);
      proposals_.back().local_group = group;
    }
    return {};
  }

  /// A later deadline is what a floor made of it; a later revision says more than the upstream
  /// does.
  static bool Agree(const Deployment& here, const Deployment& above) {
    return here.action == above.action && here.update.revision >= above.update.revision &&
           here.deadline.has_value() == above.deadline.has_value() &&
           (!here.deadline || *here.deadline >= *above.deadline);
  }

  /// The group of the same name, or the built-in one.
  std::optional<Guid> LocalGroup(const std::vector<TargetGroup>& groups, const Guid& above) const {
    if (IsBuiltinGroup(above)) return above;
    const auto wanted = GroupAbove(above);
    if (!wanted) return std::nullopt;
    for (const auto& group : groups) {
      if (EqualsIgnoreCase(group.name, wanted->name)) return group.id;
    }
    return std::nullopt;
  }

  Result<void> CompareLists(IntentKind kind, const char* table) {
    TRY_ASSIGN(const auto above_list, LiveGuids(db_, table, kUpstream));
    TRY_ASSIGN(const auto here_list, LiveGuids(db_, table, followed_));
    const std::set<Guid> above(above_list.begin(), above_list.end());
    const std::set<Guid> here(here_list.begin(), here_list.end());
    const bool local = followed_ == IntentOrigin::kLocal;
    for (const Guid& guid : above) {
      const Decision* decision = DecisionOn(kind, guid);
      const bool settled = local && decision != nullptr && decision->is_applied &&
                           decision->value == ValueOf(guid, false);
      if (here.contains(guid) || settled) continue;
      Add({{}, kind, guid, false, false, {}, {}, {}, {}, ValueOf(guid, false)});
    }
    for (const Guid& guid : here) {
      // What was decided here alone is nothing that could end above.
      const Decision* decision = DecisionOn(kind, guid);
      const bool came =
          decision != nullptr && decision->is_applied && decision->value == ValueOf(guid, false);
      if (above.contains(guid) || (local && !came)) continue;
      Add({{}, kind, guid, true, false, {}, {}, {}, {}, ValueOf(guid, true)});
    }
    return {};
  }

  Mirror& mirror_;
  Database& db_;
  IntentOrigin followed_ = kUpstream;
  Decisions decisions_;
  std::map<Guid, TargetGroup> groups_above_;
  std::vector<Proposal> proposals_;
};

}  // namespace

Result<std::vector<Proposal>> ReadProposals(Mirror& mirror) { return Reader(mirror).Run(); }

Result<std::uint64_t> CountProposals(Mirror& mirror) {
  TRY_ASSIGN(const auto proposals, ReadProposals(mirror));
  return static_cast<std::uint64_t>(std::ranges::count(proposals, false, &Proposal::is_rejected));
}

}  // namespace gapferry::mirror
