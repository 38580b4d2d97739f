#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "manifests/keys.h"

namespace gapferry::manifests {

/// A receipt that a person types or reads aloud (docs/format.md, "Receipt codes"): 40 characters in
/// ten groups of four, each three characters and a check character. It says how far a site is and
/// nothing about files, computers or people.
struct ReceiptCode {
  static constexpr std::size_t kMacBytes = 9;

  std::uint64_t sequence = 0;      ///< of the last bundle imported: 1 to 2^30 - 1
  std::uint32_t state = 0;         ///< first 32 bits of the state digest that the site has now
  std::uint16_t epoch = 0;         ///< ReceiptEpochHint of the site's epoch
  bool files_are_missing = false;  ///< some that it needs and a bundle was to bring
  std::array<std::uint8_t, kMacBytes> mac{};
  bool operator==(const ReceiptCode&) const = default;
};

inline constexpr std::size_t kReceiptGroups = 10;

/// 12 bits that tell epochs of one site apart.
std::uint16_t ReceiptEpochHint(const Guid& epoch);
std::uint32_t ReceiptStatePrefix(const Sha256Digest& state_digest);

/// "4K7Q-0M2X-...": upper case.
std::string FormatReceiptCode(const ReceiptCode& code);
/// The same to be read aloud, one line for each group: " 1  four Kilo seven Quebec".
std::string SpellReceiptCode(std::string_view formatted);

/// Takes what people type: any case, groups with hyphens, blanks or nothing between them, O for 0,
/// I and L for 1. Fails with kUsage: reason "receipt-code-length", or "receipt-code-mistyped"
/// naming the groups that are wrong (a wrong character, two exchanged, two groups exchanged).
Result<ReceiptCode> ParseReceiptCode(std::string_view text);

/// What only the site and the sender of its bundles can derive, each from its own encryption key
/// and the other's card.
class ReceiptKey {
 public:
  struct Parties {
    Guid site;
    Guid sender;
    EncryptionPublicKey site_key;
    EncryptionPublicKey sender_key;
  };
  /// `own` is the private half of one of the two. Fails with kCorrupt for a key of small order.
  static Result<ReceiptKey> Derive(const EncryptionKey& own, const Parties& parties);

  /// Over everything in the code but the MAC itself, and the stream's name.
  std::array<std::uint8_t, ReceiptCode::kMacBytes> Mac(const ReceiptCode& code,
                                                       std::string_view stream) const;
  /// In constant time.
  bool Matches(const ReceiptCode& code, std::string_view stream) const;

 private:
  Sha256Digest key_;
};

}  // namespace gapferry::manifests
