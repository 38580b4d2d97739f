#pragma once

#include <chrono>
#include <stop_token>

#include "base/result.h"

namespace gapferry::client {

/// Waits; fails with kCancelled as soon as `stop` is requested.
Result<void> Pause(std::chrono::milliseconds time, std::stop_token stop);

/// 32 bits for the spreading of waits.
std::uint32_t RandomNumber();

}  // namespace gapferry::client
