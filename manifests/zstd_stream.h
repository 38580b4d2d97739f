#pragma once

#include <cstdint>
#include <memory>

#include "base/stream.h"

namespace gapferry::manifests {

inline constexpr int kZstdLevel = 3;
/// Windows above 8 MiB are refused: they cost the reader memory and nothing of ours uses them.
inline constexpr int kZstdMaxWindowLog = 23;

/// Compresses into one frame with checksum. Finish ends the frame; without it the output is no
/// frame. Same input and library give the same bytes. `out` must outlive it.
class ZstdSink : public Sink {
 public:
  explicit ZstdSink(Sink& out, int level = kZstdLevel);
  ~ZstdSink() override;
  Result<void> Write(ByteView bytes) override;
  Result<void> Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Decompresses exactly one frame that ends with `in`. Fails with kCorrupt (reason
/// "zstd-malformed") on anything else, with reason "zstd-too-large" when more than `limit_bytes`
/// come out: a bomb costs one buffer. `in` must outlive it.
class ZstdSource : public Source {
 public:
  ZstdSource(Source& in, std::uint64_t limit_bytes);
  ~ZstdSource() override;
  Result<std::size_t> Read(std::span<std::uint8_t> out) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::manifests
