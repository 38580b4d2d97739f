#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

namespace gapferry::mirror {

enum class JobResult { kRunning, kDone, kPartly, kFailed, kCancelled, kInterrupted };
std::string_view JobResultName(JobResult result);

struct JobRecord {
  std::int64_t id = 0;
  std::string kind;  ///< sync, import, export, export-return, import-return, rollup
  UtcTime started_at;
  std::optional<UtcTime> ended_at;
  JobResult result = JobResult::kRunning;
  std::optional<Generation> generation;  ///< that the job committed
  std::string detail;                    ///< one JSON object: counters, bundle, error text
};

/// What jobs ran and how they ended. Thread rule of its database.
class JobHistory {
 public:
  JobHistory(Database& catalog, const Clock& clock) : db_(catalog), clock_(clock) {}
  /// Call with the job lock held: records of the same kind that still say running are marked
  /// interrupted.
  Result<std::int64_t> Start(std::string_view kind);
  Result<void> End(std::int64_t id, JobResult result, std::optional<Generation> generation,
                   std::string_view detail_json);
  /// A job that ends here and now with kDone, as part of the caller's transaction: what the job
  /// committed and the record of it cannot be told apart by a crash.
  Result<void> AddDone(std::string_view kind, UtcTime started_at,
                       std::optional<Generation> generation, std::string_view detail_json);
  Result<std::optional<JobRecord>> Last(std::string_view kind);
  /// The last one of the kind that ended with kDone or kPartly.
  Result<std::optional<JobRecord>> LastGood(std::string_view kind);
  Result<std::vector<JobRecord>> Recent(int limit);

 private:
  Database& db_;  // must outlive
  const Clock& clock_;
};

}  // namespace gapferry::mirror
