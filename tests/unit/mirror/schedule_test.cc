#include "mirror/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace gapferry::mirror {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

UtcTime At(const char* text) { return UtcTime::ParseXml(text).value(); }

/// Central Europe in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC.
seconds Berlin(UtcTime moment) {
  const bool summer = moment >= At("2026-03-29T01:00:00Z") && moment < At("2026-10-25T01:00:00Z");
  return summer ? hours(2) : hours(1);
}
seconds Utc(UtcTime /*moment*/) { return seconds(0); }
seconds Kiribati(UtcTime /*moment*/) { return hours(14); }
seconds Baker(UtcTime /*moment*/) { return hours(-12); }
/// Samoa left out 30 December 2011.
seconds Apia(UtcTime moment) {
  return moment < At("2011-12-30T10:00:00Z") ? seconds(hours(-10)) : seconds(hours(14));
}

const Guid kMirror = Guid::Parse("c0ffee00-1111-2222-3333-444455556666").value();

JobSchedule Times(std::initializer_list<const char*> times, const char* days = "mon-sun") {
  JobSchedule schedule;
  for (const char* time : times) schedule.times.push_back(ParseTimeOfDay(time).value());
  schedule.days = ParseDays(days).value();
  return schedule;
}

// ---- Words -------------------------------------------------------------------------------------

TEST(ScheduleWords, TimesOfDay) {
  EXPECT_EQ(ParseTimeOfDay("00:00").value(), minutes(0));
  EXPECT_EQ(ParseTimeOfDay("23:59").value(), minutes(1439));
  for (const char* bad :
       {"", "2:00", "24:00", "12:60", "12-30", "12:3", "-1:00", "12:30:00", "+1:00"}) {
    EXPECT_FALSE(ParseTimeOfDay(bad).has_value()) << bad;
  }
  EXPECT_EQ(TimeOfDayText(minutes(125)), "02:05");
}

TEST(ScheduleWords, Days) {
  EXPECT_EQ(ParseDays("mon").value(), 1);
  EXPECT_EQ(ParseDays("Sunday").value(), 64);
  EXPECT_EQ(ParseDays("mon-fri").value(), 31);
  EXPECT_EQ(ParseDays("sat-mon").value(), 64 + 32 + 1);
  EXPECT_EQ(ParseDays("mon-sun").value(), JobSchedule::kEveryDay);
  EXPECT_EQ(DayNames(65), (std::vector<std::string>{"mon", "sun"}));
  EXPECT_EQ(DaysText(31 + 64), "mon-fri, sun");
  EXPECT_EQ(DaysText(1 + 2 + 64), "mon, tue, sun");
  EXPECT_EQ(DaysText(127), "mon-sun");
  EXPECT_EQ(DaysText(0), "");
  for (const char* bad : {"", "m", "mond", "mon-", "-fri", "mon-xyz", "monday,tuesday"}) {
    EXPECT_FALSE(ParseDays(bad).has_value()) << bad;
  }
}

TEST(ScheduleWords, Spreads) {
  EXPECT_EQ(ParseSpread("30m").value(), minutes(30));
  EXPECT_EQ(ParseSpread("12h").value(), hours(12));
  EXPECT_EQ(ParseSpread("0s").value(), seconds(0));
  for (const char* bad :
       {"", "m", "30", "-1m", "13h", "721m", "43201s", "1d", "1.5h", "99999999999999999999h"}) {
    EXPECT_FALSE(ParseSpread(bad).has_value()) << bad;
  }
}

TEST(ScheduleWords, ScheduleForPeople) {
  EXPECT_EQ(ScheduleText({}), "never");
  JobSchedule schedule = Times({"02:00", "14:30"});
  EXPECT_EQ(ScheduleText(schedule), "02:00, 14:30 every day");
  schedule.days = 5;
  schedule.randomise = minutes(30);
  EXPECT_EQ(ScheduleText(schedule), "02:00, 14:30 on mon, wed, up to 30 min later");
}

// ---- Local time --------------------------------------------------------------------------------

struct LocalCase {
  const char* name;
  seconds (*zone)(UtcTime);
  const char* local;  ///< written as if it were UTC
  const char* moment;
};

class LocalTime : public testing::TestWithParam<LocalCase> {};

TEST_P(LocalTime, IsOneMoment) {
  const UtcTime moment = FromLocal(At(GetParam().local).UnixSeconds(), GetParam().zone);
  EXPECT_EQ(moment.ToXml(), At(GetParam().moment).ToXml());
}

INSTANTIATE_TEST_SUITE_P(
    Schedule, LocalTime,
    testing::Values(
        LocalCase{"winter", Berlin, "2026-01-10T02:30:00Z", "2026-01-10T01:30:00Z"},
        LocalCase{"summer", Berlin, "2026-07-10T02:30:00Z", "2026-07-10T00:30:00Z"},
        LocalCase{"before_the_skip", Berlin, "2026-03-29T01:59:59Z", "2026-03-29T00:59:59Z"},
        LocalCase{"in_the_skip", Berlin, "2026-03-29T02:30:00Z", "2026-03-29T01:00:00Z"},
        LocalCase{"skip_begins", Berlin, "2026-03-29T02:00:00Z", "2026-03-29T01:00:00Z"},
        LocalCase{"after_the_skip", Berlin, "2026-03-29T03:00:00Z", "2026-03-29T01:00:00Z"},
        LocalCase{"comes_twice", Berlin, "2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z"},
        LocalCase{"after_the_second", Berlin, "2026-10-25T03:00:00Z", "2026-10-25T02:00:00Z"},
        LocalCase{"utc", Utc, "2026-10-25T02:30:00Z", "2026-10-25T02:30:00Z"},
        LocalCase{"far_east", Kiribati, "2026-02-01T02:00:00Z", "2026-01-31T12:00:00Z"},
        LocalCase{"far_west", Baker, "2026-02-01T20:00:00Z", "2026-02-02T08:00:00Z"},
        LocalCase{"a_day_that_never_was", Apia, "2011-12-30T12:00:00Z", "2011-12-30T10:00:00Z"},
        LocalCase{"epoch", Utc, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"},
        LocalCase{"before_the_epoch", Kiribati, "1970-01-01T02:00:00Z", "1969-12-31T12:00:00Z"}),
    [](const auto& test) { return std::string(test.param.name); });

// ---- Starts ------------------------------------------------------------------------------------

struct StartCase {
  const char* name;
  JobSchedule schedule;
  seconds (*zone)(UtcTime);
  const char* now;
  const char* last;
  const char* next;
};

class Starts : public testing::TestWithParam<StartCase> {};

TEST_P(Starts, LastAndNext) {
  const auto& c = GetParam();
  const ScheduleFrame frame{c.zone, kMirror};
  EXPECT_EQ(LastStart(c.schedule, At(c.now), frame)->ToXml(), At(c.last).ToXml());
  EXPECT_EQ(NextStart(c.schedule, At(c.now), frame)->ToXml(), At(c.next).ToXml());
}

INSTANTIATE_TEST_SUITE_P(
    Schedule, Starts,
    testing::Values(
        StartCase{"between_two", Times({"02:00", "14:00"}), Berlin, "2026-01-10T09:00:00Z",
                  "2026-01-10T01:00:00Z", "2026-01-10T13:00:00Z"},
        StartCase{"at_the_moment", Times({"02:00", "14:00"}), Berlin, "2026-01-10T01:00:00Z",
                  "2026-01-10T01:00:00Z", "2026-01-10T13:00:00Z"},
        StartCase{"over_midnight", Times({"23:30"}), Berlin, "2026-01-10T22:31:00Z",
                  "2026-01-10T22:30:00Z", "2026-01-11T22:30:00Z"},
        StartCase{"local_day_is_not_the_day_of_utc", Times({"00:30"}, "mon"), Berlin,
                  "2026-01-11T23:00:00Z", "2026-01-04T23:30:00Z", "2026-01-11T23:30:00Z"},
        StartCase{"one_day_of_the_week", Times({"02:00"}, "wed"), Utc, "2026-01-10T09:00:00Z",
                  "2026-01-07T02:00:00Z", "2026-01-14T02:00:00Z"},
        StartCase{"same_weekday_next_week", Times({"02:00"}, "sat"), Utc, "2026-01-10T02:00:00Z",
                  "2026-01-10T02:00:00Z", "2026-01-17T02:00:00Z"},
        StartCase{"leap_day", Times({"02:00"}), Utc, "2028-02-28T12:00:00Z", "2028-02-28T02:00:00Z",
                  "2028-02-29T02:00:00Z"},
        StartCase{"day_after_the_leap_day", Times({"02:00"}), Utc, "2028-02-29T12:00:00Z",
                  "2028-02-29T02:00:00Z", "2028-03-01T02:00:00Z"},
        StartCase{"no_leap_day", Times({"02:00"}), Utc, "2100-02-28T12:00:00Z",
                  "2100-02-28T02:00:00Z", "2100-03-01T02:00:00Z"},
        StartCase{"end_of_the_year", Times({"02:00"}), Utc, "2026-12-31T12:00:00Z",
                  "2026-12-31T02:00:00Z", "2027-01-01T02:00:00Z"},
        StartCase{"spring_forward", Times({"02:30"}), Berlin, "2026-03-28T12:00:00Z",
                  "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"},
        StartCase{"after_spring_forward", Times({"02:30"}), Berlin, "2026-03-29T01:00:00Z",
                  "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
        StartCase{"fall_back_starts_once", Times({"02:30"}), Berlin, "2026-10-25T00:30:00Z",
                  "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
        StartCase{"second_half_past_two", Times({"02:30"}), Berlin, "2026-10-25T01:30:00Z",
                  "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
        StartCase{"clock_at_1970", Times({"02:00"}), Utc, "1970-01-01T00:10:00Z",
                  "1969-12-31T02:00:00Z", "1970-01-01T02:00:00Z"},
        StartCase{"clock_at_2040", Times({"02:00"}), Utc, "2040-01-01T00:10:00Z",
                  "2039-12-31T02:00:00Z", "2040-01-01T02:00:00Z"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ScheduleStarts, AnEmptyScheduleNeverStarts) {
  const ScheduleFrame frame{Utc, kMirror};
  EXPECT_FALSE(NextStart({}, At("2026-01-01T00:00:00Z"), frame).has_value());
  EXPECT_FALSE(LastStart({}, At("2026-01-01T00:00:00Z"), frame).has_value());
}

TEST(ScheduleStarts, ASpreadStartIsWithinItsWindowAndStaysWhereItIs) {
  JobSchedule schedule = Times({"23:45"});
  schedule.randomise = minutes(30);
  const ScheduleFrame frame{Utc, kMirror};
  std::set<std::int64_t> spreads;
  for (int day = 0; day < 200; ++day) {
    const UtcTime nominal = At("2026-01-01T23:45:00Z") + hours(24 * day);
    const UtcTime start = NextStart(schedule, nominal - seconds(1), frame).value();
    ASSERT_GE(start, nominal);
    ASSERT_LT(start, nominal + minutes(30));
    spreads.insert((start.ticks - nominal.ticks) / UtcTime::kTicksPerSecond);
    // Asked again at any later moment, also after midnight, it is the same.
    EXPECT_EQ(LastStart(schedule, start, frame), start);
    EXPECT_EQ(LastStart(schedule, start + hours(5), frame), start);
    if (start > nominal) {
      EXPECT_EQ(NextStart(schedule, start - seconds(1), frame), start);
    }
  }
  EXPECT_GT(spreads.size(), 150U);
  EXPECT_LT(*spreads.begin(), 120);
  EXPECT_GT(*spreads.rbegin(), 1680);
}

TEST(ScheduleStarts, MirrorsStartAtDifferentMoments) {
  JobSchedule schedule = Times({"02:00"});
  schedule.randomise = hours(1);
  std::set<UtcTime> starts;
  for (std::uint8_t i = 0; i < 20; ++i) {
    Guid mirror;
    mirror.bytes[15] = i;
    starts.insert(NextStart(schedule, At("2026-01-10T00:00:00Z"), {Utc, mirror}).value());
  }
  EXPECT_GT(starts.size(), 15U);
}

// ---- What is next ------------------------------------------------------------------------------

PastRun Past(const char* started, RunOutcome outcome, bool by_schedule = true) {
  return {At(started), At(started) + minutes(2), outcome, by_schedule};
}

class Next : public testing::Test {
 protected:
  std::optional<DueRun> Ask(const char* now) {
    return NextRun(schedule_, facts_, At(now), {Utc, kMirror});
  }
  void Expect(const char* now, const char* at, DueReason reason, int attempt = 1) {
    const auto due = Ask(now);
    ASSERT_TRUE(due.has_value());
    EXPECT_EQ(due->at.ToXml(), At(at).ToXml());
    EXPECT_EQ(due->reason, reason);
    EXPECT_EQ(due->attempt, attempt);
  }

  JobSchedule schedule_ = Times({"02:00", "14:00"});
  ScheduleFacts facts_;
};

TEST_F(Next, IsTheTimeThatComesWhenTheLastOneWasServed) {
  facts_.runs = {Past("2026-01-10T02:00:10Z", RunOutcome::kGood)};
  Expect("2026-01-10T09:00:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, IsDueAtItsTime) {
  facts_.runs = {Past("2026-01-10T02:00:10Z", RunOutcome::kGood)};
  Expect("2026-01-10T14:00:01Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, ManyMissedTimesAreOneRun) {
  facts_.runs = {Past("2026-01-03T02:00:10Z", RunOutcome::kGood)};
  Expect("2026-01-10T09:00:00Z", "2026-01-10T02:00:00Z", DueReason::kMissed);
  facts_.runs.insert(facts_.runs.begin(), Past("2026-01-10T09:00:01Z", RunOutcome::kGood));
  Expect("2026-01-10T09:05:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, AGoodRunOfAPersonServesTheTime) {
  facts_.runs = {Past("2026-01-10T08:00:00Z", RunOutcome::kGood, /*by_schedule=*/false)};
  Expect("2026-01-10T09:00:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, WhatAPersonTriedInVainDoesNotServeIt) {
  for (const auto outcome : {RunOutcome::kRetryable, RunOutcome::kFinal}) {
    facts_.runs = {Past("2026-01-10T08:00:00Z", outcome, /*by_schedule=*/false)};
    Expect("2026-01-10T09:00:00Z", "2026-01-10T02:00:00Z", DueReason::kMissed);
  }
}

TEST_F(Next, ARunStoppedByAPersonComesBackAtTheNextTimeOnly) {
  facts_.runs = {Past("2026-01-10T02:00:10Z", RunOutcome::kFinal)};
  Expect("2026-01-10T02:10:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, FailuresThatMayPassAreTriedAgainLaterAndLater) {
  const std::pair<const char*, const char*> tries[] = {
      {"2026-01-10T02:00:00Z", "2026-01-10T02:03:00Z"},  // two minutes of work, one of waiting
      {"2026-01-10T02:03:00Z", "2026-01-10T02:10:00Z"},
      {"2026-01-10T02:10:00Z", "2026-01-10T02:27:00Z"},
      {"2026-01-10T02:27:00Z", "2026-01-10T02:59:00Z"},
      {"2026-01-10T02:59:00Z", "2026-01-10T04:01:00Z"},
      {"2026-01-10T04:01:00Z", "2026-01-10T05:03:00Z"}};
  int attempt = 1;
  for (const auto& [started, again] : tries) {
    facts_.runs.insert(facts_.runs.begin(), Past(started, RunOutcome::kRetryable));
    const UtcTime asked = facts_.runs.front().ended;
    const auto due = NextRun(schedule_, facts_, asked, {Utc, kMirror});
    ASSERT_TRUE(due.has_value());
    EXPECT_EQ(due->at.ToXml(), At(again).ToXml());
    EXPECT_EQ(due->reason, DueReason::kRetry);
    EXPECT_EQ(due->attempt, ++attempt);
  }
}

TEST_F(Next, RetriesEndWhereTheNextTimeBegins) {
  facts_.runs = {Past("2026-01-10T13:57:30Z", RunOutcome::kRetryable)};
  Expect("2026-01-10T13:59:40Z", "2026-01-10T14:00:00Z", DueReason::kTime);
  // The failures of one time are not counted against the next one.
  Expect("2026-01-10T14:00:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, RetriesEndAfterADay) {
  schedule_ = Times({"02:00"}, "mon");
  facts_.runs = {Past("2026-01-13T01:50:00Z", RunOutcome::kRetryable)};
  Expect("2026-01-13T01:52:30Z", "2026-01-13T01:53:00Z", DueReason::kRetry, 2);
  facts_.runs = {Past("2026-01-13T01:59:00Z", RunOutcome::kRetryable)};
  Expect("2026-01-13T02:01:00Z", "2026-01-19T02:00:00Z", DueReason::kTime);
}

TEST_F(Next, ASuccessAfterFailuresEndsTheRetries) {
  facts_.runs = {Past("2026-01-10T02:03:00Z", RunOutcome::kGood),
                 Past("2026-01-10T02:00:00Z", RunOutcome::kRetryable)};
  Expect("2026-01-10T02:06:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, APostponedRunIsServedByTheOneItWaitedFor) {
  // A second `serve`, or a person, was quicker: what it found is good enough.
  facts_.runs = {Past("2026-01-10T02:00:01Z", RunOutcome::kRetryable),
                 Past("2026-01-10T02:00:00Z", RunOutcome::kGood, /*by_schedule=*/false)};
  Expect("2026-01-10T02:06:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, WhatWasMissedBeforeTheScheduleWasMadeIsNotMadeUpFor) {
  facts_.since = At("2026-01-10T09:00:00Z");
  Expect("2026-01-10T09:00:01Z", "2026-01-10T14:00:00Z", DueReason::kTime);
  Expect("2026-01-10T14:00:01Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, AClockThatRanAheadForAWhileCostsOneRun) {
  // At 02:00 all was well; then the clock said 2040.
  facts_.since = At("2026-01-01T00:00:00Z");
  facts_.runs = {Past("2026-01-10T02:00:00Z", RunOutcome::kGood)};
  Expect("2040-05-05T09:00:00Z", "2040-05-05T02:00:00Z", DueReason::kMissed);
  facts_.runs.insert(facts_.runs.begin(), Past("2040-05-05T09:00:01Z", RunOutcome::kGood));
  Expect("2040-05-05T09:10:00Z", "2040-05-05T14:00:00Z", DueReason::kTime);
  // Back again: the run of 2040 counts for nothing, that of 02:00 does.
  Expect("2026-01-10T09:20:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
  Expect("2026-01-10T14:00:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, AClockThatStartsAt1970CostsOneRun) {
  facts_.since = At("2026-01-01T00:00:00Z");
  facts_.runs = {Past("2026-01-10T02:00:00Z", RunOutcome::kGood)};
  Expect("1970-01-01T00:01:00Z", "1969-12-31T14:00:00Z", DueReason::kMissed);
  facts_.runs.insert(facts_.runs.begin(), Past("1970-01-01T00:01:01Z", RunOutcome::kRetryable));
  Expect("1970-01-01T00:03:30Z", "1970-01-01T00:04:01Z", DueReason::kRetry, 2);
  Expect("2026-01-10T09:00:00Z", "2026-01-10T14:00:00Z", DueReason::kTime);
}

TEST_F(Next, AScheduleMadeWhileTheClockWasAheadWorks) {
  facts_.since = At("2040-01-01T00:00:00Z");
  facts_.runs = {Past("2026-01-09T14:00:00Z", RunOutcome::kGood)};
  Expect("2026-01-10T02:00:05Z", "2026-01-10T02:00:00Z", DueReason::kTime);
}

TEST_F(Next, ASmallStepBackDoesNotRunTwice) {
  facts_.runs = {Past("2026-01-10T14:00:05Z", RunOutcome::kGood)};
  Expect("2026-01-10T13:59:30Z", "2026-01-10T14:00:00Z", DueReason::kTime);
  Expect("2026-01-10T14:00:00Z", "2026-01-11T02:00:00Z", DueReason::kTime);
}

TEST_F(Next, ATriggerStartsOnceAndIsTriedAgain) {
  schedule_ = {};
  facts_.triggered = At("2026-01-10T02:05:00Z");
  Expect("2026-01-10T02:05:01Z", "2026-01-10T02:05:00Z", DueReason::kTime);
  facts_.runs = {Past("2026-01-10T02:05:02Z", RunOutcome::kRetryable)};
  Expect("2026-01-10T02:08:00Z", "2026-01-10T02:08:02Z", DueReason::kRetry, 2);
  facts_.runs.insert(facts_.runs.begin(), Past("2026-01-10T02:08:03Z", RunOutcome::kGood));
  EXPECT_FALSE(Ask("2026-01-10T02:20:00Z").has_value());
  facts_.triggered = At("2026-01-10T14:03:00Z");
  Expect("2026-01-10T14:03:01Z", "2026-01-10T14:03:00Z", DueReason::kTime);
}

TEST_F(Next, NothingIsDueWithoutAScheduleOrATrigger) {
  schedule_ = {};
  EXPECT_FALSE(Ask("2026-01-10T14:00:00Z").has_value());
}

/// A year in a zone with summer time: each time is served exactly once, however seldom
/// somebody looks.
TEST_F(Next, AYearHasTwoRunsADay) {
  const ScheduleFrame frame{Berlin, kMirror};
  schedule_ = Times({"02:30", "14:00"});
  schedule_.randomise = minutes(40);
  int runs = 0;
  facts_.since = At("2026-01-01T00:00:00Z");
  for (UtcTime now = At("2026-01-01T00:00:00Z"); now < At("2027-01-01T00:00:00Z");
       now = now + hours(3)) {
    const auto due = NextRun(schedule_, facts_, now, frame);
    ASSERT_TRUE(due.has_value());
    if (due->at > now) continue;
    EXPECT_LE(now.ticks - due->at.ticks, 3 * 3600 * UtcTime::kTicksPerSecond);
    facts_.runs.insert(facts_.runs.begin(), PastRun{now, now, RunOutcome::kGood, true});
    if (facts_.runs.size() > 5) facts_.runs.pop_back();
    ++runs;
  }
  EXPECT_EQ(runs, 2 * 365);
}

}  // namespace
}  // namespace gapferry::mirror
