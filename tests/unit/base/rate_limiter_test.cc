#include "base/rate_limiter.h"

#include <gtest/gtest.h>

namespace gapferry {
namespace {

using std::chrono::milliseconds;

class RateLimiterTest : public testing::Test {
 protected:
  RateLimiter::TimePoint now_{std::chrono::seconds(1000)};
  RateLimiter limiter_{1000, [this] { return now_; }};
};

TEST_F(RateLimiterTest, LetsAQuarterOfASecondPassAtOnceAndThenTheRate) {
  EXPECT_EQ(limiter_.Reserve(250), milliseconds(0));
  EXPECT_EQ(limiter_.Reserve(500), milliseconds(500));
  now_ += milliseconds(500);
  EXPECT_EQ(limiter_.Reserve(100), milliseconds(100));
}

TEST_F(RateLimiterTest, SharesTheRateAmongAll) {
  milliseconds longest{0};
  for (int transfer = 0; transfer < 10; ++transfer) {
    longest = std::max(longest, limiter_.Reserve(1000));
  }
  EXPECT_EQ(longest, milliseconds(9750));
}

TEST_F(RateLimiterTest, SavesNothingUpWhileNobodyAsks) {
  now_ += std::chrono::hours(1);
  EXPECT_EQ(limiter_.Reserve(250), milliseconds(0));
  EXPECT_EQ(limiter_.Reserve(1000), milliseconds(1000));
}

TEST_F(RateLimiterTest, KeepsTheRateOverAnyTime) {
  std::uint64_t bytes = 0;
  const auto began = now_;
  while (now_ - began < std::chrono::seconds(60)) {
    now_ += limiter_.Reserve(4096);
    bytes += 4096;
  }
  EXPECT_GE(bytes, 59'000U);
  EXPECT_LE(bytes, 60'000U + 250U + 4096U);
}

}  // namespace
}  // namespace gapferry
