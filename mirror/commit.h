#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

namespace gapferry::mirror {

class Mirror;

/// The one short write transaction that publishes a generation: intent, withdrawals, anchors,
/// subscription, ledger rows of other modules (through db()), audit, and last the move of
/// `published`. Destroyed unfinished it rolls back everything. Thread rule of its mirror; keep it
/// short (the write lock is held) and wait for nothing in between.
class CommitTransaction {
 public:
  /// A change of intent or settings, without loaded rows. `kind` goes to the generation log.
  static Result<CommitTransaction> Begin(Mirror& mirror, std::string_view kind);
  CommitTransaction(CommitTransaction&&) noexcept;
  CommitTransaction& operator=(CommitTransaction&&) = delete;
  ~CommitTransaction();

  Mirror& mirror();
  Database& db();
  /// The generation this commit gets if it changes metadata or intent.
  Generation generation() const;
  /// Its commit time, whole milliseconds, later than every earlier one.
  UtcTime committed_at() const;

  Result<void> PutAnchor(const Anchor& anchor);
  Result<void> DropAnchors(std::string_view kind);  ///< empty: all
  Result<void> PutUpstream(const UpstreamRecord& record);
  Result<void> PutSubscription(const Subscription& subscription);
  Result<void> Audit(const AuditEntry& entry);

  /// Called by the functions that change intent: `line` is the canonical text of what one element
  /// is now ("-" before it when it is gone), `key` decides its bucket.
  void RecordIntentChange(IntentOrigin origin, const Guid& key, std::string line);
  /// The same for many elements at once, whose lines end in LF and whose buckets are known.
  void RecordIntentChanges(IntentOrigin origin, const std::set<std::size_t>& buckets,
                           const std::vector<std::string>& lines);
  /// Digests that buckets of `origin` have after this commit, computed beforehand: Finish takes
  /// them as they are. Only for those who also expect a state digest. Must outlive the commit.
  void UseBuckets(IntentOrigin origin, const std::map<std::size_t, Sha256Digest>& buckets);
  /// A change that gets a generation and a place in the chain, but is part of no state digest: what
  /// is decided here alone (blocks, deadlines by this machine's clock, configuration).
  void RecordLocalChange(std::string line);

  /// Makes Finish fail with kUntrusted (reason "state-digest") and roll back unless the state
  /// digest after it is `digest`: what an import must reach.
  void ExpectStateDigest(const Sha256Digest& digest);

  /// Does what Finish does, checks included, and takes it all back: what must not be refused later,
  /// once something else was published for it. The commit is over afterwards.
  Result<void> Rehearse();

  /// Publishes. When neither metadata nor intent changed, commits the rest and leaves the
  /// generation: the state returned is then the one before.
  Result<StateName> Finish();
  bool changed() const;

 private:
  friend class CatalogLoad;
  struct Impl;
  explicit CommitTransaction(std::unique_ptr<Impl> impl);
  Result<StateName> Write();
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::mirror
