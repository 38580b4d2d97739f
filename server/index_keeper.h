#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"
#include "mirror/mirror.h"
#include "server/scan_index.h"

namespace gapferry::server {

/// Keeps the ScanIndex of a mirror current: asks every 250 ms whether another connection committed
/// (PRAGMA data_version), reads what moved (documents, intent, holdings, assignments) and replaces
/// the picture whole. What is read is what changed: new revisions after a sync or an import,
/// approvals of the last generations; everything only at the start, after a restore, and where a
/// part cannot be told (a replica's approvals). The picture is made aside, with the scopes of the
/// groups that have most computers, and shown when it is complete: no client waits for it. Reading
/// takes a quarter of one processor at most. Thread-safe.
class IndexKeeper {
 public:
  /// Reads everything once, so that Current is valid when this returns.
  static Result<std::unique_ptr<IndexKeeper>> Start(mirror::Mirror mirror, ScanOptions options);
  ~IndexKeeper();

  std::shared_ptr<const ScanIndex> Current() const { return *current_.Lock(); }

 private:
  IndexKeeper(mirror::Mirror mirror, ScanOptions options)
      : mirror_(std::move(mirror)), options_(options) {}
  Result<void> Refresh();
  Result<void> ReadCatalog(const mirror::PublishedState& state);
  Result<void> ReadWholeCatalog();
  /// Adds what became visible since; false when that is not possible.
  Result<bool> ExtendCatalog();
  Result<void> ReadHoldings(std::int64_t sequence);
  Result<void> ReadConflicts();
  Result<void> ReadDeployments(const mirror::PublishedState& state);
  Result<void> ReadAssignments();
  /// Builds the scopes that computers will ask for next.
  void BuildScopes(const ScanIndex& index) const;
  Result<void> AddCommits(const std::set<mirror::Generation>& generations);
  Result<UtcTime> ReadSyncTime(mirror::Generation generation);
  Result<IntentFacts> ReadIntent(const mirror::PublishedState& state);
  Result<bool> HasMoved();
  /// Deadlines that were settled by a clock that proves to have been wrong; whether any changed.
  bool SettleDeadlines();
  void Run(std::stop_token stop);

  // Used by the keeper's thread alone (by Start before it).
  mirror::Mirror mirror_;
  const ScanOptions options_;
  std::shared_ptr<const CatalogIndex> catalog_;
  std::shared_ptr<const ContentHoldings> holdings_;
  std::vector<std::pair<mirror::Generation, UtcTime>> commits_;  // ascending
  std::vector<mirror::RevisionId> conflicts_;                    // ascending
  mirror::Generation catalog_generation_ = -1;                   // up to which catalog_ goes
  std::vector<mirror::Deployment> deployments_;                  // ascending by id
  std::map<std::pair<Guid, Guid>, mirror::Generation> ended_;    // by update and group
  std::shared_ptr<const Assignments> assignments_;
  std::vector<std::vector<Guid>> busiest_;  // sets of groups, those of most computers first
  /// Up to which deployments_ and ended_ go; nothing when they are not of this mirror's own intent.
  std::optional<mirror::Generation> deployments_generation_;
  Sha256Digest documents_digest_;
  mirror::Generation read_generation_ = -1;
  Guid read_epoch_;
  std::int64_t assignment_sequence_ = -1;
  std::int64_t read_content_ = -1;  // holdings_ may be ahead of it when a refresh failed
  UtcTime synced_at_;
  std::int64_t data_version_ = -1;
  std::optional<UtcTime> next_change_;
  std::chrono::steady_clock::time_point next_settle_;

  mutable Guarded<std::shared_ptr<const ScanIndex>> current_;
  std::mutex mutex_;  // for wake_ only
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: stopped first
};

}  // namespace gapferry::server
