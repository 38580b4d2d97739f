#include "mirror/time_window.h"

#include <fmt/format.h>

#include <ctime>
#include <optional>

#include "base/text.h"
#include "mirror/schedule.h"

namespace gapferry::mirror {
namespace {

constexpr int kMinutesPerHour = 60;

std::optional<int> ParseMinute(std::string_view text) {
  const auto time = ParseTimeOfDay(text);
  if (!time) return std::nullopt;
  return static_cast<int>(time->count());
}

}  // namespace

Result<TimeWindow> TimeWindow::Parse(std::string_view text) {
  if (text.size() == 11 && text[5] == '-') {
    const auto from = ParseMinute(text.substr(0, 5));
    const auto to = ParseMinute(text.substr(6));
    if (from && to && *from != *to) return TimeWindow{*from, *to};
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is no part of a day such as 22:00-05:00", EscapeForDisplay(text)));
}

std::string TimeWindow::ToString() const {
  return fmt::format("{:02}:{:02}-{:02}:{:02}", from_minute / kMinutesPerHour,
                     from_minute % kMinutesPerHour, to_minute / kMinutesPerHour,
                     to_minute % kMinutesPerHour);
}

bool TimeWindow::Contains(int minute_of_day) const {
  if (from_minute < to_minute) return minute_of_day >= from_minute && minute_of_day < to_minute;
  return minute_of_day >= from_minute || minute_of_day < to_minute;
}

int LocalMinuteOfDay(UtcTime time) {
  const auto seconds = static_cast<std::time_t>(time.UnixSeconds());
  std::tm local{};
  ::tzset();  // localtime_r need not look at TZ
  ::localtime_r(&seconds, &local);
  return local.tm_hour * kMinutesPerHour + local.tm_min;
}

}  // namespace gapferry::mirror
