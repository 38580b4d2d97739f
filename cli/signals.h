#pragma once

#include <functional>
#include <stop_token>
#include <thread>

namespace gapferry::cli {

/// Turns the first SIGINT, SIGTERM or SIGHUP into a stop request and the second into the end of the
/// process (exit 130): whatever is on disk then is as after a power loss, which every command
/// survives. Create it before any other thread, so that all of them inherit the blocked signals.
class SignalStop {
 public:
  SignalStop();
  ~SignalStop();
  SignalStop(const SignalStop&) = delete;
  SignalStop& operator=(const SignalStop&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread waiter_;
};

/// From now on SIGHUP calls `action` (on the signal thread; it must not block for long) instead of
/// asking to stop; an empty one takes that back. For commands that reload, such as serve.
void OnHangup(std::function<void()> action);

}  // namespace gapferry::cli
