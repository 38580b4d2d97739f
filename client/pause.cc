#include "client/pause.h"

#include <condition_variable>
#include <mutex>

#include "base/bytes.h"
#include "base/hash.h"

namespace gapferry::client {

Result<void> Pause(std::chrono::milliseconds time, std::stop_token stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any wake;
  wake.wait_for(lock, stop, time, [] { return false; });
  if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
  return {};
}

std::uint32_t RandomNumber() {
  std::uint8_t bytes[4];
  FillRandom(bytes);
  return LoadLe32(bytes);
}

}  // namespace gapferry::client
