#include "mirror/delta_obstacle.h"

#include <fmt/format.h>

#include "mirror/commit_impl.h"
#include "mirror/digest_tree.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

Result<Sha256Digest> RootNow(Database& db, IntentOrigin origin) {
  TRY_ASSIGN(const auto buckets, ReadBuckets(db, IntentTree(origin)));
  return RootOf(buckets);
}

Error Changed(std::string message) {
  return Error{ErrorCode::kUsage, std::move(message), "history-changed", {}};
}

}  // namespace

Result<bool> CommitConfiguration(Mirror& mirror, std::string_view actor) {
  Database& db = mirror.db();
  const Config& config = mirror.config();
  // What a replica held back is nothing special any more where somebody decides again.
  if (!config.replica) TRY(db.Run("UPDATE mirror SET is_held = 0 WHERE is_held = 1"));
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  TRY_ASSIGN(const auto followed, FollowedOrigin(db, config));
  TRY_ASSIGN(const auto passed_on, RootNow(db, followed));
  TRY_ASSIGN(const auto intent, RootNow(db, DigestOrigin(config)));
  if (StateDigest(published.documents_digest, passed_on) == published.passed_on_digest &&
      StateDigest(published.documents_digest, intent) == published.state_digest) {
    return false;
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "configuration"));
  commit.RecordLocalChange(
      fmt::format("configuration: follows {}", config.replica ? "upstream" : "local"));
  TRY(commit.Audit({std::string(actor), "configuration", "gapferry.yaml",
                    fmt::format("{{\"replica\":{}}}", config.replica)}));
  TRY(commit.Finish());
  return true;
}

Result<std::optional<Error>> DeltaObstacle(Mirror& mirror, Generation base, Generation target) {
  Database& db = mirror.db();
  TRY_ASSIGN(const auto other,
             db.QueryInt("SELECT min(generation) FROM generation_log WHERE generation > ?1 "
                         "AND generation <= ?2 AND followed <> (SELECT followed "
                         "FROM generation_log WHERE generation = ?1) "
                         "HAVING min(generation) IS NOT NULL",
                         base, target));
  if (other) {
    return std::optional(
        Changed(fmt::format("generation {} follows other decisions than generation {} did: "
                            "'replica' was changed in gapferry.yaml",
                            *other, base)));
  }
  TRY_ASSIGN(const auto unlisted,
             db.QueryInt("SELECT max(unlisted_generation) FROM revision "
                         "WHERE unlisted_generation > ? AND unlisted_generation <= ? "
                         "HAVING max(unlisted_generation) IS NOT NULL",
                         base, target));
  if (unlisted) {
    return std::optional(
        Changed(fmt::format("generation {} left out revisions that generation {} still had: a full "
                            "bundle did not name them",
                            *unlisted, base)));
  }
  return std::optional<Error>();
}

}  // namespace gapferry::mirror
