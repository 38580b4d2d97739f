#include "base/canonical_json.h"
#include "mirror/ledger.h"

// Receipts that people type, and who reviews returns.

namespace gapferry::mirror {

Result<Ledger::Review> Ledger::ReviewOf(const Guid& site) {
  Review review;
  TRY_ASSIGN(const auto required,
             db_.QueryInt("SELECT required FROM site_review WHERE site = ?", site));
  review.required = static_cast<unsigned>(required.value_or(0));
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT card FROM site_reviewer WHERE site = ? ORDER BY reviewer"));
  rows.BindAll(site);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const ByteView card = rows.Blob(0);
    review.cards.emplace_back(card.begin(), card.end());
  }
  TRY(rows.Check());
  return review;
}

Result<void> Ledger::SetReview(const Guid& site, unsigned required,
                               const std::vector<std::pair<Guid, Bytes>>& cards, UtcTime now,
                               std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("INSERT OR REPLACE INTO site_review (site, required) VALUES (?, ?)", site,
              static_cast<std::int64_t>(required)));
  TRY(db_.Run("DELETE FROM site_reviewer WHERE site = ?", site));
  JsonValue::Array reviewers;
  for (const auto& [guid, card] : cards) {
    TRY(db_.Run("INSERT OR REPLACE INTO site_reviewer (site, reviewer, card) VALUES (?, ?, ?)",
                site, guid, ByteView(card)));
    reviewers.emplace_back(guid.ToString());
  }
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "site.review", site.ToString(),
                   WriteCanonicalJson(JsonValue::Object{{"required", std::uint64_t{required}},
                                                        {"reviewers", std::move(reviewers)}})}));
  return tx.Commit();
}

Result<std::optional<std::uint16_t>> Ledger::LastCodeEpoch(const Guid& site) {
  TRY_ASSIGN(
      const auto epoch,
      db_.QueryInt("SELECT epoch FROM receipt_code_in WHERE site = ? ORDER BY id DESC LIMIT 1",
                   site));
  if (!epoch) return std::optional<std::uint16_t>();
  return std::optional(static_cast<std::uint16_t>(*epoch));
}

/// An epoch that was known before the present one: the code was on its way for long.
Result<bool> Ledger::IsOldEpoch(const CodeEffect& effect, const Site& site) {
  TRY_ASSIGN(const auto in_codes,
             db_.QueryInt("SELECT 1 FROM receipt_code_in WHERE site = ? AND epoch = ? LIMIT 1",
                          site.guid, static_cast<std::int64_t>(effect.epoch)));
  if (in_codes) return true;
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT DISTINCT epoch FROM return_in WHERE site = ?"));
  rows.BindAll(site.guid);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    if (effect.hint_of(rows.GuidAt(0)) == effect.epoch) return true;
  }
  TRY(rows.Check());
  return false;
}

Result<Ledger::CodeApplied> Ledger::ApplyCode(const CodeEffect& effect, const StateLookup& state_at,
                                              UtcTime now, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto site, SiteByGuid(effect.site));
  if (!site) return Fail(ErrorCode::kNotFound, "site-unknown", "the site is gone");
  CodeApplied result;
  TRY_ASSIGN(
      const auto known,
      db_.QueryInt("SELECT 1 FROM receipt_code_in WHERE site = ? AND epoch = ? AND stream = "
                   "? AND sequence = ? AND state = ? AND files_are_missing = ?",
                   effect.site, static_cast<std::int64_t>(effect.epoch), effect.receipt.stream,
                   effect.receipt.sequence, static_cast<std::int64_t>(effect.state),
                   effect.files_are_missing ? 1 : 0));
  result.is_known = known.has_value();
  if (result.is_known) return result;

  std::optional<std::uint16_t> epoch;
  if (site->site_epoch) {
    epoch = effect.hint_of(*site->site_epoch);
  } else {
    TRY_ASSIGN(epoch, LastCodeEpoch(effect.site));
  }
  result.applied.restored = epoch && *epoch != effect.epoch;
  if (result.applied.restored) {
    TRY_ASSIGN(result.is_late, IsOldEpoch(effect, *site));
  } else if (site->acknowledged) {
    const Generation reached = site->acknowledged->name.generation;
    const Generation target = effect.receipt.target.name.generation;
    TRY_ASSIGN(const auto owner, StreamOwner(effect.receipt.stream));
    // Of two bundles to one state the later one of a stream counts; an equal number once more says
    // that something has changed at the site since.
    result.is_late = target < reached || (target == reached && owner == effect.site &&
                                          effect.receipt.sequence < site->acknowledged_sequence);
  }
  if (result.is_late) {
    result.applied = {};
    return result;
  }

  if (result.applied.restored) {
    TRY(db_.Run("DELETE FROM site_content WHERE site = ?", effect.site));
    TRY(db_.Run("UPDATE site SET site_epoch = NULL, applied_return = 0 WHERE guid = ?",
                effect.site));
  }
  ReturnEffect receipts;
  receipts.site = effect.site;
  receipts.receipts = {effect.receipt};
  TRY(ApplyReceipts(receipts, state_at, now, result.applied));
  TRY(db_.Run("UPDATE site SET diverged = ? WHERE guid = ?", result.applied.diverged, effect.site));
  TRY(
      db_.Run("INSERT INTO receipt_code_in (site, epoch, stream, sequence, state, "
              "files_are_missing, applied_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
              effect.site, static_cast<std::int64_t>(effect.epoch), effect.receipt.stream,
              effect.receipt.sequence, static_cast<std::int64_t>(effect.state),
              effect.files_are_missing ? 1 : 0, now));
  TRY(AppendAudit(
      db_, now,
      {std::string(actor), "receipt.enter", effect.site.ToString(),
       WriteCanonicalJson(JsonValue::Object{{"diverged", result.applied.diverged},
                                            {"files_are_missing", effect.files_are_missing},
                                            {"sequence", effect.receipt.sequence},
                                            {"stream", effect.receipt.stream}})}));
  TRY(tx.Commit());
  return result;
}

}  // namespace gapferry::mirror
