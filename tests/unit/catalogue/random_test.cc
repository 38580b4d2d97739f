#include "tests/support/catalogue/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace gapferry::catalogue {
namespace {

TEST(Random, GivesTheSameNumbersEverywhere) {
  Random random(1, "key");
  const std::vector<std::uint64_t> first{random.Next(), random.Next(), random.Next()};
  EXPECT_EQ(first, (std::vector<std::uint64_t>{7215254339124116783U, 2868511838816296990U,
                                               8492266361433708323U}));
  EXPECT_EQ(GuidOf(1, "path").ToString(), "bf42042a-8a4f-4d12-b8b0-bb43d9cf009d");
}

TEST(Random, KeysAndSeedsAreIndependent) {
  EXPECT_NE(Random(1, "a").Next(), Random(1, "b").Next());
  EXPECT_NE(Random(1, "a").Next(), Random(2, "a").Next());
  EXPECT_NE(GuidOf(1, "a"), GuidOf(2, "a"));
}

TEST(Random, BelowStaysBelowAndReachesBothEnds) {
  Random random(1, "below");
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen.at(random.Below(7));
  for (const int count : seen) EXPECT_NEAR(count, 1000, 150);
}

TEST(Random, LogNormalHasItsMedianAndSpread) {
  Random random(1, "log-normal");
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 20001; ++i) values.push_back(random.LogNormal(64000, 1200, 1, 1ULL << 40));
  std::ranges::sort(values);
  EXPECT_NEAR(static_cast<double>(values[10000]), 64000, 2500);
  // One standard deviation up is 64,000 e^1.2 = 212,000.
  EXPECT_NEAR(static_cast<double>(values[16827]), 212000, 12000);
  EXPECT_NEAR(static_cast<double>(values[3173]), 19300, 1200);
}

TEST(Random, LogNormalKeepsItsLimits) {
  Random random(1, "limits");
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = random.LogNormal(1000, 3000, 500, 4000);
    ASSERT_GE(value, 500U);
    ASSERT_LE(value, 4000U);
  }
}

TEST(Random, GeometricHasItsMean) {
  Random random(1, "geometric");
  std::uint64_t sum = 0;
  for (int i = 0; i < 10000; ++i) sum += random.Geometric(23, 1000);
  EXPECT_NEAR(static_cast<double>(sum) / 10000, 23, 1.5);
}

TEST(GuidOf, IsVersionFour) {
  const std::string text = GuidOf(9, "anything").ToString();
  EXPECT_EQ(text[14], '4');
  EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
}

}  // namespace
}  // namespace gapferry::catalogue
