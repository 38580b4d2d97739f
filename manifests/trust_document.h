#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "manifests/card.h"

namespace gapferry::manifests {

inline constexpr std::size_t kMaxTrustDocumentBytes = 32 * 1024;
inline constexpr std::size_t kMaxTrustDocuments = 256;  ///< in one file
inline constexpr std::size_t kMaxTrustFileBytes = 512 * 1024;
inline constexpr std::uint64_t kMaxTrustNumber = kMaxCardNumber;

/// The name of the file in a bundle that carries them: JSON lines.
inline constexpr std::string_view kTrustFileName = "trust.jsonl";

enum class TrustAct {
  kRotation,    ///< `gapferry-rotation/1`: another card takes the place of the holder's
  kRevocation,  ///< `gapferry-revocation/1`: a key ends and nothing takes its place
};

/// A change of whom to trust, signed inside: by the key that ends, or by as many release holders as
/// the reader's own policy asks for (docs/format.md, "Trust documents"). The documents of one
/// holder have rising numbers, shared with the number in its card.
struct TrustDocument {
  TrustAct act = TrustAct::kRotation;
  Guid holder;
  std::uint64_t number = 0;  ///< from 1; a rotation's card has the same
  KeyId ended_key;           ///< the signing key that no longer counts
  Card card;                 ///< of a rotation: who the holder is from now on
  std::string card_text;     ///< of a rotation: the card as it was signed, LF included
  UtcTime created;           ///< shown, never enforced
  std::string why;           ///< for people, at most 120 bytes
  struct Signer {
    KeyId key_id;
    Signature signature{};
  };
  std::vector<Signer> signers;  ///< ascending by key id, no key twice, at most 64

  /// What the signatures cover: the document without them, LF included.
  std::string SignedText() const;
};

/// One line of canonical JSON and LF.
std::string EncodeTrustDocument(const TrustDocument& document);
/// Fails with kCorrupt (reason "trust-malformed", or as DecodeCard for the card inside),
/// kUnsupported ("document-version"). Judges no signature but the card's own.
Result<TrustDocument> DecodeTrustDocument(ByteView bytes);
/// Whether `bytes` begin as one.
bool IsTrustDocument(ByteView bytes);

/// Several of them, one per line. Fails also with kCorrupt (reason "trust-malformed") above the
/// limits.
Result<std::vector<TrustDocument>> DecodeTrustDocuments(ByteView bytes);
std::string EncodeTrustDocuments(const std::vector<TrustDocument>& documents);

/// Adds the signature of `key`, in place of an older one of the same key.
Result<void> SignTrustDocument(TrustDocument& document, const SigningKey& key);

/// Puts `document` among `documents`, sorted by holder and number: in place of one with the same
/// text, whose signatures are joined. Another text under the same number replaces it.
void MergeTrustDocument(std::vector<TrustDocument>& documents, TrustDocument document);

}  // namespace gapferry::manifests
