#include "base/bytes.h"

#include <array>

namespace gapferry {
namespace {

constexpr std::string_view kLowerDigits = "0123456789abcdef";
constexpr std::string_view kUpperDigits = "0123456789ABCDEF";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::array<signed char, 256> kBase64Values = [] {
  std::array<signed char, 256> t{};
  t.fill(-1);
  for (std::size_t i = 0; i < kBase64.size(); ++i) {
    t[static_cast<unsigned char>(kBase64[i])] = static_cast<signed char>(i);
  }
  return t;
}();

int Base64Value(char c) { return kBase64Values[static_cast<unsigned char>(c)]; }

/// Decodes whole groups of four digits from the start of `text` into `to`, up to the first group
/// with anything else in it; the number of groups.
std::size_t DecodeGroups(std::string_view text, std::uint8_t* to) {
  std::size_t groups = 0;
  for (; (groups + 1) * 4 <= text.size(); ++groups) {
    const char* from = text.data() + groups * 4;
    const int a = Base64Value(from[0]);
    const int b = Base64Value(from[1]);
    const int c = Base64Value(from[2]);
    const int d = Base64Value(from[3]);
    if ((a | b | c | d) < 0) break;
    *to++ = static_cast<std::uint8_t>(a << 2 | b >> 4);
    *to++ = static_cast<std::uint8_t>(b << 4 | c >> 2);
    *to++ = static_cast<std::uint8_t>(c << 6 | d);
  }
  return groups;
}

bool IsXmlSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

void AppendUtf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Decodes one code point at `pos` and moves past it; false on malformed, overlong or surrogate
/// sequences (RFC 3629).
bool NextCodePoint(std::string_view text, std::size_t& pos, std::uint32_t& code) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(pos);
  if (lead < 0x80) {
    code = lead;
    ++pos;
    return true;
  }
  std::size_t length = 0;
  std::uint32_t minimum = 0;
  if ((lead & 0xE0) == 0xC0) {
    length = 2, minimum = 0x80, code = lead & 0x1F;
  } else if ((lead & 0xF0) == 0xE0) {
    length = 3, minimum = 0x800, code = lead & 0x0F;
  } else if ((lead & 0xF8) == 0xF0) {
    length = 4, minimum = 0x10000, code = lead & 0x07;
  } else {
    return false;
  }
  if (text.size() - pos < length) return false;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(pos + i) & 0xC0) != 0x80) return false;
    code = (code << 6) | (byte(pos + i) & 0x3Fu);
  }
  if (code < minimum || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
  pos += length;
  return true;
}

}  // namespace

std::string HexEncode(ByteView bytes, HexCase hex_case) {
  const std::string_view digits = hex_case == HexCase::kLower ? kLowerDigits : kUpperDigits;
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

Result<Bytes> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return Fail(ErrorCode::kCorrupt, "hex text has an odd length");
  Bytes out(text.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = HexValue(text[2 * i]);
    const int low = HexValue(text[2 * i + 1]);
    if (high < 0 || low < 0) {
      return Fail(ErrorCode::kCorrupt, "no hex digit at position " + std::to_string(2 * i));
    }
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return out;
}

std::string Base64Encode(ByteView bytes) {
  std::string out((bytes.size() + 2) / 3 * 4, '=');
  char* to = out.data();
  std::size_t i = 0;
  for (; i + 2 < bytes.size(); i += 3) {
    const std::uint32_t group = (static_cast<std::uint32_t>(bytes[i]) << 16) |
                                (static_cast<std::uint32_t>(bytes[i + 1]) << 8) | bytes[i + 2];
    *to++ = kBase64[group >> 18];
    *to++ = kBase64[(group >> 12) & 63];
    *to++ = kBase64[(group >> 6) & 63];
    *to++ = kBase64[group & 63];
  }
  const std::size_t rest = bytes.size() - i;
  if (rest == 1) {
    *to++ = kBase64[bytes[i] >> 2];
    *to++ = kBase64[(bytes[i] & 3u) << 4];
  } else if (rest == 2) {
    *to++ = kBase64[bytes[i] >> 2];
    *to++ = kBase64[((bytes[i] & 3u) << 4) | (bytes[i + 1] >> 4)];
    *to++ = kBase64[(bytes[i + 1] & 15u) << 2];
  }
  return out;
}

Result<Bytes> Base64Decode(std::string_view text) {
  Bytes out(text.size() / 4 * 3);
  const std::size_t groups = DecodeGroups(text, out.data());
  out.resize(groups * 3);
  std::uint32_t group = 0;
  int digits = 0;
  int padding = 0;
  for (const char c : text.substr(groups * 4)) {
    if (IsXmlSpace(c)) continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const int value = Base64Value(c);
    if (value < 0 || padding > 0) return Fail(ErrorCode::kCorrupt, "malformed base64 text");
    group = (group << 6) | static_cast<std::uint32_t>(value);
    if (++digits == 4) {
      out.push_back(static_cast<std::uint8_t>(group >> 16));
      out.push_back(static_cast<std::uint8_t>(group >> 8));
      out.push_back(static_cast<std::uint8_t>(group));
      group = 0;
      digits = 0;
    }
  }
  const bool well_padded = (digits == 0 && padding == 0) || (digits == 2 && padding == 2) ||
                           (digits == 3 && padding == 1);
  if (!well_padded) return Fail(ErrorCode::kCorrupt, "base64 text with wrong padding");
  if (digits == 2) {
    if ((group & 15u) != 0) return Fail(ErrorCode::kCorrupt, "base64 text with trailing bits");
    out.push_back(static_cast<std::uint8_t>(group >> 4));
  } else if (digits == 3) {
    if ((group & 3u) != 0) return Fail(ErrorCode::kCorrupt, "base64 text with trailing bits");
    out.push_back(static_cast<std::uint8_t>(group >> 10));
    out.push_back(static_cast<std::uint8_t>(group >> 2));
  }
  return out;
}

std::uint16_t LoadLe16(const std::uint8_t* b) {
  return static_cast<std::uint16_t>(b[0] | (b[1] << 8));
}

std::uint32_t LoadLe32(const std::uint8_t* b) {
  return static_cast<std::uint32_t>(b[0]) | (static_cast<std::uint32_t>(b[1]) << 8) |
         (static_cast<std::uint32_t>(b[2]) << 16) | (static_cast<std::uint32_t>(b[3]) << 24);
}

std::uint64_t LoadLe64(const std::uint8_t* b) {
  return LoadLe32(b) | (static_cast<std::uint64_t>(LoadLe32(b + 4)) << 32);
}

void AppendLe16(Bytes& out, std::uint16_t value) {
  out.push_back(static_cast<std::uint8_t>(value));
  out.push_back(static_cast<std::uint8_t>(value >> 8));
}

void AppendLe32(Bytes& out, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void AppendLe64(Bytes& out, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

Result<std::string> Utf16LeToUtf8(ByteView utf16) {
  if (utf16.size() % 2 != 0) return Fail(ErrorCode::kCorrupt, "UTF-16 text has an odd length");
  std::string out;
  out.reserve(utf16.size() / 2 + utf16.size() / 16);
  constexpr std::size_t kRun = 16;  // units
  for (std::size_t i = 0; i < utf16.size(); i += 2) {
    for (; i + 2 * kRun <= utf16.size(); i += 2 * kRun) {  // most text is ASCII
      std::uint32_t any = 0;
      std::array<char, kRun> run;
      for (std::size_t k = 0; k < kRun; ++k) {
        const std::uint16_t unit = LoadLe16(utf16.data() + i + 2 * k);
        any |= unit;
        run[k] = static_cast<char>(unit);
      }
      if (any >= 0x80) break;
      out.append(run.data(), kRun);
    }
    if (i == utf16.size()) break;
    std::uint32_t code = LoadLe16(utf16.data() + i);
    if (code >= 0xD800 && code <= 0xDFFF) {
      const bool high = code < 0xDC00;
      const std::uint32_t low = high && i + 3 < utf16.size() ? LoadLe16(utf16.data() + i + 2) : 0;
      if (low < 0xDC00 || low > 0xDFFF) {
        return Fail(ErrorCode::kCorrupt, "lone UTF-16 surrogate at byte " + std::to_string(i));
      }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
      i += 2;
    }
    AppendUtf8(out, code);
  }
  return out;
}

Result<Bytes> Utf8ToUtf16Le(std::string_view utf8) {
  Bytes out;
  out.reserve(utf8.size() * 2);
  for (std::size_t pos = 0; pos < utf8.size();) {
    std::size_t ascii = pos;
    while (ascii < utf8.size() && static_cast<unsigned char>(utf8[ascii]) < 0x80) ++ascii;
    const std::size_t had = out.size();
    out.resize(had + 2 * (ascii - pos));
    for (std::size_t k = 0; pos < ascii; ++pos, k += 2) {
      out[had + k] = static_cast<std::uint8_t>(utf8[pos]);
    }
    if (pos == utf8.size()) break;
    const std::size_t start = pos;
    std::uint32_t code = 0;
    if (!NextCodePoint(utf8, pos, code)) {
      return Fail(ErrorCode::kCorrupt, "invalid UTF-8 at byte " + std::to_string(start));
    }
    if (code >= 0x10000) {
      code -= 0x10000;
      AppendLe16(out, static_cast<std::uint16_t>(0xD800 + (code >> 10)));
      code = 0xDC00 + (code & 0x3FF);
    }
    AppendLe16(out, static_cast<std::uint16_t>(code));
  }
  return out;
}

bool IsValidUtf8(std::string_view text) {
  std::uint32_t code = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    if (!NextCodePoint(text, pos, code)) return false;
  }
  return true;
}

}  // namespace gapferry
