#include <fmt/format.h>

#include <map>
#include <span>

#include "base/text.h"
#include "mirror/activity_json.h"
#include "mirror/rollup_intake.h"
#include "mirror/rollup_rules.h"
#include "protocol/reporting_limits.h"

// RollupIntake: servers with their client summaries and install activity.

namespace gapferry::mirror {

namespace {

using protocol::DownstreamServerRollup;

constexpr std::size_t kServersPerPiece = 100;
constexpr std::size_t kActivityPerPiece = 500;
constexpr std::size_t kMaxKinds = 10'000;  // of one server, over all parts of its record
constexpr int kMaxDepth = 64;

/// Where the servers of a request say they are, over what is known.
class Places {
 public:
  Places(Database& db, const Guid& self) : db_(db), self_(self) {}

  Guid ParentOf(const DownstreamServerRollup& told) const {
    return told.parent_server_id == self_ ? Guid{} : told.parent_server_id;
  }

  Result<void> Check(const DownstreamServerRollup& told) {
    const std::string name = told.server_id.ToString();
    const Guid parent = ParentOf(told);
    if (told.server_id.IsZero() || told.server_id == self_) {
      return FailRollup(fmt::format("server {}: is no server below this one", name));
    }
    TRY_ASSIGN(const auto known, FindServerPlace(db_, told.server_id));
    if (known && !known->site.IsZero()) {
      return FailRollup(fmt::format("server {}: reports through returns of site {}", name,
                                    known->site.ToString()));
    }
    TRY(CheckParent(told.server_id, parent));
    told_[told.server_id] = parent;
    return {};
  }

 private:
  Result<void> CheckParent(const Guid& server, const Guid& parent) {
    Guid at = parent;
    for (int depth = 0; !at.IsZero(); ++depth) {
      if (at == server || depth == kMaxDepth) {
        return FailRollup(fmt::format("server {}: parent {} is the server itself or below it",
                                      server.ToString(), parent.ToString()));
      }
      const auto same_request = told_.find(at);
      if (same_request != told_.end()) {
        at = same_request->second;
        continue;
      }
      TRY_ASSIGN(const auto place, FindServerPlace(db_, at));
      if (!place || !place->site.IsZero()) {
        return Fail(ErrorCode::kUsage, "unknown-parent",
                    fmt::format("server {}: parent server {} is not known", server.ToString(),
                                at.ToString()));
      }
      at = place->parent;
    }
    return {};
  }

  Database& db_;
  Guid self_;
  std::map<Guid, Guid> told_;
};

/// Kinds of the same name are replaced, others added: a long list comes in several records.
Result<void> MergeKinds(std::vector<protocol::ClientSummary>& kinds,
                        const std::vector<protocol::ClientSummary>& more) {
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < kinds.size(); ++i) index[OsKey(kinds[i])] = i;
  for (const auto& told : more) {
    protocol::ClientSummary kind = told;
    kind.activity.clear();
    kind = protocol::Fit(std::move(kind));
    const auto [at, is_new] = index.emplace(OsKey(kind), kinds.size());
    if (is_new) {
      kinds.push_back(std::move(kind));
    } else {
      kinds[at->second] = std::move(kind);
    }
  }
  if (kinds.size() <= kMaxKinds) return {};
  return FailRollup(
      fmt::format("{} kinds of computers, at most {} are taken", kinds.size(), kMaxKinds));
}

/// Whether it was news; older ones change nothing.
Result<bool> TakeServer(Database& db, const DownstreamServerRollup& told, const Guid& parent,
                        const ClockCorrection& correct, UtcTime now) {
  TRY_ASSIGN(auto known, FindServerRow(db, told.server_id));
  const UtcTime rolled_up = correct(told.last_rollup_time);
  if (known && known->last_rollup_time > rolled_up) return false;
  // Another parent is believed when the news are later than what it told us itself.
  if (known && known->parent != parent && known->last_contact > rolled_up) return false;
  const bool another_part = known && known->last_rollup_time == rolled_up;
  DownstreamServer server = known ? *std::move(known) : DownstreamServer{};
  if (!another_part) server.clients.clear();
  if (server.id.IsZero()) server.first_seen = now;
  server.id = told.server_id;
  server.name = EscapeForDisplay(told.full_domain_name, 256);
  if (server.parent != parent) server.last_contact = kNever;  // it talks to another one now
  server.parent = parent;
  if (parent.IsZero()) server.last_contact = now;
  server.version = protocol::FitVersion(told.version);
  server.is_replica = told.is_replica;
  server.last_sync_time = correct(told.last_sync_time);
  server.last_rollup_time = rolled_up;
  if (told.summary) server.summary = protocol::Fit(*told.summary);
  TRY(MergeKinds(server.clients, told.client_summaries));
  TRY(PutServerRow(db, server));
  return true;
}

Result<void> AddActivity(Database& db, const DownstreamServerRollup& told) {
  for (const auto& kind : told.client_summaries) {
    const std::string os_key = OsKey(protocol::Fit(kind));
    for (const auto& one : kind.activity) {
      TRY(AddInstallActivity(db, told.server_id, os_key, one.update,
                             std::max(0, one.install_success_count),
                             std::max(0, one.install_failure_count)));
    }
  }
  return {};
}

std::size_t CountActivity(const DownstreamServerRollup& told) {
  std::size_t count = 0;
  for (const auto& kind : told.client_summaries) count += kind.activity.size();
  return count;
}

struct Row {
  const std::string* os_key;
  const protocol::ClientActivitySummary* activity;
};

Result<void> StageRows(Database& db, std::int64_t batch, std::int64_t first, const Guid& server,
                       std::span<const Row> rows) {
  TRY_ASSIGN(auto insert,
             db.Prepare("INSERT INTO incoming_activity (batch, row, server, os_key, update_guid, "
                        "update_revision, success, failure) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const Row& row : rows) {
    const auto& one = *row.activity;
    TRY(insert.Run(batch, first++, server, *row.os_key, one.update.guid, one.update.revision,
                   std::max(0, one.install_success_count), std::max(0, one.install_failure_count)));
  }
  return {};
}

/// Moves at most one piece of an incoming batch to where it counts, or away; the rows moved.
Result<std::size_t> FoldPiece(Database& db, std::int64_t batch) {
  struct Moved {
    std::int64_t row;
    Guid server;
    std::string os_key;
    protocol::UpdateId update;
    std::int64_t success;
    std::int64_t failure;
  };
  TRY_ASSIGN(const auto accepted,
             db.QueryInt("SELECT accepted FROM incoming_batch WHERE batch = ?", batch));
  std::vector<Moved> moved;
  {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT row, server, os_key, update_guid, update_revision, "
                                     "success, failure FROM incoming_activity WHERE batch = ? "
                                     "ORDER BY row LIMIT ?"));
    rows.BindAll(batch, kActivityPerPiece);
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      moved.push_back({rows.Int(0),
                       rows.GuidAt(1),
                       rows.String(2),
                       {rows.GuidAt(3), rows.Int32(4)},
                       rows.Int(5),
                       rows.Int(6)});
    }
    TRY(rows.Check());
  }
  for (const Moved& one : moved) {
    if (accepted.value_or(0) != 0) {
      TRY(AddInstallActivity(db, one.server, one.os_key, one.update, one.success, one.failure));
    }
    TRY(db.Run("DELETE FROM incoming_activity WHERE batch = ? AND row = ?", batch, one.row));
  }
  if (moved.empty()) TRY(db.Run("DELETE FROM incoming_batch WHERE batch = ?", batch));
  return moved.size();
}

}  // namespace

// What is long is written beforehand, invisibly, so that one short transaction can accept it: a
// batch for each server, empty where there is no activity to speak of (0).
Result<std::vector<std::int64_t>> RollupIntake::Stage(
    const protocol::RollupDownstreamServersRequest& request) {
  std::vector<std::int64_t> batches(request.servers.size(), 0);
  for (std::size_t i = 0; i < request.servers.size(); ++i) {
    const auto& told = request.servers[i];
    if (CountActivity(told) <= kActivityPerPiece / 10) continue;
    std::vector<std::string> keys;
    keys.reserve(told.client_summaries.size());
    std::vector<Row> rows;
    for (const auto& kind : told.client_summaries) {
      keys.push_back(OsKey(protocol::Fit(kind)));
      for (const auto& one : kind.activity) rows.push_back({&keys.back(), &one});
    }
    for (std::size_t first = 0; first < rows.size(); first += kActivityPerPiece) {
      const std::span<const Row> piece(rows.data() + first,
                                       std::min(kActivityPerPiece, rows.size() - first));
      const auto stage = [&](Activity& activity) -> Result<void> {
        Database& db = activity.db();
        if (first == 0) {
          TRY(db.Run("INSERT INTO incoming_batch (accepted) VALUES (0)"));
          batches[i] = db.LastInsertRowId();
        }
        return StageRows(db, batches[i], static_cast<std::int64_t>(first), told.server_id, piece);
      };
      TRY(run_(stage));
    }
  }
  return batches;
}

Result<void> RollupIntake::Fold(const std::vector<std::int64_t>& batches) {
  for (const std::int64_t batch : batches) {
    for (std::size_t moved = batch == 0 ? 0 : 1; moved > 0;) {
      const auto fold = [&](Activity& activity) -> Result<void> {
        TRY_ASSIGN(moved, FoldPiece(activity.db(), batch));
        return {};
      };
      TRY(run_(fold));
    }
  }
  return {};
}

Result<void> RollupIntake::Recover() {
  std::vector<std::int64_t> batches;
  const auto list = [&](Activity& activity) -> Result<void> {
    TRY_ASSIGN(auto rows, activity.db().Prepare("SELECT batch FROM incoming_batch"));
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) return {};
      batches.push_back(rows.Int(0));
    }
  };
  TRY(run_(list));
  return Fold(batches);
}

Result<void> RollupIntake::Servers(const protocol::RollupDownstreamServersRequest& request) {
  const std::span<const DownstreamServerRollup> all(request.servers);
  const auto check = [&](Activity& activity) -> Result<void> {
    Places places(activity.db(), self_);
    for (const auto& told : all) TRY(places.Check(told));
    return {};
  };
  TRY(run_(check));
  TRY_ASSIGN(const auto batches, Stage(request));
  Result<void> taken;
  for (std::size_t first = 0; taken && first < all.size(); first += kServersPerPiece) {
    const std::size_t end = std::min(all.size(), first + kServersPerPiece);
    taken = run_([&](Activity& activity) -> Result<void> {
      Database& db = activity.db();
      const UtcTime now = activity.Now();
      const ClockCorrection correct(now, request.client_time);
      const Places places(db, self_);
      for (std::size_t i = first; i < end; ++i) {
        TRY_ASSIGN(const bool news, TakeServer(db, all[i], places.ParentOf(all[i]), correct, now));
        if (!news) continue;
        if (batches[i] == 0) TRY(AddActivity(db, all[i]));
        TRY(db.Run("UPDATE incoming_batch SET accepted = 1 WHERE batch = ?", batches[i]));
      }
      return {};
    });
  }
  // Also after a failure: what was accepted counts, the rest goes.
  TRY(Fold(batches));
  return taken;
}

}  // namespace gapferry::mirror
