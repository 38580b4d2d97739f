#include "manifests/evidence_document.h"

#include <algorithm>

#include "manifests/document.h"

namespace gapferry::manifests {
namespace {

std::string SignedText(const JsonValue::Object& members) {
  return WriteCanonicalJson(JsonValue(members)) + "\n";
}

std::unexpected<Error> Malformed(std::string message) {
  return Fail(ErrorCode::kCorrupt, "evidence-malformed", "evidence: " + std::move(message));
}

Result<std::string> TextOf(const JsonValue::Object& members, const char* name) {
  const auto found = members.find(name);
  if (found == members.end() || found->second.AsString() == nullptr) {
    return Malformed("field '" + std::string(name) + "' is missing or no text");
  }
  return *found->second.AsString();
}

}  // namespace

Result<std::string> SignEvidence(JsonValue::Object members, const SigningKey& key) {
  members["_type"] = TypeField(DocumentType::kEvidence);
  members["signing_key"] = key.public_key().ToText();
  members["signing_key_id"] = key.public_key().Id().ToHex();
  TRY_ASSIGN(const Signature signature, key.Sign(AsBytes(SignedText(members))));
  members["signature"] = Base64Encode(signature);
  std::string text = SignedText(members);
  if (text.size() <= kMaxEvidenceBytes) return text;
  return Fail(ErrorCode::kUnsupported, "evidence-too-large",
              "evidence would have " + std::to_string(text.size()) + " bytes, at most are " +
                  std::to_string(kMaxEvidenceBytes));
}

Result<SignedEvidence> ReadEvidence(ByteView bytes) {
  if (bytes.size() > kMaxEvidenceBytes) return Malformed("too large");
  auto value = ParseDocument(bytes, DocumentType::kEvidence);
  if (!value) {
    Error error = std::move(value.error());
    const bool keep = error.code == ErrorCode::kUnsupported || error.reason == "document-type";
    if (!keep) error.reason = "evidence-malformed";
    return WithContext(std::move(error), "evidence");
  }
  SignedEvidence out;
  out.members = std::move(*value->AsObject());
  TRY_ASSIGN(const std::string text, TextOf(out.members, "signature"));
  TRY_ASSIGN(const std::string key, TextOf(out.members, "signing_key"));
  TRY_ASSIGN(const std::string key_id, TextOf(out.members, "signing_key_id"));
  const auto parsed = SigningPublicKey::FromText(key);
  const auto raw = Base64Decode(text);
  if (!parsed || parsed->Id().ToHex() != key_id) return Malformed("its key is none");
  if (!raw || raw->size() != kSignatureBytes) return Malformed("its signature is none");
  Signature signature{};
  std::ranges::copy(*raw, signature.begin());
  out.key = *parsed;
  out.members.erase("signature");
  if (out.key.Verifies(AsBytes(SignedText(out.members)), signature)) return out;
  return Fail(ErrorCode::kUntrusted, "evidence-signature",
              "evidence: its signature does not match: it was changed after it was signed");
}

}  // namespace gapferry::manifests
