#include <fmt/format.h>

#include <set>

#include "base/text.h"
#include "mirror/rollup_intake.h"
#include "mirror/rollup_rules.h"
#include "protocol/reporting_limits.h"

// RollupIntake: computers and their status.

namespace gapferry::mirror {

namespace {

using protocol::ComputerRollup;
using protocol::ComputerStatusRollup;

constexpr std::size_t kComputersPerPiece = 50;
constexpr std::size_t kRowsPerPiece = 500;
constexpr std::size_t kMaxRowsOfOne = 50'000;
constexpr std::size_t kMaxIdBytes = 256;

enum class Answer { kNothing, kNewParent, kDeleted };

// ---- Computers ---------------------------------------------------------------------------------

Result<void> CheckComputers(Database& db, const std::vector<ComputerRollup>& computers) {
  std::set<Guid> good;
  for (const auto& told : computers) {
    const std::string name = EscapeForDisplay(told.computer_id);
    if (told.computer_id.empty() || told.computer_id.size() > kMaxIdBytes) {
      return FailRollup(fmt::format("computer id '{}' has {} bytes, allowed 1 to {}", name,
                                    told.computer_id.size(), kMaxIdBytes));
    }
    if (good.contains(told.parent_server_id)) continue;
    TRY_ASSIGN(const auto parent, FindServerPlace(db, told.parent_server_id));
    if (!parent || !parent->site.IsZero()) {
      return Fail(ErrorCode::kUsage, "unknown-parent",
                  fmt::format("computer '{}': parent server {} is not known", name,
                              told.parent_server_id.ToString()));
    }
    good.insert(told.parent_server_id);
  }
  return {};
}

void TakeTimes(Computer& computer, const ComputerRollup& told, const ClockCorrection& correct,
               UtcTime now) {
  computer.parent_server = told.parent_server_id;
  computer.last_contact = now;
  computer.last_sync_time = correct(told.last_sync_time);
  const bool is_result = told.last_sync_result >= 0 && told.last_sync_result <= 2;
  computer.last_sync_result = is_result ? told.last_sync_result : 0;
  computer.last_reported_reboot = correct(told.last_reported_reboot_time);
  computer.last_reported_status = correct(told.last_reported_status_time);
  computer.last_inventory = correct(told.last_inventory_time);
}

Result<bool> IsDeleted(Database& db, const ComputerRollup& told, UtcTime synced_at, UtcTime now) {
  TRY_ASSIGN(const auto deleted_at,
             db.QueryInt("SELECT deleted_at FROM deleted_computer WHERE computer_id = ?",
                         told.computer_id));
  if (!deleted_at) return false;
  const bool recently = now < UtcTime{*deleted_at} + kDeletedKept;
  // It lives again when it has scanned since and is told in full.
  if (recently && (!told.details || synced_at.ticks <= *deleted_at)) return true;
  TRY(db.Run("DELETE FROM deleted_computer WHERE computer_id = ?", told.computer_id));
  return false;
}

/// A computer of ours is another's once it has been there later than here.
bool IsStale(const Computer& known, UtcTime synced_at) {
  if (known.parent_server.IsZero()) return synced_at <= known.last_contact;
  return synced_at < known.last_sync_time;
}

Result<Answer> TakeComputer(Database& db, const ComputerRollup& told,
                            const ClockCorrection& correct, UtcTime now) {
  const UtcTime synced_at = correct(told.last_sync_time);
  TRY_ASSIGN(const bool deleted, IsDeleted(db, told, synced_at, now));
  if (deleted) return Answer::kDeleted;
  TRY_ASSIGN(auto known, FindComputerRow(db, told.computer_id));
  if (known && IsStale(known->computer, synced_at)) return Answer::kNothing;
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
  if (told.details) computer.details = protocol::Fit(*told.details);
  TRY(PutComputerRow(db, computer));
  return Answer::kNothing;
}

}  // namespace

Result<std::vector<protocol::ChangedComputer>> RollupIntake::Computers(
    const protocol::RollupComputersRequest& request) {
  const auto& all = request.computers;
  TRY(run_([&](Activity& activity) { return CheckComputers(activity.db(), all); }));
  std::vector<protocol::ChangedComputer> changes;
  std::set<std::string> answered;
  for (std::size_t first = 0; first < all.size(); first += kComputersPerPiece) {
    const std::size_t end = std::min(all.size(), first + kComputersPerPiece);
    const auto take = [&](Activity& activity) -> Result<void> {
      const UtcTime now = activity.Now();
      const ClockCorrection correct(now, request.client_time);
      for (std::size_t i = first; i < end; ++i) {
        TRY_ASSIGN(const Answer answer, TakeComputer(activity.db(), all[i], correct, now));
        if (answer == Answer::kNothing) continue;
        if (!answered.insert(ToLowerAscii(all[i].computer_id)).second) continue;
        changes.push_back({all[i].computer_id, answer == Answer::kDeleted
                                                   ? protocol::ComputerChange::kDeleted
                                                   : protocol::ComputerChange::kNewParent});
      }
      return {};
    };
    TRY(run_(take));
  }
  return changes;
}

// ---- Status ------------------------------------------------------------------------------------

namespace {

Result<void> CheckStatus(const std::vector<ComputerStatusRollup>& computers) {
  for (const auto& told : computers) {
    const std::string name = EscapeForDisplay(told.computer_id);
    if (told.rollup_number < 0) {
      return FailRollup(
          fmt::format("computer '{}': {} is no rollup number", name, told.rollup_number));
    }
    if (told.update_status.size() > kMaxRowsOfOne) {
      return FailRollup(fmt::format("computer '{}': {} states, at most {} are taken", name,
                                    told.update_status.size(), kMaxRowsOfOne));
    }
    for (const auto& status : told.update_status) {
      if (status.state >= 0 && status.state <= 6) continue;
      return FailRollup(fmt::format("computer '{}': update {}: {} is no state", name,
                                    status.update_id.ToString(), status.state));
    }
  }
  return {};
}

/// How far one computer of a request is taken.
struct Progress {
  const ComputerStatusRollup* told;
  std::set<Guid> kept;  // of a full one
  bool others_gone = false;
  std::size_t rows_done = 0;
  bool done = false;
};

class StatusPiece {
 public:
  StatusPiece(Activity& activity, const protocol::RollupComputerStatusRequest& request)
      : db_(activity.db()), correct_(activity.Now(), request.client_time) {}

  bool full() const { return left_ == 0; }

  /// Takes as much as fits. The number comes last: a status that ends in the middle is found out of
  /// sync and told in full.
  Result<void> Take(Progress& at, const std::set<Guid>& subtree) {
    TRY_ASSIGN(auto known, FindComputerRow(db_, at.told->computer_id));
    if (!known || !subtree.contains(known->computer.parent_server)) {
      at.done = true;  // unknown here, or not the caller's
      return {};
    }
    if (at.told->is_full_rollup && !at.others_gone) TRY(RemoveOthers(known->row, at));
    TRY(PutRows(known->row, at));
    if (at.rows_done < at.told->update_status.size() || full()) return {};
    TRY_ASSIGN(known, FindComputerRow(db_, at.told->computer_id));
    known->computer.rollup_number = at.told->rollup_number;
    known->computer.has_status = true;
    known->computer.effective_last_detection = correct_(at.told->effective_last_detection_time);
    TRY(PutComputerRow(db_, known->computer));
    --left_;
    at.done = true;
    return {};
  }

 private:
  Result<void> RemoveOthers(std::int64_t computer, Progress& at) {
    if (at.kept.empty()) {
      for (const auto& status : at.told->update_status) at.kept.insert(status.update_id);
    }
    TRY_ASSIGN(const std::size_t gone, RemoveOtherStatus(db_, computer, at.kept, left_));
    at.others_gone = gone < left_;
    left_ -= gone;
    return {};
  }

  Result<void> PutRows(std::int64_t computer, Progress& at) {
    if (full()) return {};
    std::vector<UpdateStatus> rows;
    for (; at.rows_done < at.told->update_status.size() && !full(); ++at.rows_done, --left_) {
      const auto& status = at.told->update_status[at.rows_done];
      const UtcTime changed = correct_(status.last_change_time);
      if (!at.told->is_full_rollup) {
        TRY_ASSIGN(const auto last, db_.QueryInt("SELECT last_change FROM update_status WHERE "
                                                 "computer = ? AND update_guid = ?",
                                                 computer, status.update_id));
        if (last && *last > changed.ticks) continue;
      }
      rows.push_back({status.update_id, static_cast<UpdateState>(status.state), changed, 0});
    }
    return PutStatusRows(db_, computer, rows, SameState::kTakesTime);
  }

  Database& db_;
  ClockCorrection correct_;
  std::size_t left_ = kRowsPerPiece;
};

}  // namespace

Result<void> RollupIntake::Status(const protocol::RollupComputerStatusRequest& request) {
  TRY(CheckStatus(request.computers));
  std::vector<Progress> all;
  for (const auto& told : request.computers) all.push_back({&told, {}, false, 0, false});
  std::size_t next = 0;
  while (next < all.size()) {
    const auto take = [&](Activity& activity) -> Result<void> {
      TRY_ASSIGN(const auto subtree, Subtree(activity.db(), request.parent_server_id));
      StatusPiece piece(activity, request);
      while (next < all.size() && !piece.full()) {
        TRY(piece.Take(all[next], subtree));
        if (!all[next].done) return {};  // the next piece goes on with it
        all[next].kept.clear();
        ++next;
      }
      return {};
    };
    TRY(run_(take));
  }
  return {};
}

}  // namespace gapferry::mirror
