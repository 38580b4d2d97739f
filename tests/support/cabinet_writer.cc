#include "tests/support/cabinet_writer.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace gapferry::testing {

namespace {

constexpr std::size_t kBlockBytes = 32768;
constexpr std::size_t kHeaderBytes = 36;
constexpr std::size_t kFolderBytes = 8;
constexpr std::size_t kFileBytes = 16;
// Twice as fast as zlib's usual 6, and a fifth larger: catalogues are made more often than carried.
constexpr int kLevel = 3;

// The checksum of [MS-CAB] 3.1: 32-bit words, the rest in big-endian order.
std::uint32_t Checksum(ByteView bytes, std::uint32_t seed) {
  while (bytes.size() >= 4) {
    seed ^= LoadLe32(bytes.data());
    bytes = bytes.subspan(4);
  }
  std::uint32_t rest = 0;
  for (const std::uint8_t byte : bytes) rest = (rest << 8) | byte;
  return seed ^ rest;
}

// Blocks that share one deflate state, so that each can refer to the one before.
class MszipEncoder {
 public:
  MszipEncoder() {
    // Memory level 9: then incompressible blocks stay within the 12 bytes that MSZIP may add.
    if (deflateInit2(&stream_, kLevel, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) != Z_OK)
      std::abort();
  }
  MszipEncoder(const MszipEncoder&) = delete;
  MszipEncoder& operator=(const MszipEncoder&) = delete;
  ~MszipEncoder() { deflateEnd(&stream_); }

  Bytes Encode(ByteView block, ByteView history) {
    Bytes out(kBlockBytes + 64);
    out[0] = 'C';
    out[1] = 'K';
    if (deflateReset(&stream_) != Z_OK) std::abort();
    if (!history.empty()) {
      const auto size = static_cast<uInt>(history.size());
      if (deflateSetDictionary(&stream_, history.data(), size) != Z_OK) std::abort();
    }
    stream_.next_in = const_cast<Bytef*>(block.data());  // zlib only reads it
    stream_.avail_in = static_cast<uInt>(block.size());
    stream_.next_out = out.data() + 2;
    stream_.avail_out = static_cast<uInt>(out.size() - 2);
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) std::abort();
    out.resize(out.size() - stream_.avail_out);
    return out;
  }

 private:
  z_stream stream_{};
};

void AppendBlock(Bytes& out, ByteView payload, std::size_t decoded_bytes) {
  Bytes sizes;
  AppendLe16(sizes, static_cast<std::uint16_t>(payload.size()));
  AppendLe16(sizes, static_cast<std::uint16_t>(decoded_bytes));
  AppendLe32(out, Checksum(sizes, Checksum(payload, 0)));
  out.insert(out.end(), sizes.begin(), sizes.end());
  out.insert(out.end(), payload.begin(), payload.end());
}

}  // namespace

Bytes WriteMszipCabinet(std::string_view member_name, ByteView content) {
  MszipEncoder encoder;
  Bytes blocks;
  std::uint16_t block_count = 0;
  for (std::size_t at = 0; at < content.size(); at += kBlockBytes, ++block_count) {
    const ByteView block = content.subspan(at, std::min(kBlockBytes, content.size() - at));
    const ByteView history = at == 0 ? ByteView() : content.subspan(at - kBlockBytes, kBlockBytes);
    AppendBlock(blocks, encoder.Encode(block, history), block.size());
  }

  const std::size_t file_at = kHeaderBytes + kFolderBytes;
  const std::size_t data_at = file_at + kFileBytes + member_name.size() + 1;
  Bytes out = {'M', 'S', 'C', 'F'};
  AppendLe32(out, 0);
  AppendLe32(out, static_cast<std::uint32_t>(data_at + blocks.size()));
  AppendLe32(out, 0);
  AppendLe32(out, static_cast<std::uint32_t>(file_at));
  AppendLe32(out, 0);
  AppendLe16(out, 0x0103);  // version 1.3
  AppendLe16(out, 1);       // folders
  AppendLe16(out, 1);       // files
  AppendLe16(out, 0);       // flags
  AppendLe32(out, 0);       // set and number in it

  AppendLe32(out, static_cast<std::uint32_t>(data_at));
  AppendLe16(out, block_count);
  AppendLe16(out, 1);  // MSZIP

  AppendLe32(out, static_cast<std::uint32_t>(content.size()));
  AppendLe32(out, 0);  // offset in the folder
  AppendLe16(out, 0);  // folder
  AppendLe32(out, 0);  // date and time
  AppendLe16(out, 0);  // attributes
  out.insert(out.end(), member_name.begin(), member_name.end());
  out.push_back(0);
  out.insert(out.end(), blocks.begin(), blocks.end());
  return out;
}

Bytes WriteMetadataCabinet(std::string_view utf8) {
  const auto utf16 = Utf8ToUtf16Le(utf8);
  if (!utf16) std::abort();
  return WriteMszipCabinet("blob", *utf16);
}

}  // namespace gapferry::testing
