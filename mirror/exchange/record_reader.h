#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry::mirror::exchange {

/// Lines and counted bytes out of one stream, as records of bundles are made. Memory: one buffer
/// and the longest line allowed. `source` must outlive it.
class RecordReader {
 public:
  explicit RecordReader(Source& source) : source_(source) {}

  /// The next line without its LF; nullopt at the end. Fails with kCorrupt (reason
  /// "record-malformed") on a line longer than `max_bytes` or one that does not end.
  Result<std::optional<std::string>> Line(std::size_t max_bytes);
  /// Exactly `count` bytes; kCorrupt when the stream ends before.
  Result<Bytes> Take(std::uint64_t count);
  std::uint64_t lines() const { return lines_; }

 private:
  Result<bool> Fill();
  Source& source_;
  Bytes buffer_;
  std::size_t at_ = 0;
  std::uint64_t lines_ = 0;
};

}  // namespace gapferry::mirror::exchange
