#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mirror/commit.h"
#include "mirror/digest_tree.h"
#include "mirror/mirror.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/update_id.h"

// What CommitTransaction and CatalogLoad share; for the sources of mirror/ only.

namespace gapferry::mirror {

/// What the mirror above says of a revision that is held.
enum class Listing {
  kListed,
  kWithdrawn,  ///< not listed any more, and said so
  kUnlisted,   ///< not even named by a full bundle: served as withdrawn, out of the documents tree
};

/// By how much the numbers of catalog_count move, in the order of its columns.
using CountChanges = std::array<std::int64_t, 8>;

/// What a load brings to its commit, computed beforehand.
struct PreparedDocuments {
  ChangeId change = 0;
  bool has_revisions = false;
  std::map<RevisionId, Listing> listings;  ///< only real changes
  std::map<std::size_t, Sha256Digest> buckets;
  CountChanges counts{};
  Sha256Digest lines_digest;  ///< SHA-256 over the canonical lines of what changes, sorted
  bool changes_anything() const { return has_revisions || !listings.empty(); }
};

struct CommitTransaction::Impl {
  Impl(Mirror& m, Transaction transaction) : mirror(m), tx(std::move(transaction)) {}
  Mirror& mirror;
  Transaction tx;
  std::string kind;
  PublishedState before;
  Generation generation = 0;
  UtcTime committed_at;
  std::vector<std::string> intent_lines;
  std::map<IntentOrigin, std::set<std::size_t>> touched;
  /// See UseBuckets; null: none.
  std::map<IntentOrigin, const std::map<std::size_t, Sha256Digest>*> known_buckets;
  const PreparedDocuments* documents = nullptr;  ///< null: no load
  bool* finished_flag = nullptr;                 ///< set when the load's change is published
  std::optional<Sha256Digest> expected_state;    ///< see ExpectStateDigest
};

/// Whose intent the state digest covers: what came from above, if anything does.
IntentOrigin DigestOrigin(const Config& config);
/// kLocal or kUpstream, by the configuration alone.
IntentOrigin EffectiveOrigin(const Config& config);
/// Whose intent is followed and passed on: kFollowed while a replica holds decisions back.
Result<IntentOrigin> FollowedOrigin(Database& db, const Config& config);
Tree IntentTree(IntentOrigin origin);

/// The canonical element lines of one bucket of intent (intent_rows.cc), each with LF:
///   G <guid> <parent> <name>
///   D <deployment guid> <update> <revision> <group> <action> <deadline|-> <assigned> <priority>
///     <go live> <last change> <admin name>
///   X <update>            declined
///   E <eula>              accepted
/// Times are ticks; names are length:bytes.
Result<std::vector<std::string>> IntentBucketLines(Database& db, IntentOrigin origin,
                                                   std::size_t bucket);

}  // namespace gapferry::mirror
