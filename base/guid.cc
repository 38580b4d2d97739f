#include "base/guid.h"

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"

namespace gapferry {

Result<Guid> Guid::Parse(std::string_view text) {
  std::string_view inner = text;
  if (inner.size() == 38 && inner.front() == '{' && inner.back() == '}')
    inner = inner.substr(1, 36);
  const auto malformed = [&] {
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(text, 60) + "' is no GUID");
  };
  if (inner.size() != 36) return malformed();
  std::string digits;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (inner[i] == '-')) return malformed();
    if (!dash) digits += inner[i];
  }
  const auto raw = HexDecode(digits);
  if (!raw) return malformed();
  return FromBytes(*raw);
}

Result<Guid> Guid::FromBytes(ByteView view) {
  if (view.size() != 16) return Fail(ErrorCode::kCorrupt, "a GUID has 16 bytes");
  Guid guid;
  std::ranges::copy(view, guid.bytes.begin());
  return guid;
}

Guid Guid::Random() {
  Guid guid;
  FillRandom(guid.bytes);
  guid.bytes[6] = static_cast<std::uint8_t>((guid.bytes[6] & 0x0F) | 0x40);
  guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3F) | 0x80);
  return guid;
}

std::string Guid::ToString() const {
  std::string text = HexEncode(bytes);
  for (const std::size_t at : {8u, 13u, 18u, 23u}) text.insert(at, 1, '-');
  return text;
}

}  // namespace gapferry
