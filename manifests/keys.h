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

/// A private Ed25519 key, in memory only as long as it is needed, or on a PKCS#11 token.
/// Thread-compatible.
class SigningKey {
 public:
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  /// PKCS#8 PEM, or a key on a token when `path` begins with "pkcs11:" (manifests/token_key.h). A
  /// protected one asks for its passphrase (manifests/passphrase.h). Fails with kUntrusted when
  /// group or others may read the file (reason "key-readable") or the passphrase does not open it
  /// ("passphrase-wrong"), kCorrupt when it is no Ed25519 key, kNotFound when absent.
  static Result<SigningKey> Load(const std::filesystem::path& path);
  static SigningKey Generate();

  const SigningPublicKey& public_key() const { return public_key_; }
  /// Only a token can fail.
  Result<Signature> Sign(ByteView message) const;
  /// Fails when the file exists: a key is never overwritten. Mode 0600; encrypted under
  /// `passphrase` unless that is empty. kUsage for a key on a token.
  Result<void> Save(const std::filesystem::path& path, std::string_view passphrase = {}) const;

 private:
  struct Impl;
  SigningKey(std::unique_ptr<Impl> impl, const SigningPublicKey& public_key);
  std::unique_ptr<Impl> impl_;
  SigningPublicKey public_key_;
};

/// A private X25519 key. Thread-compatible.
class EncryptionKey {
 public:
  EncryptionKey(EncryptionKey&&) noexcept;
  EncryptionKey& operator=(EncryptionKey&&) noexcept;
  ~EncryptionKey();

  /// PKCS#8 PEM; same failures as SigningKey::Load.
  static Result<EncryptionKey> Load(const std::filesystem::path& path);
  static EncryptionKey Generate();

  const EncryptionPublicKey& public_key() const { return public_key_; }
  /// The 32 bytes that both sides derive (RFC 7748): input of a key derivation, never a key itself.
  /// Fails with kCorrupt for a public key of small order.
  Result<std::array<std::uint8_t, 32>> Agree(const EncryptionPublicKey& peer) const;
  Result<void> Save(const std::filesystem::path& path, std::string_view passphrase = {}) const;

 private:
  struct Impl;
  explicit EncryptionKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  EncryptionPublicKey public_key_;
};

/// The public half of the key in a file, or on a token. A protected file that this program wrote
/// says it without the passphrase; otherwise same failures as Load.
Result<SigningPublicKey> LoadSigningPublicKey(const std::filesystem::path& path);
Result<EncryptionPublicKey> LoadEncryptionPublicKey(const std::filesystem::path& path);

/// Whether a passphrase protects the private key in this file.
Result<bool> IsProtectedKey(const std::filesystem::path& path);
/// Writes the key in this file (Ed25519 or X25519) anew, under `passphrase` or, when that is empty,
/// without; the old passphrase is asked for as in Load.
Result<void> ChangePassphrase(const std::filesystem::path& path, std::string_view passphrase);

}  // namespace gapferry::manifests
