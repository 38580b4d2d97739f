#include "exporter/rollup.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "exporter/rollup_calls.h"
#include "exporter/rollup_data.h"
#include "exporter/rollup_status.h"
#include "exporter/sync.h"
#include "mirror/audit.h"
#include "mirror/intent.h"
#include "mirror/running_job.h"

namespace gapferry::exporter {

using mirror::Activity;
using mirror::Computer;
using mirror::Mirror;
using mirror::RollupState;
using protocol::ComputerRollup;

namespace {

// What the upstream announces, not more than Windows servers do: one that says more or forgets to
// say is asked no more than these; one that says nothing sensible is asked little.
std::size_t Limit(std::int32_t announced, std::int32_t windows) {
  constexpr std::int32_t kLittle = 100;
  return static_cast<std::size_t>(std::min(windows, announced > 0 ? announced : kLittle));
}

class RollupRun {
 public:
  RollupRun(Mirror& mirror, Activity& activity, Upstream* upstream, RollupCalls* calls,
            Progress& progress, std::stop_token stop)
      : mirror_(mirror),
        self_(mirror.identity().guid),
        activity_(activity),
        state_(activity),
        upstream_(upstream),
        calls_(calls),
        progress_(progress),
        stop_(std::move(stop)) {}

  Result<RollupReport> Run() {
    TRY(Configuration());
    if (!report_.offered) return std::move(report_);
    TRY(Servers());
    if (!report_.detailed) return Finish();
    TRY(Gather());
    TRY(Computers());
    TRY(Statuses());
    return Finish();
  }

 private:
  bool dry_run() const { return upstream_ == nullptr; }
  Result<void> StopIfAsked() {
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "rollup: stopped");
    return {};
  }

  // ---- Configuration ---------------------------------------------------------------------------

  Result<void> Configuration() {
    if (dry_run()) {
      TRY_ASSIGN(const auto known, state_.ReadUpstream());
      if (known) report_.detailed = known->detailed;
      return {};
    }
    TRY(upstream_->Authorize(), "authorization");  // creates the record of this server
    TRY_ASSIGN(const auto about, upstream_->GetConfigData());
    report_.offered = TakesRollups(about.protocol_version);
    if (!report_.offered) return {};
    auto config = upstream_->GetRollupConfiguration();
    if (!config && config.error().code == ErrorCode::kNotFound) {  // Microsoft's own service
      report_.offered = false;
      return {};
    }
    TRY_ASSIGN(config_, std::move(config));
    report_.detailed = config_.do_detailed_rollup;
    TRY_ASSIGN(report_.everything_again,
               state_.Begin(config_.server_id, config_.rollup_reset_guid, report_.detailed));
    return {};
  }

  // ---- Servers ---------------------------------------------------------------------------------

  std::size_t ServerLimit() const {
    return Limit(config_.downstream_servers_max_batch_size,
                 kWindows.downstream_servers_max_batch_size);
  }

  Result<void> Servers() {
    TRY_ASSIGN(auto records, BuildServerRecords(mirror_, activity_));
    for (const auto& server : records) {
      told_servers_.insert(server.server_id);
      report_.client_summaries += server.client_summaries.size();
    }
    report_.servers = records.size();
    if (!dry_run()) TRY(Settle(records));
    TRY_ASSIGN(const auto added, AddActivity(mirror_, activity_, state_, records));
    report_.installs = added.installs;
    if (dry_run()) return {};
    progress_.Begin("servers", records.size(), 0);
    for (auto& request : SplitServers(std::move(records), ServerLimit())) {
      TRY(TellServers(std::move(request), added.targets));
      TRY(StopIfAsked());
    }
    progress_.End();
    return {};
  }

  Result<void> TellServers(std::vector<protocol::DownstreamServerRollup> servers,
                           const ActivityTargets& targets) {
    const RollupState::Try attempt = TryOf(self_, servers, targets);
    protocol::RollupDownstreamServersRequest request;
    request.servers = std::move(servers);
    TRY(state_.BeginTry(attempt));
    auto taken = calls_->Servers(request);
    if (!taken) {
      if (CertainlyNotTaken(taken.error())) TRY(state_.TryRefused(attempt));
      return taken;
    }
    TRY(state_.TryTaken(attempt));
    progress_.Advance(request.servers.size(), 0);
    return {};
  }

  // Ends the tries of an earlier rollup that nobody answered, before anything is told that would
  // count beside them.
  Result<void> Settle(const std::vector<protocol::DownstreamServerRollup>& records) {
    TRY_ASSIGN(auto settling, BuildSettling(activity_, state_, self_, records));
    TRY(state_.TryTaken(settling.lost));
    if (settling.lost_installs > 0) {
      report_.uncertain_installs = settling.lost_installs;
      Log(LogLevel::kWarning, "install counts may not have arrived",
          {{"installs", settling.lost_installs}});
    }
    if (settling.servers.empty()) return {};
    std::set<Guid> repeated;
    for (auto& servers : SplitServers(std::move(settling.servers), ServerLimit())) {
      protocol::RollupDownstreamServersRequest request;
      request.servers = std::move(servers);
      const auto attempt = TryOf(self_, request.servers, settling.targets);
      TRY(state_.BeginTry(attempt));
      auto taken = calls_->Servers(request);
      if (!taken) {  // it stays open, and is tried once more or given up
        if (CertainlyNotTaken(taken.error())) TRY(TakeBack(attempt, settling.settled, repeated));
        return taken;
      }
      for (const auto& [server, at] : attempt.servers) repeated.insert(server);
    }
    return state_.TryTaken(settling.settled);
  }

  // A repetition that did not happen uses up none of the times that are left for one; but where a
  // part of the server's record was taken, its time is known to the upstream.
  Result<void> TakeBack(const RollupState::Try& attempt, const RollupState::Try& before,
                        const std::set<Guid>& repeated) {
    RollupState::Try open;
    for (const auto& one : before.servers) {
      const bool is_of_attempt =
          std::ranges::any_of(attempt.servers, [&](const auto& s) { return s.first == one.first; });
      if (is_of_attempt && !repeated.contains(one.first)) open.servers.push_back(one);
    }
    return state_.BeginTry(open);
  }

  // ---- Computers -------------------------------------------------------------------------------

  Guid ParentOf(const Computer& computer) const {
    // One of a server that is not told of would fail the whole batch.
    return told_servers_.contains(computer.parent_server) ? computer.parent_server : self_;
  }

  // Every computer with its dialogue state, one registered again after its deletion upstream
  // included.
  Result<void> Gather() {
    struct Suppressible {
      Due due;
      UtcTime registered_at;
    };
    std::vector<Suppressible> all;
    const auto visit = [&](const Computer& c) -> Result<void> {
      all.push_back(
          {{c.id, ParentOf(c), c.has_status, c.status_seq, c.full_seq, {}}, c.registered_at});
      return {};
    };
    TRY(activity_.ForEachComputer(0, visit));
    for (auto& [due, registered_at] : all) {
      TRY_ASSIGN(due.told, state_.Find(due.id));
      if (due.told.deleted_at) {
        if (registered_at <= *due.told.deleted_at) continue;
        if (!dry_run()) TRY(state_.LiftDeletion(due.id));
        due.told.deleted_at.reset();
      }
      due_.push_back(std::move(due));
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

  struct Told {
    ComputerRollup record;
    Sha256Digest details;
  };
  // Nothing: it was removed meanwhile.
  Result<std::optional<Told>> Record(const Due& due) {
    TRY_ASSIGN(const auto computer, activity_.Find(due.id));
    if (!computer) return std::optional<Told>();
    TRY_ASSIGN(auto groups, GroupsOf(*computer));
    Told told{BuildComputer(*computer, due.parent, std::move(groups)), {}};
    told.details = DigestOf(*told.record.details);
    return std::optional(std::move(told));
  }

  // All computers each time, as Windows does: one that the upstream has lost would never come back
  // otherwise. Their details go along only when they are not the ones it was told last.
  Result<void> Computers() {
    progress_.Begin("computers", due_.size(), 0);
    const std::size_t limit =
        Limit(config_.computers_max_batch_size, kWindows.computers_max_batch_size);
    for (std::size_t i = 0; i < due_.size(); i += limit) {
      const std::size_t n = std::min(limit, due_.size() - i);
      TRY(TellComputers({due_.data() + i, n}));
      progress_.Advance(n, 0);
      TRY(StopIfAsked());
    }
    progress_.End();
    return {};
  }

  Result<void> TellComputers(std::span<Due> batch) {
    protocol::RollupComputersRequest request;
    std::unordered_map<std::string, Due*> by_id;
    std::vector<RollupState::DetailsTold> told;
    for (Due& due : batch) {
      TRY_ASSIGN(auto record, Record(due));
      if (!record) continue;
      if (due.told.details == record->details) {
        record->record.details.reset();
      } else {
        ++report_.computers_changed;
        told.push_back({due.id, record->details});
      }
      request.computers.push_back(std::move(record->record));
      by_id.emplace(ToLowerAscii(due.id), &due);
    }
    report_.computers += request.computers.size();
    if (dry_run() || request.computers.empty()) return {};
    TRY_ASSIGN(const auto answer, calls_->Computers(request));
    TRY(state_.DetailsAreTold(told));
    TRY_ASSIGN(const auto again, Heed(answer, by_id));
    if (again.empty()) return {};
    return TellAgain(again, by_id);
  }

  // Deleted ones are forgotten; those to be told once more are returned.
  Result<std::vector<Due*>> Heed(const protocol::RollupComputersResponse& answer,
                                 const std::unordered_map<std::string, Due*>& by_id) {
    std::vector<std::string> deleted;
    std::vector<Due*> again;
    for (const auto& change : answer.changes) {
      const auto found = by_id.find(ToLowerAscii(change.computer_id));
      if (found == by_id.end()) continue;
      if (change.change == protocol::ComputerChange::kDeleted) {
        deleted.push_back(found->second->id);
        found->second->told.deleted_at = mirror_.clock().Now();
      } else if (std::find(again.begin(), again.end(), found->second) == again.end()) {
        again.push_back(found->second);
      }
    }
    report_.deleted_upstream += deleted.size();
    TRY(Forget(deleted));
    return again;
  }

  // What the upstream deleted is suppressed here, until it registers again. A server below is told
  // the same when it reports; behind a gap, with the next bundle.
  Result<void> Forget(const std::vector<std::string>& deleted) {
    if (deleted.empty()) return {};
    TRY(state_.MarkDeleted(deleted, mirror_.clock().Now()));
    TRY_ASSIGN(const auto servers, activity_.Servers());
    std::unordered_set<Guid> reporting;
    for (const auto& server : servers) {
      if (server.site.IsZero()) reporting.insert(server.id);
    }
    for (const std::string& id : deleted) {
      TRY_ASSIGN(const auto computer, activity_.Find(id));
      if (computer && reporting.contains(computer->parent_server))
        TRY(activity_.RemoveComputer(id));
    }
    return {};
  }

  Result<void> TellAgain(const std::vector<Due*>& again,
                         const std::unordered_map<std::string, Due*>& by_id) {
    protocol::RollupComputersRequest request;
    std::vector<RollupState::DetailsTold> told;
    for (Due* due : again) {
      TRY_ASSIGN(auto record, Record(*due));
      if (!record) continue;
      told.push_back({due->id, record->details});
      request.computers.push_back(std::move(record->record));
    }
    report_.computers_again += request.computers.size();
    if (request.computers.empty()) return {};
    // Until it is told, the upstream does not have them, whatever it had before.
    std::vector<RollupState::DetailsTold> unknown = told;
    for (auto& one : unknown) one.details.reset();
    TRY(state_.DetailsAreTold(unknown));
    TRY_ASSIGN(const auto answer, calls_->Computers(request));
    TRY(state_.DetailsAreTold(told));
    TRY(Heed(answer, by_id));
    return {};
  }

  // ---- Status ----------------------------------------------------------------------------------

  Result<void> Statuses() {
    std::vector<Due*> computers;
    for (Due& due : due_) {
      if (due.has_status && !due.told.deleted_at) computers.push_back(&due);
    }
    StatusTeller teller(mirror_, activity_, state_, calls_, progress_, stop_, report_);
    TRY(teller.FindOutOfSync(computers, Limit(config_.out_of_sync_computers_max_batch_size,
                                              kWindows.out_of_sync_computers_max_batch_size)));
    return teller.Tell(computers, Limit(config_.computer_status_max_batch_size,
                                        kWindows.computer_status_max_batch_size));
  }

  Result<RollupReport> Finish() {
    if (!dry_run() && !report_.busy) TRY(state_.End(mirror_.clock().Now()));
    return std::move(report_);
  }

  const protocol::GetRollupConfigurationResponse kWindows;
  Mirror& mirror_;
  const Guid self_;
  Activity& activity_;
  RollupState state_;
  Upstream* upstream_;  // null: dry run
  RollupCalls* calls_;  // null: dry run
  Progress& progress_;
  std::stop_token stop_;
  protocol::GetRollupConfigurationResponse config_;
  std::unordered_set<Guid> told_servers_;
  std::vector<Due> due_;
  std::unordered_set<Guid> upstream_groups_;
  RollupReport report_;
};

std::string DetailJson(const RollupReport& report) {
  return nlohmann::json({{"offered", report.offered},
                         {"servers", report.servers},
                         {"installs", report.installs},
                         {"computers", report.computers},
                         {"computers_changed", report.computers_changed},
                         {"full_statuses", report.full_statuses},
                         {"delta_statuses", report.delta_statuses},
                         {"states", report.states},
                         {"deleted_upstream", report.deleted_upstream},
                         {"busy", report.busy},
                         {"uncertain_installs", report.uncertain_installs}})
      .dump();
}

Result<void> EndJob(Mirror& mirror, mirror::RunningJob& job, const RollupReport& report) {
  TRY(AppendAuditAlone(mirror.db(), mirror.clock().Now(),
                       {mirror::CurrentActor(), "rollup", DisplayUrl(mirror.config().upstream.wsus),
                        DetailJson(report)}));
  return job.End(report.busy ? mirror::JobResult::kPartly : mirror::JobResult::kDone, std::nullopt,
                 DetailJson(report));
}

}  // namespace

Result<RollupReport> Rollup(Mirror& mirror, const FetcherFactory& fetchers,
                            const RollupOptions& options, Progress& progress,
                            std::stop_token stop) {
  TRY_ASSIGN(UpstreamOptions upstream_options, UpstreamOptionsOf(mirror, progress));
  if (options.wait) upstream_options.wait = options.wait;
  TRY_ASSIGN(Activity* const activity, mirror.activity());
  if (options.dry_run) {
    return RollupRun(mirror, *activity, nullptr, nullptr, progress, stop).Run();
  }
  TRY_ASSIGN(const std::unique_ptr<Fetcher> fetcher, fetchers());
  Upstream upstream(*fetcher, mirror.clock(), std::move(upstream_options), stop);
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "rollup", progress));
  RollupCalls calls(upstream, options.wait, job.progress(), stop);
  auto report = RollupRun(mirror, *activity, &upstream, &calls, job.progress(), stop).Run();
  if (report) {
    TRY(EndJob(mirror, job, *report));
  } else {
    job.Fail(report.error());
  }
  return report;
}

}  // namespace gapferry::exporter
