#include "base/stream.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace gapferry {

Result<std::size_t> MemorySource::Read(std::span<std::uint8_t> out) {
  const std::size_t count = std::min(out.size(), rest_.size());
  if (count != 0) std::memcpy(out.data(), rest_.data(), count);
  rest_ = rest_.subspan(count);
  return count;
}

Result<void> MemorySink::Write(ByteView bytes) {
  if (bytes.size() > limit_bytes_ - bytes_.size()) {
    return Fail(ErrorCode::kCorrupt,
                "more than the allowed " + std::to_string(limit_bytes_) + " bytes");
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> TeeSink::Write(ByteView bytes) {
  TRY(first_.Write(bytes));
  return second_.Write(bytes);
}

Result<std::uint64_t> Copy(Source& source, Sink& sink, std::uint64_t limit_bytes,
                           std::stop_token stop) {
  std::vector<std::uint8_t> buffer(256 * 1024);
  std::uint64_t total = 0;
  for (;;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
    TRY_ASSIGN(const std::size_t count, source.Read(buffer));
    if (count == 0) return total;
    if (count > limit_bytes - total) {
      return Fail(ErrorCode::kCorrupt,
                  "more than the allowed " + std::to_string(limit_bytes) + " bytes");
    }
    total += count;
    TRY(sink.Write(ByteView(buffer).first(count)));
  }
}

}  // namespace gapferry
