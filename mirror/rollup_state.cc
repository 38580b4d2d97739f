#include "mirror/rollup_state.h"

#include <fmt/format.h>

#include <algorithm>

namespace gapferry::mirror {
namespace {

// Uses the transaction that is open, else one of its own.
template <class Function>
Result<void> InTransaction(Database& db, Function function) {
  if (db.in_transaction()) return function();
  TRY_ASSIGN(auto transaction, Transaction::Begin(db, TransactionKind::kWrite));
  TRY(function());
  return transaction.Commit();
}

/// Applies `set` to all rows that are `due`, which they are not any more then; some tens of
/// milliseconds at a time.
Result<void> UpdateInPieces(Database& db, std::string_view table, std::string_view key,
                            std::string_view set, std::string_view due) {
  const std::string update =
      fmt::format("UPDATE {0} SET {2} WHERE ({1}) IN (SELECT {1} FROM {0} WHERE {3} LIMIT 5000)",
                  table, key, set, due);
  for (;;) {
    TRY(db.Run(update));
    if (db.ChangedRows() == 0) return {};
  }
}

constexpr std::string_view kEnsureComputer =
    "INSERT INTO rollup_computer (computer_id, last_sent, full_seq) "
    "VALUES (?1, 0, 0) ON CONFLICT (computer_id) DO NOTHING";

}  // namespace

Result<std::optional<RollupState::UpstreamRecord>> RollupState::ReadUpstream() {
  TRY_ASSIGN(auto query, activity_.db().Prepare("SELECT server_id, reset_guid, detailed, "
                                                "last_rollup FROM rollup_upstream WHERE id = 1"));
  TRY_ASSIGN(const bool row, query.Step());
  if (!row) return std::optional<UpstreamRecord>();
  UpstreamRecord record{query.GuidAt(0), query.GuidAt(1), query.Bool(2), query.Time(3)};
  TRY(query.Check());
  return std::optional(record);
}

Result<bool> RollupState::Begin(const Guid& server_id, const Guid& reset_guid, bool detailed) {
  TRY_ASSIGN(const auto before, ReadUpstream());
  const bool other_server = before && before->server_id != server_id;
  const bool stale = other_server || (before && before->reset_guid != reset_guid);
  Database& db = activity_.db();
  if (stale) {
    TRY(UpdateInPieces(db, "rollup_computer", "computer_id", "details = NULL, status_seq = NULL",
                       "details IS NOT NULL OR status_seq IS NOT NULL"));
  }
  if (other_server) {
    TRY(UpdateInPieces(db, "rollup_computer", "computer_id", "last_sent = 0, deleted_at = NULL",
                       "last_sent <> 0 OR deleted_at IS NOT NULL"));
    // What was tried with the other one is not in this one's counts.
    TRY(UpdateInPieces(db, "rollup_activity", "server, os, update_guid, update_revision",
                       "tried_success = NULL, tried_failure = NULL", "tried_success IS NOT NULL"));
    TRY(db.Run("UPDATE rollup_server SET told_at = ?, tried_at = NULL", kNever));
  }
  // Last: interrupted before, the same is found stale again.
  TRY(
      db.Run("INSERT INTO rollup_upstream (id, server_id, reset_guid, detailed, last_rollup) "
             "VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET server_id = ?1, "
             "reset_guid = ?2, detailed = ?3",
             server_id, reset_guid, detailed ? 1 : 0, kNever));
  return stale;
}

Result<void> RollupState::End(UtcTime at) {
  return activity_.db().Run("UPDATE rollup_upstream SET last_rollup = ?1 WHERE id = 1", at);
}

Result<RollupState::ComputerState> RollupState::Find(std::string_view computer_id) {
  TRY_ASSIGN(auto query,
             activity_.db().Prepare("SELECT last_sent, status_seq, full_seq, details, deleted_at "
                                    "FROM rollup_computer WHERE computer_id = ?1"));
  query.Bind(1, computer_id);
  TRY_ASSIGN(const bool row, query.Step());
  ComputerState state;
  if (!row) return state;
  state.last_sent = query.Int32(0);
  state.status_seq = query.OptionalInt(1);
  state.full_seq = query.Int(2);
  if (!query.IsNull(3)) state.details = query.DigestAt<Sha256Digest>(3);
  state.deleted_at = query.OptionalTime(4);
  TRY(query.Check());
  return state;
}

Result<void> RollupState::DetailsAreTold(const std::vector<DetailsTold>& told) {
  Database& db = activity_.db();
  return InTransaction(db, [&]() -> Result<void> {
    for (const DetailsTold& one : told) {
      TRY(db.Run(kEnsureComputer, one.computer_id));
      TRY(db.Run("UPDATE rollup_computer SET details = ?2 WHERE computer_id = ?1", one.computer_id,
                 one.details));
    }
    return {};
  });
}

Result<void> RollupState::MarkDeleted(const std::vector<std::string>& computer_ids, UtcTime at) {
  Database& db = activity_.db();
  return InTransaction(db, [&]() -> Result<void> {
    for (const std::string& id : computer_ids) {
      TRY(db.Run(kEnsureComputer, id));
      TRY(
          db.Run("UPDATE rollup_computer SET deleted_at = ?2, details = NULL, status_seq = NULL, "
                 "last_sent = 0 WHERE computer_id = ?1",
                 id, at));
    }
    return {};
  });
}

Result<std::vector<std::string>> RollupState::DeletedUpstream() {
  TRY_ASSIGN(auto query,
             activity_.db().Prepare("SELECT computer_id FROM rollup_computer "
                                    "WHERE deleted_at IS NOT NULL ORDER BY computer_id"));
  std::vector<std::string> ids;
  while (true) {
    TRY_ASSIGN(const bool row, query.Step());
    if (!row) break;
    ids.push_back(query.String(0));
  }
  TRY(query.Check());
  return ids;
}

Result<void> RollupState::LiftDeletion(std::string_view computer_id) {
  return activity_.db().Run("UPDATE rollup_computer SET deleted_at = NULL WHERE computer_id = ?1",
                            computer_id);
}

Result<void> RollupState::NeedFull(const std::vector<std::string>& computer_ids) {
  Database& db = activity_.db();
  return InTransaction(db, [&]() -> Result<void> {
    for (const std::string& id : computer_ids) {
      TRY(db.Run("UPDATE rollup_computer SET status_seq = NULL WHERE computer_id = ?1", id));
    }
    return {};
  });
}

Result<void> RollupState::StatusesTold(const std::vector<StatusTold>& told) {
  Database& db = activity_.db();
  return InTransaction(db, [&]() -> Result<void> {
    for (const StatusTold& one : told) {
      TRY(db.Run(kEnsureComputer, one.computer_id));
      TRY(
          db.Run("UPDATE rollup_computer SET last_sent = ?2, status_seq = ?3, full_seq = ?4 "
                 "WHERE computer_id = ?1",
                 one.computer_id, one.number, one.status_seq, one.full_seq));
    }
    return {};
  });
}

Result<RollupState::Totals> RollupState::FindAcknowledged(const ActivityKey& key) {
  TRY_ASSIGN(auto query, activity_.db().Prepare(
                             "SELECT success, failure FROM rollup_activity WHERE server = ?1 AND "
                             "os = ?2 AND update_guid = ?3 AND update_revision = ?4"));
  query.BindAll(key.server, key.os, key.update.guid, key.update.revision);
  TRY_ASSIGN(const bool row, query.Step());
  if (!row) return Totals{};
  const Totals totals{query.Int(0), query.Int(1)};
  TRY(query.Check());
  return totals;
}

namespace {

/// Some tens of milliseconds.
constexpr std::size_t kRowsPerTransaction = 1000;

/// `take` of each row, in transactions that keep nobody waiting.
template <class Row, class Take>
Result<void> InPieces(Database& db, const std::vector<Row>& rows, Take take) {
  for (std::size_t first = 0; first < rows.size(); first += kRowsPerTransaction) {
    const std::size_t end = std::min(rows.size(), first + kRowsPerTransaction);
    Result<void> taken = InTransaction(db, [&]() -> Result<void> {
      for (std::size_t i = first; i < end; ++i) TRY(take(rows[i].first, rows[i].second));
      return {};
    });
    TRY(std::move(taken));
  }
  return {};
}

}  // namespace

Result<void> RollupState::BeginTry(const Try& what) {
  Database& db = activity_.db();
  TRY(InPieces(db, what.servers, [&](const Guid& server, UtcTime at) {
    return db.Run(
        "INSERT INTO rollup_server (server, told_at, tried_at) VALUES (?1, ?2, ?3) "
        "ON CONFLICT (server) DO UPDATE SET tried_at = ?3",
        server, kNever, at);
  }));
  return InPieces(db, what.totals, [&](const ActivityKey& key, const Totals& totals) {
    return db.Run(
        "INSERT INTO rollup_activity (server, os, update_guid, update_revision, success, "
        "failure, tried_success, tried_failure) VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6) "
        "ON CONFLICT (server, os, update_guid, update_revision) "
        "DO UPDATE SET tried_success = ?5, tried_failure = ?6",
        key.server, key.os, key.update.guid, key.update.revision, totals.success, totals.failure);
  });
}

Result<void> RollupState::TryTaken(const Try& what) {
  Database& db = activity_.db();
  TRY(InPieces(db, what.totals, [&](const ActivityKey& key, const Totals& totals) {
    return db.Run(
        "UPDATE rollup_activity SET success = ?5, failure = ?6, tried_success = NULL, "
        "tried_failure = NULL WHERE server = ?1 AND os = ?2 AND update_guid = ?3 AND "
        "update_revision = ?4",
        key.server, key.os, key.update.guid, key.update.revision, totals.success, totals.failure);
  }));
  return InPieces(db, what.servers, [&](const Guid& server, UtcTime at) {
    return db.Run(
        "UPDATE rollup_server SET told_at = max(told_at, ?2), tried_at = NULL "
        "WHERE server = ?1",
        server, at);
  });
}

Result<void> RollupState::TryRefused(const Try& what) {
  Database& db = activity_.db();
  TRY(InPieces(db, what.totals, [&](const ActivityKey& key, const Totals&) {
    return db.Run(
        "UPDATE rollup_activity SET tried_success = NULL, tried_failure = NULL "
        "WHERE server = ?1 AND os = ?2 AND update_guid = ?3 AND update_revision = ?4",
        key.server, key.os, key.update.guid, key.update.revision);
  }));
  return InPieces(db, what.servers, [&](const Guid& server, UtcTime) {
    return db.Run("UPDATE rollup_server SET tried_at = NULL WHERE server = ?1", server);
  });
}

Result<std::vector<RollupState::OpenTry>> RollupState::OpenTries() {
  Database& db = activity_.db();
  std::vector<OpenTry> open;
  {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT server, told_at, tried_at FROM rollup_server "
                                     "WHERE tried_at IS NOT NULL ORDER BY server"));
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      open.push_back({rows.GuidAt(0), rows.Time(1), rows.Time(2), {}});
    }
    TRY(rows.Check());
  }
  for (OpenTry& one : open) {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT os, update_guid, update_revision, tried_success, "
                                     "tried_failure FROM rollup_activity "
                                     "WHERE server = ? AND tried_success IS NOT NULL"));
    rows.BindAll(one.server);
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      one.totals.push_back(
          {{one.server, rows.DigestAt<Sha256Digest>(0), {rows.GuidAt(1), rows.Int32(2)}},
           {rows.Int(3), rows.Int(4)}});
    }
    TRY(rows.Check());
  }
  return open;
}

Sha256Digest RollupState::OsDigest(const protocol::ClientSummary& os) {
  return Sha256(fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", os.os_major_version,
                            os.os_minor_version, os.os_build_number, os.os_service_pack_major,
                            os.os_service_pack_minor, os.os_locale, os.suite_mask,
                            os.old_product_type, os.new_product_type, os.system_metrics,
                            os.processor_architecture));
}

}  // namespace gapferry::mirror
