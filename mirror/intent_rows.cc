#include "mirror/intent_rows.h"

#include <fmt/format.h>

#include "mirror/commit_impl.h"
#include "mirror/intent_history.h"

namespace gapferry::mirror {

namespace {

int Number(IntentOrigin origin) { return static_cast<int>(origin); }

std::string Ticks(std::optional<UtcTime> time) {
  return time ? fmt::format("{}", time->ticks) : "-";
}

}  // namespace

std::string GroupLine(const Guid& guid, const Guid& parent, std::string_view name) {
  return fmt::format("G {} {} {}:{}", guid.ToString(), parent.ToString(), name.size(), name);
}

std::string DeploymentLine(const IncomingDeployment& d) {
  return fmt::format("D {} {} {} {} {} {} {} {} {} {}:{}", d.guid.ToString(), d.update.ToString(),
                     d.group.ToString(), static_cast<int>(d.action), Ticks(d.deadline),
                     d.is_assigned ? 1 : 0, d.download_priority, d.go_live.ticks,
                     d.last_change.ticks, d.admin_name.size(), d.admin_name);
}

IncomingDeployment Travelling(const Deployment& d) {
  return {d.guid,
          d.update,
          d.group,
          d.action,
          d.deadline,
          d.is_assigned,
          d.download_priority,
          d.go_live,
          d.last_change,
          d.admin_name};
}

// ---- Groups ------------------------------------------------------------------------------------

namespace {

Result<std::optional<TargetGroup>> FindLiveGroup(Database& db, IntentOrigin origin,
                                                 const Guid& group) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT parent, name FROM target_group WHERE origin = ? "
                                  "AND guid = ? AND is_dead = 0"));
  row.BindAll(Number(origin), group);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<TargetGroup>();
  TargetGroup live{group, row.GuidAt(0), row.String(1), false};
  TRY(row.Check());
  return std::optional(std::move(live));
}

}  // namespace

Result<bool> PutGroup(CommitTransaction& commit, IntentOrigin origin, const TargetGroup& group) {
  TRY_ASSIGN(const auto before, FindLiveGroup(commit.db(), origin, group.id));
  if (before && before->parent == group.parent && before->name == group.name) return false;
  if (origin == IntentOrigin::kLocal) TRY(RememberGroup(commit, group.id, before));
  TRY(
      commit.db().Run("INSERT INTO target_group (origin, guid, parent, name, generation, is_dead) "
                      "VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET "
                      "parent = excluded.parent, name = excluded.name, "
                      "generation = excluded.generation, is_dead = 0",
                      Number(origin), group.id, group.parent, group.name, commit.generation()));
  commit.RecordIntentChange(origin, group.id, GroupLine(group.id, group.parent, group.name));
  return true;
}

Result<bool> EndGroup(CommitTransaction& commit, IntentOrigin origin, const Guid& group) {
  Database& db = commit.db();
  TRY_ASSIGN(const auto before, FindLiveGroup(db, origin, group));
  if (!before) return false;
  if (origin == IntentOrigin::kLocal) TRY(RememberGroup(commit, group, before));
  TRY(
      db.Run("UPDATE target_group SET is_dead = 1, generation = ? WHERE origin = ? AND guid = ? "
             "AND is_dead = 0",
             commit.generation(), Number(origin), group));
  commit.RecordIntentChange(origin, group, "-G " + group.ToString());
  std::vector<Deployment> ended;
  {
    TRY_ASSIGN(
        auto rows,
        db.Prepare(DeploymentSelect("WHERE target_group = ? AND origin = ? AND is_dead = 0")));
    rows.BindAll(group, Number(origin));
    TRY_ASSIGN(ended, ReadDeployments(rows));
  }
  for (const auto& deployment : ended) TRY(EndDeployment(commit, deployment));
  TRY_ASSIGN(const auto followed, FollowedOrigin(db, commit.mirror().config()));
  if (origin != followed) return true;
  TRY(db.Run("DELETE FROM computer_group WHERE guid = ?", group));
  TRY(db.Run("UPDATE mirror SET assignment_sequence = assignment_sequence + 1"));
  return true;
}

// ---- Deployments -------------------------------------------------------------------------------

std::string DeploymentSelect(std::string_view rest) {
  return fmt::format(
      // What a replica follows while it holds decisions back keeps the id that clients know.
      "SELECT CASE origin WHEN 2 THEN coalesce((SELECT u.id FROM deployment u WHERE u.origin = 1 "
      "AND u.guid = deployment.guid), id) ELSE id END, origin, guid, update_guid, update_revision, "
      "target_group, action, deadline, "
      "effective_deadline, is_assigned, download_priority, go_live, last_change, admin_name, "
      "created_generation, generation, is_dead FROM deployment {}",
      rest);
}

Deployment ReadDeployment(Statement& row) {
  Deployment d;
  d.id = row.Int32(0);
  d.origin = static_cast<IntentOrigin>(row.Int32(1));
  d.guid = row.GuidAt(2);
  d.update = {row.GuidAt(3), row.Int32(4)};
  d.group = row.GuidAt(5);
  d.action = static_cast<DeploymentAction>(row.Int32(6));
  d.deadline = row.OptionalTime(7);
  d.effective_deadline = row.OptionalTime(8);
  d.is_assigned = row.Bool(9);
  d.download_priority = static_cast<std::uint8_t>(row.Int(10));
  d.go_live = row.Time(11);
  d.last_change = row.Time(12);
  d.admin_name = row.String(13);
  d.created_generation = row.Int(14);
  d.generation = row.Int(15);
  d.is_dead = row.Bool(16);
  return d;
}

Result<std::vector<Deployment>> ReadDeployments(Statement& rows) {
  std::vector<Deployment> deployments;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return deployments;
    deployments.push_back(ReadDeployment(rows));
  }
}

Result<std::optional<Deployment>> FindDeployment(Database& db, IntentOrigin origin,
                                                 const Guid& guid) {
  TRY_ASSIGN(auto row,
             db.Prepare(DeploymentSelect("WHERE origin = ? AND guid = ? AND is_dead < 2")));
  row.BindAll(Number(origin), guid);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<Deployment>();
  Deployment deployment = ReadDeployment(row);
  TRY(row.Check());
  return std::optional<Deployment>(std::move(deployment));
}

Result<bool> PutDeployment(CommitTransaction& commit, IntentOrigin origin,
                           const IncomingDeployment& d, std::optional<UtcTime> effective_deadline,
                           std::optional<UtcTime> floored_at) {
  TRY_ASSIGN(const auto known, FindDeployment(commit.db(), origin, d.guid));
  const bool alive = known && !known->is_dead;
  if (alive && Travelling(*known) == d) return false;
  // For another revision, group or action it is a new deadline, which may not begin in the past.
  if (origin == IntentOrigin::kLocal) TRY(RememberDeployment(commit, d, known));
  const bool same_meaning = alive && known->deadline == d.deadline && known->update == d.update &&
                            known->group == d.group && known->action == d.action;
  if (same_meaning) effective_deadline = known->effective_deadline;
  // The id told to clients stays with the GUID; a deployment that lives again is a new creation.
  const Generation created = alive ? known->created_generation : commit.generation();
  if (known && known->update.guid != d.update.guid) {
    commit.RecordIntentChange(origin, known->update.guid, "-D " + d.guid.ToString());
  }
  TRY(commit.db().Run(
      "INSERT INTO deployment (origin, guid, update_guid, update_revision, target_group, action, "
      "deadline, effective_deadline, is_assigned, download_priority, go_live, last_change, "
      "admin_name, created_generation, generation, is_dead, floored_at) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?) "
      "ON CONFLICT (origin, guid) DO UPDATE SET update_guid = excluded.update_guid, "
      "update_revision = excluded.update_revision, target_group = excluded.target_group, "
      "action = excluded.action, deadline = excluded.deadline, "
      "effective_deadline = excluded.effective_deadline, is_assigned = excluded.is_assigned, "
      "download_priority = excluded.download_priority, go_live = excluded.go_live, "
      "last_change = excluded.last_change, admin_name = excluded.admin_name, "
      "created_generation = excluded.created_generation, generation = excluded.generation, "
      "is_dead = 0, floored_at = CASE WHEN ? THEN floored_at ELSE excluded.floored_at END",
      Number(origin), d.guid, d.update.guid, d.update.revision, d.group, static_cast<int>(d.action),
      d.deadline, effective_deadline, d.is_assigned ? 1 : 0, d.download_priority, d.go_live,
      d.last_change, d.admin_name, created, commit.generation(), floored_at, same_meaning ? 1 : 0));
  commit.RecordIntentChange(origin, d.update.guid, DeploymentLine(d));
  return true;
}

Result<bool> EndDeployment(CommitTransaction& commit, const Deployment& deployment) {
  if (deployment.is_dead) return false;
  if (deployment.origin == IntentOrigin::kLocal) {
    TRY(RememberDeployment(commit, Travelling(deployment), deployment));
  }
  TRY(commit.db().Run(
      "UPDATE deployment SET is_dead = 1, generation = ?, last_change = ? "
      "WHERE origin = ? AND guid = ?",
      commit.generation(), commit.committed_at(), Number(deployment.origin), deployment.guid));
  commit.RecordIntentChange(deployment.origin, deployment.update.guid,
                            "-D " + deployment.guid.ToString());
  return true;
}

// ---- Declines and EULAs ------------------------------------------------------------------------

Result<bool> PutDecline(CommitTransaction& commit, IntentOrigin origin, const Guid& update,
                        bool declined) {
  Database& db = commit.db();
  if (declined) {
    TRY(
        db.Run("INSERT INTO decline (origin, guid, generation, is_dead) VALUES (?, ?, ?, 0) "
               "ON CONFLICT DO UPDATE SET is_dead = 0, generation = excluded.generation "
               "WHERE is_dead = 1",
               Number(origin), update, commit.generation()));
  } else {
    TRY(
        db.Run("UPDATE decline SET is_dead = 1, generation = ? WHERE origin = ? AND guid = ? "
               "AND is_dead = 0",
               commit.generation(), Number(origin), update));
  }
  if (db.ChangedRows() == 0) return false;
  if (origin == IntentOrigin::kLocal) TRY(RememberDecline(commit, update, !declined));
  commit.RecordIntentChange(origin, update, (declined ? "X " : "-X ") + update.ToString());
  return true;
}

Result<bool> PutEula(CommitTransaction& commit, IntentOrigin origin, const Guid& eula) {
  TRY(
      commit.db().Run("INSERT INTO eula_acceptance (origin, guid, generation, is_dead) "
                      "VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET is_dead = 0, "
                      "generation = excluded.generation WHERE is_dead = 1",
                      Number(origin), eula, commit.generation()));
  if (commit.db().ChangedRows() == 0) return false;
  if (origin == IntentOrigin::kLocal) TRY(RememberEula(commit, eula, /*was_accepted=*/false));
  commit.RecordIntentChange(origin, eula, "E " + eula.ToString());
  return true;
}

Result<bool> EndEula(CommitTransaction& commit, IntentOrigin origin, const Guid& eula) {
  TRY(
      commit.db().Run("UPDATE eula_acceptance SET is_dead = 1, generation = ? WHERE origin = ? "
                      "AND guid = ? AND is_dead = 0",
                      commit.generation(), Number(origin), eula));
  if (commit.db().ChangedRows() == 0) return false;
  if (origin == IntentOrigin::kLocal) TRY(RememberEula(commit, eula, /*was_accepted=*/true));
  commit.RecordIntentChange(origin, eula, "-E " + eula.ToString());
  return true;
}

Result<std::vector<Guid>> LiveGuids(Database& db, std::string_view table, IntentOrigin origin) {
  TRY_ASSIGN(auto rows, db.Prepare(fmt::format("SELECT guid FROM {} WHERE origin = ? "
                                               "AND is_dead = 0 ORDER BY guid",
                                               table)));
  rows.BindAll(Number(origin));
  std::vector<Guid> guids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    guids.push_back(rows.GuidAt(0));
  }
  TRY(rows.Check());
  return guids;
}

// ---- Digests -----------------------------------------------------------------------------------

Result<std::vector<std::string>> IntentBucketLines(Database& db, IntentOrigin origin,
                                                   std::size_t bucket) {
  std::vector<std::string> lines;
  const auto each = [&](const std::string& sql, auto line_of) -> Result<void> {
    TRY_ASSIGN(auto rows, db.Prepare(sql));
    rows.BindAll(Number(origin), FirstKeyOf(bucket), FirstKeyOf(bucket + 1),
                 bucket + 1 == kBuckets ? 1 : 0);
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) return {};
      lines.push_back(line_of(rows) + "\n");
      TRY(rows.Check());
    }
  };
  // An upper bound that an index can use, also of the last bucket.
  constexpr const char* kRange =
      "origin = ?1 AND guid >= ?2 AND "
      "guid < CASE WHEN ?4 THEN x'ffffffffffffffffffffffffffffffffff' ELSE ?3 END "
      "AND is_dead = 0";
  TRY(each(fmt::format("SELECT guid, parent, name FROM target_group WHERE {}", kRange),
           [](Statement& row) { return GroupLine(row.GuidAt(0), row.GuidAt(1), row.Text(2)); }));
  // "+": by the update, of which a bucket has a 4,096th, and not by an index that begins with
  // origin.
  TRY(each(DeploymentSelect("WHERE +origin = ?1 AND update_guid >= ?2 AND update_guid < CASE "
                            "WHEN ?4 THEN x'ffffffffffffffffffffffffffffffffff' ELSE ?3 END "
                            "AND is_dead = 0"),
           [](Statement& row) { return DeploymentLine(Travelling(ReadDeployment(row))); }));
  TRY(each(fmt::format("SELECT guid FROM decline WHERE {}", kRange),
           [](Statement& row) { return "X " + row.GuidAt(0).ToString(); }));
  TRY(each(fmt::format("SELECT guid FROM eula_acceptance WHERE {}", kRange),
           [](Statement& row) { return "E " + row.GuidAt(0).ToString(); }));
  return lines;
}

}  // namespace gapferry::mirror
