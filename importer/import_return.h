#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "mirror/exchange/return_records.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

enum class ReturnOutcome {
  kApplied,
  kAlreadyApplied,  ///< this very file; nothing changed
  kLate,            ///< a later one was applied before; nothing changed
};
std::string_view ReturnOutcomeName(ReturnOutcome outcome);

struct ReturnResult {
  ReturnOutcome outcome = ReturnOutcome::kApplied;
  mirror::Site site;
  mirror::exchange::ReturnHeader header;
  mirror::Ledger::Applied applied;
  std::uint64_t servers = 0;
  std::uint64_t computers = 0;
  std::uint64_t statuses = 0;
  /// Computers that were seen elsewhere later: they stay where they are.
  std::uint64_t left_alone = 0;
};

/// Reads a return of a known site: signature by the site's key, addressed to this mirror, every
/// byte as the format says; then records receipt and requests, and replaces the site's servers,
/// computers and their status. No time is taken that is later than our clock. The same, a late or
/// an out-of-order return changes nothing and succeeds. Fails with kUntrusted (signature reasons,
/// "recipient-foreign", "sender-mismatch", "return-reused", "return-foreign-server") or kCorrupt;
/// then one audit record "return.refused" is all that remains.
Result<ReturnResult> ImportReturn(mirror::Mirror& mirror, const std::filesystem::path& path,
                                  const std::string& actor);

/// Whether `path` looks like a return and not like a bundle: a regular file.
bool IsReturnFile(const std::filesystem::path& path);

}  // namespace gapferry::importer
