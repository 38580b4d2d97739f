#include "manifests/seal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "manifests/manifest.h"
#include "manifests/seal_format.h"

namespace gapferry::manifests {
namespace {

constexpr std::string_view kMagic = "gapferry-seal/1\n";
static_assert(kMagic.size() + SealSalt{}.size() == kSealHeaderBytes);
constexpr std::size_t kNonceBytes = 12;
using Nonce = std::array<std::uint8_t, kNonceBytes>;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* handle) const {
    Free(handle);
  }
};
using Kdf = std::unique_ptr<EVP_KDF, Deleter<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Deleter<EVP_KDF_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, Deleter<EVP_CIPHER_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX_free>>;

/// Only memory or a crippled OpenSSL can make these fail.
void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "OpenSSL: %s failed\n", what);
  std::abort();
}

/// HKDF-SHA256 (RFC 5869).
void Derive(ByteView secret, ByteView salt, std::string_view info, std::span<std::uint8_t> out) {
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  Require(kdf != nullptr, "EVP_KDF_fetch");
  const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
  Require(context != nullptr, "EVP_KDF_CTX_new");
  char digest[] = "SHA256";
  const auto octets = [](const char* name, ByteView bytes) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()),
                                             bytes.size());
  };
  // OpenSSL takes no empty salt; none at all means the same (RFC 5869, 2.2).
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, secret), octets(OSSL_KDF_PARAM_INFO, AsBytes(info)),
      salt.empty() ? OSSL_PARAM_construct_end() : octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_end()};
  Require(EVP_KDF_derive(context.get(), out.data(), out.size(), params) == 1, "EVP_KDF_derive");
}

SealBytes32 Derive32(ByteView secret, ByteView salt, std::string_view info) {
  SealBytes32 out;
  Derive(secret, salt, info, out);
  return out;
}

Cipher NewCipher() {
  Cipher cipher(EVP_CIPHER_CTX_new());
  Require(cipher != nullptr, "EVP_CIPHER_CTX_new");
  return cipher;
}

void Encrypt(const SealBytes32& key, const Nonce& nonce, ByteView text, std::uint8_t* out) {
  const Cipher cipher = NewCipher();
  int count = 0;
  std::uint8_t none[kSealTagBytes];
  Require(
      EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1 &&
          (text.empty() || EVP_EncryptUpdate(cipher.get(), out, &count, text.data(),
                                             static_cast<int>(text.size())) == 1) &&
          EVP_EncryptFinal_ex(cipher.get(), none, &count) == 1 &&
          EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kSealTagBytes),
                              out + text.size()) == 1,
      "AES-256-GCM");
}

bool Decrypt(const SealBytes32& key, const Nonce& nonce, ByteView stored, std::uint8_t* out) {
  if (stored.size() < kSealTagBytes) return false;
  const ByteView text = stored.first(stored.size() - kSealTagBytes);
  std::array<std::uint8_t, kSealTagBytes> tag;
  std::copy_n(stored.end() - kSealTagBytes, kSealTagBytes, tag.begin());
  const Cipher cipher = NewCipher();
  int count = 0;
  std::uint8_t none[kSealTagBytes];
  Require(
      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1 &&
          EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                              tag.data()) == 1,
      "AES-256-GCM");
  return (text.empty() || EVP_DecryptUpdate(cipher.get(), out, &count, text.data(),
                                            static_cast<int>(text.size())) == 1) &&
         EVP_DecryptFinal_ex(cipher.get(), none, &count) == 1;
}

Nonce NonceOf(std::uint64_t number, bool last) {
  Nonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[3 + i] = static_cast<std::uint8_t>(number >> (8 * (7 - i)));
  }
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/// Of one exchange; both public keys go in, as in any use of Diffie-Hellman for encryption.
SealBytes32 WrappingKey(ByteView agreed, ByteView ephemeral, const EncryptionPublicKey& recipient) {
  Bytes salt(ephemeral.begin(), ephemeral.end());
  salt.insert(salt.end(), recipient.bytes.begin(), recipient.bytes.end());
  return Derive32(agreed, salt, "gapferry-seal/1 recipient");
}

struct Exchange {
  SealBytes32 ephemeral{};  ///< public
  SealBytes32 agreed{};
};

Result<Exchange> Agree(const SealBytes32& secret, const EncryptionPublicKey& recipient) {
  const Key own(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, secret.data(), 32));
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, recipient.bytes.data(), 32));
  Require(own != nullptr && peer != nullptr, "EVP_PKEY_new_raw_key");
  Exchange out;
  std::size_t size = 32;
  Require(EVP_PKEY_get_raw_public_key(own.get(), out.ephemeral.data(), &size) == 1,
          "EVP_PKEY_get_raw_public_key");
  const KeyContext context(EVP_PKEY_CTX_new(own.get(), nullptr));
  Require(context != nullptr && EVP_PKEY_derive_init(context.get()) == 1, "EVP_PKEY_derive_init");
  if (EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
      EVP_PKEY_derive(context.get(), out.agreed.data(), &size) != 1) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "encryption key " + recipient.Id().ToHex() + " is of small order");
  }
  return out;
}

}  // namespace

BundleSecret BundleSecret::Draw() {
  BundleSecret secret;
  FillRandom(secret.bytes_);
  return secret;
}

Result<BundleSecret> BundleSecret::Load(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kUntrusted, "key-readable",
                "'" + path.string() + "' can be read by others; chmod 600 it");
  }
  TRY_ASSIGN(const std::string text, ReadTextFile(path, 1024));
  const auto raw = HexDecode(std::string_view(text).substr(0, text.find('\n')));
  BundleSecret secret;
  if (!raw || raw->size() != secret.bytes_.size()) {
    return Fail(ErrorCode::kCorrupt, "key-malformed",
                "'" + path.string() + "' holds no secret of a bundle");
  }
  std::ranges::copy(*raw, secret.bytes_.begin());
  return secret;
}

Result<void> BundleSecret::Save(const fs::path& path) const {
  return WriteFileAtomically(path, AsBytes(HexEncode(bytes_) + "\n"), 0600);
}

SealKey BundleSecret::Key() const { return {Derive32(bytes_, {}, "gapferry-seal/1 key")}; }

Sha256Digest BundleSecret::Fingerprint() const {
  return {Derive32(bytes_, {}, "gapferry-seal/1 fingerprint")};
}

SealSalt BundleSecret::Salt(std::string_view name, const Sha256Digest& text) const {
  SealSalt salt;
  Derive(bytes_, text.View(), "gapferry-seal/1 salt " + std::string(name), salt);
  return salt;
}

Result<Bytes> BundleSecret::WrapFor(const EncryptionPublicKey& recipient) const {
  TRY_ASSIGN(const Exchange exchange,
             Agree(Derive32(bytes_, recipient.bytes, "gapferry-seal/1 ephemeral"), recipient));
  const SealKey key = Key();
  Bytes out(exchange.ephemeral.begin(), exchange.ephemeral.end());
  out.resize(kSealedKeyBytes);
  // Used for this one text: the nonce may be constant.
  Encrypt(WrappingKey(exchange.agreed, exchange.ephemeral, recipient), {}, key.bytes,
          out.data() + exchange.ephemeral.size());
  return out;
}

Result<SealKey> Unwrap(ByteView wrapped, const EncryptionKey& own) {
  const auto refuse = [&] {
    return Fail(ErrorCode::kCorrupt, "seal-key",
                "the bundle's key cannot be opened with key " + own.public_key().Id().ToHex() +
                    ": it was not sealed for it");
  };
  if (wrapped.size() != kSealedKeyBytes) return refuse();
  EncryptionPublicKey ephemeral;
  std::ranges::copy(wrapped.first(32), ephemeral.bytes.begin());
  const auto agreed = own.Agree(ephemeral);
  if (!agreed) return refuse();
  SealKey key;
  const SealBytes32 wrapping = WrappingKey(*agreed, ephemeral.bytes, own.public_key());
  if (!Decrypt(wrapping, {}, wrapped.subspan(32), key.bytes.data())) return refuse();
  return key;
}

ChunkCipher::ChunkCipher(const SealKey& key, const SealSalt& salt, std::string_view name)
    : key_(Derive32(key.bytes, salt, "gapferry-seal/1 file " + std::string(name))) {}

ChunkCipher::~ChunkCipher() { OPENSSL_cleanse(key_.data(), key_.size()); }

void ChunkCipher::Seal(std::uint64_t number, bool last, ByteView text, std::uint8_t* out) const {
  Encrypt(key_, NonceOf(number, last), text, out);
}

bool ChunkCipher::Open(std::uint64_t number, bool last, ByteView stored, std::uint8_t* out) const {
  return Decrypt(key_, NonceOf(number, last), stored, out);
}

SealSink::SealSink(Sink& out, const SealKey& key, const SealSalt& salt, std::string_view name)
    : out_(out), cipher_(key, salt, name), salt_(salt) {
  text_.reserve(kSealPlainBytes);
}

Result<void> SealSink::Write(ByteView bytes) {
  while (!bytes.empty()) {
    const std::uint64_t room =
        kSealPlainBytes - (number_ == 0 ? kSealHeaderBytes : 0) - text_.size();
    // The last chunk is marked, so a full one waits until it is known that more follows.
    if (room == 0) {
      TRY(Flush(/*last=*/false));
      continue;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(room, bytes.size()));
    text_.insert(text_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
  }
  return {};
}

Result<void> SealSink::Flush(bool last) {
  Bytes stored = number_ == 0 ? SealHeader(salt_) : Bytes();
  const std::size_t at = stored.size();
  stored.resize(at + text_.size() + kSealTagBytes);
  cipher_.Seal(number_++, last, text_, stored.data() + at);
  text_.clear();
  return out_.Write(stored);
}

Result<void> SealSink::Finish() { return Flush(/*last=*/true); }

Bytes SealText(const BundleSecret& secret, std::string_view name, ByteView text) {
  MemorySink out(SealedSize(text.size()));
  SealSink sink(out, secret.Key(), secret.Salt(name, Sha256(text)), name);
  Require(sink.Write(text).has_value() && sink.Finish().has_value(), "SealText");
  return out.Take();
}

Result<Bytes> OpenText(const SealKey& key, std::string_view name, ByteView stored) {
  const auto damaged = [&] {
    return Fail(ErrorCode::kCorrupt, "seal-damaged",
                "'" + std::string(name) + kSealedSuffix + "' is not what was sealed");
  };
  const auto size = PlainSize(stored.size());
  if (!size) return damaged();
  TRY_ASSIGN(const SealSalt salt, ReadSealHeader(stored.first(kSealHeaderBytes)));
  const ChunkCipher cipher(key, salt, name);
  Bytes text(static_cast<std::size_t>(*size));
  std::size_t done = 0;
  for (std::uint64_t number = 0, at = kSealHeaderBytes; at < stored.size(); ++number) {
    const std::uint64_t end =
        std::min<std::uint64_t>((number + 1) * kSealChunkBytes, stored.size());
    const ByteView chunk = stored.subspan(at, end - at);
    if (!cipher.Open(number, end == stored.size(), chunk, text.data() + done)) return damaged();
    done += chunk.size() - kSealTagBytes;
    at = end;
  }
  return text;
}

Bytes SealHeader(const SealSalt& salt) {
  Bytes header(kMagic.begin(), kMagic.end());
  header.insert(header.end(), salt.begin(), salt.end());
  return header;
}

Result<SealSalt> ReadSealHeader(ByteView header) {
  if (header.size() != kSealHeaderBytes || AsText(header.first(kMagic.size())) != kMagic) {
    return Fail(ErrorCode::kCorrupt, "seal-damaged", "does not begin as a sealed file does");
  }
  SealSalt salt;
  std::ranges::copy(header.subspan(kMagic.size()), salt.begin());
  return salt;
}

}  // namespace gapferry::manifests
