#include "exporter/export_evidence.h"

#include "base/canonical_json.h"
#include "manifests/read_back.h"
#include "manifests/zstd_stream.h"
#include "mirror/bundle_event.h"
#include "mirror/evidence_medium.h"
#include "mirror/exchange/intent_object.h"

namespace gapferry::exporter {
namespace {

/// The lists of the reserved plan; empty once the ledger has let it go.
Result<JsonValue::Object> ContentsOfPlan(mirror::Mirror& mirror, const mirror::BundleOut& bundle) {
  mirror::Ledger ledger(mirror.db());
  MemorySink stored(mirror::exchange::kMaxIntentBytes);
  if (!ledger.CopyIntentObject(bundle.site, bundle.sequence, stored)) return JsonValue::Object();
  if (stored.bytes().empty()) return JsonValue::Object();
  MemorySource source(stored.bytes());
  manifests::ZstdSource decoded(source, mirror::exchange::kMaxIntentBytes);
  TRY_ASSIGN(const auto object, mirror::exchange::ReadIntentObject(decoded));
  return mirror::ContentsOf(object);
}

/// Each medium of the bundle, those of earlier runs as far as the system still knows them.
JsonValue::Array MediaOf(const ExportResult& result) {
  JsonValue::Array out;
  for (const ExportMedium& one : result.media) {
    JsonValue::Object medium = mirror::ReadMedium(one.path).ToJson();
    medium["bytes"] = one.bytes;
    medium["manifest"] = one.has_manifest;
    medium["number"] = static_cast<std::uint64_t>(one.number);
    medium["read_back"] = one.read_back;
    medium["volumes"] = one.volumes.size();
    out.emplace_back(std::move(medium));
  }
  return out;
}

}  // namespace

Result<void> CheckExportMedium(mirror::Mirror& mirror, const std::filesystem::path& to) {
  const auto& allowed = mirror.config().media.allowed;
  if (allowed.empty()) return {};
  return mirror::CheckMediumAllowed(mirror::ReadMedium(to), allowed);
}

Result<void> RecordExportFacts(mirror::Mirror& mirror, const mirror::BundleOut& bundle,
                               const ExportResult& result, const ExportOptions& options,
                               UtcTime started) {
  const manifests::Manifest& manifest = result.manifest;
  mirror::BundleEvent event;
  event.manifest = result.complete ? result.manifest_sha256 : bundle.plan_digest;
  event.kind = result.complete ? "export" : "export-medium";
  event.at = mirror.clock().Now();
  event.actor = options.actor;
  event.facts = {{"bytes", result.bytes},
                 {"created", manifest.created.ToXml()},
                 {"media", MediaOf(result)},
                 {"read_back", manifests::ReadBackName(result.read_back)},
                 {"started", started.ToXml()}};
  if (result.complete) {
    event.facts["manifest"] = manifests::EncodeManifest(manifest);
    event.facts["details"] = manifests::EncodeDetails(manifest);
    event.facts["counts"] = JsonValue::Object{{"content_bytes", manifest.totals.content_bytes},
                                              {"content_files", manifest.totals.content_files},
                                              {"documents", manifest.totals.revisions},
                                              {"missing_files", result.missing_files}};
    TRY_ASSIGN(event.facts["contents"], ContentsOfPlan(mirror, bundle));
    event.facts["signatures"] = JsonValue::Object{
        {"counted", JsonValue::Array{JsonValue::Object{{"holder", manifest.sender.guid.ToString()},
                                                       {"key_id", manifest.sender.key_id.ToHex()},
                                                       {"name", manifest.sender.name},
                                                       {"role", "origin"}}}}};
  }
  TRY_ASSIGN(auto tx, mirror::Transaction::Begin(mirror.db(), mirror::TransactionKind::kWrite));
  TRY_ASSIGN(const Sha256Digest digest, mirror::RecordBundleEvent(mirror.db(), event));
  TRY(mirror::AppendAudit(mirror.db(), event.at,
                          {options.actor, "evidence.export", manifest.DirectoryName(),
                           WriteCanonicalJson(JsonValue::Object{
                               {"facts", digest.ToHex()}, {"manifest", event.manifest.ToHex()}})}));
  return tx.Commit();
}

}  // namespace gapferry::exporter
