#include "mirror/commit.h"

#include <fmt/format.h>

#include <algorithm>

#include "mirror/commit_impl.h"
#include "mirror/load_digests.h"

namespace gapferry::mirror {

IntentOrigin EffectiveOrigin(const Config& config) {
  return config.replica ? IntentOrigin::kUpstream : IntentOrigin::kLocal;
}

IntentOrigin DigestOrigin(const Config& config) {
  return config.replica || config.upstream.gap ? IntentOrigin::kUpstream : IntentOrigin::kLocal;
}

Result<IntentOrigin> FollowedOrigin(Database& db, const Config& config) {
  if (!config.replica) return IntentOrigin::kLocal;
  TRY_ASSIGN(const auto held, db.QueryInt("SELECT is_held FROM mirror"));
  return held.value_or(0) == 0 ? IntentOrigin::kUpstream : IntentOrigin::kFollowed;
}

Tree IntentTree(IntentOrigin origin) {
  switch (origin) {
    case IntentOrigin::kLocal:
      return Tree::kLocalIntent;
    case IntentOrigin::kUpstream:
      return Tree::kUpstreamIntent;
    case IntentOrigin::kFollowed:
      break;
  }
  return Tree::kFollowedIntent;
}

CommitTransaction::CommitTransaction(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CommitTransaction::CommitTransaction(CommitTransaction&&) noexcept = default;
CommitTransaction::~CommitTransaction() = default;

Result<CommitTransaction> CommitTransaction::Begin(Mirror& mirror, std::string_view kind) {
  TRY_ASSIGN(auto tx, Transaction::Begin(mirror.db(), TransactionKind::kWrite));
  auto impl = std::make_unique<Impl>(mirror, std::move(tx));
  impl->kind = kind;
  TRY_ASSIGN(impl->before, mirror.catalog().Published());
  impl->generation = impl->before.name.generation + 1;
  // Rising even when the clock is not: anchors name a generation by its commit time.
  const UtcTime next{impl->before.committed_at.ticks + UtcTime::kTicksPerSecond / 1000};
  impl->committed_at = std::max(ToWholeMilliseconds(mirror.clock().Now()), next);
  return CommitTransaction(std::move(impl));
}

Mirror& CommitTransaction::mirror() { return impl_->mirror; }
Database& CommitTransaction::db() { return impl_->mirror.db(); }
Generation CommitTransaction::generation() const { return impl_->generation; }
UtcTime CommitTransaction::committed_at() const { return impl_->committed_at; }

Result<void> CommitTransaction::PutAnchor(const Anchor& anchor) {
  return db().Run(
      "INSERT INTO anchor (kind, filter, value, updated_at) VALUES (?, ?, ?, ?) "
      "ON CONFLICT DO UPDATE SET value = excluded.value, "
      "updated_at = excluded.updated_at",
      anchor.kind, anchor.filter, anchor.value, impl_->committed_at);
}

Result<void> CommitTransaction::DropAnchors(std::string_view kind) {
  return db().Run("DELETE FROM anchor WHERE ?1 = '' OR kind = ?1", kind);
}

Result<void> CommitTransaction::PutSubscription(const Subscription& subscription) {
  TRY(db().Run("DELETE FROM subscription"));
  TRY_ASSIGN(auto put,
             db().Prepare("INSERT OR IGNORE INTO subscription (kind, value) VALUES (?, ?)"));
  for (const Guid& guid : subscription.products) TRY(put.Run(1, guid.ToString()));
  for (const Guid& guid : subscription.classifications) TRY(put.Run(2, guid.ToString()));
  for (const auto& language : subscription.languages) TRY(put.Run(3, language));
  if (subscription.drivers) TRY(put.Run(4, "yes"));
  return {};
}

Result<void> CommitTransaction::PutUpstream(const UpstreamRecord& record) {
  const auto& config = record.config;
  TRY(db().Run(
      "INSERT OR REPLACE INTO upstream (id, url, announced_version, protocol_version, "
      "catalog_only, lazy_sync, hosts_psf, max_updates, max_decryption, max_computer_ids, "
      "max_driver_sets, max_hardware_ids, read_at) "
      "VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      record.url, record.announced_version, config.protocol_version,
      config.catalog_only_sync ? 1 : 0, config.lazy_sync ? 1 : 0,
      config.server_hosts_psf_files ? 1 : 0, config.max_updates_per_request,
      config.max_updates_per_decryption_request, config.max_computer_ids_per_request,
      config.max_driver_sets_per_request, config.max_pnp_hardware_ids_per_request, record.read_at));
  TRY(db().Run("DELETE FROM upstream_language"));
  TRY_ASSIGN(auto put, db().Prepare("INSERT OR REPLACE INTO upstream_language (id, short_name, "
                                    "long_name, is_enabled) VALUES (?, ?, ?, ?)"));
  for (const auto& one : config.languages) {
    TRY(put.Run(one.language_id, one.short_language, one.long_language, one.enabled ? 1 : 0));
  }
  return {};
}

Result<void> CommitTransaction::Audit(const AuditEntry& entry) {
  TRY(AppendAudit(db(), impl_->committed_at, entry));
  return {};
}

void CommitTransaction::RecordIntentChange(IntentOrigin origin, const Guid& key, std::string line) {
  impl_->touched[origin].insert(BucketOf(key));
  impl_->intent_lines.push_back(fmt::format("{} {}\n", static_cast<int>(origin), std::move(line)));
}

void CommitTransaction::RecordIntentChanges(IntentOrigin origin,
                                            const std::set<std::size_t>& buckets,
                                            const std::vector<std::string>& lines) {
  impl_->touched[origin].insert(buckets.begin(), buckets.end());
  const std::string prefix = fmt::format("{} ", static_cast<int>(origin));
  for (const std::string& line : lines) impl_->intent_lines.push_back(prefix + line);
}

void CommitTransaction::UseBuckets(IntentOrigin origin,
                                   const std::map<std::size_t, Sha256Digest>& buckets) {
  impl_->known_buckets[origin] = &buckets;
}

void CommitTransaction::RecordLocalChange(std::string line) {
  impl_->intent_lines.push_back(fmt::format("- {}\n", std::move(line)));
}

void CommitTransaction::ExpectStateDigest(const Sha256Digest& digest) {
  impl_->expected_state = digest;
}

bool CommitTransaction::changed() const {
  return !impl_->intent_lines.empty() ||
         (impl_->documents != nullptr && impl_->documents->changes_anything());
}

namespace {

Result<void> PublishDocuments(Database& db, const PreparedDocuments& documents,
                              Generation generation) {
  TRY_ASSIGN(auto mark,
             db.Prepare("UPDATE revision SET is_withdrawn = ?1, withdrawn_generation = ?2, "
                        "unlisted_generation = CASE WHEN is_unlisted = ?3 "
                        "THEN unlisted_generation ELSE ?2 END, is_unlisted = ?3 WHERE id = ?4"));
  for (const auto& [id, listing] : documents.listings) {
    TRY(mark.Run(listing == Listing::kListed ? 0 : 1, generation,
                 listing == Listing::kUnlisted ? 1 : 0, id));
  }
  TRY(db.Run("UPDATE change SET generation = ? WHERE id = ?", generation, documents.change));
  TRY(MoveCounts(db, documents.counts));
  return WriteBuckets(db, Tree::kDocuments, documents.buckets);
}

using Buckets = std::map<std::size_t, Sha256Digest>;

Result<void> UpdateIntentBuckets(Database& db,
                                 const std::map<IntentOrigin, std::set<std::size_t>>& touched,
                                 const std::map<IntentOrigin, const Buckets*>& known) {
  for (const auto& [origin, buckets] : touched) {
    const auto at = known.find(origin);
    const Buckets* ready = at == known.end() ? nullptr : at->second;
    Buckets changed;
    for (const std::size_t bucket : buckets) {
      if (ready != nullptr && ready->contains(bucket)) {
        changed[bucket] = ready->at(bucket);
        continue;
      }
      TRY_ASSIGN(auto lines, IntentBucketLines(db, origin, bucket));
      changed[bucket] = BucketDigest(lines);
    }
    TRY(WriteBuckets(db, IntentTree(origin), changed));
  }
  return {};
}

Result<Sha256Digest> ReadRoot(Database& db, Tree tree) {
  TRY_ASSIGN(const auto buckets, ReadBuckets(db, tree));
  return RootOf(buckets);
}

/// SHA-256("gapferry-change/1" LF || digest of document lines || digest of intent lines), each
/// digest over sorted lines.
Sha256Digest ChangeDigest(const PreparedDocuments* documents, std::vector<std::string>& lines) {
  Sha256Hasher hasher;
  hasher.Update("gapferry-change/1\n");
  hasher.Update((documents ? documents->lines_digest : EmptyBucketDigest()).View());
  return hasher.Update(BucketDigest(lines).View()).Finish();
}

Result<void> CheckExpected(const std::optional<Sha256Digest>& expected, const Sha256Digest& got) {
  if (!expected || *expected == got) return {};
  return Fail(ErrorCode::kUntrusted, "state-digest",
              "state digest mismatch: expected sha256:" + expected->ToHex() +
                  ", got sha256:" + got.ToHex());
}

}  // namespace

Result<StateName> CommitTransaction::Write() {
  Impl& impl = *impl_;
  if (!changed()) {
    TRY(CheckExpected(impl.expected_state, impl.before.state_digest));
    if (impl.documents) {
      TRY(db().Run("DELETE FROM file_url WHERE change_id = ?", impl.documents->change));
      TRY(db().Run("DELETE FROM file_key WHERE change_id = ?", impl.documents->change));
      TRY(db().Run("DELETE FROM change WHERE id = ?", impl.documents->change));
    }
    return impl.before.name;
  }
  const Sha256Digest change = ChangeDigest(impl.documents, impl.intent_lines);
  StateName name{impl.before.name.epoch, impl.generation,
                 NextChain(impl.before.name.chain, change)};
  // The log row first: change.generation refers to it. Its digests follow.
  TRY(
      db().Run("INSERT INTO generation_log (generation, epoch, chain, change_digest, "
               "documents_digest, intent_digest, state_digest, passed_on_digest, committed_at, "
               "kind) VALUES (?, ?, ?, ?, x'', x'', x'', x'', ?, ?)",
               name.generation, name.epoch, name.chain, change, impl.committed_at, impl.kind));
  if (impl.documents) TRY(PublishDocuments(db(), *impl.documents, impl.generation));
  TRY(UpdateIntentBuckets(db(), impl.touched, impl.known_buckets));
  const Config& config = impl.mirror.config();
  TRY_ASSIGN(const auto documents, ReadRoot(db(), Tree::kDocuments));
  TRY_ASSIGN(const auto intent, ReadRoot(db(), IntentTree(DigestOrigin(config))));
  TRY_ASSIGN(const auto followed, FollowedOrigin(db(), config));
  TRY_ASSIGN(const auto passed_on, ReadRoot(db(), IntentTree(followed)));
  TRY(CheckExpected(impl.expected_state, StateDigest(documents, intent)));
  TRY(
      db().Run("UPDATE generation_log SET documents_digest = ?, intent_digest = ?, "
               "state_digest = ?, passed_on_digest = ?, followed = ? WHERE generation = ?",
               documents, intent, StateDigest(documents, intent), StateDigest(documents, passed_on),
               static_cast<int>(EffectiveOrigin(config)), name.generation));
  TRY(db().Run("UPDATE mirror SET published = ?", name.generation));
  return name;
}

Result<StateName> CommitTransaction::Finish() {
  TRY_ASSIGN(const StateName name, Write());
  TRY(impl_->tx.Commit());
  if (impl_->finished_flag) *impl_->finished_flag = true;
  return name;
}

Result<void> CommitTransaction::Rehearse() {
  TRY(Write());
  impl_->tx.Rollback();
  return {};
}

}  // namespace gapferry::mirror
