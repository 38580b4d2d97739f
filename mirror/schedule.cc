#include "mirror/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/hash.h"
#include "base/text.h"

namespace gapferry::mirror {
namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kFutureTolerance = 3600;
constexpr std::int64_t kMissedAfter = 600;

constexpr std::array<std::string_view, 7> kDayNames = {
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
constexpr std::size_t kShortName = 3;

std::int64_t FloorDiv(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/// 0 is Monday; 1970-01-01 was a Thursday.
int Weekday(std::int64_t day) {
  const std::int64_t index = (day + 3) % 7;
  return static_cast<int>(index < 0 ? index + 7 : index);
}

std::int64_t LocalDay(UtcTime moment, const ZoneOffset& zone) {
  return FloorDiv(moment.UnixSeconds() + zone(moment).count(), kDay);
}

/// Even over [0, randomise), from the mirror, the day and the time: the same after a restart.
std::chrono::seconds Spread(const JobSchedule& schedule, std::int64_t day,
                            std::chrono::minutes time, const Guid& mirror) {
  if (schedule.randomise.count() <= 0) return std::chrono::seconds(0);
  const Sha256Digest digest = Sha256(
      fmt::format("gapferry-schedule/1\n{}\n{}\n{}\n", mirror.ToString(), day, time.count()));
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(number); ++i) number = number << 8 | digest.View()[i];
  return std::chrono::seconds(
      static_cast<std::int64_t>(number % static_cast<std::uint64_t>(schedule.randomise.count())));
}

/// Every start whose nominal day is within [first, last].
std::vector<UtcTime> Starts(const JobSchedule& schedule, std::int64_t first, std::int64_t last,
                            const ScheduleFrame& frame) {
  std::vector<UtcTime> starts;
  for (std::int64_t day = first; day <= last; ++day) {
    if ((schedule.days >> Weekday(day) & 1) == 0) continue;
    for (const auto time : schedule.times) {
      const std::int64_t local = day * kDay + std::chrono::seconds(time).count();
      starts.push_back(FromLocal(local, frame.zone) + Spread(schedule, day, time, frame.mirror));
    }
  }
  return starts;
}

bool IsFuture(UtcTime moment, UtcTime now) {
  return moment > now + std::chrono::seconds(kFutureTolerance);
}

}  // namespace

// ---- Words -------------------------------------------------------------------------------------

Result<std::chrono::minutes> ParseTimeOfDay(std::string_view text) {
  const auto digits = [](std::string_view two) { return ParseInt<unsigned>(two); };
  if (text.size() == 5 && text[2] == ':') {
    const auto hours = digits(text.substr(0, 2));
    const auto minutes = digits(text.substr(3));
    if (hours && minutes && *hours < 24 && *minutes < 60) {
      return std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
    }
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is no time of day from 00:00 to 23:59", EscapeForDisplay(text)));
}

std::string TimeOfDayText(std::chrono::minutes time) {
  return fmt::format("{:02}:{:02}", time.count() / 60, time.count() % 60);
}

Result<std::uint8_t> ParseDays(std::string_view text) {
  const auto find = [](std::string_view name) -> std::optional<int> {
    const std::string lower = ToLowerAscii(TrimAscii(name));
    for (std::size_t i = 0; i < kDayNames.size(); ++i) {
      if (lower == kDayNames[i] || lower == kDayNames[i].substr(0, kShortName)) {
        return static_cast<int>(i);
      }
    }
    return std::nullopt;
  };
  const auto dash = text.find('-');
  const auto first = find(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : find(text.substr(dash + 1));
  if (!first || !last) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no day such as mon, and no days such as "
                                               "mon-fri",
                                               EscapeForDisplay(text)));
  }
  unsigned days = 0;
  for (int day = *first;; day = (day + 1) % 7) {
    days |= 1U << day;
    if (day == *last) break;
  }
  return static_cast<std::uint8_t>(days);
}

std::vector<std::string> DayNames(std::uint8_t days) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kDayNames.size(); ++i) {
    if ((days >> i & 1) != 0) names.emplace_back(kDayNames[i].substr(0, kShortName));
  }
  return names;
}

std::string DaysText(std::uint8_t days) {
  constexpr std::size_t kLeastRange = 3;
  std::string text;
  for (std::size_t first = 0; first < kDayNames.size();) {
    if ((days >> first & 1) == 0) {
      ++first;
      continue;
    }
    std::size_t end = first;
    while (end < kDayNames.size() && (days >> end & 1) != 0) ++end;
    if (end - first < kLeastRange) end = first + 1;
    text += (text.empty() ? "" : ", ") + std::string(kDayNames[first].substr(0, kShortName));
    if (end - first > 1) text += '-' + std::string(kDayNames[end - 1].substr(0, kShortName));
    first = end;
  }
  return text;
}

Result<std::chrono::seconds> ParseSpread(std::string_view text) {
  const auto factor = text.ends_with('s')   ? 1
                      : text.ends_with('m') ? 60
                      : text.ends_with('h') ? 3600
                                            : 0;
  const auto number = ParseInt<std::int64_t>(text.substr(0, text.size() - (factor == 0 ? 0 : 1)));
  constexpr std::int64_t kMost = std::chrono::seconds(JobSchedule::kMostSpread).count();
  if (factor == 0 || !number || *number < 0 || *number > kMost / factor) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no duration such as 30m or 2h, 12h at most",
                                               EscapeForDisplay(text)));
  }
  return std::chrono::seconds(*number * factor);
}

std::string ScheduleText(const JobSchedule& schedule) {
  if (schedule.is_empty()) return "never";
  std::vector<std::string> times;
  for (const auto time : schedule.times) times.push_back(TimeOfDayText(time));
  std::string text = fmt::format("{}", fmt::join(times, ", "));
  text += schedule.days == JobSchedule::kEveryDay ? " every day" : " on " + DaysText(schedule.days);
  if (const auto spread = schedule.randomise.count(); spread > 0) {
    text += spread % 60 == 0 ? fmt::format(", up to {} min later", spread / 60)
                             : fmt::format(", up to {} s later", spread);
  }
  return text;
}

// ---- Moments -----------------------------------------------------------------------------------

UtcTime FromLocal(std::int64_t local, const ZoneOffset& zone) {
  const UtcTime guess = UtcTime::FromUnixSeconds(local);
  const auto before = zone(guess - std::chrono::seconds(kDay));
  const auto after = zone(guess + std::chrono::seconds(kDay));
  // The larger offset gives the earlier moment: the first of two.
  for (const auto offset : {std::max(before, after), std::min(before, after)}) {
    const UtcTime moment = guess - offset;
    if (zone(moment) == offset) return moment;
  }
  // The clocks skip it: the change lies between what the two offsets say.
  std::int64_t low = local - std::max(before, after).count();
  std::int64_t high = local - std::min(before, after).count();
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    const bool changed = zone(UtcTime::FromUnixSeconds(middle)) == after;
    (changed ? high : low) = middle;
  }
  return UtcTime::FromUnixSeconds(high);
}

std::optional<UtcTime> NextStart(const JobSchedule& schedule, UtcTime after,
                                 const ScheduleFrame& frame) {
  // A spread start may belong to yesterday; a week and a day ahead there is one on every schedule.
  const std::int64_t today = LocalDay(after, frame.zone);
  std::optional<UtcTime> next;
  for (const UtcTime start : Starts(schedule, today - 1, today + 8, frame)) {
    if (start > after && (!next || start < *next)) next = start;
  }
  return next;
}

std::optional<UtcTime> LastStart(const JobSchedule& schedule, UtcTime now,
                                 const ScheduleFrame& frame) {
  const std::int64_t today = LocalDay(now, frame.zone);
  std::optional<UtcTime> last;
  for (const UtcTime start : Starts(schedule, today - 8, today, frame)) {
    if (start <= now && (!last || start > *last)) last = start;
  }
  return last;
}

// ---- What is next ------------------------------------------------------------------------------

std::chrono::minutes RetryWait(int failures) {
  constexpr std::array<int, 5> kWaits = {1, 5, 15, 30, 60};
  const auto index = static_cast<std::size_t>(std::max(failures, 1) - 1);
  return std::chrono::minutes(kWaits[std::min(index, kWaits.size() - 1)]);
}

namespace {

struct SinceThen {
  bool served = false;  ///< nothing more to do for this time
  int failures = 0;     ///< in a row, newest first
  UtcTime last_ended;   ///< of the newest failure
};

SinceThen WhatWasDone(const std::vector<PastRun>& runs, UtcTime slot, UtcTime now) {
  SinceThen found;
  for (const PastRun& run : runs) {
    if (run.started < slot || IsFuture(run.started, now)) continue;
    if (run.outcome == RunOutcome::kGood) found.served = true;
    if (!run.by_schedule) continue;  // what a person tried in vain does not count
    if (run.outcome == RunOutcome::kFinal) found.served = true;
    if (run.outcome != RunOutcome::kRetryable) continue;
    if (++found.failures == 1) found.last_ended = IsFuture(run.ended, now) ? now : run.ended;
  }
  return found;
}

}  // namespace

std::optional<DueRun> NextRun(const JobSchedule& schedule, const ScheduleFacts& facts, UtcTime now,
                              const ScheduleFrame& frame) {
  const auto next = NextStart(schedule, now, frame);
  const auto later = [&next]() -> std::optional<DueRun> {
    if (!next) return std::nullopt;
    return DueRun{*next, DueReason::kTime, 1};
  };
  std::optional<UtcTime> slot = LastStart(schedule, now, frame);
  if (facts.triggered && *facts.triggered <= now) {
    slot = std::max(slot.value_or(*facts.triggered), *facts.triggered);
  }
  if (!slot) return later();
  if (facts.since && *slot < *facts.since && !IsFuture(*facts.since, now)) return later();
  const SinceThen done = WhatWasDone(facts.runs, *slot, now);
  if (done.served) return later();
  if (done.failures == 0) {
    const bool missed = now > *slot + std::chrono::seconds(kMissedAfter);
    return DueRun{*slot, missed ? DueReason::kMissed : DueReason::kTime, 1};
  }
  const UtcTime again = done.last_ended + RetryWait(done.failures);
  const bool too_late = again > *slot + std::chrono::seconds(kDay);
  if (too_late || (next && *next <= again)) return later();
  return DueRun{again, DueReason::kRetry, done.failures + 1};
}

}  // namespace gapferry::mirror
