#pragma once

#include <filesystem>
#include <map>
#include <vector>

#include "base/result.h"
#include "manifests/card.h"
#include "manifests/signature.h"
#include "manifests/trust_state.h"

namespace gapferry::manifests {

/// What people decided on one machine, in one folder:
///
///   <guid>.card   a card that somebody compared by voice, as it was added
///   policy.json   rules, roles and revocations that were decided here (LocalPolicy)
///
/// Each file is replaced as a whole. What signed documents say is not kept here.
struct TrustedCard {
  Card card;
  Bytes bytes;  ///< as it was added
};

/// All of them, by GUID; empty when the folder is absent. A file that is no card is an error: trust
/// is not guessed.
Result<std::vector<TrustedCard>> ReadTrustedCards(const std::filesystem::path& folder);

/// Adds a card. The same one again changes nothing; another card of the same GUID is refused
/// (kUsage, reason "card-known").
Result<void> AddTrustedCard(const std::filesystem::path& folder, ByteView card);
/// The refusal of AddTrustedCard, before anything is asked or recorded.
Result<void> CheckTrustedCard(const std::filesystem::path& folder, ByteView card);
/// In place of the holder's card, or new.
Result<void> ReplaceTrustedCard(const std::filesystem::path& folder, ByteView card);

struct LocalPolicy {
  TrustRule rule;
  std::vector<StreamRule> rules;
  std::map<Guid, std::vector<SignerRole>> roles;  ///< where fewer than the card names
  std::vector<EndedKey> ended;                    ///< replaced or revoked here
  bool operator==(const LocalPolicy&) const = default;
};
/// The default (origin alone, all roles) when there is no file; kCorrupt (reason
/// "policy-malformed") for a damaged one: nothing is guessed.
Result<LocalPolicy> ReadLocalPolicy(const std::filesystem::path& folder);
Result<void> WriteLocalPolicy(const std::filesystem::path& folder, const LocalPolicy& policy);

/// The folder, and after it `applied`: documents that were applied before, in that order.
Result<TrustState> ReadTrustState(const std::filesystem::path& folder,
                                  const std::vector<TrustDocument>& applied);

/// The keys of cards in every role they name.
TrustPolicy PolicyOf(const std::vector<Card>& cards, const TrustRule& rule = {});
TrustState StateOf(const std::vector<Card>& cards, const TrustRule& rule = {});

}  // namespace gapferry::manifests
