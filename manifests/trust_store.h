#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "manifests/card.h"
#include "manifests/signature.h"

namespace gapferry::manifests {

/// Cards of peers in a folder, one file <guid>.card each: whose bundles a mirror accepts. A card is
/// there because a person compared its fingerprint.
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

/// The keys of cards in every role they name.
TrustPolicy PolicyOf(const std::vector<Card>& cards, const TrustRule& rule = {});

}  // namespace gapferry::manifests
