#include "mirror/bundle_media.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "mirror/audit.h"

namespace gapferry::mirror {

Result<std::vector<BundleMedium>> BundleMedia::All() {
  std::vector<BundleMedium> media;
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT medium, path, lost, has_manifest, read_back, begun_at "
                                    "FROM bundle_medium WHERE site = ? AND sequence = ? "
                                    "ORDER BY medium"));
  rows.BindAll(owner_, sequence_);
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    media.push_back({static_cast<std::uint32_t>(rows.Int(0)),
                     rows.String(1),
                     rows.Bool(2),
                     rows.Bool(3),
                     rows.String(4),
                     rows.Time(5),
                     {}});
  }
  TRY(rows.Check());
  TRY_ASSIGN(auto volumes, db_.Prepare("SELECT medium, volume, bytes, sha256 FROM bundle_volume "
                                       "WHERE site = ? AND sequence = ? ORDER BY volume"));
  volumes.BindAll(owner_, sequence_);
  for (;;) {
    TRY_ASSIGN(const bool row, volumes.Step());
    if (!row) break;
    const auto number = static_cast<std::uint32_t>(volumes.Int(0));
    const auto medium = std::ranges::find(media, number, &BundleMedium::number);
    if (medium == media.end()) continue;  // foreign keys forbid it
    medium->volumes.push_back({static_cast<std::uint32_t>(volumes.Int(1)),
                               static_cast<std::uint64_t>(volumes.Int(2)),
                               volumes.DigestAt<Sha256Digest>(3)});
  }
  TRY(volumes.Check());
  return media;
}

Result<std::uint32_t> BundleMedia::Begin(std::string_view path, UtcTime now) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto last,
             db_.QueryInt("SELECT max(medium) FROM bundle_medium WHERE site = ? AND sequence = ?",
                          owner_, sequence_));
  const std::int64_t number = last.value_or(0) + 1;
  TRY(
      db_.Run("INSERT INTO bundle_medium (site, sequence, medium, path, begun_at) "
              "VALUES (?, ?, ?, ?, ?)",
              owner_, sequence_, number, path, now));
  TRY(tx.Commit());
  return static_cast<std::uint32_t>(number);
}

Result<void> BundleMedia::Place(std::uint32_t medium, const PlacedVolume& volume,
                                std::string_view read_back) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(
      db_.Run("INSERT OR REPLACE INTO bundle_volume (site, sequence, volume, medium, bytes, "
              "sha256) VALUES (?, ?, ?, ?, ?, ?)",
              owner_, sequence_, volume.number, medium, volume.bytes, volume.sha256));
  TRY(
      db_.Run("UPDATE bundle_medium SET read_back = ? WHERE site = ? AND sequence = ? AND "
              "medium = ?",
              read_back, owner_, sequence_, medium));
  return tx.Commit();
}

Result<void> BundleMedia::MarkManifest(std::uint32_t medium) {
  return db_.Run(
      "UPDATE bundle_medium SET has_manifest = 1 WHERE site = ? AND sequence = ? AND "
      "medium = ?",
      owner_, sequence_, medium);
}

Result<void> BundleMedia::GiveUp(std::uint32_t medium, UtcTime now, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto path,
             db_.QueryInt("SELECT 1 FROM bundle_medium WHERE site = ? AND sequence = ? AND "
                          "medium = ? AND lost = 0",
                          owner_, sequence_, medium));
  if (!path) {
    return Fail(ErrorCode::kNotFound, "medium-unknown",
                "bundle " + std::to_string(sequence_) + " has no medium " + std::to_string(medium) +
                    " that counts");
  }
  TRY(
      db_.Run("UPDATE bundle_medium SET lost = 1, has_manifest = 0 WHERE site = ? AND "
              "sequence = ? AND medium = ?",
              owner_, sequence_, medium));
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "bundle.medium-lost", owner_.ToString(),
                   WriteCanonicalJson(JsonValue::Object{{"medium", std::uint64_t{medium}},
                                                        {"sequence", sequence_}})}));
  return tx.Commit();
}

}  // namespace gapferry::mirror
