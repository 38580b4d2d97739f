#include "cli/signals.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <ctime>

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

void Wait(std::stop_token end, std::stop_source stop) {
  const sigset_t set = StopSignals();
  while (!end.stop_requested()) {
    const timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
    if (sigtimedwait(&set, nullptr, &tick) < 0) continue;  // nothing came within the tick
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

}  // namespace gapferry::cli
