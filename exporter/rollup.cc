#include "exporter/rollup.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "exporter/rollup_data.h"
#include "exporter/sync.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using mirror::Activity;
using mirror::Computer;
using mirror::Mirror;
using mirror::RollupState;
using protocol::ComputerRollup;
using protocol::ComputerStatusRollup;

namespace {

constexpr int kBusyAttempts = 4;  // as Windows does
constexpr std::size_t kMaxStatesPerRequest = 50'000;

// What a computer needs to be told of, gathered before anything is sent.
struct Due {
  Computer computer;
  RollupState::ComputerState told;
};

std::size_t Limit(std::int32_t from_upstream, std::size_t otherwise) {
  return from_upstream > 0 ? std::min<std::size_t>(static_cast<std::size_t>(from_upstream), 100'000)
                           : otherwise;
}

// Did the upstream certainly not take the request? Faults and refused connections: yes; a time-out
// or a broken answer: nobody knows.
bool CertainlyNotTaken(const Error& error) {
  return protocol::FaultCodeOf(error).has_value() || error.reason == "http-status" ||
         error.code == ErrorCode::kUsage;
}

class RollupRun {
 public:
  RollupRun(Mirror& mirror, Activity& activity, Upstream* upstream, Progress& progress,
            std::stop_token stop)
      : mirror_(mirror),
        activity_(activity),
        state_(activity),
        upstream_(upstream),
        progress_(progress),
        stop_(std::move(stop)) {}

  Result<RollupReport> Run() {
    TRY(Configuration());
    TRY(Servers());
    if (!report_.detailed) return Finish();
    TRY(Gather());
    TRY(Computers());
    TRY(OutOfSync());
    TRY(Statuses());
    return Finish();
  }

 private:
  bool dry_run() const { return upstream_ == nullptr; }
  Result<void> StopIfAsked() {
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "rollup: stopped");
    return {};
  }

  Result<void> Configuration() {
    if (dry_run()) {
      TRY_ASSIGN(const auto known, state_.ReadUpstream());
      if (known) report_.detailed = known->detailed;
      return {};
    }
    TRY(upstream_->Authorize(), "authorization");  // creates the record of this server
    TRY_ASSIGN(config_, upstream_->GetRollupConfiguration());
    report_.detailed = config_.do_detailed_rollup;
    TRY_ASSIGN(report_.everything_again,
               state_.Begin(config_.server_id, config_.rollup_reset_guid, report_.detailed));
    return {};
  }

  // Install counts are added by the upstream, and nothing detects a repeated request. They count as
  // told before the call and are taken back only when it certainly failed: better lost than twice.
  Result<void> Servers() {
    TRY_ASSIGN(auto records, BuildServerRecords(mirror_, activity_, state_));
    report_.servers = records.servers.size();
    for (const auto& server : records.servers) {
      report_.client_summaries += server.client_summaries.size();
    }
    if (dry_run()) return {};
    progress_.Begin("servers", records.servers.size(), 0);
    TRY(state_.Acknowledge(records.totals));
    auto requests = SplitServers(std::move(records.servers),
                                 Limit(config_.downstream_servers_max_batch_size, 5000));
    bool first = true;
    for (auto& servers : requests) {
      const std::size_t count = servers.size();
      protocol::RollupDownstreamServersRequest request;
      request.servers = std::move(servers);
      const auto told = upstream_->RollupDownstreamServers(std::move(request));
      if (!told) {
        if (first && CertainlyNotTaken(told.error())) {
          TRY(state_.Acknowledge(records.before));
        } else if (records.installs > 0) {
          report_.uncertain_installs = records.installs;
          Log(LogLevel::kWarning, "install counts may not have arrived",
              {{"installs", records.installs}, {"why", told.error().message}});
        }
        return told;
      }
      first = false;
      progress_.Advance(count, 0);
      TRY(StopIfAsked());
    }
    progress_.End();
    return {};
  }

  // Every computer with its dialogue state, one registered again after its deletion upstream
  // included.
  Result<void> Gather() {
    std::vector<Computer> computers;
    TRY(activity_.ForEachComputer(0, [&](const Computer& computer) -> Result<void> {
      computers.push_back(computer);
      return {};
    }));
    for (Computer& computer : computers) {
      TRY_ASSIGN(auto told, state_.Find(computer.id));
      if (told.deleted_at) {
        if (computer.registered_at <= *told.deleted_at) continue;
        if (!dry_run()) TRY(state_.LiftDeletion(computer.id));
        told.deleted_at.reset();
      }
      due_.push_back({std::move(computer), told});
    }
    TRY_ASSIGN(const auto groups, mirror_.intent().Groups(mirror::IntentOrigin::kUpstream));
    for (const auto& group : groups) upstream_groups_.insert(group.id);
    return {};
  }

  // Only groups the upstream knows: those a replica got from it (companion 4.5, rule 7).
  Result<std::vector<Guid>> GroupsOf(const Computer& computer) {
    std::vector<Guid> groups;
    if (mirror_.config().replica) {
      std::vector<Guid> assigned = computer.details.target_group_ids;
      if (computer.parent_server.IsZero()) {
        TRY_ASSIGN(assigned, mirror_.intent().AssignedGroups(computer.id));
      }
      for (const Guid& group : assigned) {
        if (upstream_groups_.contains(group)) groups.push_back(group);
      }
    }
    if (groups.empty()) groups.push_back(mirror::kUnassignedComputers);
    return groups;
  }

  Result<ComputerRollup> Record(const Due& due, bool with_details) {
    TRY_ASSIGN(auto groups, GroupsOf(due.computer));
    return BuildComputer(due.computer, mirror_.identity().guid, std::move(groups), with_details);
  }

  Result<void> Computers() {
    std::vector<Due*> changed;
    for (Due& due : due_) {
      if (due.computer.change_seq > due.told.record_seq) changed.push_back(&due);
    }
    report_.computers = changed.size();
    if (dry_run() || changed.empty()) return {};
    progress_.Begin("computers", changed.size(), 0);
    const std::size_t limit = Limit(config_.computers_max_batch_size, 1500);
    for (std::size_t i = 0; i < changed.size(); i += limit) {
      const std::size_t n = std::min(limit, changed.size() - i);
      TRY(TellComputers({changed.data() + i, n}));
      progress_.Advance(n, 0);
      TRY(StopIfAsked());
    }
    progress_.End();
    return {};
  }

  Result<void> TellComputers(std::span<Due* const> batch) {
    std::unordered_map<std::string, Due*> by_id;
    protocol::RollupComputersRequest request;
    for (Due* due : batch) {
      TRY_ASSIGN(auto record, Record(*due, /*with_details=*/true));
      request.computers.push_back(std::move(record));
      by_id.emplace(due->computer.id, due);
    }
    TRY_ASSIGN(const auto answer, upstream_->RollupComputers(std::move(request)));
    std::vector<std::string> deleted;
    protocol::RollupComputersRequest again;
    for (const auto& change : answer.changes) {
      const auto found = by_id.find(change.computer_id);
      if (found == by_id.end()) continue;
      if (change.change == protocol::ComputerChange::kDeleted) {
        deleted.push_back(change.computer_id);
        found->second->told.deleted_at = mirror_.clock().Now();
      } else {
        TRY_ASSIGN(auto record, Record(*found->second, /*with_details=*/true));
        again.computers.push_back(std::move(record));
      }
    }
    if (!again.computers.empty()) {
      report_.computers_again += again.computers.size();
      TRY(upstream_->RollupComputers(std::move(again)));
    }
    std::vector<RollupState::RecordTold> told;
    for (Due* due : batch) {
      if (due->told.deleted_at) continue;
      told.push_back({due->computer.id, due->computer.change_seq});
    }
    TRY(state_.RecordsTold(told));
    report_.deleted_upstream += deleted.size();
    return state_.MarkDeleted(deleted, mirror_.clock().Now());
  }

  // The computers with status, by the server they belong to.
  std::map<Guid, std::vector<Due*>> WithStatus() {
    std::map<Guid, std::vector<Due*>> by_parent;
    for (Due& due : due_) {
      if (!due.computer.has_status || due.told.deleted_at) continue;
      const Guid& parent = due.computer.parent_server;
      by_parent[parent.IsZero() ? mirror_.identity().guid : parent].push_back(&due);
    }
    return by_parent;
  }

  Result<void> OutOfSync() {
    if (dry_run()) return {};
    const std::size_t limit = Limit(config_.out_of_sync_computers_max_batch_size, 20'000);
    for (const auto& [parent, computers] : WithStatus()) {
      for (std::size_t i = 0; i < computers.size(); i += limit) {
        const std::size_t end = std::min(i + limit, computers.size());
        std::unordered_map<std::string, Due*> by_id;
        protocol::GetOutOfSyncComputersRequest request;
        request.parent_server_id = parent;
        for (std::size_t at = i; at < end; ++at) {
          Due* due = computers[at];
          request.last_rollup_numbers.push_back({due->computer.id, due->told.last_sent});
          by_id.emplace(due->computer.id, due);
        }
        TRY_ASSIGN(const auto answer, upstream_->GetOutOfSyncComputers(std::move(request)));
        for (const std::string& id : answer.computer_ids) {
          const auto found = by_id.find(id);
          if (found != by_id.end()) found->second->told.status_seq.reset();
        }
        TRY(state_.NeedFull(answer.computer_ids));
        TRY(StopIfAsked());
      }
    }
    return {};
  }

  // What is due of one computer; nothing when the upstream knows it all.
  Result<std::optional<ComputerStatusRollup>> StatusOf(const Due& due) {
    const Computer& computer = due.computer;
    ComputerStatusRollup status;
    // Rows that vanished cannot be told in a delta: everything again (companion 4.4).
    status.is_full_rollup = !due.told.status_seq || computer.full_seq > due.told.full_seq;
    const std::int64_t after = status.is_full_rollup ? 0 : *due.told.status_seq;
    TRY_ASSIGN(const auto rows, activity_.StatusOf(computer.id, after));
    for (const auto& row : rows) {
      TRY_ASSIGN(const bool known, KnownUpstream(row.update));
      if (known) {
        status.update_status.push_back(
            {row.update, static_cast<std::int32_t>(row.state), row.last_change});
      }
    }
    if (!status.is_full_rollup && status.update_status.empty()) {
      return std::optional<ComputerStatusRollup>();
    }
    status.instance_id = Guid::Random();
    status.computer_id = computer.id;
    status.effective_last_detection_time = computer.effective_last_detection;
    status.rollup_number = due.told.last_sent + 1;
    return std::optional(std::move(status));
  }

  Result<bool> KnownUpstream(const Guid& update) {
    const auto cached = known_updates_.find(update);
    if (cached != known_updates_.end()) return cached->second;
    TRY_ASSIGN(const auto row, mirror_.catalog().FindLatest(update));
    known_updates_.emplace(update, row.has_value());
    return row.has_value();
  }

  Result<void> Statuses() {
    const std::size_t limit = Limit(config_.computer_status_max_batch_size, 500);
    for (const auto& [parent, computers] : WithStatus()) {
      StatusBatch batch{parent, {}, {}, 0};
      for (Due* due : computers) {
        TRY_ASSIGN(auto status, StatusOf(*due));
        if (!status) continue;
        ++(status->is_full_rollup ? report_.full_statuses : report_.delta_statuses);
        report_.states += status->update_status.size();
        batch.states += status->update_status.size();
        batch.told.push_back({due->computer.id, status->rollup_number,
                              std::max(due->computer.status_seq, due->told.status_seq.value_or(0)),
                              due->computer.full_seq});
        batch.computers.push_back(std::move(*status));
        if (batch.computers.size() < limit && batch.states < kMaxStatesPerRequest) continue;
        TRY(TellStatuses(std::exchange(batch, StatusBatch{parent, {}, {}, 0})));
        if (report_.busy) return {};
      }
      TRY(TellStatuses(std::move(batch)));
      if (report_.busy) return {};
    }
    if (telling_status_) progress_.End();
    return {};
  }

  struct StatusBatch {
    Guid parent;
    std::vector<ComputerStatusRollup> computers;
    std::vector<RollupState::StatusTold> told;
    std::size_t states;
  };

  Result<void> TellStatuses(StatusBatch batch) {
    if (batch.computers.empty() || dry_run()) return {};
    if (!std::exchange(telling_status_, true)) progress_.Begin("status", 0, 0);
    protocol::RollupComputerStatusRequest request;
    request.parent_server_id = batch.parent;
    request.computers = std::move(batch.computers);  // instance ids stay the same when repeated
    for (int attempt = 1;; ++attempt) {
      TRY_ASSIGN(const bool taken, upstream_->RollupComputerStatus(request));
      if (taken) break;
      if (attempt == kBusyAttempts) {
        report_.busy = true;
        return {};
      }
      progress_.Note("the upstream is busy: trying again in a minute or more");
      if (!WaitOrStop(BusyWait(), stop_)) return Fail(ErrorCode::kCancelled, "rollup: stopped");
    }
    progress_.Advance(request.computers.size(), 0);
    TRY(state_.StatusesTold(batch.told));
    return StopIfAsked();
  }

  // One to five minutes, as Windows waits.
  static std::chrono::milliseconds BusyWait() {
    std::array<std::uint8_t, 2> bytes{};
    FillRandom(bytes);
    return std::chrono::seconds(60 + LoadLe16(bytes.data()) % 240);
  }

  Result<RollupReport> Finish() {
    if (!dry_run() && !report_.busy) TRY(state_.End(mirror_.clock().Now()));
    return std::move(report_);
  }

  Mirror& mirror_;
  Activity& activity_;
  RollupState state_;
  Upstream* upstream_;  // null: dry run
  Progress& progress_;
  std::stop_token stop_;
  protocol::GetRollupConfigurationResponse config_;
  std::vector<Due> due_;
  bool telling_status_ = false;
  std::unordered_set<Guid> upstream_groups_;
  std::unordered_map<Guid, bool> known_updates_;
  RollupReport report_;
};

std::string DetailJson(const RollupReport& report) {
  return nlohmann::json({{"servers", report.servers},
                         {"computers", report.computers},
                         {"full_statuses", report.full_statuses},
                         {"delta_statuses", report.delta_statuses},
                         {"states", report.states},
                         {"deleted_upstream", report.deleted_upstream},
                         {"busy", report.busy},
                         {"uncertain_installs", report.uncertain_installs}})
      .dump();
}

Result<void> EndJob(Mirror& mirror, std::int64_t job, const Result<RollupReport>& report) {
  if (report) {
    TRY(AppendAuditAlone(mirror.db(), mirror.clock().Now(),
                         {mirror::CurrentActor(), "rollup",
                          DisplayUrl(mirror.config().upstream.wsus), DetailJson(*report)}));
    const auto result = report->busy ? mirror::JobResult::kPartly : mirror::JobResult::kDone;
    return mirror.jobs().End(job, result, std::nullopt, DetailJson(*report));
  }
  const auto result = report.error().code == ErrorCode::kCancelled ? mirror::JobResult::kCancelled
                                                                   : mirror::JobResult::kFailed;
  const nlohmann::json detail = {{"error", report.error().message}};
  return mirror.jobs().End(job, result, std::nullopt,
                           detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

Result<RollupReport> Rollup(Mirror& mirror, const FetcherFactory& fetchers,
                            const RollupOptions& options, Progress& progress,
                            std::stop_token stop) {
  TRY_ASSIGN(UpstreamOptions upstream_options, UpstreamOptionsOf(mirror, progress));
  TRY_ASSIGN(Activity* const activity, mirror.activity());
  if (options.dry_run) return RollupRun(mirror, *activity, nullptr, progress, stop).Run();
  TRY_ASSIGN(const std::unique_ptr<Fetcher> fetcher, fetchers());
  Upstream upstream(*fetcher, mirror.clock(), std::move(upstream_options), stop);
  TRY_ASSIGN(const mirror::JobLock lock, mirror::JobLock::Acquire(mirror.path(), "rollup"));
  TRY_ASSIGN(const std::int64_t job, mirror.jobs().Start("rollup"));
  auto report = RollupRun(mirror, *activity, &upstream, progress, stop).Run();
  if (const auto ended = EndJob(mirror, job, report); !ended) {
    if (report) return std::unexpected(ended.error());
    Log(LogLevel::kWarning, "job history not written", {{"why", ended.error().message}});
  }
  return report;
}

}  // namespace gapferry::exporter
