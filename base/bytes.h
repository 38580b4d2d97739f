#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gapferry {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class HexCase { kLower, kUpper };
std::string HexEncode(ByteView bytes, HexCase hex_case = HexCase::kLower);
/// Accepts both cases; fails with kCorrupt on an odd length or a foreign character.
Result<Bytes> HexDecode(std::string_view text);

std::string Base64Encode(ByteView bytes);
/// Standard alphabet, padding required, white space between characters ignored (XML allows it);
/// fails with kCorrupt on anything else, non-zero trailing bits included.
Result<Bytes> Base64Decode(std::string_view text);

std::uint16_t LoadLe16(const std::uint8_t* bytes);
std::uint32_t LoadLe32(const std::uint8_t* bytes);
std::uint64_t LoadLe64(const std::uint8_t* bytes);
void AppendLe16(Bytes& out, std::uint16_t value);
void AppendLe32(Bytes& out, std::uint32_t value);
void AppendLe64(Bytes& out, std::uint64_t value);

/// UTF-16LE without byte-order mark. Fails with kCorrupt on an odd length or a lone surrogate.
Result<std::string> Utf16LeToUtf8(ByteView utf16);
Result<Bytes> Utf8ToUtf16Le(std::string_view utf8);
bool IsValidUtf8(std::string_view text);

}  // namespace gapferry
