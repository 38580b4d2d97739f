#include "protocol/xpress.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace gapferry::protocol {

namespace {

constexpr std::size_t kMinMatch = 3;
constexpr std::size_t kWindowBytes = 8192;
constexpr std::size_t kHashBits = 13;
constexpr std::size_t kMaxChain = 24;   // candidates looked at per position
constexpr std::size_t kGoodMatch = 64;  // long enough to stop looking
constexpr std::uint16_t kNoPosition = 0xFFFF;

std::size_t HashOf(const std::uint8_t* at) {
  const std::uint32_t three = static_cast<std::uint32_t>(at[0]) |
                              (static_cast<std::uint32_t>(at[1]) << 8) |
                              (static_cast<std::uint32_t>(at[2]) << 16);
  return (three * 2654435761u) >> (32 - kHashBits);
}

std::size_t MatchLength(const std::uint8_t* a, const std::uint8_t* b, std::size_t limit) {
  std::size_t length = 0;
  while (length + 8 <= limit) {
    std::uint64_t left;
    std::uint64_t right;
    std::memcpy(&left, a + length, 8);
    std::memcpy(&right, b + length, 8);
    if (left != right) {
      return length + static_cast<std::size_t>(__builtin_ctzll(left ^ right) / 8);
    }
    length += 8;
  }
  while (length < limit && a[length] == b[length]) ++length;
  return length;
}

// Writes the elements of one payload: flag words before what they describe, shared length nibbles.
class PayloadWriter {
 public:
  explicit PayloadWriter(std::string& out) : out_(out) { ReserveFlags(); }

  void Literal(std::uint8_t byte) {
    out_ += static_cast<char>(byte);
    Flag(0);
  }

  void Match(std::size_t distance, std::size_t length) {
    const std::size_t rest = length - kMinMatch;
    const auto word =
        static_cast<std::uint16_t>(((distance - 1) << 3) | std::min<std::size_t>(rest, 7));
    Put16(word);
    if (rest >= 7) LongLength(length);
    Flag(1);
  }

  // All unused flags are 1; at least one of them follows the last element.
  void Finish() {
    const unsigned unused = 32 - count_;
    StoreFlags(static_cast<std::uint32_t>((std::uint64_t{flags_} << unused) |
                                          ((std::uint64_t{1} << unused) - 1)));
  }

 private:
  void LongLength(std::size_t length) {
    const std::size_t nibble = std::min<std::size_t>(length - 10, 15);
    if (half_ == 0) {
      half_ = out_.size();
      out_ += static_cast<char>(nibble);
    } else {
      out_[half_] = static_cast<char>(static_cast<std::uint8_t>(out_[half_]) | (nibble << 4));
      half_ = 0;
    }
    if (nibble < 15) return;
    out_ += static_cast<char>(std::min<std::size_t>(length - 25, 255));
    if (length >= 280) Put16(static_cast<std::uint16_t>(length - kMinMatch));
  }

  void Put16(std::uint16_t value) {
    out_ += static_cast<char>(value & 0xFF);
    out_ += static_cast<char>(value >> 8);
  }

  void Flag(std::uint32_t flag) {
    flags_ = (flags_ << 1) | flag;
    if (++count_ < 32) return;
    StoreFlags(flags_);
    ReserveFlags();
  }
  void ReserveFlags() {
    flags_at_ = out_.size();
    out_.append(4, '\0');
    flags_ = 0;
    count_ = 0;
  }
  void StoreFlags(std::uint32_t flags) {
    for (std::size_t i = 0; i < 4; ++i) out_[flags_at_ + i] = static_cast<char>(flags >> (8 * i));
  }

  std::string& out_;
  std::size_t flags_at_ = 0;
  std::uint32_t flags_ = 0;
  unsigned count_ = 0;
  std::size_t half_ = 0;  // where the byte with a free high nibble is; 0 (a flag word) for none
};

void PutLe32(std::string& out, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) out[at + i] = static_cast<char>(value >> (8 * i));
}

struct BlockSizes {
  std::size_t decoded;
  std::size_t stored;
};

Result<BlockSizes> ReadHeader(const std::uint8_t* header) {
  const std::uint32_t decoded = LoadLe32(header);
  const std::uint32_t stored = LoadLe32(header + 4);
  const auto in_range = [](std::uint32_t size) {
    return size >= 1 && size <= kXpressMaxBlockBytes;
  };
  if (!in_range(decoded) || !in_range(stored)) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("xpress block has sizes {} and {}, expected 1 to {}",
                            static_cast<std::int32_t>(decoded), static_cast<std::int32_t>(stored),
                            kXpressMaxBlockBytes));
  }
  return BlockSizes{decoded, stored};
}

Result<void> DecodeBlock(ByteView payload, std::size_t decoded_bytes, std::string& out) {
  if (payload.size() != decoded_bytes) return XpressDecodePayload(payload, decoded_bytes, out);
  out.append(AsText(payload));
  return {};
}

std::unexpected<Error> FailCut() {
  return Fail(ErrorCode::kCorrupt, "xpress body ends inside a block");
}

// Calls `use(sizes, payload)` for each block of `body`.
template <class Use>
Result<void> ForEachBlock(ByteView body, Use use) {
  while (!body.empty()) {
    if (body.size() < kXpressHeaderBytes) return FailCut();
    TRY_ASSIGN(const BlockSizes sizes, ReadHeader(body.data()));
    body = body.subspan(kXpressHeaderBytes);
    if (body.size() < sizes.stored) return FailCut();
    TRY(use(sizes, body.first(sizes.stored)));
    body = body.subspan(sizes.stored);
  }
  return {};
}

}  // namespace

XpressEncoder::XpressEncoder()
    : head_(std::size_t{1} << kHashBits), previous_(kXpressMaxBlockBytes) {}

void XpressEncoder::AppendPayload(ByteView block, std::string& out) {
  // Positions of earlier blocks are told apart by a generation, so nothing has to be cleared.
  if (++generation_ == 0x10000) {
    std::ranges::fill(head_, 0);
    generation_ = 1;
  }
  const std::uint8_t* data = block.data();
  const std::size_t size = block.size();
  PayloadWriter writer(out);
  const auto insert = [&](std::size_t at) {
    std::uint32_t& head = head_[HashOf(data + at)];
    previous_[at] = (head >> 16) == generation_ ? static_cast<std::uint16_t>(head) : kNoPosition;
    head = (generation_ << 16) | static_cast<std::uint32_t>(at);
  };
  std::size_t at = 0;
  while (at < size) {
    std::size_t best_length = 0;
    std::size_t best_distance = 0;
    if (at + kMinMatch <= size) {
      insert(at);
      const std::size_t limit = size - at;
      std::uint16_t candidate = previous_[at];
      for (std::size_t i = 0; i < kMaxChain && candidate != kNoPosition; ++i) {
        const std::size_t distance = at - candidate;
        if (distance > kWindowBytes) break;
        if (best_length == 0 || data[candidate + best_length] == data[at + best_length]) {
          const std::size_t length = MatchLength(data + candidate, data + at, limit);
          if (length > best_length) {
            best_length = length;
            best_distance = distance;
            if (length >= kGoodMatch || length == limit) break;
          }
        }
        candidate = previous_[candidate];
      }
    }
    if (best_length < kMinMatch) {
      writer.Literal(data[at++]);
      continue;
    }
    writer.Match(best_distance, best_length);
    const std::size_t end = at + best_length;
    for (++at; at < end; ++at) {
      if (at + kMinMatch <= size) insert(at);
    }
  }
  writer.Finish();
}

void XpressEncoder::AppendBlock(ByteView block, std::string& out) {
  const std::size_t header = out.size();
  out.append(kXpressHeaderBytes, '\0');
  const std::size_t start = out.size();
  AppendPayload(block, out);
  if (out.size() - start >= block.size()) {
    out.resize(start);
    out.append(AsText(block));
  }
  PutLe32(out, header, static_cast<std::uint32_t>(block.size()));
  PutLe32(out, header + 4, static_cast<std::uint32_t>(out.size() - start));
}

void XpressEncoder::AppendBlocks(ByteView text, std::string& out, std::size_t block_bytes) {
  while (!text.empty()) {
    const std::size_t size = std::min(text.size(), block_bytes);
    AppendBlock(text.first(size), out);
    text = text.subspan(size);
  }
}

XpressSink::XpressSink(Sink& out, std::size_t block_bytes) : out_(out), block_bytes_(block_bytes) {
  pending_.reserve(block_bytes);
}

Result<void> XpressSink::Flush(ByteView block) {
  encoded_.clear();
  encoder_.AppendBlock(block, encoded_);
  return out_.Write(AsBytes(encoded_));
}

Result<void> XpressSink::Write(ByteView bytes) {
  while (!bytes.empty()) {
    if (pending_.empty() && bytes.size() >= block_bytes_) {
      TRY(Flush(bytes.first(block_bytes_)));
      bytes = bytes.subspan(block_bytes_);
      continue;
    }
    const std::size_t size = std::min(bytes.size(), block_bytes_ - pending_.size());
    pending_.insert(pending_.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(size));
    bytes = bytes.subspan(size);
    if (pending_.size() == block_bytes_) {
      TRY(Flush(pending_));
      pending_.clear();
    }
  }
  return {};
}

Result<void> XpressSink::Finish() {
  if (pending_.empty()) return {};
  TRY(Flush(pending_));
  pending_.clear();
  return {};
}

namespace {

// Reads the elements of one payload; every read is checked against its end.
class PayloadReader {
 public:
  PayloadReader(ByteView payload, std::size_t decoded_bytes, std::string& out)
      : in_(payload), out_(out), start_(out.size()), end_(out.size() + decoded_bytes) {}

  Result<void> Run() {
    std::uint32_t flags = 0;
    unsigned left = 0;
    for (;;) {
      if (left == 0) {
        if (in_.size() - at_ < 4) return Underrun();
        flags = LoadLe32(in_.data() + at_);
        at_ += 4;
        left = 32;
      }
      --left;
      if (((flags >> left) & 1) == 0) {
        if (at_ == in_.size()) return Underrun();
        if (out_.size() == end_) return Overrun();
        out_ += static_cast<char>(in_[at_++]);
      } else {
        if (at_ == in_.size()) break;
        TRY(Match());
      }
    }
    return out_.size() == end_ ? Result<void>() : Overrun();
  }

 private:
  Result<void> Match() {
    if (in_.size() - at_ < 2) return Underrun();
    const std::uint16_t word = LoadLe16(in_.data() + at_);
    at_ += 2;
    const std::size_t distance = static_cast<std::size_t>(word >> 3) + 1;
    std::size_t length = word & 7;
    if (length == 7) {
      TRY_ASSIGN(length, LongLength());
    }
    length += kMinMatch;
    if (distance > out_.size() - start_) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("xpress match reaches back {} bytes, but the block has {} so far",
                              distance, out_.size() - start_));
    }
    if (length > end_ - out_.size()) return Overrun();
    // Byte by byte: source and target overlap when the distance is shorter than the length.
    for (; length > 0; --length) out_ += out_[out_.size() - distance];
    return {};
  }

  Result<std::size_t> LongLength() {
    std::size_t length;
    if (half_ == 0) {
      if (at_ == in_.size()) return Underrun();
      half_ = at_;
      length = in_[at_++] & 15;
    } else {
      length = in_[half_] >> 4;
      half_ = 0;
    }
    if (length < 15) return length + 7;
    if (at_ == in_.size()) return Underrun();
    length = in_[at_++];
    if (length == 255) {
      if (in_.size() - at_ < 2) return Underrun();
      length = LoadLe16(in_.data() + at_);
      at_ += 2;
      // The 16-bit form holds length - 3 as it is and is not used for what fits the byte.
      if (length < 22) return Fail(ErrorCode::kCorrupt, "xpress match has an impossible length");
      length -= 22;
    }
    return length + 15 + 7;
  }

  std::unexpected<Error> Underrun() const {
    return Fail(ErrorCode::kCorrupt, "xpress payload ends inside an element");
  }
  std::unexpected<Error> Overrun() const {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("xpress payload does not decode to {} bytes", end_ - start_));
  }

  const ByteView in_;
  std::string& out_;
  const std::size_t start_;
  const std::size_t end_;
  std::size_t at_ = 0;
  std::size_t half_ = 0;
};

}  // namespace

Result<void> XpressDecodePayload(ByteView payload, std::size_t decoded_bytes, std::string& out) {
  return PayloadReader(payload, decoded_bytes, out).Run();
}

Result<std::uint64_t> XpressDecodedSize(ByteView body) {
  std::uint64_t total = 0;
  TRY(ForEachBlock(body, [&](const BlockSizes& sizes, ByteView) -> Result<void> {
    total += sizes.decoded;
    return {};
  }));
  return total;
}

Result<std::string> XpressDecode(ByteView body, std::uint64_t limit_bytes) {
  TRY_ASSIGN(const std::uint64_t total, XpressDecodedSize(body));
  if (total > limit_bytes) {
    return Fail(
        ErrorCode::kCorrupt,
        fmt::format("xpress body decodes to {} bytes, at most {} are allowed", total, limit_bytes));
  }
  std::string out;
  out.reserve(static_cast<std::size_t>(total));
  TRY(ForEachBlock(body, [&](const BlockSizes& sizes, ByteView payload) {
    return DecodeBlock(payload, sizes.decoded, out);
  }));
  return out;
}

namespace {

// Fills `out`; false when the source is at its end before the first byte.
Result<bool> ReadFully(Source& in, std::span<std::uint8_t> out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    TRY_ASSIGN(const std::size_t size, in.Read(out.subspan(filled)));
    if (size == 0) {
      if (filled == 0) return false;
      return FailCut();
    }
    filled += size;
  }
  return true;
}

}  // namespace

Result<bool> XpressSource::NextBlock() {
  std::array<std::uint8_t, kXpressHeaderBytes> header;
  TRY_ASSIGN(const bool more, ReadFully(in_, header));
  if (!more) return false;
  TRY_ASSIGN(const BlockSizes sizes, ReadHeader(header.data()));
  payload_.resize(sizes.stored);
  TRY_ASSIGN(const bool has_payload, ReadFully(in_, payload_));
  if (!has_payload) return FailCut();
  block_.clear();
  used_ = 0;
  TRY(DecodeBlock(payload_, sizes.decoded, block_));
  return true;
}

Result<std::size_t> XpressSource::Read(std::span<std::uint8_t> out) {
  if (out.empty()) return std::size_t{0};
  if (used_ == block_.size()) {
    TRY_ASSIGN(const bool more, NextBlock());
    if (!more) return std::size_t{0};
  }
  const std::size_t size = std::min(out.size(), block_.size() - used_);
  std::memcpy(out.data(), block_.data() + used_, size);
  used_ += size;
  return size;
}

}  // namespace gapferry::protocol
