#include "importer/arrival.h"

#include <algorithm>

#include "mirror/trust_log.h"

namespace gapferry::importer {
namespace {

using manifests::Manifest;

constexpr int kLookedBack = 64;

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

std::unexpected<Error> FastForwarded(const Manifest& manifest, std::uint64_t have) {
  return Refuse("fast-forwarded",
                "leads to generation " + std::to_string(manifest.target.generation) +
                    ", this mirror stands at " + std::to_string(have) +
                    ", which only a key said that does not count any more: a full bundle leads "
                    "back");
}

/// Whether another key than `key`, the one that counts now, signed this bundle of the same sender:
/// its order binds no more (docs/format.md, "Order"). Without that, whoever stole a key once could
/// lock a site for ever by a bundle with the highest number.
Result<bool> IsByEndedKey(mirror::Mirror& mirror, const mirror::BundleIn& bundle,
                          const manifests::KeyId& key) {
  TRY_ASSIGN(const auto signed_by, mirror::OriginKeyOf(mirror.db(), bundle.manifest));
  return signed_by && *signed_by != key.ToHex();
}

/// Whether another bundle with this number was imported: no sender gives a number twice, unless it
/// was put back to an older day.
Result<bool> IsNumberOfAnother(mirror::Ledger& ledger,
                               const manifests::VerifiedManifest& verified) {
  const Manifest& manifest = verified.manifest();
  TRY_ASSIGN(const auto imports, ledger.Imports(kLookedBack));
  return std::ranges::any_of(imports, [&](const mirror::BundleIn& one) {
    return one.sender == manifest.sender.guid && one.stream == manifest.stream &&
           one.sequence == manifest.sequence && one.manifest != verified.digest();
  });
}

std::unexpected<Error> NumberAgain(const Manifest& manifest) {
  return std::unexpected(
      Error{ErrorCode::kUntrusted,
            "has sequence " + std::to_string(manifest.sequence) + " of stream '" + manifest.stream +
                "', and another bundle with this number was imported",
            "bundle-replayed",
            "ask the sender by voice; when it says that it was restored from a backup: gapferry "
            "import PATH --new-history"});
}

}  // namespace

Result<Arrival> CheckArrival(mirror::Mirror& mirror, const manifests::VerifiedManifest& verified,
                             const ArrivalRules& rules) {
  mirror::Ledger ledger(mirror.db());
  const Manifest& manifest = verified.manifest();
  TRY_ASSIGN(const auto same, ledger.FindImport(verified.digest()));
  if (same) {
    TRY_ASSIGN(const auto newest, ledger.LastImport());
    if (newest->manifest == same->manifest) return Arrival::kAlreadyImported;
  }
  TRY_ASSIGN(const auto current, ledger.LastImport());
  const bool full = manifest.scope == manifests::Scope::kFull;
  if (rules.new_history && full) return Arrival::kNew;
  const manifests::KeyId key = verified.signatures().origin.key.Id();
  TRY_ASSIGN(const auto last, ledger.LastImport(manifest.sender.guid, manifest.stream));
  bool binds = last.has_value();
  if (last) {
    TRY_ASSIGN(const bool ended, IsByEndedKey(mirror, *last, key));
    binds = !ended;
  }
  if (binds && manifest.sequence <= last->sequence) {
    TRY_ASSIGN(const bool again, IsNumberOfAnother(ledger, verified));
    if (again && full) return NumberAgain(manifest);
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
  bool stands_on_ended_key = false;
  if (manifest.sender.guid == current->sender) {
    TRY_ASSIGN(stands_on_ended_key, IsByEndedKey(mirror, *current, key));
    if (stands_on_ended_key && full) return Arrival::kNew;
  }
  if (manifest.sender.guid != current->sender ||
      manifest.target.epoch != current->target.name.epoch) {
    return OtherHistory(manifest);
  }
  if (manifest.target.generation < have) {
    if (stands_on_ended_key) return FastForwarded(manifest, have);
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

}  // namespace gapferry::importer
