#include <algorithm>
#include <array>
#include <utility>

#include "base/canonical_json.h"
#include "mirror/ledger.h"
#include "mirror/row_reading.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kImportColumns =
    "SELECT sender, stream, sequence, manifest, scope, target_epoch, target_generation, "
    "target_chain, state_digest, local_generation, upstream_sync_at, applied_return, detailed, "
    "imported_at FROM bundle_in ";

BundleIn ReadImport(Statement& row) {
  BundleIn bundle;
  bundle.sender = row.GuidAt(0);
  bundle.stream = row.String(1);
  bundle.sequence = static_cast<std::uint64_t>(row.Int(2));
  bundle.manifest = row.DigestAt<Sha256Digest>(3);
  bundle.full = row.Bool(4);
  bundle.target = {{row.GuidAt(5), row.Int(6), row.DigestAt<Sha256Digest>(7)},
                   row.DigestAt<Sha256Digest>(8)};
  bundle.local_generation = row.Int(9);
  bundle.upstream_sync_at = row.OptionalTime(10);
  bundle.applied_return = static_cast<std::uint64_t>(row.Int(11));
  bundle.detailed = row.Bool(12);
  bundle.imported_at = row.Time(13);
  return bundle;
}

Result<std::optional<BundleIn>> FirstImport(Statement& rows) {
  TRY_ASSIGN(const bool row, rows.Step());
  if (!row) return std::optional<BundleIn>();
  std::optional<BundleIn> bundle(ReadImport(rows));
  TRY(rows.Check());
  return bundle;
}

constexpr std::string_view kReturnColumns =
    "SELECT number, level, sha256, path, created_at, state FROM return_out WHERE recipient = ? ";

Result<std::optional<ReturnOut>> FirstReturn(Statement& rows, const Guid& recipient) {
  rows.BindAll(recipient);
  TRY_ASSIGN(const bool row, rows.Step());
  if (!row) return std::optional<ReturnOut>();
  ReturnOut out;
  out.recipient = recipient;
  out.number = static_cast<std::uint64_t>(rows.Int(0));
  out.level = rows.String(1);
  out.sha256 = rows.DigestAt<Sha256Digest>(2);
  out.path = rows.String(3);
  out.created_at = rows.Time(4);
  out.written = rows.Int(5) == 2;
  TRY(rows.Check());
  return std::optional(std::move(out));
}

constexpr std::array<std::pair<WithheldWhy, std::string_view>, 3> kWithheldNames = {{
    {WithheldWhy::kRejected, "rejected"},
    {WithheldWhy::kCrashed, "crashed"},
    {WithheldWhy::kTimedOut, "timed-out"},

}};

}  // namespace

std::string_view WithheldWhyName(WithheldWhy why) {
  const auto* const found = std::ranges::find(kWithheldNames, why, [](auto& n) { return n.first; });
  return found->second;
}

std::optional<WithheldWhy> ParseWithheldWhy(std::string_view name) {
  const auto* const found =
      std::ranges::find(kWithheldNames, name, [](auto& n) { return n.second; });
  if (found == kWithheldNames.end()) return std::nullopt;
  return found->first;
}

Result<void> Ledger::RecordImport(const BundleIn& bundle) {
  return db_.Run(
      // After a new history was accepted an older bundle may be taken once more; it is the newest
      // then.
      "INSERT OR REPLACE INTO bundle_in (sender, stream, sequence, manifest, scope, target_epoch, "
      "target_generation, target_chain, state_digest, local_generation, upstream_sync_at, "
      "applied_return, detailed, imported_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      bundle.sender, bundle.stream, bundle.sequence, bundle.manifest, bundle.full ? 1 : 0,
      bundle.target.name.epoch, bundle.target.name.generation, bundle.target.name.chain,
      bundle.target.state_digest, bundle.local_generation, bundle.upstream_sync_at,
      bundle.applied_return, bundle.detailed ? 1 : 0, bundle.imported_at);
}

Result<std::optional<BundleIn>> Ledger::LastImport() {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kImportColumns) + "ORDER BY id DESC LIMIT 1"));
  return FirstImport(rows);
}

Result<std::optional<BundleIn>> Ledger::LastImport(const Guid& sender, std::string_view stream) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kImportColumns) +
                                    "WHERE sender = ? AND stream = ? ORDER BY id DESC LIMIT 1"));
  rows.BindAll(sender, stream);
  return FirstImport(rows);
}

Result<std::optional<BundleIn>> Ledger::FindImport(const Sha256Digest& manifest) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kImportColumns) + "WHERE manifest = ?"));
  rows.BindAll(manifest);
  return FirstImport(rows);
}

Result<std::vector<BundleIn>> Ledger::Imports(int limit) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kImportColumns) + "ORDER BY id DESC LIMIT ?"));
  rows.BindAll(limit);
  return ReadAllRows(rows, ReadImport);
}

Result<std::optional<UtcTime>> Ledger::UpstreamSyncAt(Generation generation) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT upstream_sync_at FROM bundle_in WHERE "
                                    "local_generation <= ? ORDER BY id DESC LIMIT 1"));
  rows.BindAll(generation);
  TRY_ASSIGN(const bool row, rows.Step());
  std::optional<UtcTime> at;
  if (row) at = rows.OptionalTime(0);
  return at;
}

Result<std::optional<UtcTime>> Ledger::UpstreamSyncBefore(UtcTime time) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT upstream_sync_at FROM bundle_in WHERE "
                                    "imported_at <= ? ORDER BY id DESC LIMIT 1"));
  rows.BindAll(time);
  TRY_ASSIGN(const bool row, rows.Step());
  std::optional<UtcTime> at;
  if (row) at = rows.OptionalTime(0);
  return at;
}

Result<std::uint64_t> Ledger::NextReturn(const Guid& recipient) {
  TRY_ASSIGN(const auto written,
             db_.QueryInt("SELECT max(number) FROM return_out WHERE recipient = ?", recipient));
  TRY_ASSIGN(const auto applied,
             db_.QueryInt("SELECT max(applied_return) FROM bundle_in WHERE sender = ?", recipient));
  return static_cast<std::uint64_t>(std::max(written.value_or(0), applied.value_or(0)) + 1);
}

Result<std::optional<ReturnOut>> Ledger::FindReturn(const Guid& recipient, std::uint64_t number) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kReturnColumns) + "AND number = " + std::to_string(number)));
  return FirstReturn(rows, recipient);
}

Result<void> Ledger::ReserveReturn(const ReturnOut& out) {
  return db_.Run(
      "INSERT INTO return_out (recipient, number, state, level, sha256, path, "
      "created_at) VALUES (?, ?, 1, ?, ?, '', ?)",
      out.recipient, out.number, out.level, out.sha256, out.created_at);
}

Result<std::optional<ReturnOut>> Ledger::UnfinishedReturn(const Guid& recipient) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kReturnColumns) + "AND state = 1"));
  return FirstReturn(rows, recipient);
}

Result<std::optional<ReturnOut>> Ledger::LastReturn(const Guid& recipient) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kReturnColumns) +
                                    "AND state = 2 ORDER BY number DESC LIMIT 1"));
  return FirstReturn(rows, recipient);
}

Result<void> Ledger::MarkReturnWritten(const ReturnOut& out, const AuditEntry& audit, UtcTime now) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE return_out SET state = 2, path = ? WHERE recipient = ? AND number = ?",
              out.path, out.recipient, out.number));
  TRY(AppendAudit(db_, now, audit));
  return tx.Commit();
}

Result<void> Ledger::VoidReturn(const Guid& recipient, std::uint64_t number) {
  return db_.Run("UPDATE return_out SET state = 6 WHERE recipient = ? AND number = ?", recipient,
                 number);
}

Result<bool> Ledger::IsReturnApplied(const Guid& site, const Sha256Digest& sha256) {
  TRY_ASSIGN(const auto found,
             db_.QueryInt("SELECT 1 FROM return_in WHERE site = ? AND sha256 = ?", site, sha256));
  return found.has_value();
}

Result<bool> Ledger::HadReturnOf(const Guid& site, const Guid& site_epoch) {
  TRY_ASSIGN(const auto found, db_.QueryInt("SELECT 1 FROM return_in WHERE site = ? AND epoch = ? "
                                            "LIMIT 1",
                                            site, site_epoch));
  return found.has_value();
}

Result<Ledger::Applied> Ledger::ApplyReturn(const ReturnEffect& effect, const StateLookup& state_at,
                                            UtcTime now, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto site, SiteByGuid(effect.site));
  if (!site) return Fail(ErrorCode::kNotFound, "site-unknown", "the site is gone");
  Applied applied;
  applied.restored = site->site_epoch && *site->site_epoch != effect.site_epoch;
  // A site that was restored or made anew may have lost files that it once acknowledged.
  if (applied.restored) TRY(db_.Run("DELETE FROM site_content WHERE site = ?", effect.site));
  TRY(ApplyReceipts(effect, state_at, now, applied));

  TRY(ApplyRequests(effect, applied));
  TRY(ApplyReports(effect));
  TRY(
      db_.Run("INSERT INTO return_in (site, epoch, number, sha256, applied_at) "
              "VALUES (?, ?, ?, ?, ?)",
              effect.site, effect.site_epoch, effect.number, effect.sha256, now));
  TRY(
      db_.Run("UPDATE site SET applied_return = ?, last_return_at = ?, site_epoch = ?, "
              "diverged = ? WHERE guid = ?",
              effect.number, now, effect.site_epoch, applied.diverged, effect.site));
  applied.requested = effect.requests.size();
  TRY_ASSIGN(const auto believed,
             db_.QueryInt("SELECT count(*) FROM site_content WHERE site = ?", effect.site));
  applied.believed = static_cast<std::uint64_t>(believed.value_or(0));
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "return.import", effect.site.ToString(),
                   WriteCanonicalJson(JsonValue::Object{{"acknowledged", applied.sequence},
                                                        {"diverged", applied.diverged},
                                                        {"number", effect.number},
                                                        {"sha256", effect.sha256.ToHex()}})}));
  TRY(tx.Commit());
  return applied;
}

Result<void> Ledger::ApplyReceipts(const ReturnEffect& effect, const StateLookup& state_at,
                                   UtcTime now, Applied& applied) {
  if (effect.receipts.empty()) {
    // A site that has imported nothing (any more): the next bundle starts from nothing.
    return ForgetState(effect.site);
  }
  const ReturnEffect::Receipt& last = effect.receipts.back();
  TRY_ASSIGN(const auto ours, state_at(last.target.name));
  if (!ours) {
    applied.diverged = "its receipt for bundle " + std::to_string(last.sequence) +
                       " names a state that is not in this mirror's history";
    return {};
  }
  if (ours->state_digest != last.target.state_digest) {
    applied.diverged = "it holds something else at generation " +
                       std::to_string(last.target.name.generation) + " than this mirror held";
    return {};
  }
  applied.acknowledged = *ours;
  applied.sequence = last.sequence;
  for (const auto& receipt : effect.receipts) TRY(Acknowledge(effect.site, receipt, applied));
  return db_.Run(
      "UPDATE site SET acked_epoch = ?, acked_generation = ?, acked_chain = ?, "
      "acked_state_digest = ?, acked_sequence = ?, acked_at = ? WHERE guid = ?",
      ours->name.epoch, ours->name.generation, ours->name.chain, ours->state_digest, last.sequence,
      now, effect.site);
}

/// The next bundle for it starts from nothing.
Result<void> Ledger::ForgetState(const Guid& site) {
  return db_.Run(
      "UPDATE site SET acked_epoch = NULL, acked_generation = NULL, acked_chain = NULL, "
      "acked_state_digest = NULL, acked_sequence = 0, acked_at = NULL WHERE guid = ?",
      site);
}

/// What the site asks for and what it does not hold any more: belief ends.
Result<void> Ledger::ApplyRequests(const ReturnEffect& effect, Applied& applied) {
  TRY(db_.Run("DELETE FROM site_request WHERE site = ?", effect.site));
  TRY_ASSIGN(auto request,
             db_.Prepare("INSERT INTO site_request (site, sha1, asked) VALUES (?, ?, ?)"));
  TRY_ASSIGN(auto deny, db_.Prepare("DELETE FROM site_content WHERE site = ? AND sha1 = ?"));
  for (const auto& wanted : effect.requests) {
    TRY(request.Run(effect.site, wanted.sha1, wanted.asked ? 1 : 0));
    TRY(deny.Run(effect.site, wanted.sha1));
  }
  for (const Sha1Digest& sha1 : effect.removed) TRY(deny.Run(effect.site, sha1));

  for (const auto& resend : effect.resends) {
    if (resend.sequence == 0) {
      TRY(db_.Run("DELETE FROM site_content WHERE site = ?", effect.site));
      TRY(ForgetState(effect.site));
      applied.acknowledged.reset();
      continue;
    }
    TRY_ASSIGN(const auto owner, StreamOwner(resend.stream));
    if (!owner) continue;

    TRY(
        db_.Run("DELETE FROM site_content WHERE site = ? AND sha1 IN (SELECT sha1 FROM "
                "bundle_pin WHERE site = ? AND sequence = ?)",
                effect.site, *owner, resend.sequence));
  }
  return {};
}

/// What the last return said replaces what was known.
Result<void> Ledger::ApplyReports(const ReturnEffect& effect) {
  TRY(db_.Run("DELETE FROM site_damage WHERE site = ?", effect.site));
  for (const auto& block : effect.blocks) {
    TRY(
        db_.Run("INSERT INTO site_damage (site, stream, sequence, volume, block, count) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                effect.site, block.stream, block.sequence, block.volume, block.block, block.count));
  }
  TRY(db_.Run("DELETE FROM site_blocked WHERE site = ?", effect.site));
  for (const auto& blocked : effect.blocked) {
    TRY(db_.Run("INSERT INTO site_blocked (site, update_guid, since, reason) VALUES (?, ?, ?, ?)",
                effect.site, blocked.update, blocked.since, blocked.reason));
  }
  TRY(db_.Run("DELETE FROM site_withheld WHERE site = ?", effect.site));
  for (const auto& withheld : effect.withheld) {
    TRY(db_.Run("INSERT INTO site_withheld (site, sha1, size_bytes, why) VALUES (?, ?, ?, ?)",
                effect.site, withheld.sha1, withheld.size_bytes, WithheldWhyName(withheld.why)));
  }
  return {};
}

/// Only bundles that the site imported brought it anything, and each is believed once: a later
/// return may have denied single files since. A site that was restored may have lost them.
Result<void> Ledger::Acknowledge(const Guid& site, const ReturnEffect::Receipt& receipt,
                                 const Applied& applied) {
  TRY_ASSIGN(const auto owner, StreamOwner(receipt.stream));
  if (!owner) return {};
  TRY_ASSIGN(const auto waits,
             db_.QueryInt("SELECT 1 FROM bundle_recipient r JOIN bundle_out b USING (site, "
                          "sequence) WHERE r.site = ? AND r.sequence = ? AND r.recipient = ? AND "
                          "r.acknowledged = 0 AND b.manifest = ? AND b.state IN (3, 4)",
                          *owner, receipt.sequence, site, receipt.manifest));
  if (!waits) return {};
  if (!applied.restored && receipt.brought_files) {
    TRY(
        db_.Run("INSERT OR IGNORE INTO site_content (site, sha1) SELECT ?, sha1 FROM bundle_pin "
                "WHERE site = ? AND sequence = ?",
                site, *owner, receipt.sequence));
  }
  TRY(
      db_.Run("UPDATE bundle_recipient SET acknowledged = 1 WHERE site = ? AND sequence = ? AND "
              "recipient = ?",
              *owner, receipt.sequence, site));
  return db_.Run(
      "UPDATE bundle_out SET state = 5 WHERE site = ?1 AND sequence = ?2 AND NOT EXISTS (SELECT 1 "
      "FROM bundle_recipient WHERE site = ?1 AND sequence = ?2 AND acknowledged = 0)",
      *owner, receipt.sequence);
}

Result<std::vector<ReturnEffect::Block>> Ledger::Damage(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT stream, sequence, volume, block, count FROM "
                                    "site_damage WHERE site = ? ORDER BY 1, 2, 3, 4"));
  rows.BindAll(site);
  return ReadAllRows(rows, [](Statement& row) {
    return ReturnEffect::Block{row.String(0), static_cast<std::uint64_t>(row.Int(1)),
                               static_cast<std::uint32_t>(row.Int(2)),
                               static_cast<std::uint64_t>(row.Int(3)),
                               static_cast<std::uint64_t>(row.Int(4))};
  });
}

Result<std::vector<ReturnEffect::Blocked>> Ledger::BlockedAt(const Guid& site) {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT update_guid, since, reason FROM site_blocked WHERE site = ? "
                         "ORDER BY update_guid"));
  rows.BindAll(site);
  return ReadAllRows(rows, [](Statement& row) {
    return ReturnEffect::Blocked{row.GuidAt(0), row.Time(1), row.String(2)};
  });
}

Result<std::vector<ReturnEffect::Withheld>> Ledger::WithheldAt(const Guid& site) {
  TRY_ASSIGN(
      auto rows,
      db_.Prepare("SELECT sha1, size_bytes, why FROM site_withheld WHERE site = ? ORDER BY sha1"));
  rows.BindAll(site);
  return ReadAllRows(rows, [](Statement& row) {
    const auto why = ParseWithheldWhy(row.String(2));
    return ReturnEffect::Withheld{row.DigestAt<Sha1Digest>(0),
                                  static_cast<std::uint64_t>(row.Int(1)),
                                  why.value_or(WithheldWhy::kRejected)};
  });
}

}  // namespace gapferry::mirror
