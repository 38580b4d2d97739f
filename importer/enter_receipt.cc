#include "importer/enter_receipt.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/canonical_json.h"
#include "importer/our_states.h"
#include "manifests/card.h"
#include "manifests/receipt_code.h"
#include "mirror/audit.h"
#include "mirror/job_lock.h"

namespace gapferry::importer {
namespace {

using manifests::ReceiptCode;
using mirror::Mirror;

/// The streams in which this mirror writes bundles for the site: its own, and those of its groups.
Result<std::vector<std::string>> StreamsOf(mirror::Ledger& ledger, const mirror::Site& site) {
  std::vector<std::string> streams = {site.stream};
  TRY_ASSIGN(const auto groups, ledger.Groups());
  for (const auto& group : groups) {
    if (std::ranges::find(group.members, site.guid) != group.members.end()) {
      streams.push_back(group.stream);
    }
  }
  return streams;
}

/// The stream of which the MAC proves that the code is a receipt.
Result<std::string> FindStream(Mirror& mirror, const mirror::Site& site, const ReceiptCode& code) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto card, manifests::DecodeCard(site.card), "site '" + site.stream + "'");
  TRY_ASSIGN(const auto own, manifests::EncryptionKey::Load(mirror.keys().encryption));
  TRY_ASSIGN(const auto key,
             manifests::ReceiptKey::Derive(
                 own, {site.guid, mirror.identity().guid, card.encryption_key, own.public_key()}));
  TRY_ASSIGN(const auto streams, StreamsOf(ledger, site));
  for (const std::string& stream : streams) {
    if (key.Matches(code, stream)) return stream;
  }
  return Fail(ErrorCode::kUntrusted, "receipt-code-foreign",
              fmt::format("the code was not made by '{}' for this mirror with the keys of their "
                          "cards (card of the site: key {})",
                          site.stream, card.encryption_key.Id().ToHex()));
}

Result<mirror::BundleOut> FindBundle(mirror::Ledger& ledger, const std::string& stream,
                                     std::uint64_t sequence) {
  TRY_ASSIGN(const auto owner, ledger.StreamOwner(stream));
  std::optional<mirror::BundleOut> bundle;
  if (owner) {
    TRY_ASSIGN(bundle, ledger.FindBundle(*owner, sequence));
  }
  if (bundle && bundle->state == mirror::BundleState::kVoid) {
    return Fail(ErrorCode::kUntrusted, "receipt-code-void",
                fmt::format("the code is for bundle {} of stream '{}', which was given up here",
                            sequence, stream));
  }
  if (!bundle || !bundle->manifest) {
    return Fail(ErrorCode::kUntrusted, "receipt-code-unknown",
                fmt::format("the code is for bundle {} of stream '{}', which was never finished "
                            "here",
                            sequence, stream));
  }
  return *bundle;
}

bool IsRefusal(const Error& error) { return error.code == ErrorCode::kUntrusted; }

Result<EnteredReceipt> Enter(Mirror& mirror, const mirror::Site& site, const ReceiptCode& code,
                             const std::string& actor) {
  mirror::Ledger ledger(mirror.db());
  EnteredReceipt entered;
  entered.sequence = code.sequence;
  entered.files_are_missing = code.files_are_missing;
  TRY_ASSIGN(const auto review, ledger.ReviewOf(site.guid));
  if (review.required > 0) {
    return Fail(ErrorCode::kUntrusted, "review-required",
                fmt::format("receipts of '{}' need the signatures of {} reviewers, which a code "
                            "cannot carry",
                            site.stream, review.required));
  }
  TRY_ASSIGN(entered.stream, FindStream(mirror, site, code));
  TRY_ASSIGN(const auto bundle, FindBundle(ledger, entered.stream, code.sequence));
  mirror::CodeEffect effect;
  effect.site = site.guid;
  effect.epoch = code.epoch;
  effect.state = code.state;
  effect.files_are_missing = code.files_are_missing;
  effect.receipt = {entered.stream, code.sequence, *bundle.manifest, bundle.target,
                    !code.files_are_missing};
  // What is not ours in its first bits is not ours at all.
  if (manifests::ReceiptStatePrefix(bundle.target.state_digest) != code.state) {
    effect.receipt.target.state_digest = Sha256Digest();
  }
  effect.hint_of = manifests::ReceiptEpochHint;
  TRY_ASSIGN(const auto outcome,
             ledger.ApplyCode(effect, OurStates(mirror), mirror.clock().Now(), actor));
  entered.outcome = outcome.is_known  ? CodeOutcome::kAlreadyApplied
                    : outcome.is_late ? CodeOutcome::kLate
                                      : CodeOutcome::kApplied;
  entered.applied = outcome.applied;
  TRY_ASSIGN(const auto after, ledger.SiteByGuid(site.guid));
  if (after) entered.site = *after;
  return entered;
}

}  // namespace

std::string_view CodeOutcomeName(CodeOutcome outcome) {
  switch (outcome) {
    case CodeOutcome::kApplied:
      return "applied";
    case CodeOutcome::kAlreadyApplied:
      return "already-applied";
    case CodeOutcome::kLate:
      return "late";
  }
  return "unknown";
}

Result<EnteredReceipt> EnterReceipt(Mirror& mirror, std::string_view site_name,
                                    std::string_view typed, const std::string& actor) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindSite(site_name));
  TRY_ASSIGN(const ReceiptCode code, manifests::ParseReceiptCode(typed));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "receipt-enter"));
  auto entered = Enter(mirror, site, code, actor);
  if (!entered && IsRefusal(entered.error())) {
    TRY(mirror::AppendAuditAlone(
        mirror.db(), mirror.clock().Now(),
        {actor, "receipt.refused", site.guid.ToString(),
         WriteCanonicalJson(JsonValue::Object{{"message", entered.error().message},
                                              {"reason", entered.error().reason}})}));
  }
  return entered;
}

}  // namespace gapferry::importer
