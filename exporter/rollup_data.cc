#include "exporter/rollup_data.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"

namespace gapferry::exporter {

using mirror::Activity;
using mirror::Computer;
using mirror::DownstreamServer;
using mirror::Mirror;
using mirror::RollupState;
using protocol::ClientSummary;
using protocol::DownstreamServerRollup;

namespace {

constexpr std::string_view kVersion = "0.1.0";

std::int32_t Count(std::uint64_t value) {
  return static_cast<std::int32_t>(std::min<std::uint64_t>(value, INT32_MAX));
}

// Sums of this mirror, children included as far as their computers are known here.
Result<protocol::ServerSummary> OwnSummary(Mirror& mirror, Activity& activity) {
  TRY_ASSIGN(const auto catalog, mirror.catalog().Counts());
  TRY_ASSIGN(const auto counts, activity.Counts());
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  TRY_ASSIGN(const auto declined, mirror.intent().Declined());
  TRY_ASSIGN(const auto deployments, mirror.intent().Deployments());
  std::unordered_set<Guid> approved;
  for (const auto& deployment : deployments) {
    if (deployment.action == mirror::DeploymentAction::kInstall ||
        deployment.action == mirror::DeploymentAction::kUninstall) {
      approved.insert(deployment.update.guid);
    }
  }
  protocol::ServerSummary summary;
  summary.update_count = Count(catalog.deployable_updates);
  summary.declined_update_count = Count(declined.size());
  summary.approved_update_count = Count(approved.size());
  const std::uint64_t decided = declined.size() + approved.size();
  summary.not_approved_update_count =
      Count(catalog.deployable_updates - std::min(catalog.deployable_updates, decided));
  summary.expired_update_count = Count(catalog.expired_updates);
  summary.updates_with_client_errors_count = Count(counts.updates_with_errors);
  summary.updates_needed_by_computers_count = Count(counts.updates_needed);
  const std::uint64_t open = counts.updates_needed + counts.updates_with_errors;
  summary.updates_up_to_date_count =
      Count(catalog.deployable_updates - std::min(catalog.deployable_updates, open));
  summary.custom_computer_target_group_count = Count(static_cast<std::uint64_t>(
      std::count_if(groups.begin(), groups.end(), [](const auto& g) { return !g.is_builtin; })));
  summary.computer_target_count = Count(counts.computers);
  summary.computer_targets_needing_updates_count = Count(counts.computers_needing_updates);
  summary.computer_targets_with_update_errors_count = Count(counts.computers_with_errors);
  summary.computers_up_to_date_count = Count(counts.computers_up_to_date);
  return summary;
}

Result<DownstreamServerRollup> OwnRecord(Mirror& mirror, Activity& activity) {
  DownstreamServerRollup self;
  self.server_id = mirror.identity().guid;
  self.full_domain_name = CutText(mirror.identity().name, 256);
  self.last_sync_time = kNever;
  TRY_ASSIGN(const auto last, mirror.jobs().LastGood("sync"));
  if (last && last->ended_at) self.last_sync_time = *last->ended_at;
  self.version = kVersion;
  self.is_replica = mirror.config().replica;
  self.last_rollup_time = mirror.clock().Now();
  TRY_ASSIGN(self.summary, OwnSummary(mirror, activity));
  TRY_ASSIGN(self.client_summaries, activity.ClientSummaries(Guid()));
  for (ClientSummary& client : self.client_summaries) client.activity.clear();
  return self;
}

DownstreamServerRollup ChildRecord(const DownstreamServer& server, const Mirror& mirror) {
  DownstreamServerRollup record;
  record.server_id = server.id;
  record.full_domain_name = CutText(server.name, 256);
  record.last_sync_time = server.last_sync_time;
  record.parent_server_id = server.parent.IsZero() ? mirror.identity().guid : server.parent;
  record.version = server.version.empty() ? std::string(kVersion) : CutText(server.version, 32);
  record.is_replica = server.is_replica;
  // The time of what is told, not of the telling: an older state must not replace a newer one.
  record.last_rollup_time =
      server.last_rollup_time > kNever ? server.last_rollup_time : mirror.clock().Now();
  record.summary = server.summary;
  record.client_summaries = server.clients;
  return record;
}

// Parents before children; a server whose parent is not known is told as our own child.
std::vector<DownstreamServerRollup> InOrder(const std::vector<DownstreamServer>& servers,
                                            const Mirror& mirror) {
  std::unordered_map<Guid, std::size_t> index;
  for (std::size_t i = 0; i < servers.size(); ++i) index.emplace(servers[i].id, i);
  std::vector<std::pair<int, std::size_t>> order;  // depth, index
  for (std::size_t i = 0; i < servers.size(); ++i) {
    int depth = 0;
    for (auto at = index.find(servers[i].parent); at != index.end() && depth < 64; ++depth) {
      at = index.find(servers[at->second].parent);
    }
    order.emplace_back(depth, i);
  }
  std::sort(order.begin(), order.end());
  std::vector<DownstreamServerRollup> records;
  for (const auto& [depth, i] : order) {
    DownstreamServerRollup record = ChildRecord(servers[i], mirror);
    if (!index.contains(servers[i].parent)) record.parent_server_id = mirror.identity().guid;
    records.push_back(std::move(record));
  }
  return records;
}

ClientSummary& SummaryFor(DownstreamServerRollup& server, const ClientSummary& os) {
  const Sha256Digest digest = RollupState::OsDigest(os);
  for (ClientSummary& summary : server.client_summaries) {
    if (RollupState::OsDigest(summary) == digest) return summary;
  }
  ClientSummary added = os;  // its computers are gone, what they installed still counts
  added.count = 0;
  added.activity.clear();
  server.client_summaries.push_back(std::move(added));
  return server.client_summaries.back();
}

}  // namespace

std::string CutText(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes));
}

Result<ServerRecords> BuildServerRecords(Mirror& mirror, Activity& activity, RollupState& state) {
  ServerRecords records;
  TRY_ASSIGN(auto servers, activity.Servers());
  std::erase_if(servers, [&](const auto& server) { return server.id == mirror.identity().guid; });
  records.servers = InOrder(servers, mirror);
  TRY_ASSIGN(auto self, OwnRecord(mirror, activity));
  records.servers.push_back(std::move(self));
  std::unordered_map<Guid, DownstreamServerRollup*> by_id;
  for (auto& server : records.servers) by_id.emplace(server.server_id, &server);
  TRY_ASSIGN(const auto activities, activity.InstallActivities(0));
  for (const auto& one : activities) {
    const auto server = by_id.find(one.server.IsZero() ? mirror.identity().guid : one.server);
    TRY_ASSIGN(const auto known, mirror.catalog().FindLatest(one.update.guid));
    if (server == by_id.end() || !known) continue;  // published inside: unknown to the upstream
    const RollupState::ActivityKey key{one.server, RollupState::OsDigest(one.os), one.update};
    TRY_ASSIGN(const auto told, state.FindAcknowledged(key));
    // Totals below what was told: that side's counters began anew, all of it is new.
    const bool anew = one.success_total < told.success || one.failure_total < told.failure;
    const std::int64_t success = one.success_total - (anew ? 0 : told.success);
    const std::int64_t failure = one.failure_total - (anew ? 0 : told.failure);
    if (success == 0 && failure == 0) continue;
    protocol::ClientActivitySummary summary;
    summary.update = one.update;
    summary.install_success_count = Count(static_cast<std::uint64_t>(success));
    summary.install_failure_count = Count(static_cast<std::uint64_t>(failure));
    SummaryFor(*server->second, one.os).activity.push_back(std::move(summary));
    records.totals.push_back({key, {one.success_total, one.failure_total}});
    records.before.push_back({key, told});
    records.installs += static_cast<std::uint64_t>(success + failure);
  }
  return records;
}

std::vector<std::vector<DownstreamServerRollup>> SplitServers(
    std::vector<DownstreamServerRollup> servers, std::size_t limit) {
  limit = std::max<std::size_t>(1, limit);
  std::vector<std::vector<DownstreamServerRollup>> requests(1);
  std::size_t used = 0;
  for (DownstreamServerRollup& server : servers) {
    std::vector<ClientSummary> clients = std::exchange(server.client_summaries, {});
    std::size_t next = 0;
    do {
      if (used == limit) {
        requests.emplace_back();
        used = 0;
      }
      const std::size_t n = std::min(limit - used, clients.size() - next);
      DownstreamServerRollup part = server;
      for (std::size_t i = 0; i < n; ++i) {
        part.client_summaries.push_back(std::move(clients[next + i]));
      }
      requests.back().push_back(std::move(part));
      next += n;
      used += n;
    } while (next < clients.size());
  }
  return requests;
}

protocol::ComputerRollup BuildComputer(const Computer& computer, const Guid& self,
                                       std::vector<Guid> groups, bool with_details) {
  protocol::ComputerRollup record;
  record.computer_id = computer.id;
  record.last_sync_time = computer.last_sync_time;
  record.last_sync_result = computer.last_sync_result;
  record.last_reported_reboot_time = computer.last_reported_reboot;
  record.last_reported_status_time = computer.last_reported_status;
  record.last_inventory_time = computer.last_inventory;
  record.parent_server_id = computer.parent_server.IsZero() ? self : computer.parent_server;
  if (!with_details) return record;
  protocol::ComputerRollupDetails details = computer.details;
  details.target_group_ids = std::move(groups);
  for (std::string& name : details.requested_target_group_names) name = CutText(name, 256);
  details.computer_make = CutText(details.computer_make, 64);
  details.computer_model = CutText(details.computer_model, 64);
  details.bios_version = CutText(details.bios_version, 64);
  details.bios_name = CutText(details.bios_name, 64);
  details.processor_architecture = CutText(details.processor_architecture, 50);
  details.client_version = CutText(details.client_version, 20);
  if (details.bios_release_date < kNever) details.bios_release_date = kNever;
  record.details = std::move(details);
  return record;
}

}  // namespace gapferry::exporter
