#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace gapferry::protocol {

/// What one attempt came back with, as far as it decides about the next.
struct AttemptOutcome {
  std::optional<ErrorCode> error;  ///< of the transport or a fault; none: an HTTP answer
  int http_status = 0;             ///< when there was an answer
  std::string_view reason;         ///< of the error; "ServerBusy" has its own waits
  std::string_view retry_after;    ///< header value: seconds or an HTTP date
};

struct RetryPolicy {
  int attempts = 4;  ///< in all
  std::chrono::milliseconds first_wait{1000};
  std::chrono::milliseconds longest_wait{60'000};
  /// However long a server asks to wait.
  std::chrono::milliseconds longest_retry_after = std::chrono::minutes(15);
  /// Waits after ServerBusy (MS-WSUSSS companion 1.5).
  std::chrono::milliseconds busy_waits[3] = {std::chrono::minutes(1), std::chrono::minutes(5),
                                             std::chrono::minutes(15)};
};

/// How long to wait before attempt `attempt` + 1 (attempts count from 1); nothing: give up.
/// Only transient failures are retried: kTransient, HTTP 408, 429, 500 without a fault, 502, 503,
/// 504. Waits double and are spread by `random` (any 32 bits) over the upper half; those after
/// ServerBusy are fixed. Retry-After is honoured instead, up to `longest_retry_after`, measured
/// from `now` where it is a date. Pure.
std::optional<std::chrono::milliseconds> RetryWait(const RetryPolicy& policy, int attempt,
                                                   const AttemptOutcome& outcome,
                                                   std::uint32_t random, UtcTime now);

/// Fresh bits for RetryWait. Thread-safe.
std::uint32_t RandomBits();

}  // namespace gapferry::protocol
