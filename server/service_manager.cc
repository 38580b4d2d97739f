#include "server/service_manager.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/text.h"

namespace gapferry::server {
namespace {

constexpr int kFirstFd = 3;  // SD_LISTEN_FDS_START

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

/// Variables of this kind count only when they name this process.
bool IsForUs(const char* pid_variable) {
  const auto pid = ParseInt<std::int64_t>(Variable(pid_variable));
  return pid && *pid == ::getpid();
}

bool IsListening(int fd) {
  int value = 0;
  ::socklen_t size = sizeof(value);
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &size) != 0 || value != SOCK_STREAM) {
    return false;
  }
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 1;
}

}  // namespace

Result<std::vector<InheritedSocket>> TakeInheritedSockets() {
  constexpr std::uint32_t kMost = 64;
  std::vector<InheritedSocket> sockets;
  const bool ours = IsForUs("LISTEN_PID");
  const auto count = ParseInt<std::uint32_t>(Variable("LISTEN_FDS"));
  const std::string all_names = Variable("LISTEN_FDNAMES");
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  if (!ours || !count) return sockets;
  if (*count > kMost) return Fail(ErrorCode::kUsage, "LISTEN_FDS names too many sockets");
  const std::vector<std::string_view> names = Split(all_names, ':');
  for (std::uint32_t i = 0; i < *count; ++i) {
    const int fd = kFirstFd + static_cast<int>(i);
    if (!IsListening(fd)) {
      return Fail(ErrorCode::kUsage,
                  "inherited socket " + std::to_string(fd) + " is no listening stream socket");
    }
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    sockets.push_back({fd, i < names.size() ? std::string(names[i]) : std::string()});
  }
  return sockets;
}

void NotifyServiceManager(std::string_view state) {
  const std::string path = Variable("NOTIFY_SOCKET");
  if (path.empty()) return;
  ::sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool possible =
      (path[0] == '/' || path[0] == '@') && path.size() < sizeof(address.sun_path);
  const int fd = possible ? ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
  bool told = false;
  if (fd >= 0) {
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
    const auto size = static_cast<::socklen_t>(offsetof(::sockaddr_un, sun_path) + path.size());
    told = ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const ::sockaddr*>(&address),
                    size) == static_cast<::ssize_t>(state.size());
    ::close(fd);
  }
  if (!told) {
    Log(LogLevel::kDebug, "service manager not told", {{"state", state}, {"socket", path}});
  }
}

std::uint64_t WatchdogInterval() {
  if (!Variable("WATCHDOG_PID").empty() && !IsForUs("WATCHDOG_PID")) return 0;
  return ParseInt<std::uint64_t>(Variable("WATCHDOG_USEC")).value_or(0);
}

}  // namespace gapferry::server
