// Private keys: in PKCS#8 PEM files, with or without a passphrase, and on tokens.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/file.h"
#include "manifests/keys.h"
#include "manifests/passphrase.h"
#include "manifests/token_key.h"

namespace gapferry::manifests {
namespace {

constexpr std::uint64_t kMaxKeyFileBytes = 16 * 1024;

struct Release {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(PKCS8_PRIV_KEY_INFO* info) const { PKCS8_PRIV_KEY_INFO_free(info); }
  void operator()(X509_SIG* sealed) const { X509_SIG_free(sealed); }
};
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// Only memory or a crippled OpenSSL can make these fail.
void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "OpenSSL: %s failed\n", what);
  std::abort();
}

std::string Quoted(const fs::path& path) { return "'" + path.string() + "'"; }

Result<std::string> ReadKeyFile(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kUntrusted, "key-readable",
                Quoted(path) + " can be read by others; chmod 600 it");
  }
  return ReadTextFile(path, kMaxKeyFileBytes);
}

Owned<BIO> Reader(std::string_view pem) {
  Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Require(bio != nullptr, "BIO_new_mem_buf");
  return bio;
}

/// What OpenSSL asks through: remembers that it asked, and why there is no answer.
struct Question {
  std::string object;
  bool asked = false;
  std::optional<Error> failure;

  static int Answer(char* out, int size, int /*writing*/, void* self) {
    auto* question = static_cast<Question*>(self);
    question->asked = true;
    auto secret = FindPassphrase(question->object);
    if (!secret) {
      question->failure = std::move(secret.error());
      return -1;
    }
    const std::size_t length = secret->text().size();
    if (length > static_cast<std::size_t>(size)) return -1;
    std::memcpy(out, secret->text().data(), length);
    return static_cast<int>(length);
  }
};

/// A key of any type: whether its type is the wanted one is the caller's question.
Result<Owned<EVP_PKEY>> ReadPrivate(const fs::path& path, std::string_view kind) {
  TRY_ASSIGN(std::string pem, ReadKeyFile(path));
  const Secret wiped(std::move(pem));
  const auto bio = Reader(wiped.text());
  Question question{"key " + Quoted(path), false, {}};
  ERR_clear_error();
  Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, Question::Answer, &question));
  if (question.failure) return std::unexpected(std::move(*question.failure));
  if (key == nullptr && question.asked) {
    return Fail(ErrorCode::kUntrusted, "passphrase-wrong",
                "the passphrase does not open key " + Quoted(path));
  }
  if (key == nullptr) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                Quoted(path) + " holds no " + std::string(kind) + " private key in PEM");
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

/// The PUBLIC KEY block that Save writes behind a protected key; null when there is none.
Owned<EVP_PKEY> PublicBlock(std::string_view pem) {
  // Alone: OpenSSL would ask for the passphrase of the private key before it.
  const std::size_t begin = pem.find("-----BEGIN PUBLIC KEY-----");
  if (begin == std::string_view::npos) return nullptr;
  const auto bio = Reader(pem.substr(begin));
  ERR_clear_error();
  return Owned<EVP_PKEY>(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
}

Result<Owned<EVP_PKEY>> LoadPrivate(const fs::path& path, int type, std::string_view kind) {
  TRY_ASSIGN(auto key, ReadPrivate(path, kind));
  if (EVP_PKEY_get_base_id(key.get()) != type) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                Quoted(path) + " holds no " + std::string(kind) + " private key in PEM");
  }
  TRY_ASSIGN(const std::string pem, ReadKeyFile(path));
  const auto stated = PublicBlock(pem);
  if (stated != nullptr && EVP_PKEY_eq(stated.get(), key.get()) != 1) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                Quoted(path) + ": the public key in it is not that of the private one");
  }
  return key;
}

Result<std::array<std::uint8_t, 32>> LoadPublic(const fs::path& path, int type,
                                                std::string_view kind) {
  TRY_ASSIGN(const std::string pem, ReadKeyFile(path));
  if (const auto stated = PublicBlock(pem);
      stated != nullptr && EVP_PKEY_get_base_id(stated.get()) == type) {
    return RawPublic(stated.get());
  }
  TRY_ASSIGN(const auto key, LoadPrivate(path, type, kind));
  return RawPublic(key.get());
}

/// scrypt with N 2^14, the most that OpenSSL opens by default: a stolen file costs an attacker 16
/// MiB and some 30 ms for each guess.
Owned<X509_SIG> Seal(EVP_PKEY* key, std::string_view passphrase) {
  const Owned<PKCS8_PRIV_KEY_INFO> info(EVP_PKEY2PKCS8(key));
  X509_ALGOR* algorithm =
      PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), nullptr, 0, nullptr, 1 << 14, 8, 1);
  Require(info != nullptr && algorithm != nullptr, "PKCS5_pbe2_set_scrypt");
  Owned<X509_SIG> sealed(PKCS8_set0_pbe(passphrase.data(), static_cast<int>(passphrase.size()),
                                        info.get(), algorithm));
  Require(sealed != nullptr, "PKCS8_set0_pbe");
  return sealed;
}

Secret PemOf(EVP_PKEY* key, std::string_view passphrase) {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  Require(bio != nullptr, "BIO_new");
  if (passphrase.empty()) {
    Require(
        PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "PEM_write_bio_PKCS8PrivateKey");
  } else {
    const auto sealed = Seal(key, passphrase);
    Require(PEM_write_bio_PKCS8(bio.get(), sealed.get()) == 1 &&
                PEM_write_bio_PUBKEY(bio.get(), key) == 1,
            "PEM_write_bio_PKCS8");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return Secret(std::string(data, static_cast<std::size_t>(size)));
}

Result<void> SaveNew(EVP_PKEY* key, const fs::path& path, std::string_view passphrase) {
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    return Fail(ErrorCode::kUsage, "key-exists",
                Quoted(path) + " exists; a key is never overwritten");
  }
  return WriteFileAtomically(path, AsBytes(PemOf(key, passphrase).text()), 0600);
}

}  // namespace

// ---- Ed25519 -----------------------------------------------------------------------------------

struct SigningKey::Impl {
  Owned<EVP_PKEY> key;
  std::unique_ptr<TokenKey> token;
};

SigningKey::SigningKey(std::unique_ptr<Impl> impl, const SigningPublicKey& public_key)
    : impl_(std::move(impl)), public_key_(public_key) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

Result<SigningKey> SigningKey::Load(const fs::path& path) {
  auto impl = std::make_unique<Impl>();
  if (IsTokenUri(path.string())) {
    TRY_ASSIGN(impl->token, TokenKey::Open(path.string()));
    const SigningPublicKey public_key = impl->token->public_key();
    return SigningKey(std::move(impl), public_key);
  }
  TRY_ASSIGN(impl->key, LoadPrivate(path, EVP_PKEY_ED25519, "Ed25519"));
  const SigningPublicKey public_key{RawPublic(impl->key.get())};
  return SigningKey(std::move(impl), public_key);
}

SigningKey SigningKey::Generate() {
  auto impl = std::make_unique<Impl>();
  impl->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  Require(impl->key != nullptr, "EVP_PKEY_Q_keygen");
  const SigningPublicKey public_key{RawPublic(impl->key.get())};
  return SigningKey(std::move(impl), public_key);
}

Result<Signature> SigningKey::Sign(ByteView message) const {
  if (impl_->token) return impl_->token->Sign(message);
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
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

Result<void> SigningKey::Save(const fs::path& path, std::string_view passphrase) const {
  if (impl_->token) return Fail(ErrorCode::kUsage, "token-key", "a key on a token stays there");
  return SaveNew(impl_->key.get(), path, passphrase);
}

// ---- X25519 ------------------------------------------------------------------------------------

struct EncryptionKey::Impl {
  Owned<EVP_PKEY> key;
};

EncryptionKey::EncryptionKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  public_key_.bytes = RawPublic(impl_->key.get());
}
EncryptionKey::EncryptionKey(EncryptionKey&&) noexcept = default;
EncryptionKey& EncryptionKey::operator=(EncryptionKey&&) noexcept = default;
EncryptionKey::~EncryptionKey() = default;

Result<EncryptionKey> EncryptionKey::Load(const fs::path& path) {
  auto impl = std::make_unique<Impl>();
  TRY_ASSIGN(impl->key, LoadPrivate(path, EVP_PKEY_X25519, "X25519"));
  return EncryptionKey(std::move(impl));
}

EncryptionKey EncryptionKey::Generate() {
  auto impl = std::make_unique<Impl>();
  impl->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  Require(impl->key != nullptr, "EVP_PKEY_Q_keygen");
  return EncryptionKey(std::move(impl));
}

Result<std::array<std::uint8_t, 32>> EncryptionKey::Agree(const EncryptionPublicKey& peer) const {
  const Owned<EVP_PKEY> other(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, peer.bytes.data(), peer.bytes.size()));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(impl_->key.get(), nullptr));
  Require(other != nullptr && context != nullptr, "EVP_PKEY_CTX_new");
  std::array<std::uint8_t, 32> shared{};
  std::size_t size = shared.size();
  // OpenSSL refuses the all-zero result that points of small order give.
  if (EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), other.get()) != 1 ||
      EVP_PKEY_derive(context.get(), shared.data(), &size) != 1 || size != shared.size()) {
    ERR_clear_error();
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "no secret can be agreed on with encryption key " + peer.Id().ToHex());
  }
  return shared;
}

Result<void> EncryptionKey::Save(const fs::path& path, std::string_view passphrase) const {
  return SaveNew(impl_->key.get(), path, passphrase);
}

// ---- Both --------------------------------------------------------------------------------------

Result<SigningPublicKey> LoadSigningPublicKey(const fs::path& path) {
  if (IsTokenUri(path.string())) {
    TRY_ASSIGN(const auto token, TokenKey::Open(path.string()));
    return token->public_key();
  }
  TRY_ASSIGN(const auto raw, LoadPublic(path, EVP_PKEY_ED25519, "Ed25519"));
  return SigningPublicKey{raw};
}

Result<EncryptionPublicKey> LoadEncryptionPublicKey(const fs::path& path) {
  TRY_ASSIGN(const auto raw, LoadPublic(path, EVP_PKEY_X25519, "X25519"));
  return EncryptionPublicKey{raw};
}

Result<bool> IsProtectedKey(const fs::path& path) {
  TRY_ASSIGN(const std::string pem, ReadKeyFile(path));
  return pem.find("ENCRYPTED") != std::string::npos;
}

Result<void> ChangePassphrase(const fs::path& path, std::string_view passphrase) {
  TRY_ASSIGN(const auto key, ReadPrivate(path, "Ed25519 or X25519"));
  const int type = EVP_PKEY_get_base_id(key.get());
  if (type != EVP_PKEY_ED25519 && type != EVP_PKEY_X25519) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                Quoted(path) + " holds neither an Ed25519 nor an X25519 key");
  }
  return WriteFileAtomically(path, AsBytes(PemOf(key.get(), passphrase).text()), 0600);
}

}  // namespace gapferry::manifests
