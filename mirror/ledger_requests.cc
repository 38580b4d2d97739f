// Ledger: what this mirror asks of whoever sends it bundles.
#include "base/canonical_json.h"
#include "mirror/ledger.h"
#include "mirror/row_reading.h"

namespace gapferry::mirror {

Result<std::vector<ReturnEffect::Resend>> Ledger::ResendsWanted() {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT stream, sequence FROM request_out ORDER BY 1, 2"));
  return ReadAllRows(rows, [](Statement& row) {
    return ReturnEffect::Resend{row.String(0), static_cast<std::uint64_t>(row.Int(1))};
  });
}

Result<void> Ledger::AskForResend(const ReturnEffect::Resend& resend, UtcTime now,
                                  std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(
      db_.Run("INSERT INTO request_out (stream, sequence, asked_at) VALUES (?, ?, ?) ON CONFLICT "
              "DO UPDATE SET asked_at = excluded.asked_at",
              resend.stream, resend.sequence, now));
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "request.add", resend.stream,
                   WriteCanonicalJson(JsonValue::Object{{"sequence", resend.sequence},
                                                        {"stream", resend.stream}})}));
  return tx.Commit();
}

Result<void> Ledger::DropResends(const Guid& recipient, std::uint64_t number) {
  return db_.Run(
      "DELETE FROM request_out WHERE asked_at <= (SELECT created_at FROM return_out WHERE "
      "recipient = ? AND number = ? AND state = 2)",
      recipient, number);
}

}  // namespace gapferry::mirror
