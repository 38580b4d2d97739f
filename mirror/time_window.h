#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace gapferry::mirror {

/// A part of every day by the machine's local time, such as 22:00-05:00 (past midnight); the first
/// minute belongs to it, the last does not.
struct TimeWindow {
  int from_minute = 0;  ///< of the day, 0 to 1439
  int to_minute = 0;    ///< never equal to from_minute

  /// "HH:MM-HH:MM". Fails with kUsage, also when both are the same.
  static Result<TimeWindow> Parse(std::string_view text);
  std::string ToString() const;
  bool Contains(int minute_of_day) const;

  bool operator==(const TimeWindow&) const = default;
};

/// Minute of the day of `time` in the machine's time zone (TZ), summer time included.
int LocalMinuteOfDay(UtcTime time);

}  // namespace gapferry::mirror
