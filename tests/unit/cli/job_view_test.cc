#include "cli/job_view.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace gapferry::cli {
namespace {

const UtcTime kNow = UtcTime::ParseXml("2026-01-10T09:00:00Z").value();

TEST(JobView, DistancesReadLikeSpeech) {
  const std::pair<std::int64_t, const char*> cases[] = {
      {0, "just now"},       {29, "just now"},    {45, "45 s ago"},       {300, "5 min ago"},
      {3 * 3600, "3 h ago"}, {86400, "24 h ago"}, {172800, "2 days ago"}, {-20, "just now"},
      {-60, "in 60 s"},      {-7200, "in 2 h"},   {-864000, "in 10 days"}};
  for (const auto& [seconds, text] : cases) {
    EXPECT_EQ(Distance(kNow - std::chrono::seconds(seconds), kNow), text);
  }
}

mirror::JobRecord Job(std::string kind, std::string detail) {
  mirror::JobRecord job;
  job.kind = std::move(kind);
  job.detail = std::move(detail);
  return job;
}

TEST(JobView, CountsOfASync) {
  const auto job =
      Job("sync", R"({"listed":100,"new_revisions":11,"new_categories":1,"withdrawn":2,)"
                  R"("content_fetched":4,"content_bytes":125829120,"content_waiting":3})");
  EXPECT_EQ(CountsText(job),
            "100 listed, 12 new, 2 withdrawn, 4 files of 120.0 MiB, 3 files not there yet");
  const auto counts = CountsToJson(job);
  EXPECT_EQ(counts["new"], 12);
  EXPECT_EQ(counts["bytes"], 125829120);
}

TEST(JobView, AJobWithoutCountersHasNone) {
  for (const char* detail : {"{}", "", "[]", "null", R"({"error":"x"})", R"({"listed":-1})"}) {
    EXPECT_EQ(CountsText(Job("sync", detail)), "") << detail;
    EXPECT_TRUE(CountsToJson(Job("sync", detail)).empty()) << detail;
  }
  EXPECT_EQ(CountsText(Job("export", R"({"computers":1})")), "");
}

TEST(JobView, AnErrorIsShownWithItsNextStepAndEscaped) {
  const auto error = ErrorOf(Job("sync", R"({"error":"no\u001b[31m answer","next":"wait"})"));
  EXPECT_EQ(error.message.find('\x1b'), std::string::npos);
  EXPECT_EQ(error.next, "wait");
  EXPECT_EQ(ErrorOf(Job("sync", R"({"error":[]})")).message, "");
}

TEST(JobView, NextRunsSayWhy) {
  ::setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
  using mirror::DueReason;
  const UtcTime later = UtcTime::ParseXml("2026-01-11T01:17:00Z").value();
  EXPECT_EQ(NextRunText({later, DueReason::kTime, 1}, kNow), "2026-01-11 02:17 CET, in 16 h");
  EXPECT_EQ(NextRunText({kNow, DueReason::kMissed, 1}, kNow), "at once: its time was missed");
  EXPECT_EQ(NextRunText({kNow + std::chrono::minutes(5), DueReason::kRetry, 3}, kNow),
            "2026-01-10 10:05 CET, in 5 min: attempt 3 after a failure");
}

TEST(JobView, WhoIsNamedWithoutTheKindOfActor) {
  mirror::JobRecord job;
  job.actor = "user:jane";
  EXPECT_EQ(ActorText(job), "jane");
  job.actor = "schedule";
  EXPECT_EQ(ActorText(job), "schedule");
}

}  // namespace
}  // namespace gapferry::cli
