#pragma once

#include <string>
#include <vector>

#include "manifests/trust_document.h"

namespace gapferry::manifests {

/// Somebody who is trusted: a mirror that sends bundles, a person who releases them, or both.
struct Holder {
  Card card;                      ///< the present one, documents applied
  std::vector<SignerRole> roles;  ///< it is trusted for; sorted, not empty
  std::uint64_t number = 0;       ///< of the last document applied, or of the card as it was added
  bool is_revoked = false;        ///< the present card's key ended, nothing took its place
  std::vector<EndedKey> ended;    ///< keys that counted once, oldest first

  bool Has(SignerRole role) const;
};

/// Whom a mirror (or a person) trusts, and under which rules. A value: documents change it, and
/// whoever holds it decides when that becomes lasting.
struct TrustState {
  std::vector<Holder> holders;    ///< ascending by GUID
  TrustRule rule;                 ///< the default
  std::vector<StreamRule> rules;  ///< of senders and streams

  const Holder* Find(const Guid& guid) const;
  /// Release holders whose word counts under `rule`: not its sender, not revoked.
  std::vector<const Holder*> Reviewers(const StreamRule& rule) const;
  TrustPolicy Policy() const;
};

enum class TrustOutcome {
  kApplied,
  kOld,        ///< the holder is at this number or beyond: nothing to do
  kForeign,    ///< nobody here trusts this holder
  kUnproven,   ///< neither the key that ends nor enough release holders signed it
  kOutOfTurn,  ///< signed by the holder's key, but numbers before it are missing
};
std::string_view TrustOutcomeName(TrustOutcome outcome);  ///< "applied", "old", "foreign", ...

/// Applies one document (docs/format.md, "Trust documents"). The holder's own key moves it forward
/// by one number; the release holders that the rules about it ask for may jump. Fails with
/// kUntrusted (reason "trust-signature") when a key that this state knows signed otherwise. Pure.
Result<TrustOutcome> ApplyTrustDocument(TrustState& state, const TrustDocument& document);

/// What was applied once and kept: not proved again, because keys that proved it may have ended
/// since. Documents at or below the holder's number, and of nobody here, change nothing.
void ReplayTrustDocument(TrustState& state, const TrustDocument& document);

/// Several, ascending by number whatever their order; returns those that were applied.
Result<std::vector<TrustDocument>> ApplyTrustDocuments(TrustState& state,
                                                       std::vector<TrustDocument> documents);

}  // namespace gapferry::manifests
