#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry {

/// A digest of N bytes as a type of its own per algorithm: SHA-1 and SHA-256 cannot be mixed up.
template <std::size_t N>
struct Digest {
  static constexpr std::size_t kSize = N;
  std::array<std::uint8_t, N> bytes{};

  static Result<Digest> FromBytes(ByteView view) {
    if (view.size() != N) {
      return Fail(ErrorCode::kCorrupt, "digest has " + std::to_string(view.size()) +
                                           " bytes, expected " + std::to_string(N));
    }
    Digest digest;
    std::memcpy(digest.bytes.data(), view.data(), N);
    return digest;
  }
  static Result<Digest> FromHex(std::string_view text) {
    TRY_ASSIGN(const Bytes raw, HexDecode(text));
    return FromBytes(raw);
  }
  static Result<Digest> FromBase64(std::string_view text) {
    TRY_ASSIGN(const Bytes raw, Base64Decode(text));
    return FromBytes(raw);
  }

  std::string ToHex(HexCase hex_case = HexCase::kLower) const { return HexEncode(bytes, hex_case); }
  std::string ToBase64() const { return Base64Encode(bytes); }
  ByteView View() const { return bytes; }
  auto operator<=>(const Digest&) const = default;
};

using Sha1Digest = Digest<20>;
using Sha256Digest = Digest<32>;

/// Incremental hash over OpenSSL EVP; the algorithm is fetched once per process. Thread-compatible.
template <class D>
class Hasher {
 public:
  Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  Hasher& Update(ByteView bytes);
  Hasher& Update(std::string_view text) { return Update(AsBytes(text)); }
  /// The digest of everything so far; the hasher starts afresh.
  D Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

extern template class Hasher<Sha1Digest>;
extern template class Hasher<Sha256Digest>;
using Sha1Hasher = Hasher<Sha1Digest>;
using Sha256Hasher = Hasher<Sha256Digest>;

Sha1Digest Sha1(ByteView bytes);
Sha256Digest Sha256(ByteView bytes);
inline Sha256Digest Sha256(std::string_view text) { return Sha256(AsBytes(text)); }
inline Sha1Digest Sha1(std::string_view text) { return Sha1(AsBytes(text)); }

/// Hashes what passes; writes nowhere.
template <class D>
class HashingSink : public Sink {
 public:
  Result<void> Write(ByteView bytes) override {
    hasher_.Update(bytes);
    return {};
  }
  D Finish() { return hasher_.Finish(); }

 private:
  Hasher<D> hasher_;
};

/// Fills `out` from the operating system's random source.
void FillRandom(std::span<std::uint8_t> out);

}  // namespace gapferry

template <std::size_t N>
struct std::hash<gapferry::Digest<N>> {
  std::size_t operator()(const gapferry::Digest<N>& digest) const noexcept {
    std::size_t value;
    std::memcpy(&value, digest.bytes.data(), sizeof(value));
    return value;
  }
};
