#include "manifests/card.h"

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"

namespace gapferry::manifests {
namespace {

JsonValue::Object Members(const Card& card) {
  JsonValue::Array roles;
  for (const SignerRole role : card.roles) roles.emplace_back(SignerRoleName(role));
  JsonValue::Array formats;
  for (const std::string& format : card.formats) formats.emplace_back(format);
  JsonValue::Object members = {{"_type", TypeField(DocumentType::kCard)},
                               {"encryption_key", card.encryption_key.ToText()},
                               {"fingerprint", card.Fingerprint()},
                               {"formats", std::move(formats)},
                               {"guid", card.guid.ToString()},
                               {"name", card.name},
                               {"roles", std::move(roles)},
                               {"signing_key", card.signing_key.ToText()},
                               {"signing_key_id", card.signing_key.Id().ToHex()}};
  if (card.number > 0) members["number"] = card.number;
  return members;
}

/// What the signature inside covers: the card without it, with its line end.
std::string SignedText(const JsonValue::Object& members) {
  return WriteCanonicalJson(JsonValue(members)) + "\n";
}

bool IsCardName(std::string_view name) {
  return !name.empty() && std::ranges::none_of(name, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

std::vector<SignerRole> ReadRoles(JsonFields& fields) {
  std::vector<SignerRole> roles;
  for (const JsonValue& item : fields.List("roles", 2)) {
    const std::string* text = item.AsString();
    const auto role = ParseSignerRole(text == nullptr ? "" : *text);
    if (!role || (!roles.empty() && roles.back() >= *role)) {
      fields.Refuse("field 'roles' is no sorted list of roles");
      return {};
    }
    roles.push_back(*role);
  }
  if (roles.empty()) fields.Refuse("field 'roles' is empty");
  return roles;
}

std::vector<std::string> ReadFormats(JsonFields& fields) {
  std::vector<std::string> formats;
  for (const JsonValue& item : fields.List("formats", 32)) {
    const std::string* text = item.AsString();
    if (text == nullptr || text->size() > 64 || (!formats.empty() && formats.back() >= *text)) {
      fields.Refuse("field 'formats' is no sorted list of format names");
      return {};
    }
    formats.push_back(*text);
  }
  return formats;
}

template <class KeyType>
KeyType ReadKey(JsonFields& fields, std::string_view name) {
  const auto key = KeyType::FromText(fields.Text(name, 60));
  if (!key) fields.Refuse("field '" + std::string(name) + "': " + key.error().message);
  return key.value_or(KeyType{});
}

std::unexpected<Error> Malformed(Error error) {
  if (error.code == ErrorCode::kUnsupported || error.reason == "document-type") {
    return WithContext(std::move(error), "card");
  }
  error.reason = "card-malformed";
  return WithContext(std::move(error), "card");
}

}  // namespace

std::string Card::Fingerprint() const {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
  const Sha256Digest digest = Sha256("gapferry-fingerprint/1\n" + guid.ToString() + "\n" +
                                     signing_key.ToText() + "\n" + encryption_key.ToText() + "\n");
  std::string out;
  for (unsigned bit = 0; bit < 160; bit += 5) {
    if (bit != 0 && bit % 20 == 0) out += '-';
    const unsigned window = static_cast<unsigned>(digest.bytes[bit / 8] << 8) |
                            (bit / 8 + 1 < 32 ? digest.bytes[bit / 8 + 1] : 0u);
    out += kAlphabet[(window >> (11 - bit % 8)) & 31];
  }
  return out;
}

Result<std::string> EncodeCard(const Card& card, const SigningKey& key) {
  JsonValue::Object members = Members(card);
  TRY_ASSIGN(const Signature signature, key.Sign(AsBytes(SignedText(members))));
  members["signature"] = Base64Encode(signature);
  return SignedText(members);
}

Result<Card> DecodeCard(ByteView bytes) {
  if (bytes.size() > kMaxCardBytes) {
    return Fail(ErrorCode::kCorrupt, "card-malformed",
                "card: larger than " + std::to_string(kMaxCardBytes) + " bytes");
  }
  auto value = ParseDocument(bytes, DocumentType::kCard);
  if (!value) return Malformed(std::move(value.error()));
  JsonFields fields(*value, "card");
  Card card;
  fields.Text("_type", 64);
  card.encryption_key = ReadKey<EncryptionPublicKey>(fields, "encryption_key");
  const std::string fingerprint = fields.Text("fingerprint", 39);
  card.formats = ReadFormats(fields);
  card.guid = fields.GuidValue("guid");
  card.name = fields.Text("name", 64);
  if (!IsCardName(card.name)) fields.Refuse("field 'name' is empty or has control characters");
  card.roles = ReadRoles(fields);
  if (fields.Has("number")) {
    card.number = fields.Count("number", kMaxCardNumber);
    if (card.number == 0) fields.Refuse("field 'number' is left out when it is 0");
  }
  const Bytes raw = fields.Base64("signature", kSignatureBytes);
  card.signing_key = ReadKey<SigningPublicKey>(fields, "signing_key");
  if (fields.Text("signing_key_id", 32) != card.signing_key.Id().ToHex()) {
    fields.Refuse("field 'signing_key_id' is not that of the key");
  }
  if (fingerprint != card.Fingerprint())
    fields.Refuse("field 'fingerprint' is not that of the keys");
  if (auto finished = fields.Finish(); !finished) {
    Error error = std::move(finished.error());
    error.reason = "card-malformed";
    return std::unexpected(std::move(error));
  }
  JsonValue::Object rest = *value->AsObject();
  rest.erase("signature");
  Signature signature{};
  std::ranges::copy(raw, signature.begin());
  if (!card.signing_key.Verifies(AsBytes(SignedText(rest)), signature)) {
    return Fail(ErrorCode::kUntrusted, "card-signature",
                "card of '" + EscapeForDisplay(card.name, 64) +
                    "': its signature does not match: the card was changed after it was written");
  }
  return card;
}

Result<OwnIdentity> LoadIdentity(const Guid& guid, std::string_view name,
                                 const std::filesystem::path& signing_key,
                                 const std::filesystem::path& encryption_key,
                                 std::uint64_t number) {
  TRY_ASSIGN(SigningKey key, SigningKey::Load(signing_key), "signing key");
  Card card;
  card.guid = guid;
  card.name = name;
  card.number = number;
  card.roles = {SignerRole::kOrigin};
  card.signing_key = key.public_key();
  TRY_ASSIGN(card.encryption_key, LoadEncryptionPublicKey(encryption_key), "encryption key");
  card.formats = {TypeField(DocumentType::kManifest), TypeField(DocumentType::kReturn)};
  return OwnIdentity{std::move(card), std::move(key)};
}

}  // namespace gapferry::manifests
