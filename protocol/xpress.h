#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry::protocol {

/// HTTP `Content-Encoding: xpress` (MS-WUSP 2.1.1, MS-XCA 2.3): a body is a plain concatenation of
/// independent blocks, each an 8-byte header (decoded size, stored size; int32 little-endian) and a
/// payload that is LZ77 + DIRECT2 coded, or raw where both sizes are equal. Because blocks are
/// independent, text compressed once can be put between other blocks as it is.
inline constexpr std::size_t kXpressBlockBytes = 16'352;  ///< what the real server cuts at
inline constexpr std::size_t kXpressMaxBlockBytes = 65'535;
inline constexpr std::size_t kXpressHeaderBytes = 8;

/// Compresses blocks. Keeps its match tables (about 96 KiB) between calls: use one per thread.
/// Thread-compatible. Equal input gives equal output, whatever was compressed before.
class XpressEncoder {
 public:
  XpressEncoder();

  /// Appends the payload of one block of 1 to 65,535 bytes, without header; it may be larger than
  /// the block.
  void AppendPayload(ByteView block, std::string& out);

  /// Appends one block of 1 to 65,535 bytes with its header: raw when compressing does not make it
  /// smaller (an encoding of exactly the block's size would be read as raw).
  void AppendBlock(ByteView block, std::string& out);

  /// Appends `text` as blocks of `block_bytes`, the last one shorter; nothing for no text.
  void AppendBlocks(ByteView text, std::string& out, std::size_t block_bytes = kXpressBlockBytes);

 private:
  std::vector<std::uint32_t> head_;      // 3-byte hash -> generation and position
  std::vector<std::uint16_t> previous_;  // position -> earlier position with the same hash
  std::uint32_t generation_ = 0;
};

/// Compresses what passes in blocks of `block_bytes` into `out`, which must outlive it. Call
/// Finish.
class XpressSink : public Sink {
 public:
  explicit XpressSink(Sink& out, std::size_t block_bytes = kXpressBlockBytes);
  Result<void> Write(ByteView bytes) override;
  /// Writes the last block. Nothing may be written afterwards.
  Result<void> Finish();

 private:
  Result<void> Flush(ByteView block);
  Sink& out_;
  std::size_t block_bytes_;
  XpressEncoder encoder_;
  Bytes pending_;
  std::string encoded_;
};

/// Appends the `decoded_bytes` bytes of one payload to `out`. Fails with kCorrupt when the payload
/// reaches back before the block, over- or underruns either size.
Result<void> XpressDecodePayload(ByteView payload, std::size_t decoded_bytes, std::string& out);

/// Decodes a whole body. Fails with kCorrupt on a damaged or cut block, or past `limit_bytes`.
Result<std::string> XpressDecode(ByteView body, std::uint64_t limit_bytes);

/// Sum of the decoded sizes of a body's blocks, read from the headers alone.
Result<std::uint64_t> XpressDecodedSize(ByteView body);

/// Reads a body block by block, whatever its size; memory is two blocks. `in` must outlive it.
class XpressSource : public Source {
 public:
  explicit XpressSource(Source& in) : in_(in) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override;

 private:
  Result<bool> NextBlock();  // false at the end
  Source& in_;
  Bytes payload_;
  std::string block_;
  std::size_t used_ = 0;
};

}  // namespace gapferry::protocol
