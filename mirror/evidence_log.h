#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "base/stream.h"
#include "mirror/audit.h"
#include "mirror/witness.h"

namespace gapferry::mirror {

/// An audit log as a file (docs/format.md, "Logs"): JSON lines, this header and then every record
/// from number 1, each with its hash. It is not signed: what vouches for it are the heads that the
/// partners of its mirror hold.
struct LogHeader {
  Guid mirror;
  std::string name;
  UtcTime created;
  AuditHead head;
};

inline constexpr std::string_view kLogType = "gapferry-log/1";
inline constexpr std::size_t kMaxLogLineBytes = 1 << 20;
inline constexpr std::uint64_t kMaxLogRecords = 100'000'000;

/// Writes the whole log of a mirror, `header.head` being filled in. Reads in pages, so that records
/// may be added meanwhile; those are not in the file.
Result<LogHeader> WriteLog(Database& catalog, LogHeader header, Sink& out);

struct LogCheck {
  LogHeader header;
  std::uint64_t heads = 0;            ///< of this log that were compared
  std::optional<WitnessedHead> last;  ///< the longest chain that fits; nullopt: nobody saw any
};

/// Reads the header, for which `heads` are to be found.
Result<LogHeader> ReadLogHeader(Source& in);

/// Walks a log and compares it with what others have seen of it; `heads` of other logs are left
/// alone. Memory is bounded by the longest line and the number of heads. Fails with kCorrupt
/// (reason "log-malformed"), or with kUntrusted and a reason for each way to forge:
///   "log-record-altered"  a record does not follow from the one before it
///   "log-record-removed"  a number is left out
///   "log-reordered"       records are in another order, or one occurs twice
///   "log-truncated"       it ends before a record that its own first line or a partner has seen
///   "log-rewritten"       it is whole in itself, but not the log that a partner has seen
Result<LogCheck> CheckLog(Source& in, const std::vector<WitnessedHead>& heads);

}  // namespace gapferry::mirror
