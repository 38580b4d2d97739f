#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// What a receipt code says, beside the code.
struct ReceiptOf {
  std::string code;  ///< as it is typed: ten groups of four
  std::string sender_name;
  std::string stream;
  std::uint64_t sequence = 0;
  mirror::KnownState state;  ///< in the sender's history, with the state digest held here now
  UtcTime imported_at;
  std::uint64_t missing_files = 0;  ///< needed here and not held; the code says only whether any
};

/// The receipt of the last import as a code for the sender of the bundle: everything it says is in
/// the struct. Reads only. Fails with kUsage (reasons
/// "nothing-imported", "review-required") or kNotFound (reason
/// "no-card": the sender's card is not trusted here any more).
Result<ReceiptOf> MakeReceiptOf(mirror::Mirror& mirror);

/// A page to print and to read from: the code, each group in words, and what to do with it. HTML
/// (one file, nothing fetched) or plain text.
std::string ReceiptSheet(const ReceiptOf& receipt, const std::string& site_name, UtcTime now,
                         bool html);

}  // namespace gapferry::importer
