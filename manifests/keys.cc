#include "manifests/keys.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/file.h"
#include "base/hash.h"

namespace gapferry::manifests {
namespace {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using Bio = std::unique_ptr<BIO, BioDeleter>;
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

Result<Key> LoadPrivate(const fs::path& path, int type, std::string_view kind) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kUntrusted, "key-readable",
                "'" + path.string() + "' can be read by others; chmod 600 it");
  }
  TRY_ASSIGN(const std::string pem, ReadTextFile(path, 16 * 1024));
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Require(bio != nullptr, "BIO_new_mem_buf");
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr || EVP_PKEY_get_base_id(key.get()) != type) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "'" + path.string() + "' holds no " + std::string(kind) + " private key in PEM");
  }
  return key;
}

std::array<std::uint8_t, 32> RawPublic(EVP_PKEY* key) {
  std::array<std::uint8_t, 32> raw{};
  std::size_t size = raw.size();
  Require(EVP_PKEY_get_raw_public_key(key, raw.data(), &size) == 1 && size == raw.size(),
          "EVP_PKEY_get_raw_public_key");
  return raw;
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

struct SigningKey::Impl {
  Key key;
};

SigningKey::SigningKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  public_key_.bytes = RawPublic(impl_->key.get());
}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

Result<SigningKey> SigningKey::Load(const fs::path& path) {
  TRY_ASSIGN(Key key, LoadPrivate(path, EVP_PKEY_ED25519, "Ed25519"));
  auto impl = std::make_unique<Impl>();
  impl->key = std::move(key);
  return SigningKey(std::move(impl));
}

SigningKey SigningKey::Generate() {
  auto impl = std::make_unique<Impl>();
  impl->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  Require(impl->key != nullptr, "EVP_PKEY_Q_keygen");
  return SigningKey(std::move(impl));
}

Signature SigningKey::Sign(ByteView message) const {
  const Context context(EVP_MD_CTX_new());
  Require(context != nullptr, "EVP_MD_CTX_new");
  Signature signature{};
  std::size_t size = signature.size();
  Require(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, impl_->key.get()) == 1 &&
              EVP_DigestSign(context.get(), signature.data(), &size, message.data(),
                             message.size()) == 1 &&
              size == signature.size(),
          "EVP_DigestSign");
  return signature;
}

Result<void> SigningKey::Save(const fs::path& path) const {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    return Fail(ErrorCode::kUsage, "'" + path.string() + "' exists; a key is never overwritten");
  }
  const Bio bio(BIO_new(BIO_s_mem()));
  Require(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), impl_->key.get(), nullptr,
                                                          nullptr, 0, nullptr, nullptr) == 1,
          "PEM_write_bio_PKCS8PrivateKey");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return WriteFileAtomically(path, AsBytes({data, static_cast<std::size_t>(size)}), 0600);
}

Result<EncryptionPublicKey> LoadEncryptionPublicKey(const fs::path& path) {
  TRY_ASSIGN(const Key key, LoadPrivate(path, EVP_PKEY_X25519, "X25519"));
  EncryptionPublicKey result;
  result.bytes = RawPublic(key.get());
  return result;
}

}  // namespace gapferry::manifests
