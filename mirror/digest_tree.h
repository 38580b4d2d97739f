#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// The trees of digests that tell whether two mirrors hold the same and where they differ.
///
///   root   = SHA-256 over the 4,096 bucket digests
///   bucket = SHA-256 over its element lines (each ending in LF), sorted bytewise; elements belong
///            to the bucket of the first 12 bits of their key
inline constexpr std::size_t kBuckets = 4096;

enum class Tree {
  kDocuments = 1,
  kLocalIntent = 2,
  kUpstreamIntent = 3,
  kContent = 4,
  kFollowedIntent = 5
};

inline std::size_t BucketOf(ByteView key) {
  return static_cast<std::size_t>(key[0]) << 4 | static_cast<std::size_t>(key[1] >> 4);
}
inline std::size_t BucketOf(const Guid& guid) { return BucketOf(guid.View()); }

/// The lowest 16-byte key of `bucket`; for kBuckets a key above all (16 x 0xff).
Guid FirstKeyOf(std::size_t bucket);

/// `lines` with their LF; sorts them.
Sha256Digest BucketDigest(std::vector<std::string>& lines);
const Sha256Digest& EmptyBucketDigest();
const Sha256Digest& EmptyTreeRoot();

/// Reads all buckets of a tree, with empty ones filled in.
Result<std::vector<Sha256Digest>> ReadBuckets(Database& db, Tree tree);
Sha256Digest RootOf(const std::vector<Sha256Digest>& buckets);
/// Writes changed buckets within the open transaction.
Result<void> WriteBuckets(Database& db, Tree tree,
                          const std::map<std::size_t, Sha256Digest>& changed);

/// SHA-256("gapferry-state/1" LF || documents root || intent root).
Sha256Digest StateDigest(const Sha256Digest& documents, const Sha256Digest& intent);
/// SHA-256(previous chain || change digest).
Sha256Digest NextChain(const Sha256Digest& previous, const Sha256Digest& change);

UtcTime ToWholeMilliseconds(UtcTime time);  ///< rounded down

}  // namespace gapferry::mirror
