// Ledger: the sites.
#include <algorithm>

#include "base/canonical_json.h"
#include "base/text.h"
#include "mirror/ledger.h"
#include "mirror/row_reading.h"
#include "mirror/short_writes.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kSiteColumns =
    "SELECT guid, stream, name, card, added_at, last_sequence, last_manifest, acked_epoch, "
    "acked_generation, acked_chain, acked_state_digest, acked_sequence, acked_at, site_epoch, "
    "applied_return, last_return_at, diverged, forgotten_at, settings FROM site "
    "WHERE removed_at IS NULL ";

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
  site.forgotten_at = row.OptionalTime(17);
  return site;
}

/// The rows of a bound statement of kSiteColumns.
Result<std::vector<Site>> ReadSites(Statement& rows) {
  std::vector<Site> sites;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    Site site = ReadSite(rows);
    TRY_ASSIGN(site.settings, DecodeSiteSettings(rows.Text(18)), site.stream);
    sites.push_back(std::move(site));
  }
  TRY(rows.Check());
  return sites;
}

/// Deletes a site's rows of `table`, some thousand at a time.
Result<void> DeleteRows(Database& db, ShortWrites& writes, const Guid& site,
                        const std::string& table, const std::string& key) {
  const std::string where = " FROM " + table + " WHERE site = ?1";
  const std::string statement =
      "DELETE" + where + " AND " + key + " IN (SELECT " + key + where + " LIMIT 2000)";
  for (std::int64_t deleted = 1; deleted > 0;) {
    const auto some = [&]() -> Result<void> {
      TRY(db.Run(statement, site));
      TRY_ASSIGN(const auto changes, db.QueryInt("SELECT changes()"));
      deleted = changes.value_or(0);
      return {};
    };
    TRY(writes.Run(some));
  }
  return {};
}

constexpr std::size_t kMaxStem = 32;

}  // namespace

Result<std::string> Ledger::FreeStream(std::string_view name) {
  std::string stem;
  for (const char c : ToLowerAscii(name)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain && stem.size() < kMaxStem) stem += c;
    if (!plain && !stem.empty() && stem.back() != '-' && stem.size() < kMaxStem) stem += '-';
  }
  while (stem.ends_with('-')) stem.pop_back();
  if (stem.empty()) stem = "site";
  for (int number = 1;; ++number) {
    const std::string stream = number == 1 ? stem : stem + "-" + std::to_string(number);
    TRY_ASSIGN(const auto taken, StreamOwner(stream));
    if (!taken) return stream;
  }
}

Result<std::optional<Guid>> Ledger::StreamOwner(std::string_view stream) {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT guid FROM site WHERE stream = ?1 UNION ALL "
                                    "SELECT guid FROM site_group WHERE stream = ?1"));
  rows.BindAll(stream);
  return ReadFirstRow(rows, [](Statement& row) { return row.GuidAt(0); });
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
  TRY_ASSIGN(const auto removed, db_.QueryInt("SELECT 1 FROM site WHERE guid = ?", guid));
  if (removed) {
    TRY(
        db_.Run("UPDATE site SET name = ?, card = ?, added_at = ?, removed_at = NULL, "
                "settings = '', diverged = '' WHERE guid = ?",
                name, card, now, guid));
  } else {
    TRY_ASSIGN(const std::string stream, FreeStream(name));
    TRY(db_.Run("INSERT INTO site (guid, stream, name, card, added_at) VALUES (?, ?, ?, ?, ?)",
                guid, stream, name, card, now));
  }
  TRY_ASSIGN(const auto added, SiteByGuid(guid));
  TRY(AppendAudit(
      db_, now,
      {std::string(actor), "site.add", guid.ToString(),
       WriteCanonicalJson(JsonValue::Object{{"name", name}, {"stream", added->stream}})}));
  TRY(tx.Commit());
  return *added;
}

Result<std::vector<Site>> Ledger::Sites() {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kSiteColumns) + "ORDER BY stream"));
  return ReadSites(rows);
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
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kSiteColumns) + "AND guid = ?"));
  rows.BindAll(guid);
  TRY_ASSIGN(auto sites, ReadSites(rows));
  if (sites.empty()) return std::optional<Site>();
  return std::optional(std::move(sites.front()));
}

Result<void> Ledger::SetSettings(const Guid& site, const SiteSettings& settings, UtcTime now,
                                 std::string_view actor) {
  const std::string text = EncodeSiteSettings(settings);
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE site SET settings = ? WHERE guid = ?", text, site));
  TRY(AppendAudit(db_, now, {std::string(actor), "site.set", site.ToString(), text}));
  return tx.Commit();
}

Result<void> Ledger::ForgetContent(const Guid& site, UtcTime now, std::string_view actor) {
  // First what makes it true at once, then the rows that say so.
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE site SET forgotten_at = ? WHERE guid = ?", now, site));
  TRY(AppendAudit(db_, now, {std::string(actor), "site.forget-content", site.ToString(), "{}"}));
  TRY(tx.Commit());
  ShortWrites writes(db_);
  TRY(DeleteRows(db_, writes, site, "site_content", "sha1"));
  return writes.Commit();
}

Result<void> Ledger::RemoveSite(const Site& site, UtcTime now, std::string_view actor) {
  TRY_ASSIGN(const auto unfinished, Unfinished(site.guid));
  if (unfinished) TRY(Abandon(site.guid, unfinished->sequence, now, actor));
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  // What it has reached is nobody's knowledge any more: when it comes back it begins from nothing.
  TRY(
      db_.Run("UPDATE site SET removed_at = ?1, forgotten_at = ?1, acked_epoch = NULL, "
              "acked_generation = NULL, acked_chain = NULL, acked_state_digest = NULL, "
              "acked_sequence = 0, acked_at = NULL WHERE guid = ?2",
              now, site.guid));
  TRY(db_.Run("DELETE FROM site_group_member WHERE site = ?", site.guid));
  TRY(AppendAudit(
      db_, now,
      {std::string(actor), "site.remove", site.guid.ToString(),
       WriteCanonicalJson(JsonValue::Object{{"name", site.name}, {"stream", site.stream}})}));
  TRY(tx.Commit());
  ShortWrites writes(db_);
  for (const char* table : {"site_content", "site_request", "site_withheld"}) {
    TRY(DeleteRows(db_, writes, site.guid, table, "sha1"));
  }
  TRY(writes.Run([&] { return db_.Run("DELETE FROM site_damage WHERE site = ?", site.guid); }));
  TRY(writes.Run([&] { return db_.Run("DELETE FROM site_blocked WHERE site = ?", site.guid); }));
  return writes.Commit();
}

}  // namespace gapferry::mirror
