#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "mirror/commit.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

class Mirror;

extern const Guid kAllComputers;         // a0a08746-...
extern const Guid kUnassignedComputers;  // b73ca6ed-..., child of the first
extern const Guid kDownstreamServers;    // d374f42a-..., internal to WSUS; never listed here

struct TargetGroup {
  Guid id;
  Guid parent;  ///< zero for All Computers
  std::string name;
  bool is_builtin = false;
};

/// As in WSUSSS, where 0 to 3 are defined.
enum class DeploymentAction {
  kInstall = 0,
  kUninstall = 1,
  kPreDeploymentCheck = 2,  ///< scan only
  kBlock = 3,
  kEvaluate = 4,
  kBundle = 5,
  kOptionalInstall = 6,
};
std::string_view DeploymentActionName(DeploymentAction action);  ///< "Install", as in WUSP

/// An approval of one revision for one group.
struct Deployment {
  DeploymentId id = 0;  ///< client-visible, given here, kept for ever; not part of what travels
  IntentOrigin origin = IntentOrigin::kLocal;
  Guid guid;
  protocol::UpdateId update;
  Guid group;
  DeploymentAction action = DeploymentAction::kInstall;
  std::optional<UtcTime> deadline;  ///< as given or received
  /// What clients are told; never earlier. None although `deadline` is given: it waits until the
  /// clock of this machine can be believed (mirror/deadlines.h).
  std::optional<UtcTime> effective_deadline;
  bool is_assigned = true;
  std::uint8_t download_priority = 2;  ///< 1 low, 2 normal, 3 high
  UtcTime go_live;                     ///< not deployed before it
  UtcTime last_change;
  std::string admin_name;
  Generation created_generation = 0;
  Generation generation = 0;  ///< of the last change, the end included
  bool is_dead = false;
};

/// A record as it travels: what a bundle or an upstream says one element is.
struct IncomingDeployment {
  Guid guid;
  protocol::UpdateId update;
  Guid group;
  DeploymentAction action = DeploymentAction::kInstall;
  std::optional<UtcTime> deadline;
  bool is_assigned = true;
  std::uint8_t download_priority = 2;
  UtcTime go_live;
  UtcTime last_change;
  std::string admin_name;
  bool operator==(const IncomingDeployment&) const = default;
};

/// What changed in (base, target], or everything (base 0): each element's state now. Of deltas the
/// dead ones are listed apart; a full one has none.
struct IntentChanges {
  std::vector<TargetGroup> groups;
  std::vector<Guid> dead_groups;
  std::vector<Deployment> deployments;
  std::vector<Guid> dead_deployments;
  std::vector<Guid> declined;
  std::vector<Guid> undeclined;
  std::vector<Guid> accepted_eulas;
  std::vector<Guid> dead_eulas;
};

/// What one upstream's answer or bundle brings. A list that is absent is left alone.
struct IntentImport {
  bool groups_are_full = false;       ///< delete groups that are not listed, with their deployments
  bool deployments_are_full = false;  ///< delete deployments that are not listed
  bool declined_are_full = false;     ///< what is not listed is not declined any more
  bool eulas_are_full = false;        ///< what is not listed is not accepted any more
  std::vector<TargetGroup> groups;    ///< built-in ones are passed over
  std::vector<Guid> dead_groups;
  std::vector<IncomingDeployment> deployments;
  std::vector<Guid> dead_deployments;
  std::vector<Guid> declined;
  std::vector<Guid> undeclined;
  std::vector<Guid> accepted_eulas;
  std::vector<Guid> dead_eulas;
  /// On a replica: nothing of it is followed until somebody applies it (mirror/held_intent.h). The
  /// commit must have called BeginHold.
  bool hold = false;
  /// Deadlines earlier than now plus this are moved there; absent: kept as they are.
  std::optional<std::chrono::seconds> deadline_floor;
  /// With a floor: the time that the clock must have reached to be believed. Deadlines wait for it.
  std::optional<UtcTime> not_before;
};

struct IntentImported {
  std::uint64_t changed = 0;
  struct MovedDeadline {
    protocol::UpdateId update;
    Guid group;
    UtcTime given;
    std::optional<UtcTime> effective;  ///< none: waits until the clock can be believed
  };
  std::vector<MovedDeadline> moved_deadlines;
};

/// Groups, approvals, declines and EULA acceptances. Rows of several origins are kept; `Effective`
/// is the one this mirror follows and passes on: the local one, or on a replica the upstream's
/// (kFollowed while decisions from above wait, see mirror/proposals.h).
///
/// The administrative functions (Approve ... AssignComputer) are whole commits: on success one
/// generation is published (assignments of computers have none) and one audit record per object is
/// written. What changes nothing publishes nothing.
/// On a replica they fail with kUsage, reason "replica". They take short write locks only and so
/// succeed while a job runs. Thread rule of its mirror.
class Intent {
 public:
  explicit Intent(Mirror& mirror) : mirror_(mirror) {}
  Result<IntentOrigin> Effective();

  // Groups. Built-in ones come first, then by name.
  Result<std::vector<TargetGroup>> Groups(IntentOrigin origin);
  Result<std::vector<TargetGroup>> Groups();
  /// By name (without case) or GUID; kNotFound lists the groups there are.
  Result<TargetGroup> FindGroup(std::string_view name_or_guid);
  Result<TargetGroup> AddGroup(std::string_view name, const Guid& parent, std::string_view actor);
  /// Its deployments end, its computers become unassigned. Built-in ones: kUsage.
  Result<void> RemoveGroup(const Guid& group, std::string_view actor);

  // Computers in groups: always local, without generation. Every computer is in All Computers;
  // one in no other group is in Unassigned Computers.
  Result<void> AssignComputer(std::string_view computer_id, const std::vector<Guid>& groups,
                              std::string_view actor);
  /// The groups of a computer with all their ancestors, All Computers included.
  Result<std::vector<Guid>> GroupsOfComputer(std::string_view computer_id);
  Result<std::vector<Guid>> AssignedGroups(std::string_view computer_id);  ///< as assigned
  Result<std::vector<std::pair<std::string, Guid>>> Assignments();
  /// Moves with every change of assignments, so that a server knows when to read them again.
  Result<std::int64_t> AssignmentSequence();

  // Approvals.
  struct Approval {
    protocol::UpdateId update;
    Guid group;
    DeploymentAction action = DeploymentAction::kInstall;
    std::optional<UtcTime> deadline;
    bool accept_eula = false;
  };
  struct Approved {
    Deployment deployment;
    std::uint64_t missing_files = 0;  ///< of the update and what it bundles
    std::uint64_t missing_bytes = 0;
  };
  /// All or none. Refused (kUsage, reason in brackets): not deployable by itself
  /// ("not-deployable"), expired ("expired"), declined ("declined"), EULA not accepted
  /// ("eula-not-accepted"), uninstall of what cannot be ("no-uninstall"), digest conflict
  /// ("digest-conflict"); kNotFound for an unknown revision or group. An approval of the same
  /// update and group is replaced.
  Result<std::vector<Approved>> Approve(const std::vector<Approval>& approvals,
                                        std::string_view actor);
  /// Ends deployments of the updates (all revisions), for one group or all; the number ended.
  Result<std::uint64_t> Unapprove(const std::vector<Guid>& updates, std::optional<Guid> group,
                                  std::string_view actor);
  /// Deployments of declined updates end. The number newly declined.
  Result<std::uint64_t> Decline(const std::vector<Guid>& updates, std::string_view actor);
  /// Declined ones become undecided again; nothing is approved by it. The number that was declined.
  Result<std::uint64_t> Undecline(const std::vector<Guid>& updates, std::string_view actor);
  Result<void> AcceptEulas(const std::vector<Guid>& eulas, std::string_view actor);

  // Reading. Live rows of the effective origin unless one is named.
  Result<std::vector<Deployment>> Deployments();
  Result<std::vector<Deployment>> Deployments(IntentOrigin origin);
  Result<std::vector<Deployment>> DeploymentsOf(const Guid& update);
  Result<std::vector<Guid>> Declined();
  Result<bool> IsDeclined(const Guid& update);
  Result<std::vector<Guid>> AcceptedEulas();
  /// With the generation in which each was accepted.
  Result<std::vector<std::pair<Guid, Generation>>> EulaAcceptances();

  /// Changes in (base, target] of what this mirror passes on, for deltas of bundles and for
  /// GetDeployments. Elements changed again after `target` are left out when they were created
  /// after it and given in their state now otherwise.
  Result<IntentChanges> Changes(Generation base, Generation target);

  /// Takes over an upstream's intent within a commit. Order: groups, deployments, dead ones,
  /// declines, EULAs. Elements equal to what is there change nothing. While a replica follows
  /// kFollowed, what changes is followed at once too (unless it is held).
  static Result<IntentImported> Import(CommitTransaction& commit, const IntentImport& import);
  /// The same, counted without writing: for plans.
  static Result<IntentImported> Preview(Mirror& mirror, const IntentImport& import);

  Result<std::vector<Sha256Digest>> Buckets();  ///< 4,096, of the effective origin

 private:
  Mirror& mirror_;  // must outlive
};

}  // namespace gapferry::mirror
