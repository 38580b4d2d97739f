#include "mirror/witness.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "base/text.h"

namespace gapferry::mirror {

std::string WitnessedHead::Source() const {
  if (kind == "return") return fmt::format("return {}", number);
  return fmt::format("bundle {} of stream '{}'", number, EscapeForDisplay(stream, 64));
}

Result<void> RecordWitness(Database& catalog, const WitnessedHead& head) {
  if (head.head.id <= 0) return {};
  return catalog.Run(
      "INSERT OR IGNORE INTO audit_witness (log, witness, document, kind, stream, number, records, "
      "head, created, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      head.log, head.witness, head.document, head.kind, head.stream, head.number, head.head.id,
      head.head.hash, head.created, head.seen_at);
}

Result<std::vector<WitnessedHead>> WitnessedHeads(Database& catalog, const Guid& log) {
  TRY_ASSIGN(auto rows,
             catalog.Prepare("SELECT witness, document, kind, stream, number, records, head, "
                             "created, seen_at FROM audit_witness WHERE log = ? ORDER BY records, "
                             "seen_at, document"));
  rows.BindAll(log);
  std::vector<WitnessedHead> heads;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    WitnessedHead head;
    head.log = log;
    head.witness = rows.GuidAt(0);
    head.document = rows.DigestAt<Sha256Digest>(1);
    head.kind = rows.String(2);
    head.stream = rows.String(3);
    head.number = static_cast<std::uint64_t>(rows.Int(4));
    head.head = {rows.Int(5), rows.DigestAt<Sha256Digest>(6)};
    head.created = rows.Time(7);
    head.seen_at = rows.Time(8);
    heads.push_back(std::move(head));
  }
  TRY(rows.Check());
  return heads;
}

Result<AuditHead> LastWitnessed(Database& catalog, const Guid& log, const Guid& witness) {
  TRY_ASSIGN(auto rows,
             catalog.Prepare("SELECT records, head FROM audit_witness WHERE log = ? AND witness = "
                             "? ORDER BY records DESC, seen_at DESC LIMIT 1"));
  rows.BindAll(log, witness);
  TRY_ASSIGN(const bool row, rows.Step());
  AuditHead head;
  if (row) head = {rows.Int(0), rows.DigestAt<Sha256Digest>(1)};
  TRY(rows.Check());
  return head;
}

std::string Contradiction(const std::vector<WitnessedHead>& heads) {
  std::map<std::tuple<Guid, std::string, std::string, std::uint64_t>, const WitnessedHead*> series;
  const WitnessedHead* last = nullptr;
  for (const WitnessedHead& head : heads) {
    if (last != nullptr && last->head.id == head.head.id && last->head.hash != head.head.hash) {
      return fmt::format("record {} had the hash {} in {}, and {} in {}", head.head.id,
                         last->head.hash.ToHex(), last->Source(), head.head.hash.ToHex(),
                         head.Source());
    }
    last = &head;
    series[{head.witness, head.kind, head.stream, head.number}] = &head;
  }
  const WitnessedHead* before = nullptr;
  for (const auto& [key, head] : series) {
    const bool same = before != nullptr && before->witness == head->witness &&
                      before->kind == head->kind && before->stream == head->stream;
    if (same && head->head.id < before->head.id) {
      return fmt::format("the log had {} records in {}, and {} in the later {}", before->head.id,
                         before->Source(), head->head.id, head->Source());
    }
    before = head;
  }
  return {};
}

Result<std::optional<WitnessedHead>> CheckOwnChain(Database& catalog, const Guid& own) {
  TRY_ASSIGN(const auto heads, WitnessedHeads(catalog, own));
  TRY_ASSIGN(const AuditHead present, ReadAuditHead(catalog));
  std::optional<WitnessedHead> fits;
  TRY_ASSIGN(auto rows, catalog.Prepare("SELECT hash FROM audit WHERE id = ?"));
  for (const WitnessedHead& head : heads) {
    rows.Reset();
    rows.BindAll(head.head.id);
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) {
      return Fail(ErrorCode::kCorrupt, "audit-contradicted",
                  fmt::format("this mirror's log ends at record {}, but {} says in {} that it saw "
                              "record {}: the log was cut, or the mirror restored",
                              present.id, head.witness.ToString(), head.Source(), head.head.id));
    }
    const auto hash = rows.DigestAt<Sha256Digest>(0);
    TRY(rows.Check());
    if (hash != head.head.hash) {
      return Fail(ErrorCode::kCorrupt, "audit-contradicted",
                  fmt::format("record {} of this mirror's log has the hash {}, but {} says in {} "
                              "that it saw {}: the log was rewritten, or the mirror restored",
                              head.head.id, hash.ToHex(), head.witness.ToString(), head.Source(),
                              head.head.hash.ToHex()));
    }
    fits = head;
  }
  return fits;
}

}  // namespace gapferry::mirror
