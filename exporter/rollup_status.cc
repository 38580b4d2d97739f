#include "exporter/rollup_status.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "mirror/catalog.h"
#include "protocol/reporting_limits.h"

namespace gapferry::exporter {

using protocol::ComputerStatusRollup;

namespace {

constexpr std::size_t kMaxStatesPerRequest = 50'000;

}  // namespace

StatusTeller::StatusTeller(mirror::Mirror& mirror, mirror::Activity& activity,
                           mirror::RollupState& state, RollupCalls* calls, Progress& progress,
                           std::stop_token stop, RollupReport& report)
    : mirror_(mirror),
      activity_(activity),
      state_(state),
      calls_(calls),
      progress_(progress),
      stop_(std::move(stop)),
      report_(report) {}

Result<void> StatusTeller::StopIfAsked() {
  if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "rollup: stopped");
  return {};
}

Result<void> StatusTeller::FindOutOfSync(const std::vector<Due*>& computers, std::size_t limit) {
  if (calls_ == nullptr) return {};
  for (std::size_t i = 0; i < computers.size(); i += limit) {
    std::unordered_map<std::string, Due*> by_id;
    protocol::GetOutOfSyncComputersRequest request;
    request.parent_server_id = mirror_.identity().guid;  // and what is below
    for (std::size_t at = i; at < std::min(i + limit, computers.size()); ++at) {
      Due* const due = computers[at];
      request.last_rollup_numbers.push_back({due->id, due->told.last_sent});
      by_id.emplace(ToLowerAscii(due->id), due);
    }
    TRY_ASSIGN(const auto answer, calls_->OutOfSync(request));
    std::vector<std::string> stale;
    for (const std::string& id : answer.computer_ids) {
      const auto found = by_id.find(ToLowerAscii(id));
      if (found == by_id.end()) continue;
      found->second->told.status_seq.reset();
      stale.push_back(found->second->id);
    }
    TRY(state_.NeedFull(stale));
    TRY(StopIfAsked());
  }
  return {};
}

// What is due of one computer; nothing when the upstream knows it all.
Result<std::optional<ComputerStatusRollup>> StatusTeller::StatusOf(const Due& due) {
  ComputerStatusRollup status;
  // Rows that vanished cannot be told in a delta: everything again (companion 4.4).
  status.is_full_rollup = !due.told.status_seq || due.full_seq > due.told.full_seq;
  const std::int64_t after = status.is_full_rollup ? 0 : *due.told.status_seq;
  TRY_ASSIGN(const auto rows, activity_.StatusOf(due.id, after));
  for (const auto& row : rows) {
    TRY_ASSIGN(const bool known, KnownUpstream(row.update));
    if (!known) continue;
    status.update_status.push_back(
        {row.update, static_cast<std::int32_t>(row.state), protocol::FitTime(row.last_change)});
  }
  if (!status.is_full_rollup && status.update_status.empty()) {
    return std::optional<ComputerStatusRollup>();
  }
  TRY_ASSIGN(const auto computer, activity_.Find(due.id));
  if (!computer) return std::optional<ComputerStatusRollup>();
  status.instance_id = Guid::Random();
  status.computer_id = due.id;
  status.effective_last_detection_time = protocol::FitTime(computer->effective_last_detection);
  status.rollup_number = due.told.last_sent + 1;
  return std::optional(std::move(status));
}

Result<bool> StatusTeller::KnownUpstream(const Guid& update) {
  const auto cached = known_updates_.find(update);
  if (cached != known_updates_.end()) return cached->second;
  TRY_ASSIGN(const auto row, mirror_.catalog().FindLatest(update));
  const bool known = row && !row->is_withdrawn;
  known_updates_.emplace(update, known);
  return known;
}

Result<void> StatusTeller::Tell(const std::vector<Due*>& computers, std::size_t limit) {
  progress_.Begin("status", computers.size(), 0);
  Batch batch;
  for (Due* due : computers) {
    TRY_ASSIGN(auto status, StatusOf(*due));
    if (!status) continue;
    ++(status->is_full_rollup ? report_.full_statuses : report_.delta_statuses);
    report_.states += status->update_status.size();
    batch.states += status->update_status.size();
    batch.told.push_back({due->id, status->rollup_number,
                          std::max(due->status_seq, due->told.status_seq.value_or(0)),
                          due->full_seq});
    batch.computers.push_back(std::move(*status));
    if (batch.computers.size() < limit && batch.states < kMaxStatesPerRequest) continue;
    TRY(TellBatch(std::exchange(batch, Batch{})));
    if (report_.busy) return {};
  }
  TRY(TellBatch(std::move(batch)));
  if (!report_.busy) progress_.End();
  return {};
}

Result<void> StatusTeller::TellBatch(Batch batch) {
  if (batch.computers.empty() || calls_ == nullptr) return {};
  protocol::RollupComputerStatusRequest request;
  request.parent_server_id = mirror_.identity().guid;
  request.computers = std::move(batch.computers);
  TRY_ASSIGN(const bool taken, calls_->Status(request));
  report_.busy = !taken;
  if (!taken) return {};
  progress_.Advance(request.computers.size(), 0);
  TRY(state_.StatusesTold(batch.told));
  return StopIfAsked();
}

}  // namespace gapferry::exporter
