#pragma once

#include <cstdint>
#include <span>
#include <stop_token>

#include "base/bytes.h"
#include "base/result.h"

namespace gapferry {

/// Bytes to be read once, front to back. Not thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  /// Reads at least one byte into `out` unless the end is reached (0) or `out` is empty.
  /// A short read is no end.
  virtual Result<std::size_t> Read(std::span<std::uint8_t> out) = 0;
};

/// A place for bytes. Not thread-safe. After an error the sink is unusable.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Takes all of `bytes` or fails.
  virtual Result<void> Write(ByteView bytes) = 0;
};

/// Reads from memory that must outlive it.
class MemorySource : public Source {
 public:
  explicit MemorySource(ByteView bytes) : rest_(bytes) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override;

 private:
  ByteView rest_;
};

/// Collects into memory, at most `limit_bytes` (then kCorrupt: input larger than allowed).
class MemorySink : public Sink {
 public:
  explicit MemorySink(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  Result<void> Write(ByteView bytes) override;
  Bytes Take() { return std::move(bytes_); }
  const Bytes& bytes() const { return bytes_; }

 private:
  std::uint64_t limit_bytes_;
  Bytes bytes_;
};

/// Writes to both; `first` before `second`. Both must outlive it.
class TeeSink : public Sink {
 public:
  TeeSink(Sink& first, Sink& second) : first_(first), second_(second) {}
  Result<void> Write(ByteView bytes) override;

 private:
  Sink& first_;
  Sink& second_;
};

class CountingSink : public Sink {
 public:
  Result<void> Write(ByteView bytes) override {
    count_ += bytes.size();
    return {};
  }
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t count_ = 0;
};

/// Copies to the end in pieces of 256 KiB; fails with kCorrupt past `limit_bytes`, with kCancelled
/// when `stop` is requested. Returns the number of bytes copied.
Result<std::uint64_t> Copy(Source& source, Sink& sink, std::uint64_t limit_bytes,
                           std::stop_token stop = {});

}  // namespace gapferry
