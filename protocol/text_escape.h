#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace gapferry::protocol {

/// What each byte of a text becomes: itself, or a reference of at most eight bytes. Texts of
/// documents are full of characters to be escaped, so the result is sized first and written once.
class TextEscapes {
 public:
  using Reference = std::pair<char, std::string_view>;

  constexpr TextEscapes(std::initializer_list<Reference> references) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      entries_[i].text[0] = static_cast<char>(i);
      entries_[i].size = 1;
    }
    for (const auto& [c, text] : references) Set(c, text);
  }
  /// The same, and control characters that `references` do not name become `control`.
  constexpr TextEscapes(std::initializer_list<Reference> references, std::string_view control)
      : TextEscapes({}) {
    for (int c = 0; c < 0x20; ++c) Set(static_cast<char>(c), control);
    for (const auto& [c, text] : references) Set(c, text);
  }

  std::size_t SizeOf(std::string_view text) const {
    std::size_t size = 0;
    for (const char c : text) size += entries_[static_cast<unsigned char>(c)].size;
    return size;
  }

  void Append(std::string& out, std::string_view text) const {
    const std::size_t had = out.size();
    const std::size_t size = SizeOf(text);
    if (size == text.size()) {
      out += text;
      return;
    }
    out.resize_and_overwrite(had + size, [&](char* data, std::size_t) {
      char* to = data + had;
      for (const char c : text) {
        const Entry& entry = entries_[static_cast<unsigned char>(c)];
        if (entry.size == 1) {
          *to++ = entry.text[0];
        } else {
          std::memcpy(to, entry.text.data(), entry.size);
          to += entry.size;
        }
      }
      // Not what the library says it made room for: libstdc++ 12 passes its own, larger figure.
      return static_cast<std::size_t>(to - data);
    });
  }

 private:
  struct Entry {
    std::array<char, 8> text{};
    std::uint8_t size = 0;
  };
  constexpr void Set(char c, std::string_view text) {
    Entry& entry = entries_[static_cast<unsigned char>(c)];
    for (std::size_t i = 0; i < text.size(); ++i) entry.text[i] = text[i];
    entry.size = static_cast<std::uint8_t>(text.size());
  }
  std::array<Entry, 256> entries_{};
};

}  // namespace gapferry::protocol
