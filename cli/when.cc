#include "cli/when.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/text.h"

namespace gapferry::cli {
namespace {

constexpr std::int64_t kMostSeconds = 100LL * 366 * 86'400;

/// "7d", "12h", "2w"; nullopt for anything else, zero and what is out of range included.
std::optional<std::chrono::seconds> ParseSpan(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  std::int64_t unit = 0;
  switch (text.back()) {
    case 'h':
      unit = 3600;
      break;
    case 'd':
      unit = 86'400;
      break;
    case 'w':
      unit = 7 * 86'400;
      break;
    default:
      return std::nullopt;
  }
  const auto count = ParseInt<std::int64_t>(text.substr(0, text.size() - 1));
  if (!count || *count <= 0 || *count > kMostSeconds / unit) return std::nullopt;
  return std::chrono::seconds(*count * unit);
}

UtcTime WholeSecond(UtcTime time) { return UtcTime::FromUnixSeconds(time.UnixSeconds()); }

/// "2030-01-31", "2030-01-31 18:00", "2030-01-31T18:00+01:00" as xs:dateTime.
std::string AsXml(std::string_view text) {
  constexpr std::size_t kDate = 10;    // 2030-01-31
  constexpr std::size_t kMinute = 16;  // 2030-01-31T18:00
  std::string xml(text);
  if (xml.size() == kDate) return xml + "T00:00:00Z";
  if (xml.size() < kMinute) return xml;
  if (xml[kDate] == ' ') xml[kDate] = 'T';
  if (xml.size() == kMinute || xml[kMinute] != ':') xml.insert(kMinute, ":00");
  return xml;
}

std::unexpected<Error> FailForm(std::string_view text, std::string_view forms) {
  return Fail(ErrorCode::kUsage, "bad-time",
              fmt::format("'{}' is no moment such as {} (UTC)", EscapeForDisplay(text, 80), forms));
}

std::optional<UtcTime> ParseMoment(std::string_view text) {
  const auto parsed = UtcTime::ParseXml(AsXml(text));
  if (!parsed) return std::nullopt;
  return *parsed;
}

}  // namespace

Result<UtcTime> ParseWhen(std::string_view text, UtcTime now) {
  const std::string_view word = TrimAscii(text);
  if (word.starts_with('+')) {
    if (const auto span = ParseSpan(word.substr(1))) return WholeSecond(now) + *span;
  } else if (const auto moment = ParseMoment(word)) {
    return *moment;
  }
  return FailForm(text, "2030-01-31, 2030-01-31T18:00, +7d or +12h");
}

Result<UtcTime> ParseSince(std::string_view text, UtcTime now) {
  const std::string_view word = TrimAscii(text);
  if (const auto span = ParseSpan(word)) return WholeSecond(now) - *span;
  if (const auto moment = ParseMoment(word)) return *moment;
  return FailForm(text, "7d, 12h, 2030-01-31 or 2030-01-31T18:00");
}

}  // namespace gapferry::cli
