#include "mirror/digest_tree.h"

#include <fmt/format.h>

#include <algorithm>

namespace gapferry::mirror {

Guid FirstKeyOf(std::size_t bucket) {
  Guid key;
  if (bucket >= kBuckets) {
    key.bytes.fill(0xff);
    return key;
  }
  key.bytes[0] = static_cast<std::uint8_t>(bucket >> 4);
  key.bytes[1] = static_cast<std::uint8_t>((bucket & 0xf) << 4);
  return key;
}

Sha256Digest BucketDigest(std::vector<std::string>& lines) {
  std::sort(lines.begin(), lines.end());
  Sha256Hasher hasher;
  for (const auto& line : lines) hasher.Update(line);
  return hasher.Finish();
}

const Sha256Digest& EmptyBucketDigest() {
  static const Sha256Digest kDigest = Sha256(std::string_view());
  return kDigest;
}

const Sha256Digest& EmptyTreeRoot() {
  static const Sha256Digest kRoot =
      RootOf(std::vector<Sha256Digest>(kBuckets, EmptyBucketDigest()));
  return kRoot;
}

Result<std::vector<Sha256Digest>> ReadBuckets(Database& db, Tree tree) {
  std::vector<Sha256Digest> buckets(kBuckets, EmptyBucketDigest());
  TRY_ASSIGN(auto rows, db.Prepare("SELECT bucket, digest FROM digest_bucket WHERE tree = ?"));
  rows.BindAll(static_cast<int>(tree));
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return buckets;
    const auto bucket = static_cast<std::size_t>(rows.Int(0));
    if (bucket >= kBuckets) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("{}: bucket {} of tree {} is out of range", db.path().string(),
                              bucket, static_cast<int>(tree)));
    }
    buckets[bucket] = rows.DigestAt<Sha256Digest>(1);
  }
}

Sha256Digest RootOf(const std::vector<Sha256Digest>& buckets) {
  Sha256Hasher hasher;
  for (const auto& bucket : buckets) hasher.Update(bucket.View());
  return hasher.Finish();
}

Result<void> WriteBuckets(Database& db, Tree tree,
                          const std::map<std::size_t, Sha256Digest>& changed) {
  TRY_ASSIGN(auto put, db.Prepare("INSERT INTO digest_bucket (tree, bucket, digest) VALUES "
                                  "(?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest"));
  for (const auto& [bucket, digest] : changed) {
    TRY(put.Run(static_cast<int>(tree), bucket, digest));
  }
  return {};
}

Sha256Digest StateDigest(const Sha256Digest& documents, const Sha256Digest& intent) {
  Sha256Hasher hasher;
  return hasher.Update("gapferry-state/1\n")
      .Update(documents.View())
      .Update(intent.View())
      .Finish();
}

Sha256Digest NextChain(const Sha256Digest& previous, const Sha256Digest& change) {
  Sha256Hasher hasher;
  return hasher.Update(previous.View()).Update(change.View()).Finish();
}

UtcTime ToWholeMilliseconds(UtcTime time) {
  constexpr std::int64_t kTicksPerMillisecond = UtcTime::kTicksPerSecond / 1000;
  std::int64_t milliseconds = time.ticks / kTicksPerMillisecond;
  if (time.ticks % kTicksPerMillisecond < 0) --milliseconds;
  return {milliseconds * kTicksPerMillisecond};
}

}  // namespace gapferry::mirror
