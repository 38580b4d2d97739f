#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gapferry {

/// Whole-string, locale-free and range-checked: "12 ", "+1", "" and "1e3" are no numbers.
template <std::integral T>
std::optional<T> ParseInt(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view TrimAscii(std::string_view text);
bool EqualsIgnoreCase(std::string_view a, std::string_view b);  ///< ASCII letters only
std::string ToLowerAscii(std::string_view text);
std::string ToUpperAscii(std::string_view text);
std::vector<std::string_view> Split(std::string_view text, char separator);

/// "1.2 GiB", "17 B": for people, one decimal from KiB upward.
std::string FormatByteCount(std::uint64_t bytes);

/// `text` with control characters, quotes and invalid UTF-8 escaped, cut after `limit` bytes: what
/// a peer sent, fit for a log line or a terminal.
std::string EscapeForDisplay(std::string_view text, std::size_t limit = 200);

}  // namespace gapferry
