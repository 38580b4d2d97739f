#include "manifests/keys.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/hash.h"

namespace gapferry::manifests {
namespace {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using Context = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;

/// Only memory or a crippled OpenSSL can make these fail.
void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "OpenSSL: %s failed\n", what);
  std::abort();
}

// RFC 8410: SEQUENCE { SEQUENCE { OID }, BIT STRING of 32 bytes }.
constexpr std::uint8_t kEd25519Prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                           0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr std::uint8_t kX25519Prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                          0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00};

std::string KeyText(ByteView prefix, ByteView raw) {
  Bytes der(prefix.begin(), prefix.end());
  der.insert(der.end(), raw.begin(), raw.end());
  return Base64Encode(der);
}

template <class T>
Result<T> KeyFromText(std::string_view text, ByteView prefix, std::string_view kind) {
  const auto der = Base64Decode(text);
  if (!der || der->size() != prefix.size() + 32 || Base64Encode(*der) != text ||
      !std::equal(prefix.begin(), prefix.end(), der->begin())) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "expected an " + std::string(kind) + " public key (base64 of 44 bytes of DER)");
  }
  T key;
  std::copy(der->begin() + std::ssize(prefix), der->end(), key.bytes.begin());
  return key;
}

KeyId IdOf(ByteView raw) {
  const Sha256Digest digest = Sha256(raw);
  KeyId id;
  std::copy_n(digest.bytes.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

}  // namespace

Result<KeyId> KeyId::FromHex(std::string_view text) {
  const auto raw = HexDecode(text);
  if (!raw || raw->size() != 16 || HexEncode(*raw) != text) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "expected a key id of 32 lower-case hex digits");
  }
  KeyId id;
  std::ranges::copy(*raw, id.bytes.begin());
  return id;
}

Result<SigningPublicKey> SigningPublicKey::FromText(std::string_view text) {
  return KeyFromText<SigningPublicKey>(text, kEd25519Prefix, "Ed25519");
}
std::string SigningPublicKey::ToText() const { return KeyText(kEd25519Prefix, bytes); }
std::string SigningPublicKey::ToPem() const {
  return "-----BEGIN PUBLIC KEY-----\n" + ToText() + "\n-----END PUBLIC KEY-----\n";
}
KeyId SigningPublicKey::Id() const { return IdOf(bytes); }

bool SigningPublicKey::Verifies(ByteView message, const Signature& signature) const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  if (key == nullptr) return false;
  const Context context(EVP_MD_CTX_new());
  Require(context != nullptr, "EVP_MD_CTX_new");
  if (EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1) return false;
  return EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

Result<EncryptionPublicKey> EncryptionPublicKey::FromText(std::string_view text) {
  return KeyFromText<EncryptionPublicKey>(text, kX25519Prefix, "X25519");
}
std::string EncryptionPublicKey::ToText() const { return KeyText(kX25519Prefix, bytes); }
KeyId EncryptionPublicKey::Id() const { return IdOf(bytes); }

}  // namespace gapferry::manifests
