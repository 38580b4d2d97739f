#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/fetcher.h"
#include "base/progress.h"
#include "base/rate_limiter.h"
#include "base/result.h"
#include "exporter/content_need.h"
#include "mirror/content_store.h"
#include "mirror/time_window.h"

namespace gapferry::exporter {

/// Whether downloads may run now. Looks at the clock once a second at most. Thread-safe.
class WindowGate {
 public:
  /// Without a window it is always open. `clock` must outlive the gate.
  WindowGate(std::optional<mirror::TimeWindow> window, const Clock& clock)
      : window_(window), clock_(clock) {}
  bool IsOpen();

 private:
  const std::optional<mirror::TimeWindow> window_;
  const Clock& clock_;
  std::atomic<std::int64_t> second_ = INT64_MIN;  // of the last look
  std::atomic<bool> open_ = true;
};

/// One address of a file.
struct ContentPlace {
  std::string url;
  bool is_upstream = false;
};

/// What all downloads of a run share. Everything must outlive them.
struct DownloadShared {
  const mirror::ContentStore& store;  ///< StagedPath only, which is thread-safe
  const Clock& clock;
  Progress& progress;
  WindowGate& window;
  RateLimiter* limiter = nullptr;  ///< null: no limit
  /// Waits; false when stopped.
  std::function<bool(std::chrono::milliseconds, std::stop_token)> wait;
};

/// The upstream answered that it does not have the file, and no other place delivered it.
struct AbsentUpstream {};

struct Downloaded {
  std::variant<mirror::VerifiedContent, AbsentUpstream, Error> result;
  std::uint64_t network_bytes = 0;
};

/// Fetches one file from the first of `places` that delivers it. Goes on where an earlier run
/// stopped, from whichever place; a place whose object is another one now, or whose bytes are
/// wrong, is asked once more from the first byte and then left; transient failures are repeated
/// with back-off, the count beginning anew with each MiB that arrived. Ends with the error
/// kCancelled and reason "window-closed" when the window closes; what was collected stays.
/// Blocks; call from a thread with a fetcher of its own.
Downloaded DownloadFile(Fetcher& fetcher, const NeededFile& needed,
                        const std::vector<ContentPlace>& places, const DownloadShared& shared,
                        std::stop_token stop);

}  // namespace gapferry::exporter
