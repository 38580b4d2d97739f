#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

enum class CodeOutcome {
  kApplied,
  kAlreadyApplied,  ///< this very code; nothing changed
  kLate,            ///< the site was further already; nothing changed
};
std::string_view CodeOutcomeName(CodeOutcome outcome);

struct EnteredReceipt {
  CodeOutcome outcome = CodeOutcome::kApplied;
  mirror::Site site;  ///< as it is afterwards
  std::string stream;
  std::uint64_t sequence = 0;
  bool files_are_missing = false;
  mirror::Ledger::Applied applied;
};

/// Takes a receipt code that somebody typed for a site: what it says counts as a receipt of a
/// return does (state, sequence, epoch of the site), never for files that it calls missing. Holds
/// the job lock. A repeated or older code changes nothing and succeeds; one whose state is not ours
/// marks the site as diverged.
///
/// Fails with kNotFound ("site-unknown"), kUsage ("receipt-code-length", "receipt-code-mistyped"),
/// kUnsupported ("receipt-code-version"), kUntrusted: "receipt-code-foreign" (not made by this
/// site's key for this mirror), "receipt-code-unknown" (no bundle of that number was finished),
/// "receipt-code-void" (the number was given up), "review-required" (this site's receipts need a
/// reviewer's signature, which a code cannot carry). The untrusted ones leave one audit record
/// "receipt.refused".
Result<EnteredReceipt> EnterReceipt(mirror::Mirror& mirror, std::string_view site,
                                    std::string_view code, const std::string& actor);

}  // namespace gapferry::importer
