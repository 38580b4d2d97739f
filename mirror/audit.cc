#include "mirror/audit.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/text.h"

namespace gapferry::mirror {

namespace {

std::string CanonicalLine(std::int64_t id, UtcTime at, const AuditEntry& entry) {
  return fmt::format("{}|{}|{}:{}|{}:{}|{}:{}|{}:{}\n", id, at.ticks, entry.actor.size(),
                     entry.actor, entry.action.size(), entry.action, entry.object.size(),
                     entry.object, entry.detail.size(), entry.detail);
}

/// Whatever is in the chain can be written as JSON.
std::string Clean(const std::string& text) {
  constexpr std::size_t kMost = 256 << 10;
  const bool fine = text.size() <= kMost && IsValidUtf8(text) && text.find('\0') == text.npos;
  return fine ? text : EscapeForDisplay(text, kMost);
}

AuditRecord ReadRecord(Statement& row) {
  AuditRecord record;
  record.id = row.Int(0);
  record.at = row.Time(1);
  record.entry = {row.String(2), row.String(3), row.String(4), row.String(5)};
  record.hash = row.DigestAt<Sha256Digest>(6);
  return record;
}

Result<std::vector<AuditRecord>> ReadRecords(Statement& rows) {
  std::vector<AuditRecord> records;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    records.push_back(ReadRecord(rows));
  }
  TRY(rows.Check());
  return records;
}

}  // namespace

Sha256Digest NextAuditHash(const Sha256Digest& previous, const AuditRecord& record) {
  Sha256Hasher hasher;
  return hasher.Update(previous.View())
      .Update(CanonicalLine(record.id, record.at, record.entry))
      .Finish();
}

Result<AuditHead> ReadAuditHead(Database& db) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1"));
  TRY_ASSIGN(const bool found, row.Step());
  AuditHead head;
  if (!found) return head;
  head.id = row.Int(0);
  head.hash = row.DigestAt<Sha256Digest>(1);
  TRY(row.Check());
  return head;
}

Result<AuditRecord> AppendAudit(Database& db, UtcTime at, const AuditEntry& given) {
  TRY_ASSIGN(const AuditHead head, ReadAuditHead(db));
  const AuditEntry entry{Clean(given.actor), Clean(given.action), Clean(given.object),
                         Clean(given.detail)};
  AuditRecord record{head.id + 1, at, entry, {}};
  record.hash = NextAuditHash(head.hash, record);
  TRY(
      db.Run("INSERT INTO audit (id, at, actor, action, object, detail, hash) "
             "VALUES (?, ?, ?, ?, ?, ?, ?)",
             record.id, at, entry.actor, entry.action, entry.object, entry.detail, record.hash));
  return record;
}

Result<AuditRecord> AppendAuditAlone(Database& db, UtcTime at, const AuditEntry& entry) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  TRY_ASSIGN(auto record, AppendAudit(db, at, entry));
  TRY(tx.Commit());
  return record;
}

Result<std::vector<AuditRecord>> ReadAudit(Database& db, std::int64_t before, int limit) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT id, at, actor, action, object, detail, hash FROM audit "
                                   "WHERE ?1 = 0 OR id < ?1 ORDER BY id DESC LIMIT ?2"));
  rows.BindAll(before, limit);
  return ReadRecords(rows);
}

Result<std::vector<AuditRecord>> ReadAuditFrom(Database& db, std::int64_t first, int limit) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT id, at, actor, action, object, detail, hash FROM audit "
                                   "WHERE id >= ? ORDER BY id LIMIT ?"));
  rows.BindAll(first, limit);
  return ReadRecords(rows);
}

Result<AuditHead> VerifyAudit(Database& db) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT id, at, actor, action, object, detail, hash FROM audit "
                                   "ORDER BY id"));
  AuditHead head;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return head;
    const AuditRecord record = ReadRecord(rows);
    TRY(rows.Check());
    if (record.id != head.id + 1) {
      return Fail(ErrorCode::kCorrupt, "audit-chain",
                  fmt::format("audit record {}: expected number {}", record.id, head.id + 1));
    }
    const auto expected = NextAuditHash(head.hash, record);
    if (record.hash != expected) {
      return Fail(ErrorCode::kCorrupt, "audit-chain",
                  fmt::format("audit record {}: hash mismatch: expected {}, got {}", record.id,
                              expected.ToHex(), record.hash.ToHex()));
    }
    head = {record.id, record.hash};
  }
}

std::string CurrentActor() {
  const char* started_by = std::getenv(kStartedByVariable);
  if (started_by != nullptr && started_by == kScheduleActor) return std::string(kScheduleActor);
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(::geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != nullptr) {
    return fmt::format("user:{}", found->pw_name);
  }
  return fmt::format("user:{}", ::geteuid());
}

}  // namespace gapferry::mirror
