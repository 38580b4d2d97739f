#include "base/rate_limiter.h"

#include <algorithm>
#include <utility>

namespace gapferry {
namespace {

constexpr std::chrono::milliseconds kSavedUp{250};

std::function<RateLimiter::TimePoint()> OrSteadyClock(std::function<RateLimiter::TimePoint()> now) {
  if (now) return now;
  return [] { return std::chrono::steady_clock::now(); };
}

}  // namespace

RateLimiter::RateLimiter(std::uint64_t bytes_per_second, std::function<TimePoint()> now)
    : bytes_per_second_(static_cast<double>(std::max<std::uint64_t>(1, bytes_per_second))),
      now_(OrSteadyClock(std::move(now))),
      free_at_(now_() - kSavedUp) {}

std::chrono::milliseconds RateLimiter::Reserve(std::uint64_t bytes) {
  const std::chrono::duration<double> cost(static_cast<double>(bytes) / bytes_per_second_);
  const std::lock_guard lock(mutex_);
  const TimePoint now = now_();
  free_at_ = std::max(free_at_, now - kSavedUp) +
             std::chrono::duration_cast<std::chrono::steady_clock::duration>(cost);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(free_at_ - now);
  return std::max(wait, std::chrono::milliseconds(0));
}

}  // namespace gapferry
