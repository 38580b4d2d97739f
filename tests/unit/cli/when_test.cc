#include "cli/when.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace gapferry::cli {
namespace {

UtcTime Time(std::string_view text) { return UtcTime::ParseXml(text).value(); }
const UtcTime kNow = Time("2026-11-22T09:18:30.7Z");

struct Case {
  std::string_view name;
  std::string_view text;
  std::string_view expected;  ///< empty: refused
};

class When : public testing::TestWithParam<Case> {};

TEST_P(When, IsWhatPeopleMean) {
  const auto when = ParseWhen(GetParam().text, kNow);
  if (GetParam().expected.empty()) {
    ASSERT_FALSE(when.has_value()) << when->ToXml();
    EXPECT_EQ(when.error().code, ErrorCode::kUsage);
    EXPECT_EQ(when.error().message,
              "'" + std::string(GetParam().text) +
                  "' is no moment such as 2030-01-31, 2030-01-31T18:00, +7d or +12h (UTC)");
  } else {
    ASSERT_TRUE(when.has_value()) << when.error().message;
    EXPECT_EQ(when->ToXml(), GetParam().expected);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, When,
    testing::Values(
        Case{"Date", "2030-01-31", "2030-01-31T00:00:00Z"},
        Case{"DateInThePast", "1999-12-31", "1999-12-31T00:00:00Z"},
        Case{"Minute", "2030-01-31T18:00", "2030-01-31T18:00:00Z"},
        Case{"Blank", "2030-01-31 18:00", "2030-01-31T18:00:00Z"},
        Case{"Seconds", "2030-01-31T18:00:05", "2030-01-31T18:00:05Z"},
        Case{"Zulu", "2030-01-31T18:00Z", "2030-01-31T18:00:00Z"},
        Case{"Offset", "2030-01-31T18:00+01:00", "2030-01-31T17:00:00Z"},
        Case{"NegativeOffset", "2030-01-31T18:00:00-02:30", "2030-01-31T20:30:00Z"},
        Case{"Days", "+7d", "2026-11-29T09:18:30Z"}, Case{"Hours", "+12h", "2026-11-22T21:18:30Z"},
        Case{"Weeks", "+2w", "2026-12-06T09:18:30Z"}, Case{"Empty", "", ""},
        Case{"Word", "tomorrow", ""}, Case{"NoUnit", "+7", ""}, Case{"UnknownUnit", "+7m", ""},
        Case{"Nothing", "+0d", ""}, Case{"SignTwice", "++7d", ""}, Case{"Negative", "-7d", ""},
        Case{"NoSign", "7d", ""}, Case{"Fraction", "+1.5d", ""},
        Case{"HundredsOfYears", "+99999999d", ""}, Case{"Overflow", "+9223372036854775807w", ""},
        Case{"NoSuchDay", "2030-02-30", ""}, Case{"NoSuchHour", "2030-01-31T25:00", ""},
        Case{"German", "31.01.2030", ""}, Case{"American", "01/31/2030", ""},
        Case{"HourAlone", "2030-01-31T18", ""}, Case{"Rest", "2030-01-31T18:00 please", ""}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Since, CountsBackwards) {
  EXPECT_EQ(ParseSince("7d", kNow)->ToXml(), "2026-11-15T09:18:30Z");
  EXPECT_EQ(ParseSince("12h", kNow)->ToXml(), "2026-11-21T21:18:30Z");
  EXPECT_EQ(ParseSince("2026-11-01", kNow)->ToXml(), "2026-11-01T00:00:00Z");
  for (const std::string_view bad : {"", "d", "7", "+7d", "-7d", "yesterday", "0h"}) {
    const auto since = ParseSince(bad, kNow);
    ASSERT_FALSE(since.has_value()) << bad;
    EXPECT_EQ(since.error().code, ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace gapferry::cli
