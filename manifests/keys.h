#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace gapferry::manifests {

/// The first 16 bytes of the SHA-256 of a raw public key: 32 lower-case hex digits. Names a key in
/// signatures and manifests.
struct KeyId {
  std::array<std::uint8_t, 16> bytes{};
  static Result<KeyId> FromHex(std::string_view text);
  std::string ToHex() const { return HexEncode(bytes); }
  auto operator<=>(const KeyId&) const = default;
};

inline constexpr std::size_t kSignatureBytes = 64;
using Signature = std::array<std::uint8_t, kSignatureBytes>;

/// Raw public keys. Their text is base64 of the DER SubjectPublicKeyInfo (RFC 8410), which is the
/// line between the armour of a PEM file: 60 characters.
struct SigningPublicKey {
  std::array<std::uint8_t, 32> bytes{};
  static Result<SigningPublicKey> FromText(std::string_view text);
  std::string ToText() const;
  std::string ToPem() const;
  KeyId Id() const;
  /// Ed25519 over exactly these bytes.
  bool Verifies(ByteView message, const Signature& signature) const;
  auto operator<=>(const SigningPublicKey&) const = default;
};

struct EncryptionPublicKey {
  std::array<std::uint8_t, 32> bytes{};
  static Result<EncryptionPublicKey> FromText(std::string_view text);
  std::string ToText() const;
  KeyId Id() const;
  auto operator<=>(const EncryptionPublicKey&) const = default;
};

/// A private Ed25519 key, in memory only as long as it is needed. Thread-compatible.
class SigningKey {
 public:
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  /// PKCS#8 PEM. Fails with kUntrusted when group or others may read the file, kCorrupt when it is
  /// no Ed25519 key, kNotFound when absent.
  static Result<SigningKey> Load(const std::filesystem::path& path);
  static SigningKey Generate();

  const SigningPublicKey& public_key() const { return public_key_; }
  Signature Sign(ByteView message) const;
  /// Fails when the file exists: a key is never overwritten. Mode 0600.
  Result<void> Save(const std::filesystem::path& path) const;

 private:
  struct Impl;
  explicit SigningKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  SigningPublicKey public_key_;
};

/// The public half of an X25519 key in a PKCS#8 PEM file; same failures as SigningKey::Load.
Result<EncryptionPublicKey> LoadEncryptionPublicKey(const std::filesystem::path& path);

}  // namespace gapferry::manifests
