#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/guid.h"
#include "base/result.h"

namespace gapferry::mirror {

/// 128 random bits, new with every init and restore: generations of different epochs are different
/// histories.
using Epoch = Guid;

/// Who this mirror is. The GUID is the same for ever: accountGuid, ServerId and card.
struct Identity {
  Guid guid;
  Epoch epoch;
  std::string name;
};

/// Paths of keys/ (folder 0700, files 0600). Who uses a key reads it; nothing here keeps one in
/// memory. Signing and encryption keys are PEM (Ed25519, X25519), written by init.
struct KeyPaths {
  std::filesystem::path signing;         ///< keys/signing.pem
  std::filesystem::path encryption;      ///< keys/encryption.pem
  std::filesystem::path cookie;          ///< keys/cookie.key, 32 bytes
  std::filesystem::path trusted_folder;  ///< keys/trusted/, cards of peers
};
KeyPaths KeyPathsOf(const std::filesystem::path& mirror);

using CookieKey = std::array<std::uint8_t, 32>;
/// Fails with kCorrupt when the file has not 32 bytes, kUntrusted when others may read it.
Result<CookieKey> ReadCookieKey(const std::filesystem::path& mirror);

/// Writes fresh keys; existing ones are never overwritten (kUsage).
Result<void> CreateKeys(const std::filesystem::path& mirror);

}  // namespace gapferry::mirror
