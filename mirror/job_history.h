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

enum class JobResult {
  kRunning,
  kDone,
  kPartly,
  kFailed,
  kCancelled,
  kInterrupted,  ///< its process ended without a word: killed, crashed, power lost
  kPostponed,    ///< not begun, since another job held the mirror
};
std::string_view JobResultName(JobResult result);

struct JobRecord {
  std::int64_t id = 0;
  std::string kind;     ///< sync, import, export, export-return, import-return, rollup
  std::string actor;    ///< who started it: "user:jane", "schedule"
  std::string process;  ///< base/process.h; empty: unknown
  UtcTime started_at;
  std::optional<UtcTime> ended_at;
  /// kRunning only while its process runs.
  JobResult result = JobResult::kRunning;
  std::optional<Generation> generation;  ///< that the job committed
  std::string detail;                    ///< one JSON object: counters, bundle, error text
};

/// What jobs ran and how they ended. Thread rule of its database.
class JobHistory {
 public:
  JobHistory(Database& catalog, const Clock& clock) : db_(catalog), clock_(clock) {}
  /// Call with the job lock held: records that still say running are marked interrupted. Actor and
  /// process are the caller's.
  Result<std::int64_t> Start(std::string_view kind);
  Result<void> End(std::int64_t id, JobResult result, std::optional<Generation> generation,
                   std::string_view detail_json);
  /// Ends with kFailed, or kCancelled for an error of that code; detail: error, code, reason, next.
  Result<void> Fail(std::int64_t id, const Error& error);
  /// A job that ends here and now with kDone, as part of the caller's transaction: what the job
  /// committed and the record of it cannot be told apart by a crash.
  Result<void> AddDone(std::string_view kind, UtcTime started_at,
                       std::optional<Generation> generation, std::string_view detail_json);
  /// A record as it is, its id apart, which is returned: of a job that could not write its own.
  Result<std::int64_t> Add(const JobRecord& record);
  /// Another result and detail for a record; the end is now where it had none.
  Result<void> Correct(std::int64_t id, JobResult result, std::string_view detail_json);
  /// Marks a record that says running interrupted, with `detail_json`; others stay as they are.
  Result<void> Interrupt(std::int64_t id, std::string_view detail_json);

  /// The last one of the kind that was begun.
  Result<std::optional<JobRecord>> Last(std::string_view kind);
  /// The last one of the kind that ended with kDone or kPartly.
  Result<std::optional<JobRecord>> LastGood(std::string_view kind);
  /// Newest first.
  Result<std::vector<JobRecord>> Recent(int limit);
  Result<std::vector<JobRecord>> Recent(std::string_view kind, int limit);
  Result<std::optional<JobRecord>> Find(std::int64_t id);
  /// The last one of this process.
  Result<std::optional<JobRecord>> OfProcess(std::string_view process);

 private:
  Database& db_;  // must outlive
  const Clock& clock_;
};

/// {"error", "code", "reason", "next"}
std::string ErrorToDetail(const Error& error);

}  // namespace gapferry::mirror
