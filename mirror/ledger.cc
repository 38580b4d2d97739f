#include "mirror/ledger.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/text.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kSiteColumns =
    "SELECT guid, stream, name, card, added_at, last_sequence, last_manifest, acked_epoch, "
    "acked_generation, acked_chain, acked_state_digest, acked_sequence, acked_at, site_epoch, "
    "applied_return, last_return_at, diverged FROM site ";

Site ReadSite(Statement& row) {
  Site site;
  site.guid = row.GuidAt(0);
  site.stream = row.String(1);
  site.name = row.String(2);
  const ByteView card = row.Blob(3);
  site.card.assign(card.begin(), card.end());
  site.added_at = row.Time(4);
  site.last_sequence = static_cast<std::uint64_t>(row.Int(5));
  site.last_manifest = row.OptionalDigest<Sha256Digest>(6).value_or(Sha256Digest{});
  if (!row.IsNull(7)) {
    site.acknowledged = KnownState{{row.GuidAt(7), row.Int(8), row.DigestAt<Sha256Digest>(9)},
                                   row.DigestAt<Sha256Digest>(10)};
  }
  site.acknowledged_sequence = static_cast<std::uint64_t>(row.Int(11));
  site.acknowledged_at = row.OptionalTime(12);
  if (!row.IsNull(13)) site.site_epoch = row.GuidAt(13);
  site.applied_return = static_cast<std::uint64_t>(row.Int(14));
  site.last_return_at = row.OptionalTime(15);
  site.diverged = row.String(16);
  return site;
}

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

template <class Read>
auto ReadAll(Statement& rows, Read read) -> Result<std::vector<decltype(read(rows))>> {
  std::vector<decltype(read(rows))> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back(read(rows));
  }
  TRY(rows.Check());
  return out;
}

template <class Read>
auto ReadFirst(Statement& rows, Read read) -> Result<std::optional<decltype(read(rows))>> {
  TRY_ASSIGN(const bool row, rows.Step());
  if (!row) return std::optional<decltype(read(rows))>();
  std::optional<decltype(read(rows))> value(read(rows));
  TRY(rows.Check());
  return value;
}

constexpr std::size_t kPlanPartBytes = 256 * 1024;

std::string Detail(JsonValue::Object members) {
  return WriteCanonicalJson(JsonValue(std::move(members)));
}

}  // namespace

std::string_view BundleStateName(BundleState state) {
  switch (state) {
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

Result<std::string> Ledger::FreeStream(std::string_view name) {
  std::string stem;
  for (const char c : ToLowerAscii(name)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain && stem.size() < 32) stem += c;
    if (!plain && !stem.empty() && stem.back() != '-' && stem.size() < 32) stem += '-';
  }
  while (stem.ends_with('-')) stem.pop_back();
  if (stem.empty()) stem = "site";
  for (int number = 1;; ++number) {
    const std::string stream = number == 1 ? stem : stem + "-" + std::to_string(number);
    TRY_ASSIGN(const auto taken, db_.QueryInt("SELECT 1 FROM site WHERE stream = ?", stream));
    if (!taken) return stream;
  }
}

Result<Site> Ledger::AddSite(const Guid& guid, std::string_view name, ByteView card, UtcTime now,
                             std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto known, SiteByGuid(guid));
  if (known) {
    if (std::ranges::equal(known->card, card)) return *known;
    return Fail(ErrorCode::kUsage, "site-known",
                "site '" + known->name + "' (" + guid.ToString() + ") is known with another card");
  }
  TRY_ASSIGN(const std::string stream, FreeStream(name));
  TRY(db_.Run("INSERT INTO site (guid, stream, name, card, added_at) VALUES (?, ?, ?, ?, ?)", guid,
              stream, name, card, now));
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "site.add", guid.ToString(),
                   Detail({{"name", name}, {"stream", stream}})}));
  TRY(tx.Commit());
  TRY_ASSIGN(const auto added, SiteByGuid(guid));
  return *added;
}

Result<std::vector<Site>> Ledger::Sites() {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kSiteColumns) + "ORDER BY stream"));
  return ReadAll(rows, ReadSite);
}

Result<Site> Ledger::FindSite(std::string_view text) {
  TRY_ASSIGN(const auto sites, Sites());
  const auto guid = Guid::Parse(text);
  std::string known;
  for (const Site& site : sites) {
    if (site.stream == text || (guid && site.guid == *guid)) return site;
  }
  const Site* named = nullptr;
  for (const Site& site : sites) {
    known += (known.empty() ? "" : ", ") + site.stream;
    if (!EqualsIgnoreCase(site.name, text)) continue;
    if (named != nullptr) {
      return Fail(ErrorCode::kUsage, "two sites are called '" + EscapeForDisplay(text, 64) +
                                         "'; name one by its stream: " + known);
    }
    named = &site;
  }
  if (named != nullptr) return *named;
  return Fail(ErrorCode::kNotFound, "site-unknown",
              "there is no site '" + EscapeForDisplay(text, 64) + "'" +
                  (known.empty() ? "; none was added yet" : "; there are: " + known));
}

Result<std::optional<Site>> Ledger::SiteByGuid(const Guid& guid) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kSiteColumns) + "WHERE guid = ?"));
  rows.BindAll(guid);
  return ReadFirst(rows, ReadSite);
}

Result<BundleOut> Ledger::Reserve(BundleOut bundle, const std::vector<PinnedFile>& pins,
                                  ByteView intent_object) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE site SET last_sequence = last_sequence + 1 WHERE guid = ?", bundle.site));
  TRY_ASSIGN(const auto sequence,
             db_.QueryInt("SELECT last_sequence FROM site WHERE guid = ?", bundle.site));
  if (!sequence) return Fail(ErrorCode::kNotFound, "the site is gone");
  bundle.sequence = static_cast<std::uint64_t>(*sequence);
  bundle.state = BundleState::kReserved;
  TRY(
      db_.Run("INSERT INTO bundle_out (site, sequence, state, scope, base_epoch, base_generation, "
              "base_chain, base_state_digest, target_epoch, target_generation, target_chain, "
              "target_state_digest, plan_digest, plan, path, bytes, reserved_at) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, ?)",
              bundle.site, *sequence, static_cast<int>(bundle.state), bundle.full ? 1 : 0,
              bundle.base.name.epoch, bundle.base.name.generation, bundle.base.name.chain,
              bundle.base.state_digest, bundle.target.name.epoch, bundle.target.name.generation,
              bundle.target.name.chain, bundle.target.state_digest, bundle.plan_digest, bundle.plan,
              bundle.reserved_at));
  TRY_ASSIGN(auto pin, db_.Prepare("INSERT INTO bundle_pin (site, sequence, sha1, sha256, "
                                   "size_bytes, extension) VALUES (?, ?, ?, ?, ?, ?)"));
  for (const PinnedFile& file : pins) {
    TRY(pin.Run(bundle.site, *sequence, file.sha1, file.sha256, file.size_bytes, file.extension));
  }
  for (std::size_t part = 0; part * kPlanPartBytes < intent_object.size(); ++part) {
    const auto rest = intent_object.subspan(part * kPlanPartBytes);
    TRY(db_.Run("INSERT INTO bundle_plan_part (site, sequence, part, bytes) VALUES (?, ?, ?, ?)",
                bundle.site, *sequence, part, rest.first(std::min(rest.size(), kPlanPartBytes))));
  }
  TRY(tx.Commit());
  return bundle;
}

Result<std::optional<BundleOut>> Ledger::Unfinished(const Guid& site) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kBundleColumns) + "WHERE site = ? AND state IN (1, 2)"));
  rows.BindAll(site);
  return ReadFirst(rows, ReadBundle);
}

Result<std::optional<BundleOut>> Ledger::FindBundle(const Guid& site, std::uint64_t sequence) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kBundleColumns) + "WHERE site = ? AND sequence = ?"));
  rows.BindAll(site, sequence);
  return ReadFirst(rows, ReadBundle);
}

Result<std::vector<BundleOut>> Ledger::Bundles(const Guid& site) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kBundleColumns) + "WHERE site = ? ORDER BY sequence"));
  rows.BindAll(site);
  return ReadAll(rows, ReadBundle);
}

Result<std::vector<PinnedFile>> Ledger::Pins(const Guid& site, std::uint64_t sequence) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1, sha256, size_bytes, extension FROM bundle_pin "
                                    "WHERE site = ? AND sequence = ? ORDER BY sha1"));
  rows.BindAll(site, sequence);
  return ReadAll(rows, [](Statement& row) {
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
  TRY(db_.Run("UPDATE site SET last_manifest = ? WHERE guid = ?", manifest, bundle.site));
  TRY(db_.Run("DELETE FROM bundle_plan_part WHERE site = ? AND sequence = ?", bundle.site,
              bundle.sequence));
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
  if (bundle->state == BundleState::kAcknowledged) {
    return Fail(ErrorCode::kUsage, "bundle-acknowledged",
                "bundle " + std::to_string(sequence) + " was acknowledged by the site");
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
  return ReadAll(rows, [](Statement& row) { return static_cast<std::uint64_t>(row.Int(0)); });
}

bool Ledger::IsPinned(const Sha1Digest& sha1) {
  const auto found = db_.QueryInt(
      "SELECT 1 FROM bundle_pin p JOIN bundle_out b USING (site, sequence) "
      "WHERE p.sha1 = ? AND b.state IN (1, 2) LIMIT 1",
      sha1);
  return found.has_value() && found->has_value();
}

Result<std::set<Sha1Digest>> Ledger::Believed(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1 FROM site_content WHERE site = ?"));
  rows.BindAll(site);
  TRY_ASSIGN(const auto all,
             ReadAll(rows, [](Statement& row) { return row.DigestAt<Sha1Digest>(0); }));
  return std::set<Sha1Digest>(all.begin(), all.end());
}

Result<std::vector<Sha1Digest>> Ledger::Requested(const Guid& site) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1 FROM site_request WHERE site = ? ORDER BY sha1"));
  rows.BindAll(site);
  return ReadAll(rows, [](Statement& row) { return row.DigestAt<Sha1Digest>(0); });
}

Result<void> Ledger::ForgetContent(const Guid& site, UtcTime now, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("DELETE FROM site_content WHERE site = ?", site));
  TRY(AppendAudit(db_, now, {std::string(actor), "site.forget-content", site.ToString(), "{}"}));
  return tx.Commit();
}

}  // namespace gapferry::mirror
