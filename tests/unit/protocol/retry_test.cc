#include "protocol/retry.h"

#include <gtest/gtest.h>

namespace gapferry::protocol {
namespace {

using std::chrono::milliseconds;

TEST(RetryWait, FollowsTheTable) {
  const UtcTime now = *UtcTime::ParseXml("2026-10-04T15:03:36Z");
  const RetryPolicy policy;
  const struct {
    const char* name;
    int attempt;
    AttemptOutcome outcome;
    std::uint32_t random;
    std::optional<int> wait_ms;
  } kCases[] = {
      {"first failure, lowest random", 1, {ErrorCode::kTransient, 0, "", ""}, 0, 500},
      {"first failure, highest random", 1, {ErrorCode::kTransient, 0, "", ""}, 500, 1000},
      {"second doubles", 2, {ErrorCode::kTransient, 0, "", ""}, 0, 1000},
      {"third doubles again", 3, {ErrorCode::kTransient, 0, "", ""}, 0, 2000},
      {"fourth was the last", 4, {ErrorCode::kTransient, 0, "", ""}, 0, std::nullopt},
      {"corrupt is final", 1, {ErrorCode::kCorrupt, 0, "", ""}, 0, std::nullopt},
      {"untrusted is final", 1, {ErrorCode::kUntrusted, 0, "", ""}, 0, std::nullopt},
      {"cancelled is final", 1, {ErrorCode::kCancelled, 0, "", ""}, 0, std::nullopt},
      {"404 is an answer", 1, {std::nullopt, 404, "", ""}, 0, std::nullopt},
      {"200 is an answer", 1, {std::nullopt, 200, "", ""}, 0, std::nullopt},
      {"503 retries", 1, {std::nullopt, 503, "", ""}, 0, 500},
      {"429 with seconds", 1, {std::nullopt, 429, "", "7"}, 0, 7000},
      {"Retry-After is capped", 1, {std::nullopt, 503, "", "86400"}, 0, 900'000},
      {"Retry-After as date",
       1,
       {std::nullopt, 503, "", "Sun, 04 Oct 2026 15:03:46 GMT"},
       0,
       10000},
      {"Retry-After in the past",
       1,
       {std::nullopt, 503, "", "Sun, 04 Oct 2026 15:00:00 GMT"},
       0,
       0},
      {"Retry-After that is none", 1, {std::nullopt, 503, "", "soon"}, 0, 500},
      {"busy waits a minute", 1, {ErrorCode::kTransient, 500, "ServerBusy", ""}, 0, 60'000},
      {"busy waits five", 2, {ErrorCode::kTransient, 500, "ServerBusy", ""}, 0, 300'000},
      {"busy for as long as it says",
       1,
       {ErrorCode::kTransient, 500, "ServerBusy", "90"},
       0,
       90'000},
      {"busy, a day, capped", 1, {ErrorCode::kTransient, 500, "ServerBusy", "86400"}, 0, 900'000},
      {"busy waits fifteen", 3, {ErrorCode::kTransient, 500, "ServerBusy", ""}, 0, 900'000},
  };
  for (const auto& c : kCases) {
    const auto wait = RetryWait(policy, c.attempt, c.outcome, c.random, now);
    ASSERT_EQ(wait.has_value(), c.wait_ms.has_value()) << c.name;
    EXPECT_EQ(wait.value_or(milliseconds(0)), milliseconds(c.wait_ms.value_or(0))) << c.name;
  }
}

}  // namespace
}  // namespace gapferry::protocol
