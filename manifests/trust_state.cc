#include "manifests/trust_state.h"

#include <algorithm>
#include <set>

#include "base/sort.h"
#include "base/text.h"

namespace gapferry::manifests {
namespace {

/// The release holders who signed `document` with their present keys.
Result<std::set<Guid>> ReleasedBy(const TrustState& state, const TrustDocument& document,
                                  const std::string& text) {
  std::set<Guid> persons;
  for (const auto& signer : document.signers) {
    for (const Holder& holder : state.holders) {
      if (holder.is_revoked || holder.card.signing_key.Id() != signer.key_id) continue;
      if (!holder.card.signing_key.Verifies(AsBytes(text), signer.signature)) {
        return Fail(ErrorCode::kUntrusted, "trust-signature",
                    "trust document " + std::to_string(document.number) + " of " +
                        document.holder.ToString() + ": the signature by key " +
                        signer.key_id.ToHex() + " of '" + EscapeForDisplay(holder.card.name, 64) +
                        "' does not match");
      }
      if (holder.Has(SignerRole::kRelease)) persons.insert(holder.card.guid);
    }
  }
  return persons;
}

/// The rules whose threshold may speak about `holder`: those of its bundles when it sends some,
/// those that it could release under otherwise.
std::vector<StreamRule> RulesAbout(const TrustState& state, const Holder& holder) {
  std::vector<StreamRule> rules;
  if (holder.Has(SignerRole::kOrigin)) {
    for (const StreamRule& rule : state.rules) {
      if (rule.sender == holder.card.guid) rules.push_back(rule);
    }
    const auto whole = std::ranges::find(rules, "", &StreamRule::stream);
    if (whole == rules.end()) rules.push_back({holder.card.guid, "", state.rule, {}});
    return rules;
  }
  rules.push_back({Guid{}, "", state.rule, {}});
  for (const StreamRule& rule : state.rules) {
    const bool counts = rule.reviewers.empty() ||
                        std::ranges::find(rule.reviewers, holder.card.guid) != rule.reviewers.end();
    if (counts) rules.push_back(rule);
  }
  return rules;
}

/// Whether every rule about the holder that asks for release has it, and at least one asks.
bool IsReleased(const TrustState& state, const Holder& holder, const std::set<Guid>& persons) {
  bool asked = false;
  for (const StreamRule& rule : RulesAbout(state, holder)) {
    if (rule.rule.release_persons == 0) continue;
    asked = true;
    unsigned count = 0;
    for (const Holder* reviewer : state.Reviewers(rule)) {
      const bool other = reviewer->card.guid != holder.card.guid;
      if (other && persons.contains(reviewer->card.guid)) ++count;
    }
    if (count < rule.rule.release_persons) return false;
  }
  return asked;
}

bool IsSignedBy(const TrustDocument& document, const KeyId& key) {
  return std::ranges::find(document.signers, key, &TrustDocument::Signer::key_id) !=
         document.signers.end();
}

void End(Holder& holder, const TrustDocument& document) {
  const char* what = document.act == TrustAct::kRotation ? "replaced" : "revoked";
  EndedKey ended{holder.card.signing_key.Id(), holder.card.guid, holder.card.name,
                 std::string(what) + (document.why.empty() ? "" : ": ") + document.why};
  holder.ended.push_back(ended);
  // The release holders may end a key that this state never saw as the present one.
  if (document.ended_key != ended.id) {
    ended.id = document.ended_key;
    holder.ended.push_back(std::move(ended));
  }
  holder.number = document.number;
  holder.is_revoked = document.act == TrustAct::kRevocation;
  if (document.act == TrustAct::kRotation) holder.card = document.card;
}

}  // namespace

bool Holder::Has(SignerRole role) const { return std::ranges::find(roles, role) != roles.end(); }

const Holder* TrustState::Find(const Guid& guid) const {
  const auto found =
      std::ranges::find(holders, guid, [](const Holder& holder) { return holder.card.guid; });
  return found == holders.end() ? nullptr : &*found;
}

std::vector<const Holder*> TrustState::Reviewers(const StreamRule& of) const {
  std::vector<const Holder*> list;
  for (const Holder& holder : holders) {
    const Guid& guid = holder.card.guid;
    if (!holder.Has(SignerRole::kRelease) || holder.is_revoked || guid == of.sender) continue;
    const bool counts =
        of.reviewers.empty() || std::ranges::find(of.reviewers, guid) != of.reviewers.end();
    if (counts) list.push_back(&holder);
  }
  return list;
}

TrustPolicy TrustState::Policy() const {
  TrustPolicy policy;
  policy.rule = rule;
  policy.rules = rules;
  for (const Holder& holder : holders) {
    policy.ended.insert(policy.ended.end(), holder.ended.begin(), holder.ended.end());
    if (holder.is_revoked) continue;
    for (const SignerRole role : holder.roles) {
      policy.keys.push_back({holder.card.signing_key, role, holder.card.guid, holder.card.name});
    }
  }
  // A key that came back by a new decision of people counts.
  std::erase_if(policy.ended, [&](const EndedKey& ended) {
    return std::ranges::any_of(policy.keys,
                               [&](const TrustedKey& key) { return key.key.Id() == ended.id; });
  });
  return policy;
}

std::string_view TrustOutcomeName(TrustOutcome outcome) {
  switch (outcome) {
    case TrustOutcome::kApplied:
      return "applied";
    case TrustOutcome::kOld:
      return "old";
    case TrustOutcome::kForeign:
      return "foreign";
    case TrustOutcome::kUnproven:
      return "unproven";
    case TrustOutcome::kOutOfTurn:
      return "out-of-turn";
  }
  return "";
}

Result<TrustOutcome> ApplyTrustDocument(TrustState& state, const TrustDocument& document) {
  const auto found = std::ranges::find(state.holders, document.holder,
                                       [](const Holder& holder) { return holder.card.guid; });
  if (found == state.holders.end()) return TrustOutcome::kForeign;
  Holder& holder = *found;
  if (document.number <= holder.number) return TrustOutcome::kOld;
  const std::string text = document.SignedText();
  // Also says so when the holder's own present key signed something else.
  TRY_ASSIGN(const auto persons, ReleasedBy(state, document, text));
  const KeyId present = holder.card.signing_key.Id();
  if (!holder.is_revoked && document.ended_key == present && IsSignedBy(document, present)) {
    if (document.number != holder.number + 1) return TrustOutcome::kOutOfTurn;
    End(holder, document);
    return TrustOutcome::kApplied;
  }
  if (!IsReleased(state, holder, persons)) return TrustOutcome::kUnproven;
  End(holder, document);
  return TrustOutcome::kApplied;
}

void ReplayTrustDocument(TrustState& state, const TrustDocument& document) {
  for (Holder& holder : state.holders) {
    if (holder.card.guid == document.holder && document.number > holder.number) {
      End(holder, document);
    }
  }
}

Result<std::vector<TrustDocument>> ApplyTrustDocuments(TrustState& state,
                                                       std::vector<TrustDocument> documents) {
  SortStably(documents,
             [](const TrustDocument& a, const TrustDocument& b) { return a.number < b.number; });
  std::vector<TrustDocument> applied;
  // One may make another provable: a reviewer's new key that signed a sender's rotation.
  for (bool again = true; again;) {
    again = false;
    for (auto at = documents.begin(); at != documents.end();) {
      TRY_ASSIGN(const TrustOutcome outcome, ApplyTrustDocument(state, *at));
      if (outcome == TrustOutcome::kApplied) {
        applied.push_back(*at);
        again = true;
      }
      const bool done = outcome == TrustOutcome::kApplied || outcome == TrustOutcome::kOld;
      at = done ? documents.erase(at) : at + 1;
    }
  }
  return applied;
}

}  // namespace gapferry::manifests
