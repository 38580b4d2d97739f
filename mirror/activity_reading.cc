#include <fmt/format.h>

#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/activity_json.h"
#include "mirror/activity_rows.h"

// Activity: reading.

namespace gapferry::mirror {

Result<std::optional<Computer>> Activity::Find(std::string_view computer_id) {
  TRY_ASSIGN(auto row, FindComputerRow(db(), computer_id));
  if (!row) return std::optional<Computer>();
  return std::optional<Computer>(std::move(row->computer));
}

Result<std::optional<UtcTime>> Activity::LastScan(std::string_view computer_id) {
  TRY_ASSIGN(auto row, db().Prepare("SELECT last_sync_time FROM computer WHERE computer_id = ?"));
  row.BindAll(computer_id);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<UtcTime>();
  return std::optional<UtcTime>(UtcTime{row.Int(0)});
}

Result<void> Activity::ForEachComputer(std::int64_t after_seq,
                                       const std::function<Result<void>(const Computer&)>& visit) {
  TRY_ASSIGN(auto rows, db().Prepare(ComputerSelect("WHERE change_seq > ?1 OR status_seq > ?1 "
                                                    "ORDER BY computer_id")));
  rows.BindAll(after_seq);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    const ComputerRow computer = ReadComputer(rows);
    TRY(rows.Check());
    TRY(visit(computer.computer));
  }
}

Result<Computer> Activity::FindByIdOrName(std::string_view text) {
  TRY_ASSIGN(auto found, Find(text));
  if (found) return *std::move(found);
  TRY_ASSIGN(auto rows,
             db().Prepare(ComputerSelect("WHERE name = ? ORDER BY computer_id LIMIT 2")));
  rows.BindAll(text);
  TRY_ASSIGN(const bool first, rows.Step());
  if (!first) {
    return Fail(ErrorCode::kNotFound, "no-computer",
                fmt::format("computer '{}' is not known", EscapeForDisplay(text)));
  }
  Computer computer = ReadComputer(rows).computer;
  TRY(rows.Check());
  TRY_ASSIGN(const bool second, rows.Step());
  if (second) {
    return Fail(ErrorCode::kUsage, "ambiguous-name",
                fmt::format("several computers are named '{}'; use the id, such as {}",
                            EscapeForDisplay(text), computer.id));
  }
  return computer;
}

Result<std::vector<UpdateStatus>> Activity::StatusOf(std::string_view computer_id,
                                                     std::int64_t after_seq) {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT s.update_guid, s.state, s.last_change, s.change_seq "
                                     "FROM update_status s JOIN computer c ON c.id = s.computer "
                                     "WHERE c.computer_id = ? AND s.change_seq > ? "
                                     "ORDER BY s.update_guid"));
  rows.BindAll(computer_id, after_seq);
  std::vector<UpdateStatus> states;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return states;
    states.push_back(
        {rows.GuidAt(0), static_cast<UpdateState>(rows.Int32(1)), rows.Time(2), rows.Int(3)});
  }
}

Result<std::map<std::string, Activity::StateCounts>> Activity::StateCountsByComputer() {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT c.computer_id, s.state, s.n FROM "
                                     "(SELECT computer, state, count(*) AS n FROM update_status "
                                     "GROUP BY computer, state) s "
                                     "JOIN computer c ON c.id = s.computer"));
  std::map<std::string, StateCounts> counts;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return counts;
    counts[rows.String(0)][static_cast<UpdateState>(rows.Int32(1))] =
        static_cast<std::uint64_t>(rows.Int(2));
  }
}

namespace {

void CountState(UpdateCounts& counts, UpdateState state, std::uint64_t computers) {
  switch (state) {
    case UpdateState::kNotInstalled:
      counts.needed += computers;
      break;
    case UpdateState::kDownloaded:
      counts.downloaded += computers;
      counts.needed += computers;
      break;
    case UpdateState::kInstalled:
      counts.installed += computers;
      break;
    case UpdateState::kInstalledPendingReboot:
      counts.pending_reboot += computers;
      break;
    case UpdateState::kFailed:
      counts.failed += computers;
      counts.needed += computers;
      break;
    case UpdateState::kUnknown:
    case UpdateState::kNotApplicable:
      break;
  }
}

Result<std::vector<UpdateCounts>> ReadCounts(Statement& rows) {
  std::vector<UpdateCounts> all;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return all;
    const Guid update = rows.GuidAt(0);
    if (all.empty() || all.back().update != update) {
      all.emplace_back();
      all.back().update = update;
    }
    CountState(all.back(), static_cast<UpdateState>(rows.Int32(1)),
               static_cast<std::uint64_t>(rows.Int(2)));
  }
}

}  // namespace

Result<std::vector<UpdateCounts>> Activity::CountsByUpdate() {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT update_guid, state, count(*) FROM update_status "
                                     "GROUP BY update_guid, state ORDER BY update_guid"));
  return ReadCounts(rows);
}

Result<UpdateCounts> Activity::CountsOf(const Guid& update) {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT update_guid, state, count(*) FROM update_status "
                                     "WHERE update_guid = ? GROUP BY update_guid, state"));
  rows.BindAll(update);
  TRY_ASSIGN(const auto counts, ReadCounts(rows));
  UpdateCounts none;
  none.update = update;
  return counts.empty() ? none : counts.front();
}

Result<std::vector<StatusChange>> Activity::ComputersOf(const Guid& update) {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT c.computer_id, s.state, s.last_change, s.change_seq "
                                     "FROM update_status s JOIN computer c ON c.id = s.computer "
                                     "WHERE s.update_guid = ? ORDER BY c.computer_id"));
  rows.BindAll(update);
  std::vector<StatusChange> states;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return states;
    states.push_back(
        {rows.String(0),
         {update, static_cast<UpdateState>(rows.Int32(1)), rows.Time(2), rows.Int(3)}});
  }
}

namespace {

/// `own`: over computers with parent zero alone.
Result<ActivityCounts> CountAll(Database& db, bool own) {
  // Needing: not installed or downloaded. An error is both a failure and a need of its own kind.
  const std::string_view where = own ? "AND c.parent_server = zeroblob(16)" : "";
  const auto states = [&](std::string_view what, std::string_view in) {
    return fmt::format(
        "(SELECT count(DISTINCT s.{}) FROM update_status s JOIN computer c ON c.id = s.computer "
        "WHERE s.state IN ({}) {})",
        what, in, where);
  };
  TRY_ASSIGN(
      auto row,
      db.Prepare(fmt::format(
          "SELECT (SELECT count(*) FROM computer c WHERE 1 {0}), {1}, {2}, "
          "(SELECT count(*) FROM computer c WHERE c.has_status = 1 {0} AND NOT EXISTS "
          "(SELECT 1 FROM update_status s WHERE s.computer = c.id AND s.state IN (2, 3, 5, 6))), "
          "{3}, {4}, (SELECT count(*) FROM downstream_server)",
          where, states("computer", "2, 3"), states("computer", "5"), states("update_guid", "2, 3"),
          states("update_guid", "5"))));
  TRY(row.Step());
  const auto at = [&](int column) { return static_cast<std::uint64_t>(row.Int(column)); };
  const ActivityCounts counts{at(0), at(1), at(2), at(3), at(4), at(5), at(6)};
  TRY(row.Check());
  return counts;
}

}  // namespace

Result<ActivityCounts> Activity::Counts() { return CountAll(db(), /*own=*/false); }
Result<ActivityCounts> Activity::OwnCounts() { return CountAll(db(), /*own=*/true); }

Result<std::vector<ClientEvent>> Activity::Events(std::string_view computer_id, int limit) {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT id, computer_id, received_at, body FROM event "
                                     "WHERE computer_id = ? ORDER BY id DESC LIMIT ?"));
  rows.BindAll(computer_id, limit);
  std::vector<ClientEvent> events;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return events;
    events.push_back({rows.Int(0), rows.String(1), rows.Time(2), ReadEvent(rows.Text(3))});
  }
}

Result<std::int64_t> Activity::Sequence() {
  TRY_ASSIGN(const auto sequence, db().QueryInt("SELECT sequence FROM activity_state"));
  return sequence.value_or(0);
}

Result<std::vector<InstallActivity>> Activity::InstallActivities(std::int64_t after_seq) {
  TRY_ASSIGN(auto rows,
             db().Prepare("SELECT server, os_key, update_guid, update_revision, success_total, "
                          "failure_total, change_seq FROM install_activity WHERE change_seq > ? "
                          "ORDER BY server, os_key, update_guid, update_revision"));
  rows.BindAll(after_seq);
  std::vector<InstallActivity> activities;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return activities;
    activities.push_back({rows.GuidAt(0),
                          ReadOsKey(rows.Text(1)),
                          {rows.GuidAt(2), rows.Int32(3)},
                          rows.Int(4),
                          rows.Int(5),
                          rows.Int(6)});
  }
}

namespace {

std::int32_t Clamped(std::int64_t value) {
  return static_cast<std::int32_t>(std::min<std::int64_t>(value, INT32_MAX));
}

Result<std::vector<protocol::ClientSummary>> OwnKinds(Database& db) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT os_key, count(*) FROM computer "
                                   "WHERE parent_server = ? GROUP BY os_key ORDER BY os_key"));
  rows.BindAll(Guid{});
  std::vector<protocol::ClientSummary> kinds;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return kinds;
    kinds.push_back(ReadOsKey(rows.Text(0)));
    kinds.back().count = Clamped(rows.Int(1));
  }
}

}  // namespace

Result<std::vector<protocol::ClientSummary>> Activity::ClientSummaries(const Guid& server) {
  std::vector<protocol::ClientSummary> kinds;
  if (server.IsZero()) {
    TRY_ASSIGN(kinds, OwnKinds(db()));
  } else {
    TRY_ASSIGN(auto known, FindServerRow(db(), server));
    if (known) kinds = std::move(known->clients);
  }
  TRY_ASSIGN(auto rows, db().Prepare("SELECT update_guid, update_revision, success_total, "
                                     "failure_total FROM install_activity WHERE server = ? "
                                     "AND os_key = ? ORDER BY update_guid, update_revision"));
  for (auto& kind : kinds) {
    rows.Reset();
    rows.BindAll(server, OsKey(kind));
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      kind.activity.push_back(
          {{rows.GuidAt(0), rows.Int32(1)}, Clamped(rows.Int(2)), Clamped(rows.Int(3))});
    }
  }
  return kinds;
}

Result<std::vector<Activity::DeletedComputer>> Activity::DeletedComputers(std::int64_t after_seq) {
  TRY_ASSIGN(auto rows, db().Prepare("SELECT computer_id, deleted_at, change_seq "
                                     "FROM deleted_computer WHERE change_seq > ? "
                                     "ORDER BY computer_id"));
  rows.BindAll(after_seq);
  std::vector<DeletedComputer> deleted;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return deleted;
    deleted.push_back({rows.String(0), rows.Time(1), rows.Int(2)});
  }
}

Result<std::vector<DownstreamServer>> Activity::Servers() {
  TRY_ASSIGN(auto rows, db().Prepare(ServerSelect("ORDER BY name, server")));
  std::vector<DownstreamServer> servers;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return servers;
    servers.push_back(ReadServer(rows));
  }
}

Result<std::optional<DownstreamServer>> Activity::FindServer(const Guid& server) {
  return FindServerRow(db(), server);
}

Result<Guid> Activity::RollupResetGuid() {
  TRY_ASSIGN(auto row, db().Prepare("SELECT rollup_reset_guid FROM activity_state"));
  TRY(row.Step());
  const Guid guid = row.GuidAt(0);
  TRY(row.Check());
  return guid;
}

}  // namespace gapferry::mirror
