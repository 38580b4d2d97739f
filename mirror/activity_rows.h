#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/sqlite.h"

// Rows of activity.db; for the sources of mirror/ only.

namespace gapferry::mirror {

/// Runs `write` in the transaction that is open, else in one of its own.
template <class F>
auto InWrite(Database& db, F write) -> decltype(write()) {
  if (db.in_transaction()) return write();
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  auto result = write();
  if (!result) return result;
  TRY(tx.Commit());
  return result;
}

/// The next value of the one counter over all records.
Result<std::int64_t> NextSequence(Database& db);

struct ComputerRow {
  std::int64_t row = 0;
  Computer computer;
};
Result<std::optional<ComputerRow>> FindComputerRow(Database& db, std::string_view computer_id);
std::string ComputerSelect(std::string_view rest);
ComputerRow ReadComputer(Statement& row);

/// Writes the whole record with a new change_seq (status_seq and full_seq stay) and returns its
/// row.
Result<std::int64_t> PutComputerRow(Database& db, const Computer& computer);

/// Whether a state that is told again keeps the time since when it is so (an inventory repeats
/// everything each day) or takes the one that is told (another server knows better).
enum class SameState { kKeepsTime, kTakesTime };

/// Sets or removes (state not applicable) states of one computer, with one new sequence.
Result<void> PutStatusRows(Database& db, std::int64_t computer,
                           const std::vector<UpdateStatus>& states, SameState same);

/// Replaces the whole inventory; rows that vanish raise full_seq.
Result<void> ReplaceStatus(Database& db, std::int64_t computer,
                           const std::vector<UpdateStatus>& states,
                           SameState same = SameState::kKeepsTime);
/// Removes at most `limit` rows of updates that are not in `wanted`; the number gone.
Result<std::size_t> RemoveOtherStatus(Database& db, std::int64_t computer,
                                      const std::set<Guid>& wanted, std::size_t limit);

std::string ServerSelect(std::string_view rest);
DownstreamServer ReadServer(Statement& row);
Result<std::optional<DownstreamServer>> FindServerRow(Database& db, const Guid& server);
Result<void> PutServerRow(Database& db, const DownstreamServer& server);

/// Adds to the totals of one update on computers of one kind.
Result<void> AddInstallActivity(Database& db, const Guid& server, const std::string& os_key,
                                const protocol::UpdateId& update, std::int64_t success,
                                std::int64_t failure);

struct Activity::Impl {
  Impl(Database database, const Clock& c) : db(std::move(database)), clock(c) {}
  Database db;
  const Clock& clock;
};

}  // namespace gapferry::mirror
