#include "server/service_manager.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace gapferry::server {
namespace {

constexpr int kFirstFd = 3;

class ServiceManagerTest : public testing::Test {
 protected:
  void SetUp() override { kept_ = ::dup(kFirstFd); }
  void TearDown() override {
    ::close(kFirstFd);
    if (kept_ >= 0) {
      ::dup2(kept_, kFirstFd);
      ::close(kept_);
    }
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
                             "WATCHDOG_USEC", "WATCHDOG_PID"}) {
      ::unsetenv(name);
    }
  }

  static void Offer(const std::string& pid, const char* count, const char* names) {
    ::setenv("LISTEN_PID", pid.c_str(), 1);
    ::setenv("LISTEN_FDS", count, 1);
    ::setenv("LISTEN_FDNAMES", names, 1);
  }
  /// Puts a TCP socket where the service manager would.
  static void PutSocket(bool listening) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    if (listening) {
      ASSERT_EQ(::listen(fd, 1), 0);
    }
    if (fd == kFirstFd) return;
    ASSERT_EQ(::dup2(fd, kFirstFd), kFirstFd);
    ::close(fd);
  }
  static std::string OwnPid() { return std::to_string(::getpid()); }
  int kept_ = -1;
};

TEST_F(ServiceManagerTest, TakesASocketOnceAndHidesItFromChildren) {
  PutSocket(/*listening=*/true);
  Offer(OwnPid(), "1", "http");
  const auto sockets = TakeInheritedSockets();
  ASSERT_TRUE(sockets.has_value()) << sockets.error().message;
  ASSERT_EQ(sockets->size(), 1U);
  EXPECT_EQ((*sockets)[0].fd, kFirstFd);
  EXPECT_EQ((*sockets)[0].name, "http");
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
  EXPECT_TRUE(TakeInheritedSockets()->empty());
}

TEST_F(ServiceManagerTest, LeavesWhatIsMeantForAnotherProcess) {
  Offer("1", "1", "");
  EXPECT_TRUE(TakeInheritedSockets()->empty());
  EXPECT_EQ(std::getenv("LISTEN_PID"), nullptr);
  Offer(OwnPid(), "several", "");
  EXPECT_TRUE(TakeInheritedSockets()->empty());
}

TEST_F(ServiceManagerTest, RefusesWhatDoesNotListen) {
  PutSocket(/*listening=*/false);
  Offer(OwnPid(), "1", "");
  const auto sockets = TakeInheritedSockets();
  ASSERT_FALSE(sockets.has_value());
  EXPECT_EQ(sockets.error().message, "inherited socket 3 is no listening stream socket");
  Offer(OwnPid(), "1000", "");
  EXPECT_EQ(TakeInheritedSockets().error().message, "LISTEN_FDS names too many sockets");
}

TEST_F(ServiceManagerTest, TellsTheAbstractSocketItIsNamed) {
  NotifyServiceManager("READY=1");  // nobody to tell: nothing happens
  const std::string name = "gapferry-notify-" + OwnPid();
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  NotifyServiceManager("READY=1\nSTATUS=serving");
  std::array<char, 100> told{};
  const auto count = ::recv(fd, told.data(), told.size(), MSG_DONTWAIT);
  ::close(fd);
  ASSERT_GT(count, 0);
  EXPECT_EQ(std::string(told.data(), static_cast<std::size_t>(count)), "READY=1\nSTATUS=serving");
  ::setenv("NOTIFY_SOCKET", "relative/path", 1);
  NotifyServiceManager("READY=1");  // neither absolute nor abstract: passed over
}

TEST_F(ServiceManagerTest, TheWatchdogCountsForTheProcessItNames) {
  EXPECT_EQ(WatchdogInterval(), 0U);
  ::setenv("WATCHDOG_USEC", "2000000", 1);
  EXPECT_EQ(WatchdogInterval(), 2'000'000U);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(WatchdogInterval(), 0U);
  ::setenv("WATCHDOG_PID", OwnPid().c_str(), 1);
  EXPECT_EQ(WatchdogInterval(), 2'000'000U);
}

}  // namespace
}  // namespace gapferry::server
