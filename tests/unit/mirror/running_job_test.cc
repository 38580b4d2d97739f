#include "mirror/running_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "mirror/audit.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::mirror {
namespace {

using testing::HasSubstr;

class RunningJobTest : public testing::Test {
 protected:
  RunningJobTest() {
    Config config;
    config.name = "m";
    EXPECT_TRUE(Mirror::Init(path_, config).has_value());
  }
  Mirror Open() { return Mirror::Open(path_).value(); }

  TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "m";
};

TEST_F(RunningJobTest, OthersSeeWhoRunsAndHowFarItIs) {
  Mirror mirror = Open();
  auto job = RunningJob::Start(mirror, "sync", NoProgress()).value();
  job.progress().Begin("reading revisions", 10, 2000);
  Mirror other = Open();
  const auto seen = JobLock::Look(path_).value();
  EXPECT_TRUE(seen.held);
  EXPECT_EQ(seen.note.kind, "sync");
  EXPECT_EQ(seen.note.job, job.id());
  EXPECT_EQ(seen.note.actor, CurrentActor());
  EXPECT_TRUE(IsRunning(seen.note.process));
  ASSERT_TRUE(seen.note.step.has_value());
  EXPECT_EQ(seen.note.step->step, "reading revisions");
  EXPECT_EQ(seen.note.step->total_items, 10U);
  EXPECT_EQ(seen.note.step->total_bytes, 2000U);
  const auto record = other.jobs().Last("sync").value();
  EXPECT_EQ(record->result, JobResult::kRunning);
  EXPECT_EQ(record->actor, CurrentActor());
  const auto refused = RunningJob::Start(other, "export", NoProgress());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "job-running");
  EXPECT_EQ(other.jobs().Recent(10).value().size(), 1U);
}

TEST_F(RunningJobTest, WorkWithoutARecordIsSeenAlike) {
  auto lock = JobLock::Acquire(path_, "import").value();
  const auto progress = ShareProgress(lock, NoProgress());
  progress->Begin("storing files", 5, 0);
  const auto seen = JobLock::Look(path_).value();
  EXPECT_EQ(seen.note.kind, "import");
  EXPECT_EQ(seen.note.job, 0);
  EXPECT_EQ(seen.note.step->step, "storing files");
}

TEST_F(RunningJobTest, AFailureIsKeptWithCodeReasonAndNextStep) {
  Mirror mirror = Open();
  {
    auto job = RunningJob::Start(mirror, "sync", NoProgress()).value();
    job.Fail({ErrorCode::kTransient, "no answer", "upstream-busy", "wait"});
  }
  const auto failed = mirror.jobs().Last("sync").value().value();
  EXPECT_EQ(failed.result, JobResult::kFailed);
  EXPECT_TRUE(failed.ended_at.has_value());
  EXPECT_THAT(failed.detail, HasSubstr("\"code\":\"transient\""));
  EXPECT_THAT(failed.detail, HasSubstr("\"reason\":\"upstream-busy\""));
  EXPECT_THAT(failed.detail, HasSubstr("\"next\":\"wait\""));
  {
    auto job = RunningJob::Start(mirror, "sync", NoProgress()).value();
    job.Fail({ErrorCode::kCancelled, "stopped", "", ""});
  }
  EXPECT_EQ(mirror.jobs().Last("sync").value()->result, JobResult::kCancelled);
}

/// Runs a job in a process of its own, which is killed in the middle.
void RunAndKill(const std::filesystem::path& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    Mirror mirror = Mirror::Open(path).value();
    auto job = RunningJob::Start(mirror, "sync", NoProgress()).value();
    job.progress().Begin("fetching content", 7, 0);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST_F(RunningJobTest, AKilledJobIsNeverShownAsRunning) {
  RunAndKill(path_);
  Mirror mirror = Open();
  EXPECT_EQ(mirror.jobs().Last("sync").value()->result, JobResult::kInterrupted);
  EXPECT_FALSE(JobLock::Look(path_).value().held);
  auto next = RunningJob::Start(mirror, "export", NoProgress()).value();
  const auto killed = mirror.jobs().Last("sync").value().value();
  EXPECT_EQ(killed.result, JobResult::kInterrupted);
  EXPECT_FALSE(killed.ended_at.has_value());
  EXPECT_THAT(killed.detail, HasSubstr("fetching content"));
  EXPECT_EQ(mirror.jobs().Last("export").value()->result, JobResult::kRunning);
}

TEST_F(RunningJobTest, APostponedStartIsNotTheLastRun) {
  Mirror mirror = Open();
  JobRecord record;
  record.kind = "sync";
  record.actor = "schedule";
  record.started_at = mirror.clock().Now();
  record.ended_at = record.started_at;
  record.result = JobResult::kPostponed;
  record.detail = "{}";
  ASSERT_TRUE(mirror.jobs().Add(record).has_value());
  EXPECT_FALSE(mirror.jobs().Last("sync").value().has_value());
  EXPECT_EQ(mirror.jobs().Recent("sync", 5).value().size(), 1U);
}

TEST_F(RunningJobTest, TornNotesAreNoNotes) {
  for (const char* note : {"", "{", "[]", "null", "{\"kind\":5,\"progress\":[]}", "\xff\xfe"}) {
    auto lock = FileLock::Acquire(path_ / "job.lock", "sync");
    ASSERT_TRUE(lock.has_value());
    ASSERT_TRUE(lock->Annotate(note).has_value());
    const auto seen = JobLock::Look(path_);
    ASSERT_TRUE(seen.has_value()) << note;
    EXPECT_TRUE(seen->held);
    EXPECT_EQ(seen->note.kind, "");
  }
}

TEST_F(RunningJobTest, OneServeRunsTheSchedules) {
  EXPECT_FALSE(AreSchedulesRun(path_).value());
  const auto first = AcquireScheduleLock(path_);
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(AreSchedulesRun(path_).value());
  EXPECT_EQ(AcquireScheduleLock(path_).error().code, ErrorCode::kBusy);
}

}  // namespace
}  // namespace gapferry::mirror
