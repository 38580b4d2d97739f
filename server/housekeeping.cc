#include "server/housekeeping.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/log.h"
#include "server/service_manager.h"

namespace gapferry::server {

FileWatch::FileWatch(std::vector<std::filesystem::path> files)
    : files_(std::move(files)), seen_(Look()) {}

std::string FileWatch::Look() const {
  std::string seen;
  for (const auto& file : files_) {
    struct ::stat facts {};
    // What is not there is also a look: a renewal may take a file away before it writes it.
    if (::stat(file.c_str(), &facts) != 0) facts = {};
    seen += fmt::format("{}:{}:{}.{};", facts.st_ino, facts.st_size, facts.st_mtim.tv_sec,
                        facts.st_mtim.tv_nsec);
  }
  return seen;
}

bool FileWatch::HasChanged() {
  std::string now = Look();
  if (now == seen_) return false;
  seen_ = std::move(now);
  return true;
}

Result<std::uint64_t> DropOldEvents(mirror::ActivityWriter& activity, UtcTime last_commit,
                                    UtcTime now, std::uint64_t days, const std::stop_token& stop) {
  constexpr int kEventsPerStep = 1000;
  std::uint64_t all = 0;
  if (now >= last_commit + std::chrono::days(366)) return all;
  while (!stop.stop_requested()) {
    std::uint64_t gone = 0;
    TRY(activity.Run([&](mirror::Activity& events) -> Result<void> {
      TRY_ASSIGN(gone, events.PruneEvents(now - std::chrono::days(days), kEventsPerStep));
      return {};
    }));
    all += gone;
    if (gone < kEventsPerStep) break;
  }
  return all;
}

void Housekeeping::Run(const std::stop_token& stop) {
  using SteadyClock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kTick{2000};
  const std::chrono::microseconds watchdog(WatchdogInterval());
  const auto tick = watchdog.count() == 0
                        ? std::chrono::microseconds(kTick)
                        : std::min(std::chrono::microseconds(kTick), watchdog / 2);
  FileWatch certificates(certificate_files);
  SteadyClock::time_point next_drop = SteadyClock::now();
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    if (watchdog.count() != 0) NotifyServiceManager("WATCHDOG=1");
    if (!certificate_files.empty() && certificates.HasChanged()) {
      const Result<void> reloaded = reload_certificate();
      if (reloaded.has_value()) {
        Log(LogLevel::kInfo, "certificate reloaded");
      } else {
        // The pair may be half replaced: the rest of it is another change.
        Log(LogLevel::kWarning, "certificate not reloaded, the old one stays in use",
            {{"error", reloaded.error().message}});
      }
    }
    if (SteadyClock::now() >= next_drop) {
      next_drop = SteadyClock::now() + std::chrono::hours(1);
      const UtcTime committed = keeper.Current()->intent().state.committed_at;
      const auto dropped = DropOldEvents(activity, committed, clock.Now(), events_kept_days, stop);
      if (!dropped.has_value()) {
        Log(LogLevel::kWarning, "old events not dropped", {{"error", dropped.error().message}});
      }
    }
    wake.wait_for(lock, stop, tick, [] { return false; });
  }
}

}  // namespace gapferry::server
