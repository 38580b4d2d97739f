#include "importer/own_side.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/sort.h"
#include "manifests/trust_store.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/trust_log.h"

namespace gapferry::importer {
namespace {

using manifests::TrustDocument;
using manifests::TrustState;
using mirror::Mirror;

Result<std::vector<TrustDocument>> Accepted(Mirror& mirror) {
  TRY_ASSIGN(const auto texts, mirror::AcceptedTrustDocuments(mirror.db()));
  std::vector<TrustDocument> documents;
  for (const std::string& text : texts) {
    TRY_ASSIGN(auto document, manifests::DecodeTrustDocument(AsBytes(text)), "accepted document");
    documents.push_back(std::move(document));
  }
  return documents;
}

/// Keys that bundles may still be sealed to: keys/old/encryption-<id>.pem.
Result<std::vector<manifests::KeyId>> RetiredKeys(Mirror& mirror) {
  std::vector<manifests::KeyId> ids;
  const auto names = ListDirectory(mirror.keys().old_folder);
  if (!names && names.error().code == ErrorCode::kNotFound) return ids;
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    if (!name.starts_with("encryption-")) continue;
    TRY_ASSIGN(const auto key, manifests::LoadEncryptionPublicKey(mirror.keys().old_folder / name));
    ids.push_back(key.Id());
  }
  return ids;
}

mirror::AuditEntry AuditOf(const TrustDocument& document, const std::string& actor) {
  const bool rotates = document.act == manifests::TrustAct::kRotation;
  JsonValue::Object detail = {{"ended_key", document.ended_key.ToHex()},
                              {"number", document.number},
                              {"why", document.why}};
  if (rotates) {
    detail["fingerprint"] = document.card.Fingerprint();
    detail["key"] = document.card.signing_key.Id().ToHex();
  }
  return {actor, rotates ? "trust.rotate" : "trust.revoke", document.holder.ToString(),
          WriteCanonicalJson(JsonValue(std::move(detail)))};
}

mirror::AcceptedTrust RecordOf(const TrustDocument& document) {
  return {document.holder, document.number, manifests::EncodeTrustDocument(document)};
}

bool Holds(const TrustState& state, const Guid& guid) { return state.Find(guid) != nullptr; }

}  // namespace

Result<TrustState> ReadTrust(Mirror& mirror) {
  TRY_ASSIGN(const auto accepted, Accepted(mirror));
  return manifests::ReadTrustState(mirror.keys().trusted_folder, accepted);
}

Result<std::vector<TrustDocument>> ReadArrivedTrust(manifests::Medium& medium) {
  const auto bytes =
      manifests::ReadMediumFile(medium, manifests::kTrustFileName, manifests::kMaxTrustFileBytes);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return std::vector<TrustDocument>();
  if (!bytes) return std::unexpected(bytes.error());
  return manifests::DecodeTrustDocuments(*bytes);
}

Result<OwnSide> ReadOwnSide(Mirror& mirror, manifests::Medium* medium) {
  if (!mirror.config().upstream.gap) {
    return Fail(ErrorCode::kUsage, "no-gap",
                "this mirror is not fed by bundles: upstream.gap is not set in gapferry.yaml");
  }
  TRY_ASSIGN(TrustState state, ReadTrust(mirror));
  if (state.holders.empty()) {
    return Fail(ErrorCode::kUntrusted, "no-trust", "no sender is trusted here yet");
  }
  OwnSide own;
  if (medium != nullptr) {
    TRY_ASSIGN(auto documents, ReadArrivedTrust(*medium), "trust.jsonl");
    TRY_ASSIGN(own.arrived, manifests::ApplyTrustDocuments(state, std::move(documents)),
               "trust.jsonl");
  }
  own.policy = state.Policy();
  TRY_ASSIGN(const auto key, manifests::LoadEncryptionPublicKey(mirror.keys().encryption));
  own.addressee = {mirror.identity().guid, key.Id()};
  TRY_ASSIGN(own.addressee.retired_key_ids, RetiredKeys(mirror));
  // Loaded once: the same key may be asked for again, and it may want a passphrase.
  using Loaded = std::map<manifests::KeyId, std::shared_ptr<const manifests::EncryptionKey>>;
  own.addressee.load_key =
      [present = key.Id(), keys = mirror.keys(), loaded = std::make_shared<Loaded>()](
          const manifests::KeyId& id) -> Result<std::shared_ptr<const manifests::EncryptionKey>> {
    auto& known = (*loaded)[id];
    if (known == nullptr) {
      TRY_ASSIGN(auto read,
                 manifests::EncryptionKey::Load(
                     id == present ? keys.encryption
                                   : keys.old_folder / ("encryption-" + id.ToHex() + ".pem")));
      known = std::make_shared<const manifests::EncryptionKey>(std::move(read));
    }
    return known;
  };
  return own;
}

Result<void> KeepTrust(mirror::CommitTransaction& commit, const OwnSide& own,
                       const Sha256Digest& manifest, const manifests::KeyId& origin,
                       const std::string& actor) {
  for (const TrustDocument& document : own.arrived) {
    TRY(mirror::KeepTrustDocument(commit.db(), RecordOf(document), commit.committed_at()));
    TRY(commit.Audit(AuditOf(document, actor)));
  }
  return mirror::RecordOriginKey(commit.db(), manifest, origin.ToHex());
}

Result<TrustState> ReadSiteTrust(Mirror& mirror) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  std::vector<manifests::Card> cards;
  for (const auto& site : sites) {
    TRY_ASSIGN(auto card, manifests::DecodeCard(site.card), "site '" + site.stream + "'");
    cards.push_back(std::move(card));
  }
  TrustState state = manifests::StateOf(cards);
  TRY_ASSIGN(const auto accepted, Accepted(mirror));
  // The cards are as the rotations made them; what is left are keys that ended without another.
  for (const TrustDocument& document : accepted) {
    manifests::ReplayTrustDocument(state, document);
    for (manifests::Holder& holder : state.holders) {
      if (holder.card.guid != document.holder || document.number > holder.card.number) continue;
      holder.ended.push_back(
          {document.ended_key, document.holder, holder.card.name, "replaced: " + document.why});
    }
  }
  return state;
}

namespace {

Result<void> KeepOne(Mirror& mirror, const TrustDocument& document, const std::string& actor) {
  const UtcTime now = mirror.clock().Now();
  if (document.act == manifests::TrustAct::kRotation) {
    TRY(mirror.db().Run("UPDATE site SET card = ? WHERE guid = ?", AsBytes(document.card_text),
                        document.holder));
  }
  TRY(mirror::KeepTrustDocument(mirror.db(), RecordOf(document), now));
  TRY(mirror::AppendAudit(mirror.db(), now, AuditOf(document, actor)));
  return {};
}

}  // namespace

Result<void> KeepSiteTrust(Mirror& mirror, const std::vector<TrustDocument>& documents,
                           const std::string& actor) {
  if (documents.empty()) return {};
  TRY_ASSIGN(auto transaction,
             mirror::Transaction::Begin(mirror.db(), mirror::TransactionKind::kWrite));
  for (const TrustDocument& document : documents) TRY(KeepOne(mirror, document, actor));
  return transaction.Commit();
}

Result<std::vector<TrustVerdict>> AcceptTrust(Mirror& mirror, std::vector<TrustDocument> documents,
                                              const std::string& actor) {
  TRY_ASSIGN(TrustState senders, ReadTrust(mirror));
  TRY_ASSIGN(TrustState sites, ReadSiteTrust(mirror));
  SortStably(documents,
             [](const TrustDocument& a, const TrustDocument& b) { return a.number < b.number; });
  std::vector<TrustVerdict> verdicts;
  TRY_ASSIGN(auto transaction,
             mirror::Transaction::Begin(mirror.db(), mirror::TransactionKind::kWrite));
  for (TrustDocument& document : documents) {
    TrustVerdict verdict;
    const bool sends = Holds(senders, document.holder);
    if (sends || Holds(sites, document.holder)) {
      verdict.of = sends ? "sender" : "site";
      TRY_ASSIGN(verdict.outcome, manifests::ApplyTrustDocument(sends ? senders : sites, document));
    }
    if (verdict.outcome == manifests::TrustOutcome::kApplied) {
      if (sends) {
        const UtcTime now = mirror.clock().Now();
        TRY(mirror::KeepTrustDocument(mirror.db(), RecordOf(document), now));
        TRY(mirror::AppendAudit(mirror.db(), now, AuditOf(document, actor)));
      } else {
        TRY(KeepOne(mirror, document, actor));
      }
    }
    verdict.document = std::move(document);
    verdicts.push_back(std::move(verdict));
  }
  TRY(transaction.Commit());
  return verdicts;
}

}  // namespace gapferry::importer
