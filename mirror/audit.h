#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// Who did what to which object. `detail` is one JSON object.
struct AuditEntry {
  std::string actor;   ///< "user:jane", "job:import", "client:GUID"
  std::string action;  ///< "update.approve", "import.refused"
  std::string object;
  std::string detail = "{}";
};

struct AuditRecord {
  std::int64_t id = 0;
  UtcTime at;
  AuditEntry entry;
  Sha256Digest hash;
};

struct AuditHead {
  std::int64_t id = 0;  ///< 0: no record yet
  Sha256Digest hash;    ///< all zero when there is none
  bool operator==(const AuditHead&) const = default;
};

/// The audit chain in catalog.db: hash = SHA-256(previous hash || canonical line), the line being
/// `id|ticks|actor|action|object|detail` with each text as length:bytes. Records are only ever
/// added.
/// What is no UTF-8 (a file name may be anything) is kept escaped.
/// Adds within the write transaction that is open on `db`, so that the act and its record are one.
Result<AuditRecord> AppendAudit(Database& db, UtcTime at, const AuditEntry& entry);
/// For acts without a transaction of their own, such as a refused import.
Result<AuditRecord> AppendAuditAlone(Database& db, UtcTime at, const AuditEntry& entry);
Result<AuditHead> ReadAuditHead(Database& db);
/// Newest first, ids below `before` (0: from the end).
Result<std::vector<AuditRecord>> ReadAudit(Database& db, std::int64_t before, int limit);
/// Oldest first, ids from `first` on.
Result<std::vector<AuditRecord>> ReadAuditFrom(Database& db, std::int64_t first, int limit);
/// The hash that `record` must have behind one with the hash `previous`.
Sha256Digest NextAuditHash(const Sha256Digest& previous, const AuditRecord& record);
/// Walks the whole chain; fails with kCorrupt naming the first record that does not fit.
Result<AuditHead> VerifyAudit(Database& db);

/// Set to "schedule" for the jobs that `serve` starts by itself.
inline constexpr const char* kStartedByVariable = "GAPFERRY_STARTED_BY";
inline constexpr std::string_view kScheduleActor = "schedule";

/// "user:NAME" of the process's user; "schedule" in a job that a schedule started.
std::string CurrentActor();

}  // namespace gapferry::mirror
