#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/guid.h"
#include "base/result.h"
#include "manifests/keys.h"
#include "manifests/signature.h"

namespace gapferry::manifests {

inline constexpr std::size_t kMaxCardBytes = 16 * 1024;
inline constexpr std::uint64_t kMaxCardNumber = 999'999;

/// Who a mirror or a person is: one self-signed `gapferry-card/1` document. The signature inside
/// shows that name and roles were set by the holder of the signing key; whose key it is, people
/// compare by the fingerprint.
struct Card {
  Guid guid;
  std::string name;               ///< 1 to 64 bytes of UTF-8 without controls
  std::vector<SignerRole> roles;  ///< sorted, not empty
  SigningPublicKey signing_key;
  EncryptionPublicKey encryption_key;
  /// Of the holder's last change of keys; 0: these are the first. Later cards have higher ones.
  std::uint64_t number = 0;
  std::vector<std::string>
      formats;  ///< what the holder reads, such as "gapferry-manifest/1"; sorted

  /// Base32 of 160 bits of SHA-256 over GUID and both keys, eight groups of four letters and
  /// digits: what two people read to each other.
  std::string Fingerprint() const;
  bool operator==(const Card&) const = default;
};

/// The card as a file: one line of canonical JSON and LF. `key` must be the card's signing key;
/// only a key on a token can fail.
Result<std::string> EncodeCard(const Card& card, const SigningKey& key);

/// Fails with kCorrupt (reason "card-malformed") or, when the signature inside is not by the card's
/// own key over the rest, kUntrusted (reason "card-signature").
Result<Card> DecodeCard(ByteView bytes);

/// A mirror's own card with the key that signs for it.
struct OwnIdentity {
  Card card;
  SigningKey key;
};

/// Makes the card of a mirror (role origin, the formats that this program reads) from its GUID, its
/// name, its two keys (as SigningKey::Load and LoadEncryptionPublicKey take them) and the number of
/// its last change of keys.
Result<OwnIdentity> LoadIdentity(const Guid& guid, std::string_view name,
                                 const std::filesystem::path& signing_key,
                                 const std::filesystem::path& encryption_key,
                                 std::uint64_t number = 0);

}  // namespace gapferry::manifests
