#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

namespace gapferry {

/// A limit on bytes per second that several transfers share: each asks before (or after) moving a
/// piece and waits as long as it is told, so that together they keep to the limit whatever their
/// number. What was not used is saved up for a quarter of a second, not longer. Thread-safe.
class RateLimiter {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// `bytes_per_second` above 0. `now` is replaced by tests.
  explicit RateLimiter(std::uint64_t bytes_per_second, std::function<TimePoint()> now = {});

  /// Takes `bytes` out of what is allowed; how long the caller has to wait for them.
  std::chrono::milliseconds Reserve(std::uint64_t bytes);

 private:
  const double bytes_per_second_;
  const std::function<TimePoint()> now_;
  std::mutex mutex_;
  TimePoint free_at_;  // when everything reserved so far has been paid for; guarded by mutex_
};

}  // namespace gapferry
