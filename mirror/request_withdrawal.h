#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/ledger.h"

namespace gapferry::mirror {

/// Takes back what Ledger::AskForResend asked, with its audit record: the next return does not ask
/// for it any more. Whether it was asked for. One short transaction.
Result<bool> WithdrawResend(Database& db, const ReturnEffect::Resend& resend, UtcTime now,
                            std::string_view actor);

}  // namespace gapferry::mirror
