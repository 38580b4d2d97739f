#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gapferry::server {

/// A listening socket that the service manager opened for us (sd_listen_fds).
struct InheritedSocket {
  int fd = -1;
  std::string name;  ///< FileDescriptorName= of its unit; may be empty
};

/// The sockets of LISTEN_FDS, when they are meant for this process; takes the variables out of the
/// environment, so that child processes do not see them. Call before other threads use the
/// environment. Fails with kUsage for what is no listening stream socket.
Result<std::vector<InheritedSocket>> TakeInheritedSockets();

/// Tells the service manager at NOTIFY_SOCKET a state such as "READY=1". Without one it does
/// nothing; what cannot be told is logged. Thread-safe.
void NotifyServiceManager(std::string_view state);

/// How often, in microseconds, the service manager wants "WATCHDOG=1"; 0: not at all.
std::uint64_t WatchdogInterval();

}  // namespace gapferry::server
