#include "mirror/rollup_state.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

const Guid kServer = TestGuid(0x5, 5);
constexpr int kMany = 20'000;

class RollupStateTest : public testing::Test {
 protected:
  Activity Open() {
    auto activity = Activity::Open(dir_.path() / "activity.db", clock_, {});
    EXPECT_TRUE(activity.has_value()) << activity.error().message;
    return std::move(*activity);
  }
  static RollupState::Try ManyInstalls() {
    RollupState::Try attempt;
    attempt.servers.emplace_back(kServer, UtcTime::FromUnixSeconds(1'791'126'194));
    for (int i = 0; i < kMany; ++i) {
      attempt.totals.push_back({{kServer, {}, {TestGuid(0xa, 1), i + 1}}, {i + 1, 0}});
    }
    return attempt;
  }

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'791'126'194)};
};

TEST_F(RollupStateTest, ATryIsOpenUntilItIsAnswered) {
  Activity activity = Open();
  RollupState state(activity);
  const RollupState::Try attempt = ManyInstalls();
  ASSERT_TRUE(state.BeginTry(attempt).has_value());
  auto open = state.OpenTries();
  ASSERT_TRUE(open.has_value());
  ASSERT_EQ(open->size(), 1u);
  EXPECT_EQ(open->front().totals.size(), static_cast<std::size_t>(kMany));
  ASSERT_TRUE(state.TryRefused(attempt).has_value());
  EXPECT_TRUE(state.OpenTries()->empty());
  EXPECT_EQ(state.FindAcknowledged(attempt.totals[7].first)->success, 0);
  ASSERT_TRUE(state.BeginTry(attempt).has_value());
  ASSERT_TRUE(state.TryTaken(attempt).has_value());
  EXPECT_TRUE(state.OpenTries()->empty());
  EXPECT_EQ(state.FindAcknowledged(attempt.totals[7].first)->success, 8);
}

TEST_F(RollupStateTest, AnotherServerKnowsNothingOfWhatWasTold) {
  Activity activity = Open();
  RollupState state(activity);
  const Guid first = TestGuid(0xb, 1);
  ASSERT_FALSE(*state.Begin(first, first, true));
  std::vector<RollupState::StatusTold> told;
  std::vector<RollupState::DetailsTold> details;
  constexpr int kComputers = 12'000;  // several transactions
  for (int i = 0; i < kComputers; ++i) {
    told.push_back({"computer-" + std::to_string(i), 3, 7, 1});
    details.push_back({told.back().computer_id, Sha256(std::string_view("details"))});
  }
  ASSERT_TRUE(state.StatusesTold(told).has_value());
  ASSERT_TRUE(state.DetailsAreTold(details).has_value());
  ASSERT_TRUE(state.BeginTry(ManyInstalls()).has_value());
  ASSERT_TRUE(*state.Begin(first, TestGuid(0xb, 2), true));  // everything again
  EXPECT_EQ(state.Find(told.back().computer_id)->last_sent, 3);
  EXPECT_FALSE(state.OpenTries()->empty());
  ASSERT_TRUE(*state.Begin(TestGuid(0xb, 3), first, true));
  EXPECT_FALSE(*state.Begin(TestGuid(0xb, 3), first, true));
  for (const auto& one : told) {
    const auto computer = state.Find(one.computer_id);
    ASSERT_TRUE(computer.has_value());
    EXPECT_EQ(computer->last_sent, 0);
    EXPECT_FALSE(computer->status_seq || computer->details);
  }
  EXPECT_TRUE(state.OpenTries()->empty());
}

// serve writes into the same database: a large request must not keep it out.
TEST_F(RollupStateTest, ALargeTryIsNotedInPieces) {
  Activity activity = Open();
  RollupState state(activity);
  std::atomic<bool> done = false;
  std::atomic<bool> saw_a_part = false;
  Activity other = Open();
  std::jthread reader([&] {
    while (!done) {
      const auto rows = other.db().QueryInt("SELECT count(*) FROM rollup_activity");
      if (rows && *rows && **rows > 0 && **rows < kMany) saw_a_part = true;
    }
  });
  const auto begun = state.BeginTry(ManyInstalls());
  done = true;
  ASSERT_TRUE(begun.has_value()) << begun.error().message;
  EXPECT_TRUE(saw_a_part);
}

}  // namespace
}  // namespace gapferry::mirror
