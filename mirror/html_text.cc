#include "mirror/html_text.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/text.h"

namespace gapferry::mirror {
namespace {

/// Characters that show nothing or turn the direction of writing; shown as codes.
bool IsHidden(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF0 && c <= 0xFFFB) || c == 0x61C || c == 0x180E ||
         (c >= 0xE0000 && c <= 0xE0FFF);
}

/// Decodes one character of valid UTF-8.
char32_t Next(std::string_view text, std::size_t& at) {
  const auto first = static_cast<unsigned char>(text[at++]);
  if (first < 0x80) return first;
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
  char32_t c = first & (0x3FU >> more);
  for (int i = 0; i < more && at < text.size(); ++i) {
    c = c << 6 | (static_cast<unsigned char>(text[at++]) & 0x3FU);
  }
  return c;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  if (!IsValidUtf8(text)) return EscapeHtml(EscapeForDisplay(text, text.size() * 4));
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t c = Next(text, at);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '\n':
        out += ' ';
        break;
      default:
        if (IsHidden(c)) {
          out += fmt::format("[U+{:04X}]", static_cast<unsigned>(c));
        } else {
          out += text.substr(begin, at - begin);
        }
    }
  }
  return out;
}

}  // namespace gapferry::mirror
