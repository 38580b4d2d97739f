#include "server/job_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace gapferry::server {
namespace {

using mirror::JobResult;
using Stream = ChildProcess::Stream;
using testing::HasSubstr;

JobOutput Said(std::initializer_list<std::string> lines) {
  JobOutput output;
  for (const auto& line : lines) output.Take(Stream::kStderr, line);
  return output;
}

const char* const kNoAnswer =
    R"({"message_type":"exit_error","code":1,"error":"transient","reason":"no-answer",)"
    R"("message":"wsus: no answer","next":"type it again"})";

TEST(JobOutput, KeepsTheErrorAmongEverythingElse) {
  const auto output = Said({R"({"message_type":"progress","step":"x","items":3})", "plain text",
                            kNoAnswer, "[1,2]", "", "{broken"});
  ASSERT_TRUE(output.error().has_value());
  EXPECT_EQ(output.error()->code, ErrorCode::kTransient);
  EXPECT_EQ(output.error()->reason, "no-answer");
  EXPECT_EQ(output.error()->message, "wsus: no answer");
  EXPECT_EQ(output.error()->next, "type it again");
  EXPECT_EQ(output.tail(), "plain text\n[1,2]\n{broken");
}

TEST(JobOutput, IsBoundedWhateverComes) {
  JobOutput output;
  for (int i = 0; i < 1000; ++i) {
    output.Take(Stream::kStdout, std::string(60'000, static_cast<char>(i)));
    output.Take(Stream::kStdout, R"({"message_type":5,"error":[],"message":{}})");
  }
  EXPECT_LE(output.tail().size(), 2000U);
  EXPECT_FALSE(output.error().has_value());
  output.Take(Stream::kStdout, R"({"message_type":"exit_error","error":"unheard","message":")" +
                                   std::string(50'000, 'x') + "\"}");
  EXPECT_EQ(output.error()->code, ErrorCode::kInternal);
  EXPECT_LE(output.error()->message.size(), 4100U);
}

struct EndCase {
  const char* name;
  ProcessEnd end;
  bool has_error;
  JobStop stop;
  std::optional<JobResult> recorded;
  JobResult result;
  const char* message;
};

class JobEnd : public testing::TestWithParam<EndCase> {};

TEST_P(JobEnd, IsJudged) {
  const auto& c = GetParam();
  const JobOutput output = c.has_error ? Said({kNoAnswer}) : Said({"terminate called"});
  const JobEnding ending = JudgeEnding(c.end, output, c.stop, c.recorded);
  EXPECT_EQ(ending.result, c.result);
  EXPECT_THAT(ending.error.message, HasSubstr(c.message));
  EXPECT_EQ(ending.error.message.empty(), std::string_view(c.message).empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, JobEnd,
    testing::Values(
        EndCase{"done", {0, 0}, false, JobStop::kNotAsked, JobResult::kDone, JobResult::kDone, ""},
        EndCase{"partly",
                {3, 0},
                false,
                JobStop::kNotAsked,
                JobResult::kPartly,
                JobResult::kPartly,
                ""},
        EndCase{"done_while_serve_stops",
                {0, 0},
                false,
                JobStop::kAsked,
                JobResult::kDone,
                JobResult::kDone,
                ""},
        EndCase{"failed",
                {1, 0},
                true,
                JobStop::kNotAsked,
                JobResult::kFailed,
                JobResult::kFailed,
                "no answer"},
        EndCase{"never_began",
                {2, 0},
                true,
                JobStop::kNotAsked,
                std::nullopt,
                JobResult::kFailed,
                "no answer"},
        EndCase{"another_job_holds_the_mirror",
                {11, 0},
                true,
                JobStop::kNotAsked,
                std::nullopt,
                JobResult::kPostponed,
                "no answer"},
        EndCase{"busy_in_the_middle",
                {11, 0},
                true,
                JobStop::kNotAsked,
                JobResult::kFailed,
                JobResult::kFailed,
                "no answer"},
        EndCase{"cancelled_by_a_person",
                {130, 0},
                true,
                JobStop::kNotAsked,
                JobResult::kCancelled,
                JobResult::kCancelled,
                "no answer"},
        EndCase{"stopped_with_serve",
                {130, 0},
                true,
                JobStop::kAsked,
                JobResult::kCancelled,
                JobResult::kInterrupted,
                "'serve' was stopped"},
        EndCase{"crashed",
                {0, SIGSEGV},
                false,
                JobStop::kNotAsked,
                JobResult::kInterrupted,
                JobResult::kInterrupted,
                "ended by signal 11 (segmentation fault)"},
        EndCase{"killed_with_serve",
                {0, SIGKILL},
                false,
                JobStop::kAsked,
                JobResult::kInterrupted,
                JobResult::kInterrupted,
                "did not end in time"},
        EndCase{"ended_without_a_word",
                {70, 0},
                false,
                JobStop::kNotAsked,
                std::nullopt,
                JobResult::kFailed,
                "exit code 70"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(JobEnding, WhatIsTriedAgainSaysSo) {
  const auto failed =
      JudgeEnding({1, 0}, Said({kNoAnswer}), JobStop::kNotAsked, JobResult::kFailed);
  EXPECT_THAT(failed.error.next, HasSubstr("by itself"));
  const char* const corrupt =
      R"({"message_type":"exit_error","error":"corrupt","message":"bad","next":"another copy"})";
  const auto final = JudgeEnding({20, 0}, Said({corrupt}), JobStop::kNotAsked, JobResult::kFailed);
  EXPECT_EQ(final.error.next, "another copy");
  const auto cancelled =
      JudgeEnding({130, 0}, Said({kNoAnswer}), JobStop::kNotAsked, JobResult::kCancelled);
  EXPECT_EQ(cancelled.error.next, "type it again");
}

TEST(JobEnding, ACrashLeavesItsLastWords) {
  const auto ending = JudgeEnding({0, SIGABRT}, Said({"terminate called", "what(): no"}),
                                  JobStop::kNotAsked, std::nullopt);
  EXPECT_EQ(ending.output, "terminate called\nwhat(): no");
  EXPECT_EQ(ending.error.reason, "job-crashed");
}

}  // namespace
}  // namespace gapferry::server
