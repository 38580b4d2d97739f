#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace gapferry {

/// A 128-bit identifier. Text form is RFC 4122 order, lower case, without braces; comparison is by
/// value, so documents that spell one GUID in two cases agree.
struct Guid {
  std::array<std::uint8_t, 16> bytes{};

  /// Accepts either case and optional braces; fails with kUsage.
  static Result<Guid> Parse(std::string_view text);
  /// Fails with kCorrupt unless `bytes` has 16 bytes.
  static Result<Guid> FromBytes(ByteView bytes);
  /// Version 4, from the operating system's random source.
  static Guid Random();

  std::string ToString() const;
  bool IsZero() const { return *this == Guid{}; }
  ByteView View() const { return bytes; }

  auto operator<=>(const Guid&) const = default;
};

}  // namespace gapferry

template <>
struct std::hash<gapferry::Guid> {
  std::size_t operator()(const gapferry::Guid& guid) const noexcept {
    std::uint64_t halves[2];
    std::memcpy(halves, guid.bytes.data(), sizeof(halves));
    return static_cast<std::size_t>(halves[0] ^ (halves[1] * 0x9E3779B97F4A7C15ULL));
  }
};
