#include "manifests/trust_document.h"

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kMaxWhyBytes = 120;

DocumentType TypeOf(TrustAct act) {
  return act == TrustAct::kRotation ? DocumentType::kRotation : DocumentType::kRevocation;
}

JsonValue::Object Members(const TrustDocument& document) {
  JsonValue::Object members = {{"_type", TypeField(TypeOf(document.act))},
                               {"created", document.created.ToXml()},
                               {"ended_key", document.ended_key.ToHex()},
                               {"holder", document.holder.ToString()},
                               {"number", document.number},
                               {"why", document.why}};
  if (document.act == TrustAct::kRotation) {
    // Parsed before, or written by EncodeCard: canonical in any case.
    const std::string_view text(document.card_text);
    members["card"] = *ParseCanonicalJson(text.substr(0, text.size() - 1));
  }
  return members;
}

std::unexpected<Error> Malformed(std::string message) {
  return Fail(ErrorCode::kCorrupt, "trust-malformed", "trust document: " + std::move(message));
}

KeyId ReadKeyId(JsonFields& fields, std::string_view name) {
  const auto id = KeyId::FromHex(fields.Text(name, 32));
  if (!id) fields.Refuse("field '" + std::string(name) + "': " + id.error().message);
  return id.value_or(KeyId{});
}

Result<std::vector<TrustDocument::Signer>> ReadSigners(const JsonValue::Array& list) {
  std::vector<TrustDocument::Signer> signers;
  for (const JsonValue& item : list) {
    JsonFields fields(item, "signature of a trust document");
    TrustDocument::Signer signer;
    signer.key_id = ReadKeyId(fields, "key_id");
    const Bytes raw = fields.Base64("signature", kSignatureBytes);
    if (auto finished = fields.Finish(); !finished) return Malformed(finished.error().message);
    std::ranges::copy(raw, signer.signature.begin());
    if (!signers.empty() && signers.back().key_id >= signer.key_id) {
      return Malformed("signatures are not ascending by key id");
    }
    signers.push_back(signer);
  }
  return signers;
}

}  // namespace

std::string TrustDocument::SignedText() const {
  return WriteCanonicalJson(JsonValue(Members(*this))) + "\n";
}

std::string EncodeTrustDocument(const TrustDocument& document) {
  JsonValue::Object members = Members(document);
  JsonValue::Array signers;
  for (const auto& signer : document.signers) {
    signers.emplace_back(JsonValue::Object{{"key_id", signer.key_id.ToHex()},
                                           {"signature", Base64Encode(signer.signature)}});
  }
  members["signatures"] = std::move(signers);
  return WriteCanonicalJson(JsonValue(std::move(members))) + "\n";
}

bool IsTrustDocument(ByteView bytes) {
  return CheckDocumentType(bytes, DocumentType::kRotation).has_value() ||
         CheckDocumentType(bytes, DocumentType::kRevocation).has_value();
}

Result<TrustDocument> DecodeTrustDocument(ByteView bytes) {
  if (bytes.size() > kMaxTrustDocumentBytes) {
    return Malformed("larger than " + std::to_string(kMaxTrustDocumentBytes) + " bytes");
  }
  TrustDocument document;
  const bool revokes = CheckDocumentType(bytes, DocumentType::kRevocation).has_value();
  document.act = revokes ? TrustAct::kRevocation : TrustAct::kRotation;
  auto value = ParseDocument(bytes, TypeOf(document.act));
  if (!value) {
    if (value.error().code == ErrorCode::kUnsupported) {
      return WithContext(std::move(value.error()), "trust document");
    }
    return Malformed(value.error().message);
  }
  JsonFields fields(*value, "trust document");
  fields.Text("_type", 64);
  if (!revokes) {
    document.card_text = WriteCanonicalJson(fields.Child("card")) + "\n";
  }
  document.created = fields.Time("created");
  document.ended_key = ReadKeyId(fields, "ended_key");
  document.holder = fields.GuidValue("holder");
  document.number = fields.Count("number", kMaxTrustNumber);
  const JsonValue::Array& signers = fields.List("signatures", kMaxSignatureLines);
  document.why = fields.Text("why", kMaxWhyBytes);
  if (document.number == 0) fields.Refuse("field 'number' begins with 1");
  if (auto finished = fields.Finish(); !finished) return Malformed(finished.error().message);
  TRY_ASSIGN(document.signers, ReadSigners(signers));
  if (revokes) return document;
  TRY_ASSIGN(document.card, DecodeCard(AsBytes(document.card_text)), "trust document");
  if (document.card.guid != document.holder || document.card.number != document.number) {
    return Malformed("the card inside is of another holder or number");
  }
  return document;
}

Result<std::vector<TrustDocument>> DecodeTrustDocuments(ByteView bytes) {
  std::vector<TrustDocument> documents;
  if (bytes.empty()) return documents;
  const std::string_view text = AsText(bytes);
  if (text.size() > kMaxTrustFileBytes) return Malformed("the file is too large");
  if (!text.ends_with('\n')) return Malformed("the file does not end with a line end");
  for (const std::string_view line : Split(text.substr(0, text.size() - 1), '\n')) {
    const std::string where = "line " + std::to_string(documents.size() + 1);
    if (documents.size() == kMaxTrustDocuments) return Malformed("too many lines");
    const std::string whole = std::string(line) + "\n";
    TRY_ASSIGN(auto document, DecodeTrustDocument(AsBytes(whole)), where);
    documents.push_back(std::move(document));
  }
  return documents;
}

std::string EncodeTrustDocuments(const std::vector<TrustDocument>& documents) {
  std::string text;
  for (const TrustDocument& document : documents) text += EncodeTrustDocument(document);
  return text;
}

Result<void> SignTrustDocument(TrustDocument& document, const SigningKey& key) {
  const KeyId id = key.public_key().Id();
  TRY_ASSIGN(const Signature signature, key.Sign(AsBytes(document.SignedText())));
  std::erase_if(document.signers, [&](const auto& signer) { return signer.key_id == id; });
  if (document.signers.size() == kMaxSignatureLines) return Malformed("too many signatures");
  document.signers.push_back({id, signature});
  std::ranges::sort(document.signers, {}, &TrustDocument::Signer::key_id);
  return {};
}

void MergeTrustDocument(std::vector<TrustDocument>& documents, TrustDocument document) {
  for (TrustDocument& known : documents) {
    if (known.holder != document.holder || known.number != document.number) continue;
    if (known.SignedText() == document.SignedText()) {
      for (const auto& signer : known.signers) {
        const auto same =
            std::ranges::find(document.signers, signer.key_id, &TrustDocument::Signer::key_id);
        if (same == document.signers.end() && document.signers.size() < kMaxSignatureLines) {
          document.signers.push_back(signer);
        }
      }
      std::ranges::sort(document.signers, {}, &TrustDocument::Signer::key_id);
    }
    known = std::move(document);
    return;
  }
  documents.push_back(std::move(document));
  std::ranges::sort(documents, [](const TrustDocument& a, const TrustDocument& b) {
    return std::tie(a.holder, a.number) < std::tie(b.holder, b.number);
  });
}

}  // namespace gapferry::manifests
