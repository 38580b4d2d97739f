#include "base/clock.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <optional>

#include "base/text.h"

namespace gapferry {
namespace {

using std::chrono::day;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::int64_t kSecondsPerDay = 86'400;

constexpr std::int64_t DaysFromCivil(int y, unsigned m, unsigned d) {
  return sys_days(year_month_day(year(y), month(m), day(d))).time_since_epoch().count();
}

struct Parts {
  year_month_day date;
  unsigned weekday;
  std::int64_t hour, minute, second, fraction;
};

std::int64_t FloorDiv(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

Parts Break(UtcTime time) {
  const std::int64_t seconds = time.UnixSeconds();
  const std::int64_t days = FloorDiv(seconds, kSecondsPerDay);
  const std::int64_t rest = seconds - days * kSecondsPerDay;
  const sys_days date{std::chrono::days(days)};
  return {year_month_day(date),
          std::chrono::weekday(date).c_encoding(),
          rest / 3600,
          rest / 60 % 60,
          rest % 60,
          time.ticks - seconds * UtcTime::kTicksPerSecond};
}

std::string DateText(const Parts& p) {
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(p.date.year()),
                     static_cast<unsigned>(p.date.month()), static_cast<unsigned>(p.date.day()));
}

std::string TimeText(const Parts& p) {
  return fmt::format("{:02}:{:02}:{:02}", p.hour, p.minute, p.second);
}

/// Takes exactly `count` digits off the front of `text`.
bool TakeDigits(std::string_view& text, std::size_t count, int& value) {
  if (text.size() < count) return false;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
  }
  value = *ParseInt<int>(text.substr(0, count));
  text.remove_prefix(count);
  return true;
}

bool TakeChar(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

bool TakeFraction(std::string_view& text, std::int64_t& ticks) {
  ticks = 0;
  if (!TakeChar(text, '.')) return true;
  std::int64_t scale = UtcTime::kTicksPerSecond;
  std::size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    scale /= 10;
    ticks += (text.front() - '0') * scale;
    text.remove_prefix(1);
    ++digits;
  }
  return digits > 0 && digits <= 20;
}

bool TakeZone(std::string_view& text, std::int64_t& offset_seconds) {
  offset_seconds = 0;
  if (text.empty() || TakeChar(text, 'Z')) return text.empty();
  const bool minus = text.front() == '-';
  if (!minus && text.front() != '+') return false;
  text.remove_prefix(1);
  int hours = 0;
  int minutes = 0;
  if (!TakeDigits(text, 2, hours) || !TakeChar(text, ':') || !TakeDigits(text, 2, minutes)) {
    return false;
  }
  if (!text.empty() || hours > 14 || minutes > 59) return false;
  offset_seconds = (hours * 60 + minutes) * 60 * (minus ? -1 : 1);
  return true;
}

class MachineClock : public Clock {
 public:
  UtcTime Now() const override {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return {std::chrono::duration_cast<std::chrono::nanoseconds>(since).count() / 100};
  }
};

}  // namespace

const UtcTime kNever = UtcTime::FromUnixSeconds(DaysFromCivil(1753, 1, 1) * kSecondsPerDay);
const UtcTime kEndOfTime = {
    (DaysFromCivil(9999, 12, 31) + 1) * kSecondsPerDay * UtcTime::kTicksPerSecond - 1};

std::int64_t UtcTime::UnixSeconds() const { return FloorDiv(ticks, kTicksPerSecond); }

Result<UtcTime> UtcTime::ParseXml(std::string_view text) {
  std::string_view rest = TrimAscii(text);
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  std::int64_t fraction = 0;
  std::int64_t offset = 0;
  const bool shape = TakeDigits(rest, 4, y) && TakeChar(rest, '-') && TakeDigits(rest, 2, mo) &&
                     TakeChar(rest, '-') && TakeDigits(rest, 2, d) && TakeChar(rest, 'T') &&
                     TakeDigits(rest, 2, h) && TakeChar(rest, ':') && TakeDigits(rest, 2, mi) &&
                     TakeChar(rest, ':') && TakeDigits(rest, 2, s) &&
                     TakeFraction(rest, fraction) && TakeZone(rest, offset);
  const year_month_day date{year(y), month(static_cast<unsigned>(mo)),
                            day(static_cast<unsigned>(d))};
  if (!shape || y < 1 || !date.ok() || h > 23 || mi > 59 || s > 59) {
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(text, 60) + "' is no date and time");
  }
  const std::int64_t days = sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * kSecondsPerDay + h * 3600 + mi * 60 + s - offset;
  return UtcTime{seconds * kTicksPerSecond + fraction};
}

Result<UtcTime> UtcTime::ParseXmlDate(std::string_view text) {
  constexpr std::size_t kDateSize = 10;
  const std::string_view rest = TrimAscii(text);
  if (rest.size() != kDateSize) return ParseXml(text);
  return ParseXml(std::string(rest) + "T00:00:00Z");
}

std::string UtcTime::ToXml() const {
  const Parts p = Break(*this);
  std::string fraction;
  if (p.fraction != 0) {
    fraction = fmt::format(".{:07}", p.fraction);
    while (fraction.back() == '0') fraction.pop_back();
  }
  return DateText(p) + "T" + TimeText(p) + fraction + "Z";
}

std::string UtcTime::ToDate() const { return DateText(Break(*this)); }

std::string UtcTime::ToMilliseconds() const {
  const Parts p = Break(*this);
  return fmt::format("{}T{}.{:03}Z", DateText(p), TimeText(p), p.fraction / 10'000);
}

std::string UtcTime::ToAnchor() const {
  const Parts p = Break(*this);
  return fmt::format("{} {}.{:03}", DateText(p), TimeText(p), p.fraction / 10'000);
}

std::string UtcTime::ToHttp() const {
  static constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const Parts p = Break(*this);
  return fmt::format("{}, {:02} {} {:04} {} GMT", kDays[p.weekday],
                     static_cast<unsigned>(p.date.day()),
                     kMonths[static_cast<unsigned>(p.date.month()) - 1],
                     static_cast<int>(p.date.year()), TimeText(p));
}

const Clock& SystemClock() {
  static const MachineClock machine;
  static const FixedClock* const fixed = []() -> const FixedClock* {
    const char* text = std::getenv("GAPFERRY_CLOCK");
    if (text == nullptr) return nullptr;
    const auto time = UtcTime::ParseXml(text);
    return time ? new FixedClock(*time) : nullptr;
  }();
  if (fixed != nullptr) return *fixed;
  return machine;
}

namespace {

/// Nothing for years that the C library cannot express.
std::optional<std::tm> BreakLocal(UtcTime moment) {
  const std::time_t seconds = moment.UnixSeconds();
  std::tm parts{};
  ::tzset();  // localtime_r alone may keep a zone that was changed since
  if (::localtime_r(&seconds, &parts) == nullptr) return std::nullopt;
  return parts;
}

}  // namespace

std::chrono::seconds LocalOffset(UtcTime moment) {
  const auto parts = BreakLocal(moment);
  return std::chrono::seconds(parts ? parts->tm_gmtoff : 0);
}

std::string LocalZoneName(UtcTime moment) {
  const auto parts = BreakLocal(moment);
  return parts && parts->tm_zone != nullptr ? parts->tm_zone : "UTC";
}

std::string LocalMinute(UtcTime moment) {
  const Parts p = Break(moment + LocalOffset(moment));
  return fmt::format("{} {:02}:{:02} {}", DateText(p), p.hour, p.minute, LocalZoneName(moment));
}

}  // namespace gapferry
