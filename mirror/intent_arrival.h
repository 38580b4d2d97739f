#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "mirror/commit.h"
#include "mirror/intent.h"
#include "mirror/job_lock.h"

namespace gapferry::mirror {

/// What an upstream's intent changes here, made ready before the commit that lets it be seen, so
/// that the commit holds the write lock for a moment whatever arrives: what is there already is
/// sorted out, approvals that are new are written as rows that nobody sees (deployment.is_dead 2),
/// and the digests after the commit are computed.
/// Valid under one job lock: nobody else changes what came from above. What a process leaves behind
/// that ended in between is removed by the next one. Thread rule of its mirror.
class IntentArrival {
 public:
  /// Compares `import` with what was received before and writes rows in short transactions.
  static Result<IntentArrival> Prepare(Mirror& mirror, const JobLock& lock, IntentImport import);

  /// Does what Intent::Import does with the import that was prepared, with the same outcome. May be
  /// repeated after a commit that was taken back. Must outlive the commit.
  Result<IntentImported> Enter(CommitTransaction& commit) const;
  /// From now on Enter leaves the digests to the commit, which then takes its time for them.
  void ForgetDigests() { buckets_.clear(); }
  /// Removes the rows that nobody saw, in short transactions.
  static Result<void> Discard(Mirror& mirror);

 private:
  friend class IntentComparison;
  IntentImport rest_;                            ///< to be entered one by one
  std::vector<IncomingDeployment> arrived_;      ///< rows are there
  std::vector<std::string> arrived_lines_;       ///< for the digest of the change
  std::map<std::size_t, Sha256Digest> buckets_;  ///< of what came from above, after the commit
};

}  // namespace gapferry::mirror
