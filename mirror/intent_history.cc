#include "mirror/intent_history.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "mirror/deadlines.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

using nlohmann::json;

constexpr Generation kKeptGenerations = 5000;

Result<void> Remember(CommitTransaction& commit, IntentKind kind, const Guid& guid,
                      const std::optional<Guid>& update, const std::optional<Guid>& group,
                      const std::optional<std::string>& before) {
  TRY(
      commit.db().Run("INSERT OR IGNORE INTO intent_history (generation, kind, guid, update_guid, "
                      "target_group, before) VALUES (?, ?, ?, ?, ?, ?)",
                      commit.generation(), static_cast<int>(kind), guid, update, group, before));
  return commit.db().Run("DELETE FROM intent_history WHERE generation <= ?",
                         commit.generation() - kKeptGenerations);
}

std::string GroupText(const TargetGroup& group) {
  return json{{"name", group.name}, {"parent", group.parent.ToString()}}.dump();
}

std::string DeploymentText(const IncomingDeployment& one) {
  json object = {{"update", one.update.ToString()},        {"group", one.group.ToString()},
                 {"action", static_cast<int>(one.action)}, {"assigned", one.is_assigned},
                 {"priority", one.download_priority},      {"go_live", one.go_live.ticks},
                 {"last_change", one.last_change.ticks},   {"admin", one.admin_name}};
  if (one.deadline) object["deadline"] = one.deadline->ticks;
  return object.dump();
}

struct HistoryRow {
  IntentKind kind = IntentKind::kGroup;
  Guid guid;
  std::optional<Guid> update, group;
  std::optional<std::string> before;
};

Result<std::vector<HistoryRow>> ReadHistory(Database& db, Generation generation) {
  // Groups come before what is approved for them.
  TRY_ASSIGN(auto rows, db.Prepare("SELECT kind, guid, update_guid, target_group, before "
                                   "FROM intent_history WHERE generation = ? ORDER BY kind, guid"));
  rows.BindAll(generation);
  std::vector<HistoryRow> history;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    HistoryRow one;
    one.kind = static_cast<IntentKind>(rows.Int32(0));
    one.guid = rows.GuidAt(1);
    if (!rows.IsNull(2)) one.update = rows.GuidAt(2);
    if (!rows.IsNull(3)) one.group = rows.GuidAt(3);
    if (!rows.IsNull(4)) one.before = rows.String(4);
    history.push_back(std::move(one));
  }
  TRY(rows.Check());
  return history;
}

std::unexpected<Error> Damaged(const HistoryRow& row) {
  return Fail(ErrorCode::kCorrupt, fmt::format("the history of {} {} cannot be read",
                                               IntentKindName(row.kind), row.guid.ToString()));
}

class Undo {
 public:
  Undo(CommitTransaction& commit, Generation generation)
      : commit_(commit), generation_(generation) {}

  Result<UndoOutcome> Run(const std::vector<HistoryRow>& history) {
    TRY(RefuseConflicts(history));
    // Groups first, what goes for them next, and groups that go last.
    const auto goes_last = [](const HistoryRow& row) {
      return row.kind == IntentKind::kGroup && !row.before;
    };
    for (const bool last : {false, true}) {
      for (const HistoryRow& row : history) {
        if (goes_last(row) != last) continue;
        TRY(Restore(row));
        outcome_.steps.push_back(
            {row.kind, row.guid, row.update, row.group, row.before.has_value()});
      }
    }
    return std::move(outcome_);
  }

 private:
  /// What was decided later about the same group, licence or update stands in the way.
  Result<void> RefuseConflicts(const std::vector<HistoryRow>& history) {
    constexpr std::size_t kShown = 10;
    std::string list;
    std::size_t count = 0;
    for (const HistoryRow& row : history) {
      TRY_ASSIGN(const auto later, LaterChange(row));
      if (!later) continue;
      if (++count <= kShown) {
        list += fmt::format("\n  {} {}: generation {}", IntentKindName(row.kind),
                            row.update.value_or(row.guid).ToString(), *later);
      }
    }
    if (count == 0) return {};
    if (count > kShown) list += fmt::format("\n  and {} more", count - kShown);
    return Fail(ErrorCode::kUsage, "undo-conflict",
                fmt::format("generation {} cannot be taken back: {} of what it changed {} changed "
                            "again later{}",
                            generation_, count, count == 1 ? "was" : "were", list));
  }

  Result<std::optional<std::int64_t>> LaterChange(const HistoryRow& row) {
    Database& db = commit_.db();
    if (row.update) {
      return db.QueryInt(
          "SELECT max(generation) FROM intent_history WHERE update_guid = ?1 AND generation > ?2 "
          "AND (kind = 3 OR ?3 IS NULL OR target_group = ?3) HAVING max(generation) IS NOT NULL",
          *row.update, generation_, row.group);
    }
    return db.QueryInt(
        "SELECT max(generation) FROM intent_history WHERE kind = ?1 AND guid = ?2 "
        "AND generation > ?3 HAVING max(generation) IS NOT NULL",
        static_cast<int>(row.kind), row.guid, generation_);
  }

  Result<void> Restore(const HistoryRow& row) {
    switch (row.kind) {
      case IntentKind::kGroup:
        return RestoreGroup(row);
      case IntentKind::kApproval:
        return RestoreApproval(row);
      case IntentKind::kDecline:
        TRY(PutDecline(commit_, IntentOrigin::kLocal, row.guid, row.before.has_value()));
        return {};
      case IntentKind::kEula:
        break;
    }
    if (row.before) {
      TRY(PutEula(commit_, IntentOrigin::kLocal, row.guid));
    } else {
      TRY(EndEula(commit_, IntentOrigin::kLocal, row.guid));
    }
    return {};
  }

  Result<void> RestoreGroup(const HistoryRow& row) {
    if (!row.before) {
      // Made later, so of no generation above: nothing was approved for it that still stands.
      TRY_ASSIGN(const auto used,
                 commit_.db().QueryInt("SELECT count(*) FROM deployment WHERE origin = 0 "
                                       "AND is_dead = 0 AND target_group = ?",
                                       row.guid));
      TRY_ASSIGN(const auto children,
                 commit_.db().QueryInt("SELECT count(*) FROM target_group WHERE origin = 0 "
                                       "AND is_dead = 0 AND parent = ?",
                                       row.guid));
      if (used.value_or(0) + children.value_or(0) > 0) {
        return Fail(
            ErrorCode::kUsage, "undo-conflict",
            fmt::format("generation {} cannot be taken back: group {} has {} approvals and "
                        "{} groups below it by now",
                        generation_, row.guid.ToString(), used.value_or(0), children.value_or(0)));
      }
      TRY(EndGroup(commit_, IntentOrigin::kLocal, row.guid));
      return {};
    }
    const json object = json::parse(*row.before, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("name") || !object.contains("parent")) {
      return Damaged(row);
    }
    TRY_ASSIGN(const Guid parent, Guid::Parse(object["parent"].get<std::string>()));
    TRY(PutGroup(commit_, IntentOrigin::kLocal,
                 {row.guid, parent, object["name"].get<std::string>(), false}));
    return {};
  }

  Result<void> RestoreApproval(const HistoryRow& row) {
    if (!row.before) {
      TRY_ASSIGN(const auto now, FindDeployment(commit_.db(), IntentOrigin::kLocal, row.guid));
      if (now) TRY(EndDeployment(commit_, *now));
      return {};
    }
    TRY_ASSIGN(IncomingDeployment was, ParseDeployment(row));
    TRY_ASSIGN(const bool group_lives, IsLive(was.group));
    if (!group_lives) {
      return Fail(ErrorCode::kUsage, "undo-conflict",
                  fmt::format("generation {} cannot be taken back: group {} is gone", generation_,
                              was.group.ToString()));
    }
    was.last_change = commit_.committed_at();
    std::optional<UtcTime> effective = was.deadline;
    std::optional<UtcTime> floored_at;
    if (effective && *effective < ReckonedFrom(commit_)) {
      const auto settled =
          SettleDeadline(was.deadline, ReckonedFrom(commit_),
                         commit_.mirror().config().import.deadline_floor, std::nullopt);
      effective = settled.effective;
      floored_at = settled.floored_at;
    }
    TRY(PutDeployment(commit_, IntentOrigin::kLocal, was, effective, floored_at));
    return {};
  }

  Result<IncomingDeployment> ParseDeployment(const HistoryRow& row) {
    const json object = json::parse(*row.before, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("update") || !object.contains("admin")) {
      return Damaged(row);
    }
    IncomingDeployment one;
    one.guid = row.guid;
    TRY_ASSIGN(one.update, protocol::UpdateId::Parse(object["update"].get<std::string>()));
    TRY_ASSIGN(one.group, Guid::Parse(object["group"].get<std::string>()));
    one.action = static_cast<DeploymentAction>(object["action"].get<int>());
    one.is_assigned = object["assigned"].get<bool>();
    one.download_priority = object["priority"].get<std::uint8_t>();
    one.go_live.ticks = object["go_live"].get<std::int64_t>();
    one.admin_name = object["admin"].get<std::string>();
    if (object.contains("deadline")) {
      one.deadline = UtcTime{object["deadline"].get<std::int64_t>()};
    }
    return one;
  }

  Result<bool> IsLive(const Guid& group) {
    if (IsBuiltinGroup(group)) return true;
    TRY_ASSIGN(const auto live,
               commit_.db().QueryInt("SELECT 1 FROM target_group WHERE origin = 0 AND guid = ? "
                                     "AND is_dead = 0",
                                     group));
    return live.has_value();
  }

  CommitTransaction& commit_;
  Generation generation_;
  UndoOutcome outcome_;
};

Result<void> RefuseNothingToUndo(Mirror& mirror, Generation generation) {
  TRY_ASSIGN(const auto state, mirror.catalog().StateAt(generation));
  if (!state || generation <= 0) {
    return Fail(ErrorCode::kNotFound, "no-generation",
                fmt::format("generation {} does not exist", generation));
  }
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  if (generation <= published.name.generation - kKeptGenerations) {
    return Fail(ErrorCode::kUsage, "undo-too-old",
                fmt::format("generation {} is too old: what was decided is kept for {} generations",
                            generation, kKeptGenerations));
  }
  return Fail(ErrorCode::kUsage, "not-local",
              fmt::format("generation {} ({}) changed no decision of this mirror", generation,
                          state->kind));
}

}  // namespace

std::string_view IntentKindName(IntentKind kind) {
  switch (kind) {
    case IntentKind::kGroup:
      return "group";
    case IntentKind::kApproval:
      return "approval";
    case IntentKind::kDecline:
      return "decline";
    case IntentKind::kEula:
      break;
  }
  return "licence";
}

Result<void> RememberGroup(CommitTransaction& commit, const Guid& group,
                           const std::optional<TargetGroup>& before) {
  return Remember(commit, IntentKind::kGroup, group, {}, {},
                  before ? std::optional(GroupText(*before)) : std::nullopt);
}

Result<void> RememberDeployment(CommitTransaction& commit, const IncomingDeployment& now,
                                const std::optional<Deployment>& before) {
  const bool was_there = before && !before->is_dead;
  return Remember(commit, IntentKind::kApproval, now.guid, now.update.guid, now.group,
                  was_there ? std::optional(DeploymentText(Travelling(*before))) : std::nullopt);
}

Result<void> RememberDecline(CommitTransaction& commit, const Guid& update, bool was_declined) {
  return Remember(commit, IntentKind::kDecline, update, update, {},
                  was_declined ? std::optional<std::string>("{}") : std::nullopt);
}

Result<void> RememberEula(CommitTransaction& commit, const Guid& eula, bool was_accepted) {
  return Remember(commit, IntentKind::kEula, eula, {}, {},
                  was_accepted ? std::optional<std::string>("{}") : std::nullopt);
}

Result<std::vector<LocalDecision>> ReadLocalDecisions(Mirror& mirror, int limit) {
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(
                 "SELECT h.generation, g.committed_at, g.kind, sum(h.kind = 1), "
                 "sum(h.kind = 2), sum(h.kind = 3), sum(h.kind = 4) "
                 "FROM intent_history h JOIN generation_log g "
                 "ON g.generation = h.generation WHERE g.kind <> 'clock' GROUP BY h.generation "
                 "ORDER BY h.generation DESC LIMIT ?"));
  rows.BindAll(limit);
  std::vector<LocalDecision> decisions;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const auto count = [&](int column) { return static_cast<std::uint64_t>(rows.Int(column)); };
    decisions.push_back(
        {rows.Int(0), rows.Time(1), rows.String(2), count(3), count(4), count(5), count(6)});
  }
  TRY(rows.Check());
  return decisions;
}

Result<UndoOutcome> UndoGeneration(Mirror& mirror, Generation generation, std::string_view actor,
                                   bool dry_run) {
  if (mirror.config().replica) {
    return Fail(ErrorCode::kUsage, "replica",
                fmt::format("this mirror is a replica: what generation {} brought was decided "
                            "above and is taken back there",
                            generation));
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "undo"));
  TRY_ASSIGN(const auto history, ReadHistory(commit.db(), generation));
  if (history.empty()) TRY(RefuseNothingToUndo(mirror, generation));
  TRY_ASSIGN(UndoOutcome outcome, Undo(commit, generation).Run(history));
  if (dry_run) {
    outcome.generation = commit.generation() - 1;
    return outcome;  // the commit is never finished: all is rolled back
  }
  TRY(commit.Audit({std::string(actor), "intent.undo", fmt::format("generation {}", generation),
                    fmt::format("{{\"changes\":{}}}", outcome.steps.size())}));
  TRY_ASSIGN(const auto state, commit.Finish());
  outcome.generation = state.generation;
  return outcome;
}

}  // namespace gapferry::mirror
