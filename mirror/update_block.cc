#include "mirror/update_block.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "mirror/commit.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

Result<void> CheckReason(std::string_view reason) {
  bool fits = reason.size() <= kMaxBlockReason && IsValidUtf8(reason);
  for (const char c : reason) fits = fits && static_cast<unsigned char>(c) >= 0x20;
  if (fits) return {};
  return Fail(ErrorCode::kUsage, "bad-reason",
              fmt::format("the reason has {} bytes or control characters; at most {} bytes of text "
                          "in one line are kept",
                          reason.size(), kMaxBlockReason));
}

Result<void> CheckBlockable(Mirror& mirror, const Guid& update) {
  TRY_ASSIGN(const auto row, mirror.catalog().FindLatest(update));
  if (!row) {
    return Fail(ErrorCode::kNotFound, "no-update",
                fmt::format("update {} is not in the catalogue", update.ToString()));
  }
  if (row->type == UpdateType::kSoftware || row->type == UpdateType::kDriver) return {};
  return Fail(ErrorCode::kUsage, "not-deployable",
              fmt::format("{} is a {}: only software and drivers can be blocked", update.ToString(),
                          protocol::UpdateTypeName(row->type)));
}

}  // namespace

Result<std::uint64_t> BlockUpdates(Mirror& mirror, const std::vector<Guid>& updates,
                                   std::string_view reason, std::string_view actor) {
  TRY(CheckReason(reason));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "block"));
  std::uint64_t blocked = 0;
  for (const Guid& update : updates) {
    TRY(CheckBlockable(mirror, update));
    TRY(
        commit.db().Run("INSERT INTO update_block (guid, reason, actor, at) VALUES (?, ?, ?, ?) "
                        "ON CONFLICT DO NOTHING",
                        update, reason, actor, commit.committed_at()));
    if (commit.db().ChangedRows() == 0) continue;
    ++blocked;
    commit.RecordLocalChange("block " + update.ToString());
    TRY(commit.Audit({std::string(actor), "update.block", update.ToString(),
                      nlohmann::json{{"reason", reason}}.dump()}));
  }
  TRY(commit.Finish());
  return blocked;
}

Result<std::uint64_t> UnblockUpdates(Mirror& mirror, const std::vector<Guid>& updates,
                                     std::string_view actor) {
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "unblock"));
  std::uint64_t lifted = 0;
  for (const Guid& update : updates) {
    TRY(commit.db().Run("DELETE FROM update_block WHERE guid = ?", update));
    if (commit.db().ChangedRows() == 0) continue;
    ++lifted;
    commit.RecordLocalChange("unblock " + update.ToString());
    TRY(commit.Audit({std::string(actor), "update.unblock", update.ToString()}));
  }
  TRY(commit.Finish());
  return lifted;
}

Result<std::vector<UpdateBlock>> ReadBlocks(Mirror& mirror) {
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare("SELECT guid, reason, actor, at FROM update_block ORDER BY guid"));
  std::vector<UpdateBlock> blocks;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    blocks.push_back({rows.GuidAt(0), rows.String(1), rows.String(2), rows.Time(3)});
  }
  TRY(rows.Check());
  return blocks;
}

Result<std::vector<Guid>> NotOfferedByBlocks(Mirror& mirror) {
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare(
                 "WITH RECURSIVE blocked(guid) AS (SELECT guid FROM update_block UNION "
                 "SELECT i.guid FROM blocked b JOIN bundle_member m ON m.guid = b.guid "
                 "JOIN revision r ON r.id = m.revision_id JOIN change c ON c.id = r.change_id "
                 "JOIN revision_identity i ON i.id = r.id WHERE c.generation IS NOT NULL) "
                 "SELECT guid FROM blocked ORDER BY guid"));
  std::vector<Guid> guids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    guids.push_back(rows.GuidAt(0));
  }
  TRY(rows.Check());
  return guids;
}

}  // namespace gapferry::mirror
