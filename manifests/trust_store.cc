#include "manifests/trust_store.h"

#include <algorithm>

#include "base/file.h"

namespace gapferry::manifests {

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

Result<void> AddTrustedCard(const std::filesystem::path& folder, ByteView bytes) {
  TRY_ASSIGN(const Card card, DecodeCard(bytes));
  TRY_ASSIGN(const auto known, ReadTrustedCards(folder));
  for (const TrustedCard& one : known) {
    if (one.card.guid != card.guid) continue;
    if (std::ranges::equal(one.bytes, bytes)) return {};
    return Fail(ErrorCode::kUsage, "card-known",
                "another card of '" + one.card.name + "' (" + card.guid.ToString() +
                    ") is trusted already");
  }
  TRY(CreateDirectories(folder, 0700));
  return WriteFileAtomically(folder / (card.guid.ToString() + ".card"), bytes, 0600);
}

TrustPolicy PolicyOf(const std::vector<Card>& cards, const TrustRule& rule) {
  TrustPolicy policy;
  policy.rule = rule;
  for (const Card& card : cards) {
    for (const SignerRole role : card.roles) {
      policy.keys.push_back({card.signing_key, role, card.guid, card.name});
    }
  }
  return policy;
}

}  // namespace gapferry::manifests
