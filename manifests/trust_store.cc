#include "manifests/trust_store.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/file.h"

namespace gapferry::manifests {
namespace {

constexpr const char* kPolicyFile = "policy.json";
constexpr std::uint64_t kMaxPolicyBytes = 1 << 20;
constexpr std::size_t kMaxEntries = 4096;

JsonValue RolesToJson(const std::vector<SignerRole>& roles) {
  JsonValue::Array list;
  for (const SignerRole role : roles) list.emplace_back(SignerRoleName(role));
  return list;
}

std::string EncodePolicy(const LocalPolicy& policy) {
  JsonValue::Array rules, roles, ended;
  for (const StreamRule& rule : policy.rules) {
    JsonValue::Array reviewers;
    for (const Guid& guid : rule.reviewers) reviewers.emplace_back(guid.ToString());
    rules.emplace_back(JsonValue::Object{{"release", std::uint64_t{rule.rule.release_persons}},
                                         {"reviewers", std::move(reviewers)},
                                         {"sender", rule.sender.ToString()},
                                         {"stream", rule.stream}});
  }
  for (const auto& [guid, list] : policy.roles) {
    roles.emplace_back(JsonValue::Object{{"guid", guid.ToString()}, {"roles", RolesToJson(list)}});
  }
  for (const EndedKey& key : policy.ended) {
    ended.emplace_back(JsonValue::Object{{"holder", key.holder.ToString()},
                                         {"key", key.id.ToHex()},
                                         {"name", key.name},
                                         {"why", key.why}});
  }
  return WriteCanonicalJson(
             JsonValue::Object{{"ended", std::move(ended)},
                               {"release", std::uint64_t{policy.rule.release_persons}},
                               {"roles", std::move(roles)},
                               {"rules", std::move(rules)}}) +
         "\n";
}

Result<StreamRule> DecodeRule(const JsonValue& item) {
  JsonFields fields(item, "rule of a sender");
  StreamRule rule;
  rule.rule.release_persons = static_cast<unsigned>(fields.Count("release", kMaxSignatureLines));
  for (const JsonValue& one : fields.List("reviewers", kMaxSignatureLines)) {
    const auto guid = Guid::Parse(one.AsString() == nullptr ? "" : *one.AsString());
    if (!guid) fields.Refuse("field 'reviewers' is no list of GUIDs");
    rule.reviewers.push_back(guid.value_or(Guid{}));
  }
  rule.sender = fields.GuidValue("sender");
  rule.stream = fields.Text("stream", 40);
  TRY(fields.Finish());
  return rule;
}

Result<std::vector<SignerRole>> DecodeRoles(const JsonValue::Array& list) {
  std::vector<SignerRole> roles;
  for (const JsonValue& one : list) {
    TRY_ASSIGN(const SignerRole role,
               ParseSignerRole(one.AsString() == nullptr ? "" : *one.AsString()));
    roles.push_back(role);
  }
  if (roles.empty()) return Fail(ErrorCode::kCorrupt, "field 'roles' is empty");
  return roles;
}

Result<EndedKey> DecodeEnded(const JsonValue& item) {
  JsonFields fields(item, "ended key");
  EndedKey key;
  key.holder = fields.GuidValue("holder");
  const auto id = KeyId::FromHex(fields.Text("key", 32));
  if (!id) fields.Refuse("field 'key' is no key id");
  key.id = id.value_or(KeyId{});
  key.name = fields.Text("name", 64);
  key.why = fields.Text("why", 200);
  TRY(fields.Finish());
  return key;
}

Result<LocalPolicy> DecodePolicy(std::string_view text) {
  if (!text.ends_with('\n')) return Fail(ErrorCode::kCorrupt, "does not end with a line end");
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text.substr(0, text.size() - 1)));
  JsonFields fields(value, "trust policy");
  LocalPolicy policy;
  for (const JsonValue& item : fields.List("ended", kMaxEntries)) {
    TRY_ASSIGN(EndedKey key, DecodeEnded(item));
    policy.ended.push_back(std::move(key));
  }
  policy.rule.release_persons = static_cast<unsigned>(fields.Count("release", kMaxSignatureLines));
  for (const JsonValue& item : fields.List("roles", kMaxEntries)) {
    JsonFields entry(item, "roles of a card");
    const Guid guid = entry.GuidValue("guid");
    TRY_ASSIGN(policy.roles[guid], DecodeRoles(entry.List("roles", 2)));
    TRY(entry.Finish());
  }
  for (const JsonValue& item : fields.List("rules", kMaxEntries)) {
    TRY_ASSIGN(StreamRule rule, DecodeRule(item));
    policy.rules.push_back(std::move(rule));
  }
  TRY(fields.Finish());
  return policy;
}

}  // namespace

Result<std::vector<TrustedCard>> ReadTrustedCards(const std::filesystem::path& folder) {
  std::vector<TrustedCard> cards;
  auto names = ListDirectory(folder);
  if (!names && names.error().code == ErrorCode::kNotFound) return cards;
  if (!names) return std::unexpected(std::move(names.error()));
  for (const std::string& name : *names) {
    if (!name.ends_with(".card")) continue;
    TrustedCard one;
    TRY_ASSIGN(one.bytes, ReadFile(folder / name, kMaxCardBytes));
    TRY_ASSIGN(one.card, DecodeCard(one.bytes), "'" + (folder / name).string() + "'");
    cards.push_back(std::move(one));
  }
  return cards;
}

Result<void> CheckTrustedCard(const std::filesystem::path& folder, ByteView bytes) {
  TRY_ASSIGN(const Card card, DecodeCard(bytes));
  TRY_ASSIGN(const auto known, ReadTrustedCards(folder));
  for (const TrustedCard& one : known) {
    if (one.card.guid != card.guid || std::ranges::equal(one.bytes, bytes)) continue;
    return Fail(ErrorCode::kUsage, "card-known",
                "another card of '" + one.card.name + "' (" + card.guid.ToString() +
                    ") is trusted already");
  }
  return {};
}

Result<void> AddTrustedCard(const std::filesystem::path& folder, ByteView bytes) {
  TRY(CheckTrustedCard(folder, bytes));
  return ReplaceTrustedCard(folder, bytes);
}

Result<void> ReplaceTrustedCard(const std::filesystem::path& folder, ByteView bytes) {
  TRY_ASSIGN(const Card card, DecodeCard(bytes));
  TRY(CreateDirectories(folder, 0700));
  return WriteFileAtomically(folder / (card.guid.ToString() + ".card"), bytes, 0600);
}

Result<LocalPolicy> ReadLocalPolicy(const std::filesystem::path& folder) {
  const auto path = folder / kPolicyFile;
  auto text = ReadTextFile(path, kMaxPolicyBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) return LocalPolicy{};
  if (!text) return std::unexpected(std::move(text.error()));
  auto policy = DecodePolicy(*text);
  if (policy) return policy;
  return Fail(ErrorCode::kCorrupt, "policy-malformed",
              "'" + path.string() + "': " + policy.error().message);
}

Result<void> WriteLocalPolicy(const std::filesystem::path& folder, const LocalPolicy& policy) {
  TRY(CreateDirectories(folder, 0700));
  return WriteFileAtomically(folder / kPolicyFile, AsBytes(EncodePolicy(policy)), 0600);
}

Result<TrustState> ReadTrustState(const std::filesystem::path& folder,
                                  const std::vector<TrustDocument>& applied) {
  TRY_ASSIGN(const auto cards, ReadTrustedCards(folder));
  TRY_ASSIGN(const LocalPolicy local, ReadLocalPolicy(folder));
  std::vector<Card> plain;
  for (const TrustedCard& one : cards) plain.push_back(one.card);
  TrustState state = StateOf(plain, local.rule);
  state.rules = local.rules;
  for (Holder& holder : state.holders) {
    const auto roles = local.roles.find(holder.card.guid);
    if (roles != local.roles.end()) holder.roles = roles->second;
    for (const EndedKey& ended : local.ended) {
      if (ended.holder == holder.card.guid) holder.ended.push_back(ended);
    }
  }
  for (const TrustDocument& document : applied) ReplayTrustDocument(state, document);
  // Last: what was decided here holds against every document.
  for (Holder& holder : state.holders) {
    const auto ended = std::ranges::find(local.ended, holder.card.signing_key.Id(), &EndedKey::id);
    if (ended != local.ended.end()) holder.is_revoked = true;
  }
  return state;
}

TrustState StateOf(const std::vector<Card>& cards, const TrustRule& rule) {
  TrustState state;
  state.rule = rule;
  for (const Card& card : cards) {
    state.holders.push_back({card, card.roles, card.number, false, {}});
  }
  std::ranges::sort(state.holders, {}, [](const Holder& holder) { return holder.card.guid; });
  return state;
}

TrustPolicy PolicyOf(const std::vector<Card>& cards, const TrustRule& rule) {
  return StateOf(cards, rule).Policy();
}

}  // namespace gapferry::manifests
