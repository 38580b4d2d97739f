#include "mirror/activity_rows.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "mirror/activity_json.h"

namespace gapferry::mirror {

Result<std::int64_t> NextSequence(Database& db) {
  TRY_ASSIGN(auto row, db.Prepare("UPDATE activity_state SET sequence = sequence + 1 "
                                  "RETURNING sequence"));
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: no counter", db.path().string()));
  }
  const std::int64_t sequence = row.Int(0);
  TRY(row.Check());
  TRY(row.Step());  // the update ends with the statement
  return sequence;
}

// ---- Computers ---------------------------------------------------------------------------------

std::string ComputerSelect(std::string_view rest) {
  return fmt::format(
      "SELECT id, computer_id, parent_server, details, registered_at, last_contact, "
      "last_sync_time, last_sync_result, last_reported_status, last_reported_reboot, "
      "last_inventory, effective_last_detection, scanned_generation, rollup_number, has_status, "
      "change_seq, status_seq, full_seq FROM computer {}",
      rest);
}

ComputerRow ReadComputer(Statement& row) {
  ComputerRow result;
  result.row = row.Int(0);
  Computer& c = result.computer;
  c.id = row.String(1);
  c.parent_server = row.GuidAt(2);
  c.details = ReadDetails(row.Text(3));
  c.registered_at = row.Time(4);
  c.last_contact = row.Time(5);
  c.last_sync_time = row.Time(6);
  c.last_sync_result = row.Int32(7);
  c.last_reported_status = row.Time(8);
  c.last_reported_reboot = row.Time(9);
  c.last_inventory = row.Time(10);
  c.effective_last_detection = row.Time(11);
  c.scanned_generation = row.Int(12);
  c.rollup_number = row.Int32(13);
  c.has_status = row.Bool(14);
  c.change_seq = row.Int(15);
  c.status_seq = row.Int(16);
  c.full_seq = row.Int(17);
  return result;
}

Result<std::optional<ComputerRow>> FindComputerRow(Database& db, std::string_view computer_id) {
  TRY_ASSIGN(auto row, db.Prepare(ComputerSelect("WHERE computer_id = ?")));
  row.BindAll(computer_id);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<ComputerRow>();
  ComputerRow computer = ReadComputer(row);
  TRY(row.Check());
  return std::optional<ComputerRow>(std::move(computer));
}

Result<std::int64_t> PutComputerRow(Database& db, const Computer& c) {
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  TRY(db.Run(
      "INSERT INTO computer (computer_id, parent_server, name, details, os_key, registered_at, "
      "last_contact, last_sync_time, last_sync_result, last_reported_status, "
      "last_reported_reboot, last_inventory, effective_last_detection, scanned_generation, "
      "rollup_number, has_status, change_seq, status_seq, full_seq) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0) "
      "ON CONFLICT (computer_id) DO UPDATE SET parent_server = excluded.parent_server, "
      "name = excluded.name, details = excluded.details, os_key = excluded.os_key, "
      "registered_at = excluded.registered_at, last_contact = excluded.last_contact, "
      "last_sync_time = excluded.last_sync_time, last_sync_result = excluded.last_sync_result, "
      "last_reported_status = excluded.last_reported_status, "
      "last_reported_reboot = excluded.last_reported_reboot, "
      "last_inventory = excluded.last_inventory, "
      "effective_last_detection = excluded.effective_last_detection, "
      "scanned_generation = excluded.scanned_generation, rollup_number = excluded.rollup_number, "
      "has_status = excluded.has_status, change_seq = excluded.change_seq",
      c.id, c.parent_server, c.details.full_domain_name, WriteDetails(c.details), OsKey(c.details),
      c.registered_at, c.last_contact, c.last_sync_time, c.last_sync_result, c.last_reported_status,
      c.last_reported_reboot, c.last_inventory, c.effective_last_detection, c.scanned_generation,
      c.rollup_number, c.has_status ? 1 : 0, sequence));
  TRY_ASSIGN(const auto row, db.QueryInt("SELECT id FROM computer WHERE computer_id = ?", c.id));
  return row.value_or(0);
}

// ---- Status ------------------------------------------------------------------------------------

namespace {

Result<bool> PutStatusRow(Database& db, std::int64_t computer, const Guid& update,
                          UpdateState state, UtcTime last_change, std::int64_t sequence,
                          SameState same) {
  if (state == UpdateState::kNotApplicable) {
    TRY(db.Run("DELETE FROM update_status WHERE computer = ? AND update_guid = ?", computer,
               update));
    if (db.ChangedRows() == 0) return false;
    // No row can say that one is gone: who follows by change_seq must take all again.
    TRY(db.Run("UPDATE computer SET full_seq = ?1, status_seq = ?1 WHERE id = ?2", sequence,
               computer));
    return true;
  }
  TRY(
      db.Run("INSERT INTO update_status (computer, update_guid, state, last_change, change_seq) "
             "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
             "last_change = excluded.last_change, change_seq = excluded.change_seq "
             "WHERE state <> excluded.state OR (? AND last_change <> excluded.last_change)",
             computer, update, static_cast<int>(state), last_change, sequence,
             same == SameState::kTakesTime ? 1 : 0));
  return db.ChangedRows() != 0;
}

}  // namespace

Result<void> PutStatusRows(Database& db, std::int64_t computer,
                           const std::vector<UpdateStatus>& states, SameState same) {
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  bool changed = false;
  for (const UpdateStatus& one : states) {
    TRY_ASSIGN(const bool news,
               PutStatusRow(db, computer, one.update, one.state, one.last_change, sequence, same));
    changed = changed || news;
  }
  if (!changed) return {};
  return db.Run("UPDATE computer SET status_seq = ? WHERE id = ?", sequence, computer);
}

Result<std::size_t> RemoveOtherStatus(Database& db, std::int64_t computer,
                                      const std::set<Guid>& wanted, std::size_t limit) {
  std::vector<Guid> gone;
  {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT update_guid FROM update_status WHERE computer = ?"));
    rows.BindAll(computer);
    while (gone.size() < limit) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      const Guid update = rows.GuidAt(0);
      if (!wanted.contains(update)) gone.push_back(update);
    }
    TRY(rows.Check());
  }
  if (gone.empty()) return gone.size();
  TRY_ASSIGN(auto remove,
             db.Prepare("DELETE FROM update_status WHERE computer = ? AND update_guid = ?"));
  for (const Guid& update : gone) TRY(remove.Run(computer, update));
  // No row can say that one is gone: who follows by change_seq must take all again.
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  TRY(db.Run("UPDATE computer SET full_seq = ?1, status_seq = ?1 WHERE id = ?2", sequence,
             computer));
  return gone.size();
}

Result<void> ReplaceStatus(Database& db, std::int64_t computer,
                           const std::vector<UpdateStatus>& states, SameState same) {
  std::map<Guid, UpdateStatus> wanted;
  std::set<Guid> kept;
  for (const auto& status : states) {
    if (status.state == UpdateState::kNotApplicable) continue;
    wanted[status.update] = status;
    kept.insert(status.update);
  }
  TRY(RemoveOtherStatus(db, computer, kept, SIZE_MAX));
  std::vector<UpdateStatus> rows;
  for (const auto& [update, status] : wanted) rows.push_back(status);
  return PutStatusRows(db, computer, rows, same);
}

// ---- Servers -----------------------------------------------------------------------------------

std::string ServerSelect(std::string_view rest) {
  return fmt::format(
      "SELECT server, name, parent, version, is_replica, first_seen, last_contact, "
      "last_sync_time, last_rollup_time, summary, clients, change_seq, site "
      "FROM downstream_server {}",
      rest);
}

DownstreamServer ReadServer(Statement& row) {
  DownstreamServer s;
  s.id = row.GuidAt(0);
  s.name = row.String(1);
  s.parent = row.GuidAt(2);
  s.version = row.String(3);
  s.is_replica = row.Bool(4);
  s.first_seen = row.Time(5);
  s.last_contact = row.Time(6);
  s.last_sync_time = row.Time(7);
  s.last_rollup_time = row.Time(8);
  if (!row.IsNull(9)) s.summary = ReadSummary(row.Text(9));
  s.clients = ReadClients(row.Text(10));
  s.change_seq = row.Int(11);
  s.site = row.GuidAt(12);
  return s;
}

Result<std::optional<DownstreamServer>> FindServerRow(Database& db, const Guid& server) {
  TRY_ASSIGN(auto row, db.Prepare(ServerSelect("WHERE server = ?")));
  row.BindAll(server);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<DownstreamServer>();
  DownstreamServer result = ReadServer(row);
  TRY(row.Check());
  return std::optional<DownstreamServer>(std::move(result));
}

Result<void> PutServerRow(Database& db, const DownstreamServer& s) {
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  std::optional<std::string> summary;
  if (s.summary) summary = WriteSummary(*s.summary);
  return db.Run(
      "INSERT INTO downstream_server (server, name, parent, version, is_replica, first_seen, "
      "last_contact, last_sync_time, last_rollup_time, summary, clients, change_seq, site) "
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
      "name = excluded.name, parent = excluded.parent, version = excluded.version, "
      "is_replica = excluded.is_replica, first_seen = excluded.first_seen, "
      "last_contact = excluded.last_contact, last_sync_time = excluded.last_sync_time, "
      "last_rollup_time = excluded.last_rollup_time, summary = excluded.summary, "
      "clients = excluded.clients, change_seq = excluded.change_seq, site = excluded.site",
      s.id, s.name, s.parent, s.version, s.is_replica ? 1 : 0, s.first_seen, s.last_contact,
      s.last_sync_time, s.last_rollup_time, summary, WriteClients(s.clients), sequence, s.site);
}

Result<void> AddInstallActivity(Database& db, const Guid& server, const std::string& os_key,
                                const protocol::UpdateId& update, std::int64_t success,
                                std::int64_t failure) {
  if (success == 0 && failure == 0) return {};
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  return db.Run(
      "INSERT INTO install_activity (server, os_key, update_guid, update_revision, success_total, "
      "failure_total, change_seq) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
      "success_total = success_total + excluded.success_total, "
      "failure_total = failure_total + excluded.failure_total, change_seq = excluded.change_seq",
      server, os_key, update.guid, update.revision, success, failure, sequence);
}

}  // namespace gapferry::mirror
