#include "mirror/downstream.h"

#include <algorithm>
#include <set>

#include "mirror/activity_rows.h"

namespace gapferry::mirror {
namespace {

/// Each with its status and up to thousands of states: a step stays far below 250 ms.
constexpr int kComputersPerStep = 50;

const DownstreamServer* FindIn(const std::vector<DownstreamServer>& servers, const Guid& server) {
  const auto found =
      std::ranges::find_if(servers, [&](const auto& other) { return other.id == server; });
  return found == servers.end() ? nullptr : &*found;
}

/// Removes up to kComputersPerStep; the number gone.
Result<std::uint64_t> RemoveSomeComputers(Database& db, const Guid& server) {
  return InWrite(db, [&]() -> Result<std::uint64_t> {
    TRY(
        db.Run("DELETE FROM event WHERE computer_id IN (SELECT computer_id FROM computer WHERE "
               "parent_server = ? ORDER BY id LIMIT ?)",
               server, kComputersPerStep));
    TRY(
        db.Run("DELETE FROM computer WHERE id IN (SELECT id FROM computer WHERE parent_server = ? "
               "ORDER BY id LIMIT ?)",
               server, kComputersPerStep));
    return static_cast<std::uint64_t>(db.ChangedRows());
  });
}

}  // namespace

std::vector<DownstreamServer> WithThoseBelow(const std::vector<DownstreamServer>& servers,
                                             const Guid& server) {
  std::vector<DownstreamServer> found;
  std::set<Guid> seen;
  const auto add = [&](const DownstreamServer& one) {
    if (seen.insert(one.id).second) found.push_back(one);
  };
  if (const auto* first = FindIn(servers, server)) add(*first);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Guid parent = found[i].id;
    for (const auto& one : servers) {
      if (one.parent == parent) add(one);
    }
  }
  return found;
}

std::vector<DownstreamServer> ChainTo(const std::vector<DownstreamServer>& servers,
                                      const Guid& server) {
  std::vector<DownstreamServer> chain;
  std::set<Guid> seen;
  Guid next = server;
  while (const auto* one = FindIn(servers, next)) {
    if (!seen.insert(one->id).second) break;
    chain.push_back(*one);
    next = one->parent;
  }
  std::ranges::reverse(chain);
  return chain;
}

Result<std::map<Guid, std::uint64_t>> ComputersByServer(Activity& activity) {
  TRY_ASSIGN(auto rows, activity.db().Prepare(
                            "SELECT parent_server, count(*) FROM computer GROUP BY parent_server"));
  std::map<Guid, std::uint64_t> counts;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return counts;
    const Guid server = rows.GuidAt(0);
    if (!server.IsZero()) counts[server] = static_cast<std::uint64_t>(rows.Int(1));
  }
}

Result<RemovedServers> RemoveServer(Activity& activity, const Guid& server) {
  TRY_ASSIGN(const auto servers, activity.Servers());
  auto doomed = WithThoseBelow(servers, server);
  if (doomed.empty()) {
    return Fail(ErrorCode::kNotFound, "no-server",
                "no server " + server.ToString() + " is known below this mirror");
  }
  std::ranges::reverse(doomed);  // children first: what is left always has its parents
  RemovedServers removed;
  for (const DownstreamServer& one : doomed) {
    for (;;) {
      TRY_ASSIGN(const std::uint64_t gone, RemoveSomeComputers(activity.db(), one.id));
      removed.computers += gone;
      if (gone == 0) break;
    }
    TRY(activity.db().Run("DELETE FROM downstream_server WHERE server = ?", one.id));
    ++removed.servers;
  }
  return removed;
}

}  // namespace gapferry::mirror
