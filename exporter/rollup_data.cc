#include "exporter/rollup_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "exporter/server_summary.h"
#include "mirror/catalog.h"
#include "mirror/job_history.h"
#include "protocol/reporting_limits.h"

namespace gapferry::exporter {

using mirror::Activity;
using mirror::Computer;
using mirror::DownstreamServer;
using mirror::Mirror;
using mirror::RollupState;
using protocol::ClientSummary;
using protocol::DownstreamServerRollup;
using protocol::Fit;
using protocol::FitTime;

namespace {

// Between two times of one server that the upstream must tell apart: it may correct one by more
// than a minute and leave the other (companion 4.3).
constexpr std::chrono::minutes kApart{5};
constexpr std::size_t kActivityPerSummary = 5'000;

std::int32_t Count(std::int64_t value) {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, 0, INT32_MAX));
}

Result<DownstreamServerRollup> OwnRecord(Mirror& mirror, Activity& activity) {
  DownstreamServerRollup self;
  self.server_id = mirror.identity().guid;
  self.full_domain_name = protocol::CutCharacters(mirror.identity().name, 256);
  self.last_sync_time = kNever;
  TRY_ASSIGN(const auto last, mirror.jobs().LastGood("sync"));
  if (last && last->ended_at) self.last_sync_time = *last->ended_at;
  self.version = ProgramVersion();
  self.is_replica = mirror.config().replica;
  self.last_rollup_time = mirror.clock().Now();
  TRY_ASSIGN(self.summary, SummaryOf(mirror, activity));
  TRY_ASSIGN(self.client_summaries, activity.ClientSummaries(Guid()));
  return self;
}

DownstreamServerRollup ChildRecord(const DownstreamServer& server, const Guid& parent) {
  DownstreamServerRollup record;
  record.server_id = server.id;
  record.full_domain_name = protocol::CutCharacters(server.name, 256);
  record.last_sync_time = FitTime(server.last_sync_time);
  record.parent_server_id = parent;
  record.version = protocol::FitVersion(server.version);
  record.is_replica = server.is_replica;
  // The time of what is told, not of the telling: an older state must not replace a newer one, and
  // one that has told us nothing yet must not keep out what it will.
  record.last_rollup_time = FitTime(server.last_rollup_time);
  record.summary = server.summary ? server.summary : protocol::ServerSummary();
  record.client_summaries = server.clients;
  return record;
}

// Parents before children; a server whose parent is not known is told as our own child, and so is
// one in a circle.
std::vector<DownstreamServerRollup> InOrder(const std::vector<DownstreamServer>& servers,
                                            const Guid& self) {
  constexpr int kMaxDepth = 64;
  std::unordered_map<Guid, std::size_t> index;
  for (std::size_t i = 0; i < servers.size(); ++i) index.emplace(servers[i].id, i);
  std::vector<std::pair<int, std::size_t>> order;  // depth, index
  for (std::size_t i = 0; i < servers.size(); ++i) {
    int depth = 0;
    for (auto at = index.find(servers[i].parent); at != index.end() && depth < kMaxDepth; ++depth) {
      at = index.find(servers[at->second].parent);
    }
    order.emplace_back(depth == kMaxDepth ? 0 : depth, i);
  }
  std::vector<bool> is_root(servers.size());
  for (const auto& [depth, i] : order) is_root[i] = depth == 0;
  std::sort(order.begin(), order.end());
  std::vector<DownstreamServerRollup> records;
  for (const auto& [depth, i] : order) {
    records.push_back(ChildRecord(servers[i], is_root[i] ? self : servers[i].parent));
  }
  return records;
}

// Finds the summary of a kind of computer in a record, or adds it.
class Summaries {
 public:
  ClientSummary& Of(DownstreamServerRollup& server, const ClientSummary& os) {
    auto& known = index_[server.server_id];
    auto& list = server.client_summaries;
    if (known.empty()) {
      for (std::size_t i = 0; i < list.size(); ++i)
        known.emplace(RollupState::OsDigest(list[i]), i);
    }
    const auto [at, is_new] = known.emplace(RollupState::OsDigest(os), list.size());
    if (is_new) {  // its computers are gone, what they installed still counts
      list.push_back(os);
      list.back().count = 0;
      list.back().activity.clear();
    }
    return list[at->second];
  }

 private:
  std::map<Guid, std::map<Sha256Digest, std::size_t>> index_;
};

// Records by the key of their activity.
std::unordered_map<Guid, DownstreamServerRollup*> ByKey(
    std::vector<DownstreamServerRollup>& servers, const Guid& self) {
  std::unordered_map<Guid, DownstreamServerRollup*> by_key;
  for (auto& server : servers) {
    by_key.emplace(server.server_id == self ? Guid() : server.server_id, &server);
  }
  return by_key;
}

protocol::ClientActivitySummary Increment(const protocol::UpdateId& update,
                                          const RollupState::Totals& to,
                                          const RollupState::Totals& from) {
  // Totals below what was told: that side's counters began anew, all of it is new.
  const bool anew = to.success < from.success || to.failure < from.failure;
  return {update, Count(to.success - (anew ? 0 : from.success)),
          Count(to.failure - (anew ? 0 : from.failure))};
}

std::uint64_t Installs(const protocol::ClientActivitySummary& one) {
  return static_cast<std::uint64_t>(one.install_success_count) +
         static_cast<std::uint64_t>(one.install_failure_count);
}

void Put(Summaries& summaries, DownstreamServerRollup& server, const ClientSummary& os,
         const protocol::ClientActivitySummary& more, const RollupState::ActivityKey& key,
         const RollupState::Totals& totals, ActivityTargets& targets) {
  ClientSummary& summary = summaries.Of(server, Fit(os));
  summary.activity.push_back(more);
  const RollupState::ActivityKey as_sent{key.server, RollupState::OsDigest(summary), key.update};
  targets.emplace(as_sent, std::make_pair(key, totals));
}

// When a try of a server is repeated: earlier than all its tries, later than what it told before.
std::optional<UtcTime> TimeOfRepetition(const RollupState::OpenTry& open) {
  const auto apart = std::chrono::seconds(kApart);
  const UtcTime latest = open.told_at <= kNever ? open.tried_at : open.told_at + 5 * apart;
  const UtcTime again = std::min(open.tried_at, latest) - apart;
  if (again < open.told_at + apart) return std::nullopt;
  return again;
}

// A summary with very many updates is told in several of the same kind.
std::vector<ClientSummary> Pieces(ClientSummary summary) {
  std::vector<ClientSummary> pieces;
  auto activity = std::exchange(summary.activity, {});
  std::size_t first = 0;
  do {
    ClientSummary piece = summary;
    const std::size_t end = std::min(activity.size(), first + kActivityPerSummary);
    for (; first < end; ++first) piece.activity.push_back(activity[first]);
    pieces.push_back(std::move(piece));
  } while (first < activity.size());
  return pieces;
}

}  // namespace

Result<std::vector<DownstreamServerRollup>> BuildServerRecords(Mirror& mirror, Activity& activity) {
  TRY_ASSIGN(auto servers, activity.Servers());
  std::erase_if(servers, [&](const auto& server) { return server.id == mirror.identity().guid; });
  auto records = InOrder(servers, mirror.identity().guid);
  TRY_ASSIGN(auto self, OwnRecord(mirror, activity));
  records.push_back(std::move(self));
  for (auto& record : records) {
    for (ClientSummary& client : record.client_summaries) {
      client.activity.clear();
      client = Fit(std::move(client));
    }
    if (record.summary) record.summary = Fit(*record.summary);
  }
  return records;
}

Result<AddedActivity> AddActivity(Mirror& mirror, Activity& activity, RollupState& state,
                                  std::vector<DownstreamServerRollup>& servers) {
  AddedActivity added;
  Summaries summaries;
  const auto by_key = ByKey(servers, mirror.identity().guid);
  TRY_ASSIGN(const auto activities, activity.InstallActivities(0));
  for (const auto& one : activities) {
    const auto server = by_key.find(one.server);
    if (server == by_key.end()) continue;
    const RollupState::ActivityKey key{one.server, RollupState::OsDigest(one.os), one.update};
    TRY_ASSIGN(const auto told, state.FindAcknowledged(key));
    const RollupState::Totals totals{one.success_total, one.failure_total};
    const auto more = Increment(one.update, totals, told);
    if (Installs(more) == 0) continue;
    TRY_ASSIGN(const auto known, mirror.catalog().FindLatest(one.update.guid));
    if (!known || known->is_withdrawn) continue;
    Put(summaries, *server->second, one.os, more, key, totals, added.targets);
    added.installs += Installs(more);
  }
  return added;
}

Result<Settling> BuildSettling(Activity& activity, RollupState& state, const Guid& self,
                               std::vector<DownstreamServerRollup> servers) {
  Settling settling;
  Summaries summaries;
  TRY_ASSIGN(const auto open, state.OpenTries());
  if (open.empty()) return settling;
  std::map<std::pair<Guid, Sha256Digest>, ClientSummary> kinds;
  TRY_ASSIGN(const auto activities, activity.InstallActivities(0));
  for (const auto& one : activities) {
    kinds.try_emplace({one.server, RollupState::OsDigest(one.os)}, one.os);
  }
  const auto by_key = ByKey(servers, self);
  for (const auto& one : open) {
    const auto server = by_key.find(one.server);
    const auto again = TimeOfRepetition(one);
    const bool is_told = server != by_key.end() && again && !one.totals.empty();
    (is_told ? settling.settled : settling.lost).servers.emplace_back(one.server, one.tried_at);
    for (const auto& [key, totals] : one.totals) {
      TRY_ASSIGN(const auto told, state.FindAcknowledged(key));
      const auto more = Increment(key.update, totals, told);
      const auto kind = kinds.find({key.server, key.os});
      if (is_told && kind != kinds.end()) {
        Put(summaries, *server->second, kind->second, more, key, totals, settling.targets);
      } else {
        settling.lost_installs += Installs(more);
      }
      (is_told ? settling.settled : settling.lost).totals.emplace_back(key, totals);
    }
    if (!is_told) continue;
    server->second->last_rollup_time = *again;
    settling.servers.push_back(*server->second);
  }
  return settling;
}

RollupState::Try TryOf(const Guid& self, const std::vector<DownstreamServerRollup>& sent,
                       const ActivityTargets& targets) {
  RollupState::Try result;
  for (const auto& server : sent) {
    const Guid key_server = server.server_id == self ? Guid() : server.server_id;
    result.servers.emplace_back(key_server, server.last_rollup_time);
    for (const auto& kind : server.client_summaries) {
      const Sha256Digest os = RollupState::OsDigest(kind);
      for (const auto& one : kind.activity) {
        const auto [first, last] = targets.equal_range({key_server, os, one.update});
        for (auto at = first; at != last; ++at) result.totals.push_back(at->second);
      }
    }
  }
  return result;
}

std::vector<std::vector<DownstreamServerRollup>> SplitServers(
    std::vector<DownstreamServerRollup> servers, std::size_t limit) {
  limit = std::max<std::size_t>(1, limit);
  std::vector<std::vector<DownstreamServerRollup>> requests(1);
  std::size_t used = 0;
  const auto put = [&](DownstreamServerRollup record) {
    const std::size_t summaries = record.client_summaries.size();
    if (!requests.back().empty() && (used + summaries > limit || requests.back().size() == limit)) {
      requests.emplace_back();
      used = 0;
    }
    used += summaries;
    requests.back().push_back(std::move(record));
  };
  for (DownstreamServerRollup& server : servers) {
    std::vector<ClientSummary> clients;
    for (ClientSummary& summary : std::exchange(server.client_summaries, {})) {
      for (ClientSummary& piece : Pieces(std::move(summary))) clients.push_back(std::move(piece));
    }
    std::size_t next = 0;
    do {
      DownstreamServerRollup part = server;
      const std::size_t end = std::min(clients.size(), next + limit);
      for (; next < end; ++next) part.client_summaries.push_back(std::move(clients[next]));
      put(std::move(part));
    } while (next < clients.size());
  }
  return requests;
}

protocol::ComputerRollup BuildComputer(const Computer& computer, const Guid& parent,
                                       std::vector<Guid> groups) {
  protocol::ComputerRollup record;
  record.computer_id = computer.id;
  record.last_sync_time = FitTime(computer.last_sync_time);
  record.last_sync_result = computer.last_sync_result;
  record.last_reported_reboot_time = FitTime(computer.last_reported_reboot);
  record.last_reported_status_time = FitTime(computer.last_reported_status);
  record.last_inventory_time = FitTime(computer.last_inventory);
  record.parent_server_id = parent;
  protocol::ComputerRollupDetails details = computer.details;
  details.target_group_ids = std::move(groups);
  record.details = Fit(std::move(details));
  return record;
}

Sha256Digest DigestOf(const protocol::ComputerRollupDetails& d) {
  std::string text;
  const auto add = [&](const auto& value) { text += fmt::format("{}\x1f", value); };
  for (const Guid& group : d.target_group_ids) add(group.ToString());
  for (const std::string& name : d.requested_target_group_names) add("r" + name);
  for (const std::string* field :
       {&d.ip_address, &d.full_domain_name, &d.os_locale, &d.os_family, &d.os_description,
        &d.computer_make, &d.computer_model, &d.bios_version, &d.bios_name,
        &d.processor_architecture, &d.client_version}) {
    add(*field);
  }
  for (const std::int32_t number : {d.os_major_version, d.os_minor_version, d.os_build_number,
                                    d.os_service_pack_major, d.os_service_pack_minor, d.suite_mask,
                                    d.old_product_type, d.new_product_type, d.system_metrics}) {
    add(number);
  }
  add(d.bios_release_date.ticks);
  return Sha256(text);
}

bool TakesRollups(std::string_view protocol_version) {
  const auto parts = Split(protocol_version, '.');
  const auto major = ParseInt<std::uint32_t>(parts.front());
  const auto minor = ParseInt<std::uint32_t>(parts.size() > 1 ? parts[1] : "0");
  if (!major || !minor) return true;  // it will say so itself
  return *major > 1 || (*major == 1 && *minor >= 3);
}

}  // namespace gapferry::exporter
