#include "base/process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace gapferry {
namespace {

/// A child that sleeps until a signal ends it.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ == 0) {
      std::signal(SIGTERM, SIG_DFL);
      for (;;) ::pause();
    }
  }
  ~Sleeper() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    Reap();
  }
  int pid() const { return pid_; }
  void Reap() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
  }

 private:
  int pid_;
};

TEST(Process, ThisOneRunsAndCarriesItsNumber) {
  EXPECT_TRUE(IsRunning(ThisProcess()));
  EXPECT_EQ(ProcessNumber(ThisProcess()), ::getpid());
  EXPECT_EQ(ThisProcess(), ProcessNamed(::getpid()));
}

TEST(Process, ANumberUsedAgainIsAnotherProcess) {
  const std::string own = ThisProcess();
  const auto slash = own.find('/');
  EXPECT_FALSE(IsRunning(own.substr(0, slash) + "/1" + own.substr(own.find('/', slash + 1))));
  const auto boot = own.rfind('/');
  EXPECT_FALSE(IsRunning(own.substr(0, boot) + "/00000000-0000-0000-0000-000000000000"));
  EXPECT_FALSE(IsRunning(own.substr(0, slash)));
}

TEST(Process, WhatIsNoNameIsNeverRunningAndNeverSignalled) {
  for (const char* name : {"", "/", "0/1/2", "-1/2/3", "abc", "99999999999999/1/2"}) {
    EXPECT_FALSE(IsRunning(name)) << name;
    EXPECT_FALSE(SignalProcess(name, 0).has_value()) << name;
  }
}

TEST(Process, ASignalReachesTheNamedProcessOnly) {
  Sleeper child;
  const std::string name = ProcessNamed(child.pid());
  const auto slash = name.find('/');
  const std::string former = name.substr(0, slash) + "/1" + name.substr(name.find('/', slash + 1));
  const auto refused = SignalProcess(former, SIGTERM);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(IsRunning(name));
  ASSERT_TRUE(SignalProcess(name, SIGTERM).has_value());
  child.Reap();
  EXPECT_FALSE(IsRunning(name));
  EXPECT_EQ(SignalProcess(name, SIGTERM).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gapferry
