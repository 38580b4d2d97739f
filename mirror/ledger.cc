#include "mirror/ledger.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "mirror/row_reading.h"
#include "mirror/short_writes.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kBundleColumns =
    "SELECT site, sequence, state, scope, base_epoch, base_generation, base_chain, "
    "base_state_digest, target_epoch, target_generation, target_chain, target_state_digest, "
    "plan_digest, plan, manifest, path, bytes, reserved_at, finished_at FROM bundle_out ";

BundleOut ReadBundle(Statement& row) {
  BundleOut bundle;
  bundle.site = row.GuidAt(0);
  bundle.sequence = static_cast<std::uint64_t>(row.Int(1));
  bundle.state = static_cast<BundleState>(row.Int(2));
  bundle.full = row.Bool(3);
  bundle.base = {{row.GuidAt(4), row.Int(5), row.DigestAt<Sha256Digest>(6)},
                 row.DigestAt<Sha256Digest>(7)};
  bundle.target = {{row.GuidAt(8), row.Int(9), row.DigestAt<Sha256Digest>(10)},
                   row.DigestAt<Sha256Digest>(11)};
  bundle.plan_digest = row.DigestAt<Sha256Digest>(12);
  bundle.plan = row.String(13);
  bundle.manifest = row.OptionalDigest<Sha256Digest>(14);
  bundle.path = row.String(15);
  bundle.bytes = static_cast<std::uint64_t>(row.Int(16));
  bundle.reserved_at = row.Time(17);
  bundle.finished_at = row.OptionalTime(18);
  return bundle;
}

constexpr std::size_t kPlanPartBytes = 256 * 1024;

std::string Detail(JsonValue::Object members) {
  return WriteCanonicalJson(JsonValue(std::move(members)));
}

}  // namespace

std::string_view BundleStateName(BundleState state) {
  switch (state) {
    case BundleState::kReserving:
      return "reserving";
    case BundleState::kReserved:
      return "reserved";
    case BundleState::kWritten:
      return "written";
    case BundleState::kSigned:
      return "signed";
    case BundleState::kHandedOver:
      return "handed-over";
    case BundleState::kAcknowledged:
      return "acknowledged";
    case BundleState::kVoid:
      return "void";
  }
  return "unknown";
}

/// What an earlier run began to reserve and did not finish: no plan, its number is free.
Result<void> Ledger::DropReserving(const Guid& owner) {
  TRY_ASSIGN(const auto left,
             db_.QueryInt("SELECT sequence FROM bundle_out WHERE site = ? AND state = 0", owner));
  if (!left) return {};
  ShortWrites writes(db_);
  for (const char* statement :
       {"DELETE FROM bundle_pin WHERE site = ?1 AND sequence = ?2 AND sha1 IN (SELECT sha1 FROM "
        "bundle_pin WHERE site = ?1 AND sequence = ?2 LIMIT 1000)",
        "DELETE FROM bundle_plan_part WHERE id IN (SELECT id FROM bundle_plan_part WHERE site = ?1 "
        "AND sequence = ?2 LIMIT 4)",
        "DELETE FROM bundle_recipient WHERE site = ?1 AND sequence = ?2"}) {
    for (std::int64_t deleted = 1; deleted > 0;) {
      const auto some = [&]() -> Result<void> {
        TRY(db_.Run(statement, owner, *left));
        TRY_ASSIGN(const auto changes, db_.QueryInt("SELECT changes()"));
        deleted = changes.value_or(0);
        return {};
      };
      TRY(writes.Run(some));
    }
  }
  TRY(writes.Run([&] {
    return db_.Run("DELETE FROM bundle_out WHERE site = ? AND sequence = ? AND state = 0", owner,
                   *left);
  }));
  return writes.Commit();
}

/// A row that stands for nothing yet, under the next number of the stream.
Result<std::uint64_t> Ledger::BeginReserving(const BundleOut& bundle) {
  TRY_ASSIGN(const auto last,
             db_.QueryInt("SELECT last_sequence FROM site WHERE guid = ?1 UNION ALL "
                          "SELECT last_sequence FROM site_group WHERE guid = ?1",
                          bundle.site));
  if (!last) return Fail(ErrorCode::kNotFound, "site-unknown", "the site is gone");
  const auto sequence = static_cast<std::uint64_t>(*last + 1);
  TRY(
      db_.Run("INSERT INTO bundle_out (site, sequence, state, scope, base_epoch, base_generation, "
              "base_chain, base_state_digest, target_epoch, target_generation, target_chain, "
              "target_state_digest, plan_digest, plan, path, bytes, reserved_at) "
              "VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, ?)",
              bundle.site, sequence, bundle.full ? 1 : 0, bundle.base.name.epoch,
              bundle.base.name.generation, bundle.base.name.chain, bundle.base.state_digest,
              bundle.target.name.epoch, bundle.target.name.generation, bundle.target.name.chain,
              bundle.target.state_digest, bundle.plan_digest, bundle.plan, bundle.reserved_at));
  for (const Guid& recipient : bundle.recipients) {
    TRY(db_.Run("INSERT INTO bundle_recipient (site, sequence, recipient) VALUES (?, ?, ?)",
                bundle.site, sequence, recipient));
  }
  return sequence;
}

Result<BundleOut> Ledger::Reserve(BundleOut bundle, const std::vector<PinnedFile>& pins,
                                  ByteView intent_object) {
  TRY(DropReserving(bundle.site));
  ShortWrites writes(db_);
  const auto begin = [&]() -> Result<void> {
    TRY_ASSIGN(bundle.sequence, BeginReserving(bundle));
    return {};
  };
  TRY(writes.Run(begin));
  for (const PinnedFile& file : pins) {
    TRY(writes.Run([&] {
      return db_.Run(
          "INSERT INTO bundle_pin (site, sequence, sha1, sha256, size_bytes, extension) "
          "VALUES (?, ?, ?, ?, ?, ?)",
          bundle.site, bundle.sequence, file.sha1, file.sha256, file.size_bytes, file.extension);
    }));
  }
  for (std::size_t part = 0; part * kPlanPartBytes < intent_object.size(); ++part) {
    const auto rest = intent_object.subspan(part * kPlanPartBytes);
    TRY(writes.Run([&] {
      return db_.Run(
          "INSERT INTO bundle_plan_part (site, sequence, part, bytes) VALUES (?, ?, ?, ?)",
          bundle.site, bundle.sequence, part, rest.first(std::min(rest.size(), kPlanPartBytes)));
    }));
  }
  TRY(writes.Commit());
  bundle.state = BundleState::kReserved;
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE bundle_out SET state = 1 WHERE site = ? AND sequence = ?", bundle.site,
              bundle.sequence));
  for (const char* table : {"site", "site_group"}) {
    TRY(db_.Run("UPDATE " + std::string(table) + " SET last_sequence = ? WHERE guid = ?",
                bundle.sequence, bundle.site));
  }
  TRY(tx.Commit());
  return bundle;
}

Result<std::optional<BundleOut>> Ledger::Unfinished(const Guid& site) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kBundleColumns) + "WHERE site = ? AND state IN (1, 2)"));
  rows.BindAll(site);
  return ReadFirstRow(rows, ReadBundle);
}

Result<std::optional<BundleOut>> Ledger::FindBundle(const Guid& site, std::uint64_t sequence) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kBundleColumns) +
                                    "WHERE site = ? AND sequence = ? AND state > 0"));
  rows.BindAll(site, sequence);
  return ReadFirstRow(rows, ReadBundle);
}

Result<std::vector<BundleOut>> Ledger::Bundles(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kBundleColumns) +
                                    "WHERE site = ? AND state > 0 ORDER BY sequence"));
  rows.BindAll(site);
  return ReadAllRows(rows, ReadBundle);
}

Result<std::vector<PinnedFile>> Ledger::Pins(const Guid& site, std::uint64_t sequence) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1, sha256, size_bytes, extension FROM bundle_pin "
                                    "WHERE site = ? AND sequence = ? ORDER BY sha1"));
  rows.BindAll(site, sequence);
  return ReadAllRows(rows, [](Statement& row) {
    return PinnedFile{row.DigestAt<Sha1Digest>(0), row.DigestAt<Sha256Digest>(1),
                      static_cast<std::uint64_t>(row.Int(2)), row.String(3)};
  });
}

Result<void> Ledger::CopyIntentObject(const Guid& site, std::uint64_t sequence, Sink& sink) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT bytes FROM bundle_plan_part WHERE site = ? AND "
                                    "sequence = ? ORDER BY part"));
  rows.BindAll(site, sequence);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    TRY(sink.Write(rows.Blob(0)));
  }
}

Result<void> Ledger::MarkSigned(const BundleOut& bundle, const Sha256Digest& manifest,
                                std::string_view path, std::uint64_t bytes, UtcTime now,
                                const AuditEntry& audit) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(
      db_.Run("UPDATE bundle_out SET state = ?, manifest = ?, path = ?, bytes = ?, finished_at = ? "
              "WHERE site = ? AND sequence = ?",
              static_cast<int>(BundleState::kSigned), manifest, path, bytes, now, bundle.site,
              bundle.sequence));
  for (const char* table : {"site", "site_group"}) {
    TRY(db_.Run("UPDATE " + std::string(table) + " SET last_manifest = ? WHERE guid = ?", manifest,
                bundle.site));
  }
  // Its own stay, and those of the last few before: a medium may have to be written again, or
  // damaged blocks sent again.
  constexpr std::uint64_t kKeptPlans = 4;
  TRY(db_.Run("DELETE FROM bundle_plan_part WHERE site = ? AND sequence + ? <= ?", bundle.site,
              kKeptPlans, bundle.sequence));
  TRY(AppendAudit(db_, now, audit));
  return tx.Commit();
}

Result<void> Ledger::Abandon(const Guid& site, std::uint64_t sequence, UtcTime now,
                             std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto bundle, FindBundle(site, sequence));
  if (!bundle) {
    return Fail(ErrorCode::kNotFound, "there is no bundle " + std::to_string(sequence));
  }
  TRY_ASSIGN(const auto acknowledged,
             db_.QueryInt("SELECT 1 FROM bundle_recipient WHERE site = ? AND sequence = ? AND "
                          "acknowledged = 1 LIMIT 1",
                          site, sequence));
  if (acknowledged) {
    return Fail(ErrorCode::kUsage, "bundle-acknowledged",
                "bundle " + std::to_string(sequence) + " was acknowledged by a site");
  }
  if (bundle->state == BundleState::kVoid) return {};
  TRY(db_.Run("UPDATE bundle_out SET state = ?, finished_at = ? WHERE site = ? AND sequence = ?",
              static_cast<int>(BundleState::kVoid), now, site, sequence));
  TRY(db_.Run("DELETE FROM bundle_plan_part WHERE site = ? AND sequence = ?", site, sequence));
  TRY(AppendAudit(
      db_, now,
      {std::string(actor), "bundle.abandon", site.ToString(), Detail({{"sequence", sequence}})}));
  return tx.Commit();
}

Result<std::vector<std::uint64_t>> Ledger::VoidSince(const Guid& site, std::uint64_t sequence) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sequence FROM bundle_out WHERE site = ? AND "
                                    "sequence > ? AND state = 6 ORDER BY sequence"));
  rows.BindAll(site, sequence);
  return ReadAllRows(rows, [](Statement& row) { return static_cast<std::uint64_t>(row.Int(0)); });
}

bool Ledger::IsPinned(const Sha1Digest& sha1) {
  const auto found = db_.QueryInt(
      "SELECT 1 FROM bundle_pin p JOIN bundle_out b USING (site, sequence) "
      "WHERE p.sha1 = ? AND b.state IN (0, 1, 2) LIMIT 1",
      sha1);
  return found.has_value() && found->has_value();
}

}  // namespace gapferry::mirror
