#include "cli/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
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
  while (true) {
    const int signal = sigwaitinfo(&set, nullptr);
    if (end.stop_requested()) return;
    if (signal < 0) continue;  // interrupted, by a debugger for one
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

SignalStop::~SignalStop() {
  waiter_.request_stop();
  // Wakes the waiter at once, so that no command lasts until the end of a tick. The signal is for
  // that thread alone and blocked there: nobody else can see it.
  pthread_kill(waiter_.native_handle(), SIGTERM);
}

void OnHangup(std::function<void()> action) { *HangupAction().Lock() = std::move(action); }

}  // namespace gapferry::cli
