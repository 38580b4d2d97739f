#include "mirror/time_window.h"

#include <gtest/gtest.h>
#include <stdlib.h>

namespace gapferry::mirror {
namespace {

TEST(TimeWindow, IsReadAndWritten) {
  for (const char* text : {"22:00-05:00", "00:00-23:59", "08:30-08:31", "23:59-00:00"}) {
    const auto window = TimeWindow::Parse(text);
    ASSERT_TRUE(window.has_value()) << text;
    EXPECT_EQ(window->ToString(), text);
  }
}

TEST(TimeWindow, RefusesWhatIsNone) {
  for (const char* text :
       {"", "22:00", "22:00-", "24:00-05:00", "22:60-05:00", "22:00-22:00", "2:00-05:00",
        "22:00 - 05:00", "-1:00-05:00", "22:00-05:00 ", "+2:00-05:00", "22.00-05.00"}) {
    const auto window = TimeWindow::Parse(text);
    ASSERT_FALSE(window.has_value()) << text;
    EXPECT_EQ(window.error().code, ErrorCode::kUsage);
    EXPECT_EQ(window.error().message,
              "'" + std::string(text) + "' is no part of a day such as 22:00-05:00");
  }
}

TEST(TimeWindow, MayPassMidnight) {
  const TimeWindow night{22 * 60, 5 * 60};
  EXPECT_TRUE(night.Contains(22 * 60));
  EXPECT_TRUE(night.Contains(0));
  EXPECT_TRUE(night.Contains(5 * 60 - 1));
  EXPECT_FALSE(night.Contains(5 * 60));
  EXPECT_FALSE(night.Contains(22 * 60 - 1));
  const TimeWindow noon{11 * 60, 13 * 60};
  EXPECT_TRUE(noon.Contains(12 * 60));
  EXPECT_FALSE(noon.Contains(13 * 60));
  EXPECT_FALSE(noon.Contains(0));
}

TEST(TimeWindow, FollowsTheLocalTimeAndItsSummer) {
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  EXPECT_EQ(LocalMinuteOfDay(*UtcTime::ParseXml("2026-01-15T22:30:00Z")), 23 * 60 + 30);
  EXPECT_EQ(LocalMinuteOfDay(*UtcTime::ParseXml("2026-07-15T22:30:00Z")), 30);
  ::setenv("TZ", "UTC", 1);
  EXPECT_EQ(LocalMinuteOfDay(*UtcTime::ParseXml("2026-07-15T22:30:00Z")), 22 * 60 + 30);
  ::unsetenv("TZ");
}

}  // namespace
}  // namespace gapferry::mirror
