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
  std::uint64_t key_number = 0;  ///< of the last change of its keys; 0: they are the first
};

/// Paths of keys/ (folder 0700, files 0600). Who uses a key reads it; nothing here keeps one in
/// memory. Signing and encryption keys are PEM (Ed25519, X25519), written by init.
struct KeyPaths {
  std::filesystem::path signing;         ///< keys/signing.pem
  std::filesystem::path encryption;      ///< keys/encryption.pem
  std::filesystem::path cookie;          ///< keys/cookie.key, 32 bytes
  std::filesystem::path trusted_folder;  ///< keys/trusted/, cards of peers
  std::filesystem::path old_folder;      ///< keys/old/, keys that were replaced
  std::filesystem::path documents;       ///< keys/trust.jsonl, trust documents that bundles carry
  std::filesystem::path next_folder;     ///< keys/next/, a change of keys that is being prepared
  std::filesystem::path ready_folder;    ///< keys/ready/, one that has happened
};
KeyPaths KeyPathsOf(const std::filesystem::path& mirror);

using CookieKey = std::array<std::uint8_t, 32>;
/// Fails with kCorrupt when the file has not 32 bytes, kUntrusted when others may read it.
Result<CookieKey> ReadCookieKey(const std::filesystem::path& mirror);

/// A change of keys happens when keys/next/ is renamed to keys/ready/: whoever comes next puts its
/// files into place (any process, any number of times) and reads the number of the last change.
Result<std::uint64_t> FinishKeyChange(const std::filesystem::path& keys);

/// Writes fresh keys; existing ones are never overwritten (kUsage).
Result<void> CreateKeys(const std::filesystem::path& mirror);

}  // namespace gapferry::mirror
