#include <fmt/format.h>

#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/activity_rows.h"
#include "mirror/rollup_intake.h"
#include "mirror/rollup_rules.h"

// Activity: servers below, and what they report (wsusss.md 4.3).

namespace gapferry::mirror {

std::unexpected<Error> FailRollup(std::string message) {
  return Fail(ErrorCode::kUsage, "bad-rollup", std::move(message));
}

Result<std::optional<ServerPlace>> FindServerPlace(Database& db, const Guid& server) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT parent, site FROM downstream_server WHERE server = ?"));
  row.BindAll(server);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<ServerPlace>();
  ServerPlace place{row.GuidAt(0), row.GuidAt(1)};
  TRY(row.Check());
  return std::optional(place);
}

Result<std::set<Guid>> Subtree(Database& db, const Guid& root) {
  std::set<Guid> members;
  TRY_ASSIGN(const auto known, FindServerPlace(db, root));
  if (!known) return members;
  TRY_ASSIGN(auto rows, db.Prepare("WITH RECURSIVE below(server) AS (VALUES (?1) UNION "
                                   "SELECT d.server FROM downstream_server d JOIN below b "
                                   "ON d.parent = b.server) SELECT server FROM below"));
  rows.BindAll(root);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return members;
    members.insert(rows.GuidAt(0));
  }
}

Result<void> Activity::ServerContact(const Guid& server, std::string_view name) {
  return InWrite(db(), [&]() -> Result<void> {
    const UtcTime now = impl_->clock.Now();
    TRY_ASSIGN(auto known, FindServerRow(db(), server));
    if (known && !known->site.IsZero()) return {};
    DownstreamServer record = known ? *std::move(known) : DownstreamServer{};
    if (record.id.IsZero()) record.first_seen = now;
    record.id = server;
    record.parent = Guid{};  // it talks to us, whatever others said
    record.name = EscapeForDisplay(name, 256);
    record.last_contact = now;
    return PutServerRow(db(), record);
  });
}

namespace {

RollupIntake::Runner Direct(Activity& activity) {
  return [&activity](const ActivityWriter::Work& work) { return work(activity); };
}

}  // namespace

Result<void> Activity::RollupServers(const protocol::RollupDownstreamServersRequest& request,
                                     const Guid& self) {
  return InWrite(db(), [&] { return RollupIntake(Direct(*this), self).Servers(request); });
}

Result<std::vector<protocol::ChangedComputer>> Activity::RollupComputers(
    const protocol::RollupComputersRequest& request, const Guid& self) {
  return InWrite(db(), [&] { return RollupIntake(Direct(*this), self).Computers(request); });
}

Result<void> Activity::RollupStatus(const protocol::RollupComputerStatusRequest& request) {
  return InWrite(db(), [&] { return RollupIntake(Direct(*this), Guid{}).Status(request); });
}

Result<std::vector<std::string>> Activity::OutOfSync(
    const protocol::GetOutOfSyncComputersRequest& request) {
  TRY_ASSIGN(const auto subtree, Subtree(db(), request.parent_server_id));
  std::vector<std::string> out_of_sync;
  if (subtree.empty()) return out_of_sync;
  TRY_ASSIGN(auto row, db().Prepare("SELECT parent_server, rollup_number FROM computer "
                                    "WHERE computer_id = ?"));
  for (const auto& told : request.last_rollup_numbers) {
    row.Reset();
    row.BindAll(told.computer_id);
    TRY_ASSIGN(const bool known, row.Step());
    if (!known) continue;
    const bool below = subtree.contains(row.GuidAt(0));
    const bool differs = row.Int32(1) != told.rollup_number;
    TRY(row.Check());
    if (below && differs) out_of_sync.push_back(told.computer_id);
  }
  return out_of_sync;
}

}  // namespace gapferry::mirror
