#include "importer/import_evidence.h"

#include "mirror/bundle_event.h"
#include "mirror/evidence_medium.h"
#include "mirror/witness.h"

namespace gapferry::importer {
namespace {

JsonValue Signer(const manifests::TrustedKey& key) {
  return JsonValue::Object{{"holder", key.holder.ToString()},
                           {"key_id", key.key.Id().ToHex()},
                           {"name", key.name},
                           {"role", manifests::SignerRoleName(key.role)}};
}

JsonValue::Array MediaOf(const std::vector<std::filesystem::path>& media) {
  JsonValue::Array out;
  for (const auto& path : media) out.emplace_back(mirror::ReadMedium(path).ToJson());
  return out;
}

/// The sender's chain as we see it, and ours as the sender saw it.
Result<void> RecordHeads(mirror::Mirror& mirror, const ImportFacts& facts) {
  const manifests::Manifest& manifest = facts.manifest;
  mirror::WitnessedHead head;
  head.log = manifest.sender.guid;
  head.witness = mirror.identity().guid;
  head.head = {static_cast<std::int64_t>(manifest.audit_records), manifest.audit_head};
  head.kind = "manifest";
  head.stream = manifest.stream;
  head.number = manifest.sequence;
  head.document = facts.digest;
  head.created = manifest.created;
  head.seen_at = facts.ended;
  TRY(mirror::RecordWitness(mirror.db(), head));
  for (const auto& one : manifest.acknowledgements) {
    if (one.site != mirror.identity().guid) continue;
    std::swap(head.log, head.witness);
    head.head = {static_cast<std::int64_t>(one.seen_records), one.seen_head};
    return mirror::RecordWitness(mirror.db(), head);
  }
  return {};
}

}  // namespace

Result<void> RecordReturnHeads(mirror::Mirror& mirror, const mirror::exchange::ReturnHeader& header,
                               const Sha256Digest& document) {
  mirror::WitnessedHead head;
  head.log = header.site;
  head.witness = mirror.identity().guid;
  head.head = header.audit;
  head.kind = "return";
  head.number = header.number;
  head.document = document;
  head.created = header.created;
  head.seen_at = mirror.clock().Now();
  TRY(mirror::RecordWitness(mirror.db(), head));
  std::swap(head.log, head.witness);
  head.head = header.seen;
  return mirror::RecordWitness(mirror.db(), head);
}

JsonValue::Object SignersOf(const manifests::SignatureReport& report) {
  JsonValue::Array signers{Signer(report.origin)};
  for (const auto& key : report.released) signers.push_back(Signer(key));
  JsonValue::Array unknown;
  for (const auto& line : report.unknown) {
    unknown.emplace_back(JsonValue::Object{{"key_id", line.key_id.ToHex()},
                                           {"role", manifests::SignerRoleName(line.role)}});
  }
  return {{"counted", std::move(signers)}, {"unknown", std::move(unknown)}};
}

Result<Sha256Digest> RecordImportFacts(mirror::Mirror& mirror, const ImportFacts& facts) {
  TRY(RecordHeads(mirror, facts));
  mirror::BundleEvent event;
  event.manifest = facts.digest;
  event.kind = "import";
  event.at = facts.ended;
  event.actor = facts.actor;
  event.facts = {{"contents", facts.contents},
                 {"counts", facts.counts},
                 {"details", manifests::EncodeDetails(facts.manifest)},
                 {"manifest", manifests::EncodeManifest(facts.manifest)},
                 {"media", MediaOf(facts.media)},
                 {"policy", facts.policy},
                 {"scanner", facts.scanner},
                 {"signatures", SignersOf(facts.signatures)},
                 {"started", facts.started.ToXml()}};
  event.facts["created"] = facts.manifest.created.ToXml();
  if (!facts.repaired.empty()) event.facts["repaired"] = facts.repaired;
  return mirror::RecordBundleEvent(mirror.db(), event);
}

Result<void> RecordImportMedium(mirror::Mirror& mirror, const Sha256Digest& manifest,
                                const std::vector<std::filesystem::path>& media,
                                const std::string& actor) {
  mirror::BundleEvent event;
  event.manifest = manifest;
  event.kind = "import-medium";
  event.at = mirror.clock().Now();
  event.actor = actor;
  event.facts = {{"media", MediaOf(media)}};
  TRY(mirror::RecordBundleEvent(mirror.db(), event));
  return {};
}

std::string MendedText(const MendedDamage& damage) {
  std::string text;
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
  for (const auto& volume : damage.volumes) {
    const std::uint64_t blocks = volume.from_parity + volume.from_spares;
    if (blocks > 0) add(std::to_string(blocks) + " blocks of " + volume.name);
  }
  for (const std::string& file : damage.files) add(file);
  return text.empty() ? text : text + " were restored";
}

Result<void> CheckMedium(mirror::Mirror& mirror, const std::filesystem::path& path) {
  const auto& allowed = mirror.config().media.allowed;
  if (allowed.empty()) return {};
  return mirror::CheckMediumAllowed(mirror::ReadMedium(path), allowed);
}

}  // namespace gapferry::importer
