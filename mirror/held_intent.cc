#include "mirror/held_intent.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

#include "mirror/deadlines.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

constexpr auto kFollowed = IntentOrigin::kFollowed;
constexpr auto kUpstream = IntentOrigin::kUpstream;
constexpr std::int64_t kRowsPerTransaction = 2000;

struct Table {
  const char* name;
  const char* values;  ///< what travels, beside guid and is_dead
  const char* others;
};
constexpr std::array<Table, 4> kTables = {
    Table{"target_group", "parent, name", "generation"},
    Table{"deployment",
          "update_guid, update_revision, target_group, action, deadline, is_assigned, "
          "download_priority, go_live, last_change, admin_name",
          "effective_deadline, floored_at, created_generation, generation"},
    Table{"decline", "", "generation"}, Table{"eula_acceptance", "", "generation"}};

std::string Columns(const Table& table) {
  std::string columns = "guid, is_dead, ";
  if (*table.values != 0) columns += std::string(table.values) + ", ";
  return columns + table.others;
}

Result<bool> IsHeld(Database& db) {
  TRY_ASSIGN(const auto held, db.QueryInt("SELECT is_held FROM mirror"));
  return held.value_or(0) != 0;
}

/// Of a hold that ended, or of an import that did not reach its commit.
Result<void> RemoveCopies(Database& db, const Table& table) {
  for (;;) {
    TRY(db.Run(fmt::format("DELETE FROM {0} WHERE origin = 2 AND guid IN (SELECT guid FROM {0} "
                           "WHERE origin = 2 LIMIT ?)",
                           table.name),
               kRowsPerTransaction));
    if (db.ChangedRows() == 0) return {};
  }
}

Result<void> CopyRows(Database& db, const Table& table) {
  Guid after{};
  bool first = true;
  for (;;) {
    // The last GUID of the next batch; null when none is left.
    TRY_ASSIGN(auto next,
               db.Prepare(fmt::format("SELECT max(guid) FROM (SELECT guid FROM {} WHERE origin = 1 "
                                      "AND (guid > ? OR ?) ORDER BY guid LIMIT ?)",
                                      table.name)));
    next.BindAll(after, first ? 1 : 0, kRowsPerTransaction);
    TRY_ASSIGN(const bool row, next.Step());
    if (!row || next.IsNull(0)) return {};
    const Guid last = next.GuidAt(0);
    TRY(next.Check());
    next.Reset();
    TRY(db.Run(fmt::format("INSERT INTO {0} (origin, {1}) SELECT 2, {1} FROM {0} "
                           "WHERE origin = 1 AND (guid > ? OR ?) AND guid <= ? AND is_dead < 2",
                           table.name, Columns(table)),
               after, first ? 1 : 0, last));
    after = last;
    first = false;
  }
}

Result<std::optional<TargetGroup>> ReceivedGroup(Database& db, const Guid& guid) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT parent, name FROM target_group WHERE origin = 1 "
                                  "AND guid = ? AND is_dead = 0"));
  row.BindAll(guid);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<TargetGroup>();
  TargetGroup group{guid, row.GuidAt(0), row.String(1), false};
  TRY(row.Check());
  return std::optional(std::move(group));
}

Result<bool> IsReceived(Database& db, const char* table, const Guid& guid) {
  TRY_ASSIGN(const auto live, db.QueryInt(fmt::format("SELECT 1 FROM {} WHERE origin = 1 "
                                                      "AND guid = ? AND is_dead = 0",
                                                      table),
                                          guid));
  return live.has_value();
}

/// Tells those who follow this mirror: the element takes effect with this generation.
Result<void> Touch(CommitTransaction& commit, const char* table, const Guid& guid) {
  return commit.db().Run(
      fmt::format("UPDATE {} SET generation = ? WHERE origin = 1 AND guid = ?", table),
      commit.generation(), guid);
}

/// With its parents: an approval for a group that is not followed would reach nobody.
Result<void> FollowGroup(CommitTransaction& commit, const Guid& guid) {
  constexpr int kMostLevels = 64;
  Guid next = guid;
  for (int level = 0; level < kMostLevels && !next.IsZero() && !IsBuiltinGroup(next); ++level) {
    TRY_ASSIGN(const auto group, ReceivedGroup(commit.db(), next));
    if (!group) {
      if (level > 0) return {};
      TRY(EndGroup(commit, kFollowed, guid));
      return Touch(commit, "target_group", guid);
    }
    TRY_ASSIGN(const bool changed, PutGroup(commit, kFollowed, *group));
    if (!changed && level > 0) return {};
    TRY(Touch(commit, "target_group", next));
    next = group->parent;
  }
  return {};
}

Result<void> FollowDeployment(CommitTransaction& commit, const Guid& guid,
                              std::optional<std::chrono::seconds> floor) {
  Database& db = commit.db();
  TRY_ASSIGN(const auto received, FindDeployment(db, kUpstream, guid));
  if (!received) return {};
  if (received->is_dead) {
    TRY_ASSIGN(const auto followed, FindDeployment(db, kFollowed, guid));
    if (followed) TRY(EndDeployment(commit, *followed));
    return Touch(commit, "deployment", guid);
  }
  if (!IsBuiltinGroup(received->group)) {
    TRY_ASSIGN(const auto has_group,
               db.QueryInt("SELECT 1 FROM target_group WHERE origin = 2 AND guid = ? "
                           "AND is_dead = 0",
                           received->group));
    if (!has_group) TRY(FollowGroup(commit, received->group));
  }
  SettledDeadline settled{received->effective_deadline, {}};
  if (floor) {
    TRY_ASSIGN(const auto not_before, ClockNotBefore(commit.mirror()));
    settled = SettleDeadline(received->deadline, ReckonedFrom(commit), *floor, not_before);
  }
  TRY(PutDeployment(commit, kFollowed, Travelling(*received), settled.effective,
                    settled.floored_at));
  // The same for the received row, which is followed again when the hold ends.
  return db.Run(
      "UPDATE deployment SET generation = ?1, (effective_deadline, floored_at) = (SELECT "
      "f.effective_deadline, coalesce(f.floored_at, deployment.floored_at) FROM deployment f "
      "WHERE f.origin = 2 AND f.guid = ?2) WHERE origin = 1 AND guid = ?2",
      commit.generation(), guid);
}

}  // namespace

Result<void> PrepareHold(Mirror& mirror, const JobLock&) {
  Database& db = mirror.db();
  TRY_ASSIGN(const bool held, IsHeld(db));
  if (held) return {};
  for (const Table& table : kTables) {
    TRY(RemoveCopies(db, table));
    TRY(CopyRows(db, table));
  }
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  TRY(db.Run("DELETE FROM digest_bucket WHERE tree = 5"));
  TRY(
      db.Run("INSERT INTO digest_bucket (tree, bucket, digest) SELECT 5, bucket, digest "
             "FROM digest_bucket WHERE tree = 3"));
  return tx.Commit();
}

Result<void> BeginHold(CommitTransaction& commit) {
  return commit.db().Run("UPDATE mirror SET is_held = 1");
}

Result<void> Follow(CommitTransaction& commit, IntentKind kind, const Guid& guid,
                    std::optional<std::chrono::seconds> floor) {
  switch (kind) {
    case IntentKind::kGroup:
      return FollowGroup(commit, guid);
    case IntentKind::kApproval:
      return FollowDeployment(commit, guid, floor);
    case IntentKind::kDecline: {
      TRY_ASSIGN(const bool declined, IsReceived(commit.db(), "decline", guid));
      TRY(PutDecline(commit, kFollowed, guid, declined));
      return Touch(commit, "decline", guid);
    }
    case IntentKind::kEula:
      break;
  }
  TRY_ASSIGN(const bool accepted, IsReceived(commit.db(), "eula_acceptance", guid));
  if (accepted) {
    TRY(PutEula(commit, kFollowed, guid));
  } else {
    TRY(EndEula(commit, kFollowed, guid));
  }
  return Touch(commit, "eula_acceptance", guid);
}

Result<void> EndHoldWhenEqual(CommitTransaction& commit) {
  Database& db = commit.db();
  for (const Table& table : kTables) {
    const std::string values = *table.values == 0 ? "" : std::string(", ") + table.values;
    for (const auto& [from, to] : {std::pair{1, 2}, std::pair{2, 1}}) {
      TRY_ASSIGN(const auto differs,
                 db.QueryInt(fmt::format("SELECT 1 FROM (SELECT guid{0} FROM {1} WHERE origin = "
                                         "{2} AND is_dead = 0 EXCEPT SELECT guid{0} FROM {1} "
                                         "WHERE origin = {3} AND is_dead = 0) LIMIT 1",
                                         values, table.name, from, to)));
      if (differs) return {};
    }
  }
  return db.Run("UPDATE mirror SET is_held = 0");
}

}  // namespace gapferry::mirror
