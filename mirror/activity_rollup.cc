#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/activity_json.h"
#include "mirror/activity_rows.h"

// Activity: what servers below report (wsusss.md 4.3).

namespace gapferry::mirror {

namespace {

/// The sender's clock is corrected when it is off by more than a minute (MS-WSUSSS PB 50, 54, 61).
class ClockCorrection {
 public:
  ClockCorrection(UtcTime now, UtcTime sender) {
    const std::int64_t off = now.ticks - sender.ticks;
    if (std::abs(off) > 60 * UtcTime::kTicksPerSecond) offset_ = off;
  }
  UtcTime operator()(UtcTime time) const {
    if (time <= kNever || time == kEndOfTime) return time;
    return {time.ticks + offset_};
  }

 private:
  std::int64_t offset_ = 0;
};

Result<void> RefuseUnknownParent(Database& db, const Guid& parent, std::string_view what) {
  TRY_ASSIGN(const auto known, FindServerRow(db, parent));
  if (known) return {};
  return Fail(ErrorCode::kUsage, "unknown-parent",
              fmt::format("{}: parent server {} is not known", what, parent.ToString()));
}

/// Kinds of the same name are replaced, others added: a long list comes in several records.
void MergeKinds(std::vector<protocol::ClientSummary>& kinds,
                const std::vector<protocol::ClientSummary>& more) {
  for (const auto& kind : more) {
    const auto same = std::find_if(kinds.begin(), kinds.end(),
                                   [&](const auto& k) { return OsKey(k) == OsKey(kind); });
    if (same == kinds.end()) {
      kinds.push_back(kind);
    } else {
      *same = kind;
    }
  }
  for (auto& kind : kinds) kind.activity.clear();
}

Result<void> TakeServer(Database& db, const protocol::DownstreamServerRollup& told,
                        const ClockCorrection& correct, UtcTime now) {
  if (!told.parent_server_id.IsZero()) {
    TRY(RefuseUnknownParent(db, told.parent_server_id,
                            fmt::format("server {}", told.server_id.ToString())));
  }
  TRY_ASSIGN(auto known, FindServerRow(db, told.server_id));
  const UtcTime rolled_up = correct(told.last_rollup_time);
  if (known && known->last_rollup_time > rolled_up) return {};  // older news
  const bool another_part = known && known->last_rollup_time == rolled_up;
  DownstreamServer server = known ? *std::move(known) : DownstreamServer{};
  if (!another_part) server.clients.clear();
  if (server.id.IsZero()) server.first_seen = now;
  server.id = told.server_id;
  server.name = EscapeForDisplay(told.full_domain_name, 256);
  server.parent = told.parent_server_id;
  server.version = EscapeForDisplay(told.version, 32);
  server.is_replica = told.is_replica;
  server.last_contact = now;
  server.last_sync_time = correct(told.last_sync_time);
  server.last_rollup_time = rolled_up;
  if (told.summary) server.summary = told.summary;
  MergeKinds(server.clients, told.client_summaries);
  TRY(PutServerRow(db, server));
  for (const auto& kind : told.client_summaries) {
    for (const auto& activity : kind.activity) {
      TRY(AddInstallActivity(db, told.server_id, OsKey(kind), activity.update,
                             std::max(0, activity.install_success_count),
                             std::max(0, activity.install_failure_count)));
    }
  }
  return {};
}

}  // namespace

Result<void> Activity::ServerContact(const Guid& server, std::string_view name) {
  return InWrite(db(), [&]() -> Result<void> {
    const UtcTime now = impl_->clock.Now();
    TRY_ASSIGN(auto known, FindServerRow(db(), server));
    DownstreamServer record = known ? *std::move(known) : DownstreamServer{};
    if (record.id.IsZero()) record.first_seen = now;
    record.id = server;
    record.parent = Guid{};  // it talks to us, whatever others said
    record.name = EscapeForDisplay(name, 256);
    record.last_contact = now;
    return PutServerRow(db(), record);
  });
}

Result<void> Activity::RollupServers(const protocol::RollupDownstreamServersRequest& request) {
  return InWrite(db(), [&]() -> Result<void> {
    const UtcTime now = impl_->clock.Now();
    const ClockCorrection correct(now, request.client_time);
    for (const auto& server : request.servers) TRY(TakeServer(db(), server, correct, now));
    return {};
  });
}

namespace {

enum class Answer { kNothing, kNewParent, kDeleted };

void TakeTimes(Computer& computer, const protocol::ComputerRollup& told,
               const ClockCorrection& correct, UtcTime now) {
  computer.parent_server = told.parent_server_id;
  computer.last_contact = now;
  computer.last_sync_time = correct(told.last_sync_time);
  computer.last_sync_result = told.last_sync_result;
  computer.last_reported_reboot = correct(told.last_reported_reboot_time);
  computer.last_reported_status = correct(told.last_reported_status_time);
  computer.last_inventory = correct(told.last_inventory_time);
}

Result<bool> IsDeleted(Database& db, const protocol::ComputerRollup& told, UtcTime synced_at) {
  TRY_ASSIGN(const auto deleted_at,
             db.QueryInt("SELECT deleted_at FROM deleted_computer WHERE computer_id = ?",
                         told.computer_id));
  if (!deleted_at) return false;
  // It lives again when it has scanned since and is told in full.
  if (!told.details || synced_at.ticks <= *deleted_at) return true;
  TRY(db.Run("DELETE FROM deleted_computer WHERE computer_id = ?", told.computer_id));
  return false;
}

Result<Answer> TakeComputer(Database& db, const protocol::ComputerRollup& told,
                            const ClockCorrection& correct, UtcTime now) {
  TRY(RefuseUnknownParent(db, told.parent_server_id,
                          fmt::format("computer '{}'", EscapeForDisplay(told.computer_id))));
  TRY_ASSIGN(const bool deleted, IsDeleted(db, told, correct(told.last_sync_time)));
  if (deleted) return Answer::kDeleted;
  TRY_ASSIGN(auto known, FindComputerRow(db, told.computer_id));
  if (known && known->computer.last_sync_time > correct(told.last_sync_time)) {
    return Answer::kNothing;
  }
  const bool new_parent = !known || known->computer.parent_server != told.parent_server_id;
  if (new_parent && !told.details) return Answer::kNewParent;
  Computer computer = known ? std::move(known->computer) : Computer{};
  computer.id = told.computer_id;
  if (!known) computer.registered_at = now;
  if (new_parent) {
    computer.rollup_number = 0;  // so that its status is found out of sync
    computer.scanned_generation = 0;
  }
  TakeTimes(computer, told, correct, now);
  if (told.details) computer.details = *told.details;
  TRY(PutComputerRow(db, computer));
  return Answer::kNothing;
}

/// `root` and every server below it.
Result<std::set<Guid>> Subtree(Database& db, const Guid& root) {
  std::set<Guid> members;
  TRY_ASSIGN(const auto known, FindServerRow(db, root));
  if (!known) return members;
  TRY_ASSIGN(auto rows, db.Prepare("WITH RECURSIVE below(server) AS (VALUES (?1) UNION "
                                   "SELECT d.server FROM downstream_server d JOIN below b "
                                   "ON d.parent = b.server) SELECT server FROM below"));
  rows.BindAll(root);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return members;
    members.insert(rows.GuidAt(0));
  }
}

}  // namespace

Result<std::vector<protocol::ChangedComputer>> Activity::RollupComputers(
    const protocol::RollupComputersRequest& request) {
  return InWrite(db(), [&]() -> Result<std::vector<protocol::ChangedComputer>> {
    const UtcTime now = impl_->clock.Now();
    const ClockCorrection correct(now, request.client_time);
    std::vector<protocol::ChangedComputer> changes;
    for (const auto& computer : request.computers) {
      TRY_ASSIGN(const Answer answer, TakeComputer(db(), computer, correct, now));
      if (answer == Answer::kNothing) continue;
      changes.push_back({computer.computer_id, answer == Answer::kDeleted
                                                   ? protocol::ComputerChange::kDeleted
                                                   : protocol::ComputerChange::kNewParent});
    }
    return changes;
  });
}

Result<std::vector<std::string>> Activity::OutOfSync(
    const protocol::GetOutOfSyncComputersRequest& request) {
  TRY_ASSIGN(const auto subtree, Subtree(db(), request.parent_server_id));
  std::vector<std::string> out_of_sync;
  if (subtree.empty()) return out_of_sync;
  for (const auto& told : request.last_rollup_numbers) {
    TRY_ASSIGN(const auto known, FindComputerRow(db(), told.computer_id));
    if (known && subtree.contains(known->computer.parent_server) &&
        known->computer.rollup_number != told.rollup_number) {
      out_of_sync.push_back(told.computer_id);
    }
  }
  return out_of_sync;
}

namespace {

Result<void> TakeStatus(Database& db, const protocol::ComputerStatusRollup& told,
                        const ClockCorrection& correct) {
  TRY_ASSIGN(auto known, FindComputerRow(db, told.computer_id));
  if (!known) return {};
  known->computer.rollup_number = told.rollup_number;
  known->computer.has_status = true;
  known->computer.effective_last_detection = correct(told.effective_last_detection_time);
  TRY(PutComputerRow(db, known->computer));
  std::vector<UpdateStatus> states;
  for (const auto& status : told.update_status) {
    if (status.state < 0 || status.state > 6) {
      return Fail(ErrorCode::kUsage, fmt::format("computer '{}': update {}: {} is no state",
                                                 EscapeForDisplay(told.computer_id),
                                                 status.update_id.ToString(), status.state));
    }
    states.push_back({status.update_id, static_cast<UpdateState>(status.state),
                      correct(status.last_change_time), 0});
  }
  if (told.is_full_rollup) return ReplaceStatus(db, known->row, states);
  TRY_ASSIGN(const std::int64_t sequence, NextSequence(db));
  for (const auto& status : states) {
    TRY_ASSIGN(const auto last, db.QueryInt("SELECT last_change FROM update_status WHERE "
                                            "computer = ? AND update_guid = ?",
                                            known->row, status.update));
    if (last && *last > status.last_change.ticks) continue;
    TRY(PutStatusRow(db, known->row, status.update, status.state, status.last_change, sequence));
  }
  return {};
}

}  // namespace

Result<void> Activity::RollupStatus(const protocol::RollupComputerStatusRequest& request) {
  return InWrite(db(), [&]() -> Result<void> {
    const ClockCorrection correct(impl_->clock.Now(), request.client_time);
    for (const auto& computer : request.computers) TRY(TakeStatus(db(), computer, correct));
    return {};
  });
}

}  // namespace gapferry::mirror
