#include "cli/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <utility>

#include "base/guarded.h"
#include "cli/exit_code.h"

namespace gapferry::cli {
namespace {

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

Guarded<std::function<void()>>& HangupAction() {
  static Guarded<std::function<void()>> action;
  return action;
}

/// True when a SIGHUP was meant for a command that reloads.
bool HandledAsHangup(int signal) {
  if (signal != SIGHUP) return false;
  const std::function<void()> action = *HangupAction().Lock();
  if (!action) return false;
  action();
  return true;
}

void Wait(std::stop_token end, std::stop_source stop) {
  const sigset_t set = StopSignals();
  while (!end.stop_requested()) {
    const timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
    const int signal = sigtimedwait(&set, nullptr, &tick);
    if (signal < 0) continue;  // nothing came within the tick
    if (HandledAsHangup(signal)) continue;
    if (stop.stop_requested()) _exit(static_cast<int>(ExitCode::kCancelled));
    stop.request_stop();
  }
}

}  // namespace

SignalStop::SignalStop() {
  std::signal(SIGPIPE, SIG_IGN);  // a closed peer or pipe is an error of the write, not our end
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiter_ = std::jthread([source = source_](std::stop_token end) { Wait(end, source); });
}

SignalStop::~SignalStop() = default;

void OnHangup(std::function<void()> action) { *HangupAction().Lock() = std::move(action); }

}  // namespace gapferry::cli
