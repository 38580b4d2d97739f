#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/guid.h"
#include "base/result.h"
#include "manifests/document.h"
#include "manifests/keys.h"

namespace gapferry::manifests {

/// For what a signature stands. `origin`: the mirror that wrote the document. `release`: a reviewer
/// who read it.
enum class SignerRole { kOrigin, kRelease };
std::string_view SignerRoleName(SignerRole role);
Result<SignerRole> ParseSignerRole(std::string_view text);

/// One line of a `.sig` file: key id, role, base64 of the Ed25519 signature over the exact bytes of
/// the document, separated by one space.
struct SignatureLine {
  KeyId key_id;
  SignerRole role = SignerRole::kOrigin;
  Signature signature{};
  bool operator==(const SignatureLine&) const = default;
};

inline constexpr std::size_t kMaxSignatureLines = 64;
inline constexpr std::size_t kMaxSignatureFileBytes = 16 * 1024;

/// Only a key on a token can fail.
Result<SignatureLine> SignDocument(ByteView document, const SigningKey& key, SignerRole role);
/// Sorts by key id.
std::string EncodeSignatures(std::vector<SignatureLine> lines);
/// Fails with kCorrupt: reason "signature-malformed" (a line, the order, the line end), or
/// "signature-repeated-key".
Result<std::vector<SignatureLine>> DecodeSignatures(std::string_view text);

/// A key that somebody decided to trust, for one role, as that of one person or mirror.
struct TrustedKey {
  SigningPublicKey key;
  SignerRole role = SignerRole::kOrigin;
  Guid holder;       ///< GUID of the card: persons are counted, not keys
  std::string name;  ///< of the holder, for messages
};

/// `origin`, or `origin + k release`. Every rule asks for exactly one origin signature.
struct TrustRule {
  unsigned release_persons = 0;  ///< how many different holders must have released
  std::string ToString() const;  ///< "origin", "origin + 2 release"
  bool operator==(const TrustRule&) const = default;
};

/// A key that was trusted once: rotated away or revoked.
struct EndedKey {
  KeyId id;
  Guid holder;
  std::string name;  ///< of the holder, for messages
  std::string why;   ///< "rotated", "revoked: stick lost"
  bool operator==(const EndedKey&) const = default;
};

/// The rule of one sender, or of one of its streams.
struct StreamRule {
  Guid sender;
  std::string stream;  ///< empty: all that have no rule of their own
  TrustRule rule;
  std::vector<Guid> reviewers;  ///< whose release counts, ascending; empty: that of all
  bool operator==(const StreamRule&) const = default;
};

struct TrustPolicy {
  std::vector<TrustedKey> keys;
  TrustRule rule;                 ///< where no other applies
  std::vector<StreamRule> rules;  ///< of single senders and streams
  std::vector<EndedKey> ended;

  /// The most special rule: stream, sender, default.
  StreamRule RuleFor(const Guid& sender, std::string_view stream) const;
};

/// What a check found: who counted, and who is unknown here (shown, never counted).
struct SignatureReport {
  TrustedKey origin;
  std::vector<TrustedKey> released;
  std::vector<SignatureLine> unknown;
  std::vector<EndedKey> ended;  ///< release signatures by keys that ended: not counted either
};

/// Checks `signature_file` over `document` of type `expected`, all but how many released it.
/// kUntrusted with reason "signature-unknown-key" (nobody trusted signed as origin),
/// "signature-revoked-key" (only a key that ended did), "signature-bad" (a known key, another
/// signature), "signature-role" (a known key in a role it was not trusted for),
/// "signature-two-origins"; kCorrupt as DecodeSignatures and CheckDocumentType. Pure; no clock, no
/// disk.
Result<SignatureReport> ReadSignatures(ByteView document, DocumentType expected,
                                       std::string_view signature_file, const TrustPolicy& policy);

/// Whether as many holders released it as the rule of its origin and stream asks for: kUntrusted
/// with reason "signature-threshold". The origin does not release its own.
Result<void> CheckRelease(const SignatureReport& report, const TrustPolicy& policy,
                          std::string_view stream);

/// Both, for documents without a stream.
Result<SignatureReport> CheckSignatures(ByteView document, DocumentType expected,
                                        std::string_view signature_file, const TrustPolicy& policy);

}  // namespace gapferry::manifests
