#include "mirror/schedule_facts.h"

#include <gtest/gtest.h>

#include "mirror/audit.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::mirror {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

class ScheduleFactsTest : public testing::Test {
 protected:
  ScheduleFactsTest() {
    ::setenv("TZ", "UTC0", 1);
    Config config;
    config.name = "m";
    EXPECT_TRUE(Mirror::Init(path_, config, options_).has_value());
    mirror_.emplace(Mirror::Open(path_, options_).value());
    schedule_.sync.times = {hours(2)};
    schedule_.rollup_after_sync = true;
  }

  void Set(const char* now) { clock_.Set(UtcTime::ParseXml(now).value()); }
  void Record(JobResult result, std::string detail = "{}", std::string kind = "sync") {
    JobRecord record;
    record.kind = std::move(kind);
    record.actor = kScheduleActor;
    record.started_at = clock_.Now();
    record.ended_at = clock_.Now() + minutes(1);
    record.result = result;
    record.detail = std::move(detail);
    ASSERT_TRUE(mirror_->jobs().Add(record).has_value());
  }
  DueRun Next(std::string_view kind = "sync") {
    return NextRunOf(*mirror_, schedule_, kind).value().value();
  }

  TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "m";
  FixedClock clock_{UtcTime::ParseXml("2026-01-10T09:00:00Z").value()};
  MirrorOptions options_{.clock = &clock_, .database = {}};
  std::optional<Mirror> mirror_;
  Schedule schedule_;
};

TEST_F(ScheduleFactsTest, AScheduleCountsFromWhenItWasSeen) {
  // Also before anybody has noted it.
  EXPECT_EQ(Next().at.ToXml(), "2026-01-11T02:00:00Z");
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  Set("2026-01-13T09:00:00Z");
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  EXPECT_EQ(Next().at.ToXml(), "2026-01-13T02:00:00Z");
  EXPECT_EQ(Next().reason, DueReason::kMissed);
  // Another one counts anew.
  schedule_.sync.times = {hours(3)};
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  EXPECT_EQ(Next().at.ToXml(), "2026-01-14T03:00:00Z");
}

TEST_F(ScheduleFactsTest, TheHistoryDecidesAboutRetries) {
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  Set("2026-01-11T02:00:00Z");
  Record(JobResult::kFailed, R"({"error":"no answer","code":"transient"})");
  EXPECT_EQ(Next().at.ToXml(), "2026-01-11T02:02:00Z");
  EXPECT_EQ(Next().attempt, 2);
  Record(JobResult::kPostponed);
  EXPECT_EQ(Next().attempt, 3);
  Record(JobResult::kInterrupted);
  EXPECT_EQ(Next().attempt, 4);
  Record(JobResult::kFailed, R"({"error":"too many removals","code":"untrusted"})");
  EXPECT_EQ(Next().at.ToXml(), "2026-01-12T02:00:00Z");
}

TEST_F(ScheduleFactsTest, WhatSaysNothingOfItsFailureIsNotTriedAgain) {
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  for (const char* detail : {"{}", "", "[]", R"({"code":5})", R"({"code":"corrupt"})"}) {
    Set("2026-01-11T02:00:00Z");
    Record(JobResult::kFailed, detail);
    EXPECT_EQ(Next().at.ToXml(), "2026-01-12T02:00:00Z") << detail;
  }
}

TEST_F(ScheduleFactsTest, ARollupFollowsASyncThatEndedWell) {
  ASSERT_TRUE(NoteSchedules(*mirror_, schedule_).has_value());
  Set("2026-01-11T02:00:00Z");
  EXPECT_FALSE(NextRunOf(*mirror_, schedule_, "rollup").value().has_value());
  Record(JobResult::kFailed);
  Set("2026-01-11T02:05:00Z");
  EXPECT_FALSE(NextRunOf(*mirror_, schedule_, "rollup").value().has_value());
  Set("2026-01-11T02:10:00Z");
  Record(JobResult::kDone);
  Set("2026-01-11T02:12:00Z");
  EXPECT_EQ(Next("rollup").at.ToXml(), "2026-01-11T02:11:00Z");
  Record(JobResult::kDone, "{}", "rollup");
  Set("2026-01-11T02:20:00Z");
  EXPECT_FALSE(NextRunOf(*mirror_, schedule_, "rollup").value().has_value());
}

TEST_F(ScheduleFactsTest, NothingIsDueWithoutASchedule) {
  EXPECT_FALSE(NextRunOf(*mirror_, {}, "sync").value().has_value());
  EXPECT_EQ(KindText({}, "sync"), "never");
  EXPECT_EQ(KindText(schedule_, "rollup"), "after each sync");
}

}  // namespace
}  // namespace gapferry::mirror
