#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "manifests/card.h"
#include "manifests/keys.h"
#include "mirror/exchange/return_records.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// A return that is ready to leave: exactly the bytes of the file, to be shown first.
struct PreparedReturn {
  std::string text;
  std::string file_name;  ///< return-<stream>-000007.jsonl
  mirror::exchange::ReturnHeader header;
  std::string recipient_name;
  bool resumed = false;   ///< an earlier run had reserved this number with these bytes
  bool repeated = false;  ///< already written, and nothing has changed since
  /// The upstream of the recipient takes sums only, so no more than them leaves.
  bool is_limited = false;
  /// The recipient has applied this number, which this mirror does not know of: it was put back to
  /// an older day. 0: it was not.
  std::uint64_t sender_knows = 0;
};

/// Puts receipt, requests and, as the level allows, servers, computers and status together for the
/// sender of the last import (before the first import: the only trusted card). Reads only, but for
/// an unfinished number whose bytes are lost or may not leave any more, which is given up. Fails
/// with kUsage (reason "no-recipient").
Result<PreparedReturn> PrepareReturn(mirror::Mirror& mirror, const mirror::JobLock& lock,
                                     const mirror::exchange::ReturnFields& fields);

struct WrittenReturn {
  std::filesystem::path path;
  std::uint64_t number = 0;
};

/// Reserves the number for these bytes, writes the file and its .sig into `to`, each synced, and
/// records it; `reviewer` may be null. Interrupted anywhere, PrepareReturn and WriteReturn again
/// end in the same file.
Result<WrittenReturn> WriteReturn(mirror::Mirror& mirror, const mirror::JobLock& lock,
                                  const PreparedReturn& prepared, const std::filesystem::path& to,
                                  const manifests::SigningKey* reviewer, const std::string& actor);

}  // namespace gapferry::exporter
