#include "exporter/export.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/log.h"
#include "exporter/bundle_objects.h"
#include "manifests/card.h"
#include "manifests/zstd_stream.h"
#include "mirror/audit.h"
#include "mirror/running_job.h"

namespace gapferry::exporter {
namespace {

using manifests::Manifest;
using mirror::BundleOut;
using mirror::Mirror;

/// What the ledger keeps of a plan beside the states: the manifest as far as it is known, and how
/// volumes are cut.
struct StoredPlan {
  Manifest draft;
  std::uint64_t volume_bytes = 0;
};

std::string EncodePlan(const StoredPlan& plan) {
  return WriteCanonicalJson(JsonValue::Object{{"draft", manifests::EncodeManifest(plan.draft)},
                                              {"volume_bytes", plan.volume_bytes}});
}

Result<StoredPlan> DecodePlan(std::string_view text) {
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text));
  JsonFields fields(value, "plan of a bundle");
  StoredPlan plan;
  const std::string draft = fields.Text("draft", manifests::kMaxManifestBytes);
  plan.volume_bytes = fields.Count("volume_bytes");
  TRY(fields.Finish());
  TRY_ASSIGN(plan.draft, manifests::DecodeManifest(AsBytes(draft)));
  return plan;
}

Result<Bytes> EncodeIntent(mirror::exchange::IntentObject intent) {
  MemorySink out(mirror::exchange::kMaxIntentBytes);
  manifests::ZstdSink zstd(out);
  TRY(mirror::exchange::WriteIntentObject(std::move(intent), zstd));
  TRY(zstd.Finish());
  return out.Take();
}

Sha256Digest PlanDigest(const std::string& plan, const Bytes& intent,
                        const std::vector<mirror::PinnedFile>& pins) {
  Sha256Hasher hasher;
  hasher.Update("gapferry-plan/1\n").Update(plan).Update("\n");
  hasher.Update(Sha256(intent).ToHex()).Update("\n");
  for (const auto& pin : pins) {
    hasher.Update(pin.sha1.ToHex() + " " + pin.sha256.ToHex() + " " +
                  std::to_string(pin.size_bytes) + " " + pin.extension + "\n");
  }
  return hasher.Finish();
}

/// Where a run keeps what the next one can use, until the ledger says that the bundle is signed.
fs::path WorkFolder(Mirror& mirror, const Manifest& draft) {
  return mirror.staging() / ("export-" + draft.DirectoryName());
}

/// Folders of this stream's earlier bundles, which are signed or given up.
void TidyWorkFolders(Mirror& mirror, const Manifest& draft) {
  const std::string prefix = "export-gapferry-" + draft.stream + "-";
  const auto names = ListDirectory(mirror.staging());
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(prefix) ||
        name.find_first_not_of("0123456789", prefix.size()) != std::string::npos) {
      continue;
    }
    if (const auto removed = RemoveTree(mirror.staging() / name); !removed) {
      Log(LogLevel::kWarning, "remains of an export not removed",
          {{"why", removed.error().message}});
    }
  }
}

/// Whether `last` is what `plan` would write again, number and clock aside.
Result<bool> IsSameBundle(Mirror& mirror, const BundleOut& last, const ExportPlan& plan,
                          Manifest draft) {
  if (last.base != plan.base || last.target != plan.target || last.full != plan.full) return false;
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto pins, ledger.Pins(last.site, last.sequence));
  TRY_ASSIGN(const StoredPlan stored, DecodePlan(last.plan));
  draft.sequence = stored.draft.sequence;
  draft.created = stored.draft.created;
  draft.previous_manifest = stored.draft.previous_manifest;
  draft.audit_head = stored.draft.audit_head;
  draft.audit_records = stored.draft.audit_records;
  return pins == plan.content && stored.volume_bytes == plan.volume_bytes && draft == stored.draft;
}

/// The last bundle when it still lies in `to`, complete, and nothing has changed since: a run that
/// was killed after its last step has done its work.
Result<std::optional<ExportResult>> Repeat(Mirror& mirror, const ExportPlan& plan,
                                           const Manifest& draft, const fs::path& to) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.FindBundle(plan.site.guid, plan.site.last_sequence));
  if (!last || last->state != mirror::BundleState::kSigned) return std::optional<ExportResult>();
  TRY_ASSIGN(const bool same, IsSameBundle(mirror, *last, plan, draft));
  Manifest named = draft;
  named.sequence = last->sequence;
  const fs::path path = to / named.DirectoryName();
  if (!same || path != fs::path(last->path)) return std::optional<ExportResult>();
  const auto bytes = ReadFile(path / "manifest.json", manifests::kMaxManifestBytes);
  std::error_code ignored;
  if (!bytes || Sha256(*bytes) != *last->manifest ||
      !fs::exists(path / "manifest.json.sig", ignored)) {
    return std::optional<ExportResult>();
  }
  ExportResult result;
  result.path = path;
  TRY_ASSIGN(result.manifest, manifests::DecodeManifest(*bytes));
  for (const auto& volume : result.manifest.volumes) {
    const auto size = fs::file_size(path / volume.name, ignored);
    if (ignored || size != volume.size) return std::optional<ExportResult>();
  }
  TRY(RemoveTree(WorkFolder(mirror, named)));
  result.manifest_sha256 = *last->manifest;
  result.bytes = last->bytes;
  result.repeated = true;
  return std::optional(std::move(result));
}

Result<BundleOut> ReserveNew(Mirror& mirror, const ExportPlan& plan, const Manifest& draft) {
  TRY_ASSIGN(const Bytes intent, EncodeIntent(plan.intent));
  BundleOut bundle;
  bundle.site = plan.site.guid;
  bundle.full = plan.full;
  bundle.base = plan.base;
  bundle.target = plan.target;
  bundle.plan = EncodePlan({draft, plan.volume_bytes});
  bundle.plan_digest = PlanDigest(bundle.plan, intent, plan.content);
  bundle.reserved_at = mirror.clock().Now();
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(BundleOut reserved, ledger.Reserve(std::move(bundle), plan.content, intent));
  if (reserved.sequence != draft.sequence) {
    return Fail(ErrorCode::kInternal, "the ledger gave number " +
                                          std::to_string(reserved.sequence) + ", planned was " +
                                          std::to_string(draft.sequence));
  }
  return reserved;
}

Result<void> CheckSameOptions(Mirror& mirror, const BundleOut& unfinished, const StoredPlan& plan,
                              const ExportRequest& request) {
  bool same = plan.volume_bytes == request.volume_bytes && (!request.full || unfinished.full);
  if (request.since) {
    mirror::Ledger ledger(mirror.db());
    TRY_ASSIGN(const auto bundle, ledger.FindBundle(unfinished.site, *request.since));
    same = same && !unfinished.full && bundle && bundle->target == unfinished.base;
  }
  if (same) return {};
  return Fail(ErrorCode::kUsage, "unfinished-export",
              "bundle " + std::to_string(unfinished.sequence) +
                  " is unfinished and was begun with other options");
}

std::uint64_t BytesIn(const fs::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) bytes += it->file_size(ignored);
  }
  return bytes;
}

Result<void> CheckSpace(const std::vector<manifests::IndexLine>& layout, const fs::path& to,
                        const fs::path& directory) {
  std::uint64_t needed = 0;
  for (const auto& line : layout) needed += line.end() - line.offset + 128;
  needed += needed / 8192 + (1 << 20);
  const std::uint64_t there = BytesIn(directory);
  if (there < needed) TRY(CheckFreeSpace(to, needed - there));
  return {};
}

Result<ExportResult> WriteBundle(Mirror& mirror, const BundleOut& bundle,
                                 const ExportOptions& options) {
  TRY_ASSIGN(const StoredPlan plan, DecodePlan(bundle.plan));
  const fs::path work = WorkFolder(mirror, plan.draft);
  options.progress->Begin("preparing", 0, 0);
  TRY_ASSIGN(auto objects, BundleObjects::Build(mirror, bundle, plan.volume_bytes, work / "objects",
                                                options.stop));
  options.progress->End();
  TRY_ASSIGN(auto layout, manifests::LayOut(objects.plan(), plan.volume_bytes));
  TRY(CreateDirectories(options.to));
  ExportResult result;
  result.path = options.to / plan.draft.DirectoryName();
  TRY(CheckSpace(layout, options.to, result.path));
  TRY_ASSIGN(auto writer,
             manifests::BundleWriter::Create(result.path, work / "journal", std::move(layout)));
  TRY_ASSIGN(const auto identity,
             manifests::LoadIdentity(mirror.identity().guid, mirror.identity().name,
                                     mirror.keys().signing, mirror.keys().encryption));
  const std::string readme = manifests::BundleReadme(plan.draft, identity.card.Fingerprint());
  TRY(writer.WriteVolumes(readme, objects, {options.progress, options.stop}));
  TRY_ASSIGN(result.manifest, writer.Finish(plan.draft, identity.key));
  result.manifest_sha256 = Sha256(manifests::EncodeManifest(result.manifest));
  result.read_back = writer.read_back();
  result.bytes = BytesIn(result.path);
  return result;
}

JsonValue::Object Summary(const ExportResult& result) {
  const Manifest& manifest = result.manifest;
  return {{"base", manifest.base.generation},
          {"bundle", manifest.DirectoryName()},
          {"bytes", result.bytes},
          {"content_files", manifest.totals.content_files},
          {"manifest", result.manifest_sha256.ToHex()},
          {"revisions", manifest.totals.revisions},
          {"scope", manifests::ScopeName(manifest.scope)},
          {"target", manifest.target.generation}};
}

/// The reserved bundle of an earlier run, or a new one; nullopt with `repeated` set.
Result<std::optional<BundleOut>> ChooseBundle(Mirror& mirror, const ExportRequest& request,
                                              const ExportOptions& options, ExportResult& result) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindSite(request.site));
  TRY_ASSIGN(const auto unfinished, ledger.Unfinished(site.guid));
  if (unfinished) {
    TRY_ASSIGN(const StoredPlan plan, DecodePlan(unfinished->plan));
    TRY(CheckSameOptions(mirror, *unfinished, plan, request));
    result.resumed = true;
    return unfinished;
  }
  TRY_ASSIGN(const ExportPlan plan, PlanExport(mirror, request));
  TRY_ASSIGN(const Manifest draft, DraftManifest(mirror, plan));
  TRY_ASSIGN(auto repeated, Repeat(mirror, plan, draft, options.to));
  result.missing_files = plan.missing_files;
  result.dangling = plan.dangling.size();
  if (repeated) {
    result = std::move(*repeated);
    return std::optional<BundleOut>();
  }
  TidyWorkFolders(mirror, draft);
  TRY_ASSIGN(BundleOut bundle, ReserveNew(mirror, plan, draft));
  return std::optional(std::move(bundle));
}

Result<ExportResult> Export(Mirror& mirror, const ExportRequest& request,
                            const ExportOptions& options) {
  ExportResult chosen;
  TRY_ASSIGN(const auto bundle, ChooseBundle(mirror, request, options, chosen));
  if (!bundle) return chosen;
  mirror::Ledger ledger(mirror.db());
  auto written = WriteBundle(mirror, *bundle, options);
  if (!written) {
    // No repetition can finish such a plan, and nothing of it was written: its number is given up,
    // so that the next command may ask for larger volumes.
    if (written.error().reason == "volume-too-small") {
      TRY(ledger.Abandon(bundle->site, bundle->sequence, mirror.clock().Now(), options.actor));
    }
    return written;
  }
  ExportResult result = std::move(*written);
  result.resumed = chosen.resumed;
  result.missing_files = chosen.missing_files;
  result.dangling = chosen.dangling;
  TRY(ledger.MarkSigned(*bundle, result.manifest_sha256, result.path.string(), result.bytes,
                        mirror.clock().Now(),
                        {options.actor, "export", bundle->site.ToString(),
                         WriteCanonicalJson(JsonValue(Summary(result)))}));
  // Last: volumes that the journal names are read back by a repetition, not written again.
  TRY(RemoveTree(WorkFolder(mirror, result.manifest)));
  return result;
}

}  // namespace

Result<ExportResult> RunExport(Mirror& mirror, const ExportRequest& request,
                               const ExportOptions& options) {
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "export", *options.progress));
  ExportOptions shared = options;
  shared.progress = &job.progress();
  auto result = Export(mirror, request, shared);
  if (!result) {
    job.Fail(result.error());
    return result;
  }
  TRY(job.End(mirror::JobResult::kDone, std::nullopt,
              WriteCanonicalJson(JsonValue(Summary(*result)))));
  return result;
}

}  // namespace gapferry::exporter
