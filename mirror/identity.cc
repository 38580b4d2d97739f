#include "mirror/identity.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"

namespace gapferry::mirror {

namespace {

struct KeyRelease {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct BioRelease {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

Result<void> WritePrivateKey(const std::filesystem::path& path, const char* algorithm) {
  const std::unique_ptr<EVP_PKEY, KeyRelease> key(EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm));
  const std::unique_ptr<BIO, BioRelease> bio(BIO_new(BIO_s_secmem()));
  if (!key || !bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return Fail(ErrorCode::kInternal, fmt::format("cannot make a key of type {}", algorithm));
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return WriteFileAtomically(path, AsBytes({data, static_cast<std::size_t>(size)}), 0600);
}

}  // namespace

KeyPaths KeyPathsOf(const std::filesystem::path& mirror) {
  const auto keys = mirror / "keys";
  return {keys / "signing.pem", keys / "encryption.pem", keys / "cookie.key", keys / "trusted",
          keys / "old",         keys / "trust.jsonl",    keys / "next",       keys / "ready"};
}

Result<std::uint64_t> FinishKeyChange(const std::filesystem::path& keys) {
  const auto ready = keys / "ready";
  std::error_code ignored;
  if (std::filesystem::exists(ready, ignored)) {
    for (const char* name : {"signing.pem", "encryption.pem", "trust.jsonl", "card", "number"}) {
      // Another process may be at the same work: what is gone is done.
      std::filesystem::rename(ready / name, keys / name, ignored);
    }
    std::filesystem::remove(ready, ignored);
    TRY(SyncDirectory(keys));
  }
  const auto text = ReadTextFile(keys / "number", 32);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::uint64_t{0};
  if (!text) return std::unexpected(text.error());
  const auto number = ParseInt<std::uint64_t>(TrimAscii(*text));
  if (!number) {
    return Fail(ErrorCode::kCorrupt, fmt::format("'{}' holds no number of a change of keys",
                                                 (keys / "number").string()));
  }
  return *number;
}

Result<CookieKey> ReadCookieKey(const std::filesystem::path& mirror) {
  const auto path = KeyPathsOf(mirror).cookie;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return FailErrno(errno, fmt::format("cookie key '{}'", path.string()));
  }
  if ((status.st_mode & 077) != 0) {
    return Fail(ErrorCode::kUntrusted, "key-readable",
                fmt::format("cookie key '{}': mode {:04o} lets others read it, expected 0600",
                            path.string(), status.st_mode & 07777));
  }
  TRY_ASSIGN(const Bytes bytes, ReadFile(path, 1024));
  CookieKey key;
  if (bytes.size() != key.size()) {
    return Fail(ErrorCode::kCorrupt, fmt::format("cookie key '{}': {} bytes, expected {}",
                                                 path.string(), bytes.size(), key.size()));
  }
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

Result<void> CreateKeys(const std::filesystem::path& mirror) {
  const KeyPaths paths = KeyPathsOf(mirror);
  TRY(CreateDirectories(paths.signing.parent_path(), 0700));
  TRY(CreateDirectories(paths.trusted_folder, 0700));
  for (const auto& path : {paths.signing, paths.encryption, paths.cookie}) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) {
      return Fail(ErrorCode::kUsage, fmt::format("key '{}' exists already", path.string()));
    }
  }
  TRY(WritePrivateKey(paths.signing, "ED25519"));
  TRY(WritePrivateKey(paths.encryption, "X25519"));
  CookieKey key;
  FillRandom(key);
  return WriteFileAtomically(paths.cookie, key, 0600);
}

}  // namespace gapferry::mirror
