#include "mirror/request_withdrawal.h"

#include "base/canonical_json.h"
#include "mirror/audit.h"

namespace gapferry::mirror {

Result<bool> WithdrawResend(Database& db, const ReturnEffect::Resend& resend, UtcTime now,
                            std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  TRY(db.Run("DELETE FROM request_out WHERE stream = ? AND sequence = ?", resend.stream,
             resend.sequence));
  if (db.ChangedRows() == 0) return false;
  TRY(AppendAudit(db, now,
                  {std::string(actor), "request.remove", resend.stream,
                   WriteCanonicalJson(JsonValue::Object{{"sequence", resend.sequence},
                                                        {"stream", resend.stream}})}));
  TRY(tx.Commit());
  return true;
}

}  // namespace gapferry::mirror
