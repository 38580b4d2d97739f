#pragma once

#include <string>

#include "base/bytes.h"
#include "base/canonical_json.h"
#include "base/result.h"
#include "manifests/keys.h"

namespace gapferry::manifests {

inline constexpr std::size_t kMaxEvidenceBytes = 64ULL << 20;

/// A `gapferry-evidence/1` document: one line of canonical JSON and LF that carries its own
/// signature, like a card: `signature` covers the document without that field. Type, key and key id
/// are added here. Fails as the key does, and with kUnsupported (reason "evidence-too-large").
Result<std::string> SignEvidence(JsonValue::Object members, const SigningKey& key);

struct SignedEvidence {
  JsonValue::Object members;  ///< all but the signature
  SigningPublicKey key;       ///< that signed it: whose it is, the caller must know
};

/// Fails with kCorrupt (reasons "document-type", "evidence-malformed"), kUntrusted (reason
/// "evidence-signature") when it was changed after it was signed.
Result<SignedEvidence> ReadEvidence(ByteView bytes);

}  // namespace gapferry::manifests
