#include "base/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/process.h"

namespace gapferry {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

ChildProcess::Options Shell(std::string script) {
  return {"/bin/sh", {"sh", "-c", std::move(script)}, {}};
}

struct Outcome {
  std::vector<std::string> out;
  std::vector<std::string> err;
  ProcessEnd end;
};

Outcome Finish(ChildProcess& child) {
  Outcome outcome;
  const auto take = [&](ChildProcess::Stream stream, std::string_view line) {
    (stream == ChildProcess::Stream::kStdout ? outcome.out : outcome.err).emplace_back(line);
  };
  for (;;) {
    const auto end = child.Wait(milliseconds(20'000), take);
    EXPECT_TRUE(end.has_value());
    if (!end || !*end) continue;
    outcome.end = **end;
    return outcome;
  }
}

Outcome RunToEnd(const ChildProcess::Options& options) {
  auto child = ChildProcess::Start(options);
  EXPECT_TRUE(child.has_value());
  return Finish(*child);
}

TEST(ChildProcess, LinesOfBothStreamsAndTheExitCodeArrive) {
  const auto outcome = RunToEnd(Shell("echo one; echo two >&2; printf 'no end'; exit 7"));
  EXPECT_THAT(outcome.out, ElementsAre("one", "no end"));
  EXPECT_THAT(outcome.err, ElementsAre("two"));
  EXPECT_EQ(outcome.end.code, 7);
  EXPECT_EQ(outcome.end.signal, 0);
}

TEST(ChildProcess, ASignalIsTold) {
  const auto outcome = RunToEnd(Shell("kill -SEGV $$"));
  EXPECT_EQ(outcome.end.signal, SIGSEGV);
  EXPECT_EQ(SignalText(SIGSEGV), "Segmentation fault");
}

TEST(ChildProcess, WhatCannotBeStartedIsAnError) {
  EXPECT_EQ(ChildProcess::Start({"/no/such/program", {"x"}, {}}).error().code,
            ErrorCode::kNotFound);
  EXPECT_FALSE(ChildProcess::Start({"/etc/passwd", {"x"}, {}}).has_value());
}

TEST(ChildProcess, InheritsNoDescriptorAndNoSignalMask) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);  // as a listener: without O_CLOEXEC
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGINT);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  const auto outcome = RunToEnd(
      Shell("ls /proc/$$/fd; grep -E 'SigBlk|SigIgn' /proc/self/status; readlink /proc/$$/fd/0"));
  pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  ::close(socket);
  // (dash keeps nothing open for -c)
  EXPECT_THAT(outcome.out, ElementsAre("0", "1", "2", "SigBlk:\t0000000000000000",
                                       "SigIgn:\t0000000000000000", "/dev/null"));
}

TEST(ChildProcess, TheEnvironmentIsOursWithSomeMore) {
  ::setenv("CHILD_TEST_KEPT", "kept", 1);
  ::setenv("CHILD_TEST_REPLACED", "old", 1);
  auto options = Shell("echo $CHILD_TEST_KEPT $CHILD_TEST_REPLACED");
  options.environment = {{"CHILD_TEST_REPLACED", "new"}};
  EXPECT_THAT(RunToEnd(options).out, ElementsAre("kept new"));
}

TEST(ChildProcess, LongLinesComeInPieces) {
  const auto outcome = RunToEnd(Shell("head -c 200000 /dev/zero | tr '\\0' x; echo; echo end"));
  std::size_t total = 0;
  for (const auto& line : outcome.out) {
    EXPECT_LE(line.size(), 96U << 10);
    total += line.size();
  }
  EXPECT_EQ(total, 200'003U);
  EXPECT_EQ(outcome.out.back(), "end");
}

TEST(ChildProcess, WaitReturnsInTimeAndASignalEndsTheChild) {
  auto child = ChildProcess::Start(Shell("exec sleep 100")).value();
  const auto none = [](ChildProcess::Stream, std::string_view) {};
  const auto still = child.Wait(milliseconds(50), none);
  ASSERT_TRUE(still.has_value());
  EXPECT_FALSE(still->has_value());
  EXPECT_TRUE(IsRunning(child.name()));
  child.Signal(SIGTERM);
  EXPECT_EQ(Finish(child).end.signal, SIGTERM);
}

TEST(ChildProcess, WaitReturnsInTimeFromAChildThatClosedItsStreams) {
  auto child = ChildProcess::Start(Shell("exec sleep 20 >&- 2>&-")).value();
  const auto none = [](ChildProcess::Stream, std::string_view) {};
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) {
    const auto still = child.Wait(milliseconds(50), none);
    ASSERT_TRUE(still.has_value());
    ASSERT_FALSE(still->has_value());
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  child.Signal(SIGTERM);
  EXPECT_EQ(Finish(child).end.signal, SIGTERM);
}

TEST(ChildProcess, AForgottenChildIsKilled) {
  std::string name;
  {
    auto child = ChildProcess::Start(Shell("exec sleep 100")).value();
    name = child.name();
    EXPECT_TRUE(IsRunning(name));
  }
  EXPECT_FALSE(IsRunning(name));
}

TEST(ChildProcess, DiesWithTheProcessThatStartedIt) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    auto child = ChildProcess::Start(Shell("exec sleep 100")).value();
    const std::string name = child.name() + "\n";
    if (::write(ends[1], name.data(), name.size()) < 0) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(ends[1]);
  char buffer[200] = {};
  const ssize_t count = ::read(ends[0], buffer, sizeof(buffer) - 1);
  ::close(ends[0]);
  ASSERT_GT(count, 1);
  const std::string name(buffer, static_cast<std::size_t>(count - 1));
  int status = 0;
  ::waitpid(parent, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  for (int i = 0; i < 200 && IsRunning(name); ++i) std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(IsRunning(name));
}

}  // namespace
}  // namespace gapferry
