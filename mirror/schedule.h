#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"

// When jobs start by themselves: pure arithmetic over times of day, days, past runs and a time
// zone. Nothing here reads a clock, a file or the machine's zone.

namespace gapferry::mirror {

/// One schedule: times of the local day, on some days of the week.
struct JobSchedule {
  static constexpr std::uint8_t kEveryDay = 0x7f;
  static constexpr std::chrono::hours kMostSpread{12};

  std::vector<std::chrono::minutes> times;  ///< since local midnight, ascending, each once
  std::uint8_t days = kEveryDay;            ///< bit 0 is Monday
  /// Each start is put off by a part of this, the same for one mirror, day and time.
  std::chrono::seconds randomise{0};

  bool is_empty() const { return times.empty(); }
  bool operator==(const JobSchedule&) const = default;
};

struct Schedule {
  JobSchedule sync;
  JobSchedule rollup;
  bool rollup_after_sync = false;  ///< also whenever a sync has ended well

  bool has_rollup() const { return rollup_after_sync || !rollup.is_empty(); }
  bool is_empty() const { return sync.is_empty() && !has_rollup(); }
  bool operator==(const Schedule&) const = default;
};

/// "02:00", 00:00 to 23:59.
Result<std::chrono::minutes> ParseTimeOfDay(std::string_view text);
std::string TimeOfDayText(std::chrono::minutes time);
/// The bits of "mon", "mon-fri", "sat-mon"; English names of three letters or in full, any case.
Result<std::uint8_t> ParseDays(std::string_view text);
/// {"mon", "wed"}
std::vector<std::string> DayNames(std::uint8_t days);
/// "mon-fri, sun"
std::string DaysText(std::uint8_t days);
/// "30m", "90s", "2h", at most kMostSpread.
Result<std::chrono::seconds> ParseSpread(std::string_view text);
/// For people and for finding changes: "02:00, 14:00 on mon, wed, up to 30 min later".
std::string ScheduleText(const JobSchedule& schedule);

/// Seconds to add to UTC for local time at a moment.
using ZoneOffset = std::function<std::chrono::seconds(UtcTime)>;

/// The moment that is `local` (seconds since 1970-01-01 00:00 of the local calendar). A time that
/// the clocks skip is the moment of the skip; of a time that comes twice the first counts.
UtcTime FromLocal(std::int64_t local, const ZoneOffset& zone);

/// When and where a schedule applies.
struct ScheduleFrame {
  ZoneOffset zone;
  Guid mirror;  ///< what the random part is derived from, so that a restart does not move it
};

/// The first start after `after`; nothing for an empty schedule.
std::optional<UtcTime> NextStart(const JobSchedule& schedule, UtcTime after,
                                 const ScheduleFrame& frame);
/// The last start at or before `now`.
std::optional<UtcTime> LastStart(const JobSchedule& schedule, UtcTime now,
                                 const ScheduleFrame& frame);

/// How a run of the past ended, as far as it matters for the next one.
enum class RunOutcome {
  kGood,
  kRetryable,  ///< failed in a way that may pass, was killed, or found the mirror busy
  kFinal,      ///< failed for good, or cancelled by a person: not before the next time
};

struct PastRun {
  UtcTime started;
  UtcTime ended;  ///< or started, when that is not known
  RunOutcome outcome = RunOutcome::kGood;
  bool by_schedule = false;
};

struct ScheduleFacts {
  std::vector<PastRun> runs;         ///< newest first, in the order they were recorded
  std::optional<UtcTime> since;      ///< when this schedule was made; nothing: always was
  std::optional<UtcTime> triggered;  ///< another reason to start once after this moment
};

enum class DueReason {
  kTime,    ///< it is on the schedule
  kMissed,  ///< its time has passed by more than 10 minutes: the machine was off, or the clock
            ///< moved
  kRetry,   ///< again after a failure
};

struct DueRun {
  UtcTime at;  ///< not after `now`: start it
  DueReason reason = DueReason::kTime;
  int attempt = 1;  ///< 2 and more: retries
};

/// Minutes until a run is tried again after its `failures`th failure in a row: 1, 5, 15, 30, then
/// 60.
std::chrono::minutes RetryWait(int failures);

/// What a schedule asks for next. All times that were missed count as one. A time counts as served
/// by any good run since, and by scheduled ones that did not end in a way that may pass; those are
/// tried again until the next time comes, for a day at most. Moments in the future by more than an
/// hour are what a wrong clock has left and count for nothing, so that a clock that jumped costs
/// one extra run and not years of silence. Nothing when there is nothing to come.
std::optional<DueRun> NextRun(const JobSchedule& schedule, const ScheduleFacts& facts, UtcTime now,
                              const ScheduleFrame& frame);

}  // namespace gapferry::mirror
