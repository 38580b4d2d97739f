#include "importer/arrival.h"

#include "manifests/trust_store.h"

namespace gapferry::importer {
namespace {

using manifests::Manifest;

std::unexpected<Error> Refuse(std::string reason, std::string message) {
  return Fail(ErrorCode::kUntrusted, std::move(reason), std::move(message));
}

std::unexpected<Error> OtherHistory(const Manifest& manifest) {
  return Refuse(
      "history-changed",
      "is of another history than this mirror follows: the sender was made anew or restored, "
      "its epoch is " +
          manifest.target.epoch.ToString());
}

std::unexpected<Error> BaseMissing(const Manifest& manifest, std::uint64_t have,
                                   std::uint64_t last_sequence) {
  return Fail(ErrorCode::kNotFound, "base-missing",
              "begins at generation " + std::to_string(manifest.base.generation) +
                  ", this mirror is at " + std::to_string(have) + ": something between bundle " +
                  std::to_string(last_sequence) + " and " + std::to_string(manifest.sequence) +
                  " of stream '" + manifest.stream + "' was not imported");
}

}  // namespace

Result<Arrival> CheckArrival(mirror::Ledger& ledger, const manifests::VerifiedManifest& verified,
                             const ArrivalRules& rules) {
  const Manifest& manifest = verified.manifest();
  TRY_ASSIGN(const auto same, ledger.FindImport(verified.digest()));
  if (same) {
    TRY_ASSIGN(const auto newest, ledger.LastImport());
    if (newest->manifest == same->manifest) return Arrival::kAlreadyImported;
  }
  TRY_ASSIGN(const auto current, ledger.LastImport());
  const bool full = manifest.scope == manifests::Scope::kFull;
  if (rules.new_history && full) return Arrival::kNew;
  TRY_ASSIGN(const auto last, ledger.LastImport(manifest.sender.guid, manifest.stream));
  if (last && manifest.sequence <= last->sequence) {
    return Refuse("bundle-replayed", "has sequence " + std::to_string(manifest.sequence) +
                                         " of stream '" + manifest.stream +
                                         "', imported was already " +
                                         std::to_string(last->sequence));
  }
  if (!current) {
    if (!full) return BaseMissing(manifest, 0, 0);
    return Arrival::kNew;
  }
  const auto have = static_cast<std::uint64_t>(current->target.name.generation);
  if (manifest.sender.guid != current->sender ||
      manifest.target.epoch != current->target.name.epoch) {
    return OtherHistory(manifest);
  }
  if (manifest.target.generation < have) {
    return Refuse("bundle-older", "leads to generation " +
                                      std::to_string(manifest.target.generation) +
                                      ", this mirror is at " + std::to_string(have));
  }
  if (manifest.target.generation == have && manifest.target.chain != current->target.name.chain) {
    return OtherHistory(manifest);
  }
  if (full) return Arrival::kNew;
  if (manifest.base.generation > have) return BaseMissing(manifest, have, current->sequence);
  if (manifest.base.generation == have && manifest.base.chain != current->target.name.chain) {
    return OtherHistory(manifest);
  }
  return Arrival::kNew;
}

Result<OwnSide> ReadOwnSide(mirror::Mirror& mirror) {
  if (!mirror.config().upstream.gap) {
    return Fail(ErrorCode::kUsage, "no-gap",
                "this mirror is not fed by bundles: upstream.gap is not set in gapferry.yaml");
  }
  TRY_ASSIGN(const auto cards, manifests::ReadTrustedCards(mirror.keys().trusted_folder));
  if (cards.empty()) {
    return Fail(ErrorCode::kUntrusted, "no-trust", "no sender is trusted here yet");
  }
  std::vector<manifests::Card> trusted;
  for (const auto& card : cards) trusted.push_back(card.card);
  TRY_ASSIGN(const auto key, manifests::LoadEncryptionPublicKey(mirror.keys().encryption));
  return OwnSide{manifests::PolicyOf(trusted), {mirror.identity().guid, key.Id()}};
}

}  // namespace gapferry::importer
