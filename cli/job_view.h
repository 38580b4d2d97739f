#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"
#include "mirror/schedule_facts.h"

// How jobs, their progress and their next start are told: `status`, `log`, `job`, `schedule`.

namespace gapferry::cli {

/// "just now", "5 min ago", "3 h ago", "12 days ago"; "in 14 h" for what is to come.
std::string Distance(UtcTime moment, UtcTime now);
/// "41 s", "3 min", "2.5 h".
std::string DurationText(std::int64_t seconds);

/// What a job did, of the counters it left: "12 new, 1 withdrawn, 4 files of 120.0 MiB". Empty when
/// it left none that people ask for.
std::string CountsText(const mirror::JobRecord& job);
/// The same for programs, under stable names; {} when there are none.
nlohmann::json CountsToJson(const mirror::JobRecord& job);

/// The failure that a job left; message empty: none.
Error ErrorOf(const mirror::JobRecord& job);

/// "done", "failed", "killed", "running now"
std::string_view ResultText(mirror::JobResult result);

/// "schedule", "jane": who started it, without the kind of actor.
std::string ActorText(const mirror::JobRecord& job);

/// With progress, while it runs: "reading revisions: 1,200 of 24,509, 5 min left".
std::string StepText(const mirror::JobStep& step);
nlohmann::json HolderToJson(const mirror::JobLock::Holder& holder);

/// One schedule with its next start.
struct NextRunView {
  std::string kind;
  std::string text;  ///< "02:00 every day"
  std::optional<mirror::DueRun> due;
};
/// Of the kinds that are scheduled.
Result<std::vector<NextRunView>> ReadNextRuns(mirror::Mirror& mirror,
                                              const mirror::Schedule& schedule);
/// "2026-11-23 02:17 CET, in 14 h", "at once: its time was missed".
std::string NextRunText(const mirror::DueRun& due, UtcTime now);
nlohmann::json NextRunToJson(const NextRunView& view);

}  // namespace gapferry::cli
