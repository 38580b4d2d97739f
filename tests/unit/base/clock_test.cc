#include "base/clock.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace gapferry {
namespace {

TEST(UtcTime, ReadsDatesWithAndWithoutTime) {
  EXPECT_EQ(UtcTime::ParseXmlDate("2006-06-21")->ToXml(), "2006-06-21T00:00:00Z");
  EXPECT_EQ(UtcTime::ParseXmlDate(" 2006-06-21T18:30:00Z ")->ToXml(), "2006-06-21T18:30:00Z");
  for (const char* text :
       {"", "2006-06-31", "2006-6-21", "20060621", "2006-06-21T", "tomorrows!"}) {
    EXPECT_FALSE(UtcTime::ParseXmlDate(text).has_value()) << text;
  }
}

TEST(UtcTime, RoundTripsWhatServersWrite) {
  for (const char* text :
       {"2026-10-04T16:03:35.9967236Z", "2026-10-04T15:03:36Z", "1753-01-01T00:00:00Z",
        "9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z"}) {
    const auto time = UtcTime::ParseXml(text);
    ASSERT_TRUE(time.has_value()) << text;
    EXPECT_EQ(time->ToXml(), text);
  }
}

TEST(UtcTime, ReadsZonesAndMissingZones) {
  EXPECT_EQ(UtcTime::ParseXml("2026-10-04T18:03:36+02:00")->ToXml(), "2026-10-04T16:03:36Z");
  EXPECT_EQ(UtcTime::ParseXml("2026-10-04T16:03:36")->ToXml(), "2026-10-04T16:03:36Z");
}

TEST(UtcTime, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "2026-10-04", "2026-02-30T00:00:00Z", "2026-10-04T24:00:00Z", "2026-10-04T16:03:36.Z",
        "2026-10-04T16:03:36Zx", "0000-01-01T00:00:00Z"}) {
    EXPECT_FALSE(UtcTime::ParseXml(text).has_value()) << text;
  }
}

TEST(UtcTime, KnowsTheSentinelsAndOtherForms) {
  EXPECT_EQ(kNever.ToXml(), "1753-01-01T00:00:00Z");
  EXPECT_EQ(kEndOfTime.ToXml(), "9999-12-31T23:59:59.9999999Z");
  const UtcTime time = *UtcTime::ParseXml("2026-10-04T15:03:06.6684Z");
  EXPECT_EQ(time.ToDate(), "2026-10-04");
  EXPECT_EQ(time.ToHttp(), "Sun, 04 Oct 2026 15:03:06 GMT");
  EXPECT_EQ(time.ToAnchor(), "2026-10-04 15:03:06.668");
}

TEST(LocalTime, FollowsTheZoneOfTheMachineAndItsSummerTime) {
  const char* before = std::getenv("TZ");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  const UtcTime winter = UtcTime::ParseXml("2026-01-10T01:17:30Z").value();
  const UtcTime summer = UtcTime::ParseXml("2026-07-10T22:17:30Z").value();
  EXPECT_EQ(LocalOffset(winter), std::chrono::hours(1));
  EXPECT_EQ(LocalOffset(summer), std::chrono::hours(2));
  EXPECT_EQ(LocalMinute(winter), "2026-01-10 02:17 CET");
  EXPECT_EQ(LocalMinute(summer), "2026-07-11 00:17 CEST");
  ::setenv("TZ", "XYZ+9:30", 1);
  EXPECT_EQ(LocalOffset(winter), -std::chrono::minutes(570));
  EXPECT_EQ(LocalMinute(winter), "2026-01-09 15:47 XYZ");
  if (before == nullptr) {
    ::unsetenv("TZ");
  } else {
    ::setenv("TZ", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace gapferry
