#include "mirror/intent.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "mirror/commit_impl.h"
#include "mirror/digest_tree.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

// Intent: reading, groups, computers in groups.

namespace gapferry::mirror {

const Guid kAllComputers = Guid::Parse("a0a08746-4dbe-4a37-9adf-9e7652c0b421").value();
const Guid kUnassignedComputers = Guid::Parse("b73ca6ed-5727-47f3-84de-015e03f6a88a").value();
const Guid kDownstreamServers = Guid::Parse("d374f42a-9be2-4163-a0fa-3c86a401b7a7").value();

std::string_view DeploymentActionName(DeploymentAction action) {
  switch (action) {
    case DeploymentAction::kInstall:
      return "Install";
    case DeploymentAction::kUninstall:
      return "Uninstall";
    case DeploymentAction::kPreDeploymentCheck:
      return "PreDeploymentCheck";
    case DeploymentAction::kBlock:
      return "Block";
    case DeploymentAction::kEvaluate:
      return "Evaluate";
    case DeploymentAction::kBundle:
      return "Bundle";
    case DeploymentAction::kOptionalInstall:
      return "OptionalInstall";
  }
  return "Unknown";
}

bool IsBuiltinGroup(const Guid& group) {
  return group == kAllComputers || group == kUnassignedComputers || group == kDownstreamServers;
}

std::vector<TargetGroup> BuiltinGroups() {
  return {{kAllComputers, Guid{}, "All Computers", true},
          {kUnassignedComputers, kAllComputers, "Unassigned Computers", true}};
}

Result<IntentOrigin> Intent::Effective() { return FollowedOrigin(mirror_.db(), mirror_.config()); }

// ---- Groups ------------------------------------------------------------------------------------

Result<std::vector<TargetGroup>> Intent::Groups(IntentOrigin origin) {
  std::vector<TargetGroup> groups = BuiltinGroups();
  TRY_ASSIGN(auto rows, mirror_.db().Prepare("SELECT guid, parent, name FROM target_group "
                                             "WHERE origin = ? AND is_dead = 0 "
                                             "ORDER BY name COLLATE NOCASE, guid"));
  rows.BindAll(static_cast<int>(origin));
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return groups;
    groups.push_back({rows.GuidAt(0), rows.GuidAt(1), rows.String(2), false});
  }
}

Result<std::vector<TargetGroup>> Intent::Groups() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  return Groups(origin);
}

Result<TargetGroup> Intent::FindGroup(std::string_view name_or_guid) {
  TRY_ASSIGN(const auto groups, Groups());
  const auto guid = Guid::Parse(name_or_guid);
  std::string names;
  for (const auto& group : groups) {
    if (guid ? group.id == *guid : EqualsIgnoreCase(group.name, name_or_guid)) return group;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", group.name);
  }
  return Fail(ErrorCode::kNotFound, "no-group",
              fmt::format("group '{}' does not exist; the groups are {}",
                          EscapeForDisplay(name_or_guid), names));
}

namespace {

Result<void> RefuseReplica(const Mirror& mirror) {
  if (!mirror.config().replica) return {};
  return Fail(ErrorCode::kUsage, "replica",
              "this mirror is a replica: its groups, approvals and declines come from above and "
              "are changed there");
}

Result<void> CheckGroupName(std::string_view name) {
  constexpr std::size_t kMaxBytes = 256;
  if (name.empty() || name.size() > kMaxBytes || !IsValidUtf8(name) || TrimAscii(name) != name ||
      std::any_of(name.begin(), name.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
    return Fail(ErrorCode::kUsage,
                fmt::format("group name '{}' is not 1 to {} bytes of text without control "
                            "characters and blanks around it",
                            EscapeForDisplay(name), kMaxBytes));
  }
  return {};
}

}  // namespace

Result<TargetGroup> Intent::AddGroup(std::string_view name, const Guid& parent,
                                     std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  TRY(CheckGroupName(name));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "group"));
  TRY_ASSIGN(const auto groups, Groups());
  bool has_parent = false;
  for (const auto& group : groups) {
    has_parent = has_parent || group.id == parent;
    if (EqualsIgnoreCase(group.name, name)) {
      return Fail(ErrorCode::kUsage, "group-exists",
                  fmt::format("group '{}' exists already", group.name));
    }
  }
  if (!has_parent || parent == kUnassignedComputers) {
    return Fail(ErrorCode::kNotFound, "no-group",
                fmt::format("group {} cannot be a parent", parent.ToString()));
  }
  const TargetGroup group{Guid::Random(), parent, std::string(name), false};
  TRY(PutGroup(commit, IntentOrigin::kLocal, group));
  TRY(commit.Audit({std::string(actor), "group.add", group.id.ToString(),
                    fmt::format("{{\"parent\":\"{}\"}}", parent.ToString())}));
  TRY(commit.Finish());
  return group;
}

Result<void> Intent::RemoveGroup(const Guid& group, std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  if (IsBuiltinGroup(group)) {
    return Fail(ErrorCode::kUsage, "builtin-group",
                fmt::format("group {} is built in and cannot be removed", group.ToString()));
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "group"));
  TRY_ASSIGN(const auto groups, Groups());
  for (const auto& child : groups) {
    if (child.parent == group) {
      return Fail(ErrorCode::kUsage, "group-has-children",
                  fmt::format("group {} has the child '{}'", group.ToString(), child.name));
    }
  }
  TRY_ASSIGN(const bool ended, EndGroup(commit, IntentOrigin::kLocal, group));
  if (!ended) {
    return Fail(ErrorCode::kNotFound, "no-group",
                fmt::format("group {} does not exist", group.ToString()));
  }
  TRY(commit.Audit({std::string(actor), "group.remove", group.ToString()}));
  TRY(commit.Finish());
  return {};
}

// ---- Computers in groups -----------------------------------------------------------------------

Result<void> Intent::AssignComputer(std::string_view computer_id, const std::vector<Guid>& groups,
                                    std::string_view actor) {
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "assign"));
  TRY_ASSIGN(const auto known, Groups());
  std::set<Guid> wanted;
  for (const Guid& group : groups) {
    if (group == kAllComputers || group == kUnassignedComputers) continue;  // without being told
    if (std::none_of(known.begin(), known.end(), [&](const auto& g) { return g.id == group; })) {
      return Fail(ErrorCode::kNotFound, "no-group",
                  fmt::format("group {} does not exist", group.ToString()));
    }
    wanted.insert(group);
  }
  TRY_ASSIGN(const auto now, AssignedGroups(computer_id));
  if (std::set<Guid>(now.begin(), now.end()) == wanted) return {};
  Database& db = commit.db();
  TRY(db.Run("DELETE FROM computer_group WHERE computer_id = ?", computer_id));
  std::string list;
  for (const Guid& group : wanted) {
    TRY(db.Run("INSERT INTO computer_group (computer_id, guid) VALUES (?, ?)", computer_id, group));
    list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", group.ToString());
  }
  TRY(db.Run("UPDATE mirror SET assignment_sequence = assignment_sequence + 1"));
  TRY(commit.Audit({std::string(actor), "computer.assign", std::string(computer_id),
                    fmt::format("{{\"groups\":[{}]}}", list)}));
  TRY(commit.Finish());
  return {};
}

Result<std::vector<Guid>> Intent::AssignedGroups(std::string_view computer_id) {
  TRY_ASSIGN(auto rows, mirror_.db().Prepare("SELECT guid FROM computer_group "
                                             "WHERE computer_id = ? ORDER BY guid"));
  rows.BindAll(computer_id);
  std::vector<Guid> groups;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return groups;
    groups.push_back(rows.GuidAt(0));
  }
}

Result<std::vector<Guid>> Intent::GroupsOfComputer(std::string_view computer_id) {
  TRY_ASSIGN(const auto groups, Groups());
  TRY_ASSIGN(const auto assigned, AssignedGroups(computer_id));
  std::set<Guid> all;
  for (Guid next : assigned) {
    // Walks up; a loop among parents (possible in what an upstream says) ends at a known member.
    while (!next.IsZero()) {
      const auto group =
          std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.id == next; });
      if (group == groups.end() || !all.insert(next).second) break;
      next = group->parent;
    }
  }
  if (all.empty()) all.insert(kUnassignedComputers);
  all.insert(kAllComputers);
  return std::vector<Guid>(all.begin(), all.end());
}

Result<std::vector<std::pair<std::string, Guid>>> Intent::Assignments() {
  TRY_ASSIGN(auto rows, mirror_.db().Prepare("SELECT computer_id, guid FROM computer_group "
                                             "ORDER BY computer_id, guid"));
  std::vector<std::pair<std::string, Guid>> assignments;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return assignments;
    assignments.emplace_back(rows.String(0), rows.GuidAt(1));
  }
}

Result<std::int64_t> Intent::AssignmentSequence() {
  TRY_ASSIGN(const auto sequence, mirror_.db().QueryInt("SELECT assignment_sequence FROM mirror"));
  return sequence.value_or(0);
}

// ---- Reading -----------------------------------------------------------------------------------

Result<std::vector<Deployment>> Intent::Deployments(IntentOrigin origin) {
  TRY_ASSIGN(auto rows, mirror_.db().Prepare(
                            DeploymentSelect("WHERE origin = ? AND is_dead = 0 ORDER BY id")));
  rows.BindAll(static_cast<int>(origin));
  return ReadDeployments(rows);
}

Result<std::vector<Deployment>> Intent::Deployments() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  return Deployments(origin);
}

Result<std::vector<Deployment>> Intent::DeploymentsOf(const Guid& update) {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  TRY_ASSIGN(auto rows, mirror_.db().Prepare(DeploymentSelect(
                            "WHERE update_guid = ? AND origin = ? AND is_dead = 0 ORDER BY id")));
  rows.BindAll(update, static_cast<int>(origin));
  return ReadDeployments(rows);
}

Result<std::vector<Guid>> Intent::Declined() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  return LiveGuids(mirror_.db(), "decline", origin);
}

Result<bool> Intent::IsDeclined(const Guid& update) {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  TRY_ASSIGN(const auto found,
             mirror_.db().QueryInt("SELECT 1 FROM decline WHERE origin = ? AND guid = ? "
                                   "AND is_dead = 0",
                                   static_cast<int>(origin), update));
  return found.has_value();
}

Result<std::vector<Guid>> Intent::AcceptedEulas() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  return LiveGuids(mirror_.db(), "eula_acceptance", origin);
}

Result<std::vector<std::pair<Guid, Generation>>> Intent::EulaAcceptances() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  TRY_ASSIGN(auto rows, mirror_.db().Prepare("SELECT guid, generation FROM eula_acceptance "
                                             "WHERE origin = ? AND is_dead = 0 ORDER BY guid"));
  rows.BindAll(static_cast<int>(origin));
  std::vector<std::pair<Guid, Generation>> acceptances;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return acceptances;
    acceptances.emplace_back(rows.GuidAt(0), rows.Int(1));
  }
}

Result<std::vector<Sha256Digest>> Intent::Buckets() {
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  return ReadBuckets(mirror_.db(), IntentTree(origin));
}

namespace {

Result<void> SplitGuids(Database& db, std::string_view table, IntentOrigin origin, Generation base,
                        std::vector<Guid>& live, std::vector<Guid>& dead) {
  TRY_ASSIGN(auto rows, db.Prepare(fmt::format("SELECT guid, is_dead FROM {} WHERE origin = ? "
                                               "AND generation > ? ORDER BY guid",
                                               table)));
  rows.BindAll(static_cast<int>(origin), base);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    (rows.Bool(1) ? dead : live).push_back(rows.GuidAt(0));
  }
}

Result<void> CollectGroups(Database& db, IntentOrigin origin, Generation base,
                           IntentChanges& changes) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT guid, parent, name, is_dead FROM target_group "
                                   "WHERE origin = ? AND generation > ? ORDER BY guid"));
  rows.BindAll(static_cast<int>(origin), base);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    if (rows.Bool(3)) {
      changes.dead_groups.push_back(rows.GuidAt(0));
    } else {
      changes.groups.push_back({rows.GuidAt(0), rows.GuidAt(1), rows.String(2), false});
    }
  }
}

}  // namespace

Result<IntentChanges> Intent::Changes(Generation base, Generation target) {
  Database& db = mirror_.db();
  std::optional<Transaction> view;  // one state for all lists
  if (!db.in_transaction()) {
    TRY_ASSIGN(view, Transaction::Begin(db, TransactionKind::kRead));
  }
  TRY_ASSIGN(const IntentOrigin origin, Effective());
  IntentChanges changes;
  TRY(CollectGroups(db, origin, base, changes));
  {
    TRY_ASSIGN(auto rows, db.Prepare(DeploymentSelect("WHERE origin = ? AND generation > ? "
                                                      "AND created_generation <= ? ORDER BY id")));
    rows.BindAll(static_cast<int>(origin), base, target);
    TRY_ASSIGN(auto deployments, ReadDeployments(rows));
    for (auto& deployment : deployments) {
      if (deployment.is_dead) {
        changes.dead_deployments.push_back(deployment.guid);
      } else {
        changes.deployments.push_back(std::move(deployment));
      }
    }
  }
  TRY(SplitGuids(db, "decline", origin, base, changes.declined, changes.undeclined));
  TRY(SplitGuids(db, "eula_acceptance", origin, base, changes.accepted_eulas, changes.dead_eulas));
  if (base <= 0) {
    changes.dead_groups.clear();
    changes.dead_deployments.clear();
    changes.undeclined.clear();
    changes.dead_eulas.clear();
  }
  return changes;
}

}  // namespace gapferry::mirror
