#include "exporter/export.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "exporter/bundle_objects.h"
#include "exporter/export_evidence.h"
#include "exporter/media_run.h"
#include "exporter/own_keys.h"
#include "exporter/sealing.h"
#include "exporter/stored_plan.h"
#include "manifests/card.h"
#include "manifests/zstd_stream.h"
#include "mirror/audit.h"
#include "mirror/bundle_media.h"
#include "mirror/delta_obstacle.h"
#include "mirror/running_job.h"

namespace gapferry::exporter {
namespace {

using manifests::Manifest;
using mirror::BundleOut;
using mirror::Mirror;

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

/// Small files of as many bundles of a stream are kept, for those who ask for them again.
constexpr std::uint64_t kKeptFolders = 4;

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
    const auto sequence = ParseInt<std::uint64_t>(std::string_view(name).substr(prefix.size()));
    if (sequence && *sequence + kKeptFolders > draft.sequence) continue;
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
  return pins == plan.content.files && stored.volume_bytes == plan.volume_bytes &&
         draft == stored.draft && stored.seal_for == plan.seal_for;
}

/// Whether the volumes that were put on the medium at `to` still lie there, as far as sizes tell.
Result<bool> AreVolumesThere(Mirror& mirror, const BundleOut& bundle, const Manifest& manifest,
                             const fs::path& to) {
  mirror::BundleMedia media(mirror.db(), bundle.site, bundle.sequence);
  TRY_ASSIGN(const auto all, media.All());
  for (const auto& medium : all) {
    if (medium.lost && !medium.volumes.empty()) return false;
    if (medium.lost || medium.path != to.string()) continue;
    for (const auto& volume : medium.volumes) {
      if (volume.number > manifest.volumes.size()) return false;
      const auto& stated = manifest.volumes[volume.number - 1];
      std::error_code error;
      const auto size = fs::file_size(to / manifest.DirectoryName() / stated.name, error);
      if (error || size != stated.size) return false;
    }
  }
  return true;
}

/// The last bundle when its last medium still lies in `to`, complete, and nothing has changed
/// since: a run that was killed after its last step has done its work.
Result<std::optional<ExportResult>> Repeat(Mirror& mirror, const ExportPlan& plan,
                                           const Manifest& draft,
                                           const std::vector<fs::path>& targets) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.FindBundle(plan.site.guid, plan.site.last_sequence));
  if (!last || last->state != mirror::BundleState::kSigned) return std::optional<ExportResult>();
  TRY_ASSIGN(const bool same, IsSameBundle(mirror, *last, plan, draft));
  const fs::path path = last->path;
  const auto to = std::ranges::find(targets, path.parent_path());
  if (!same || to == targets.end()) return std::optional<ExportResult>();
  const auto bytes = ReadFile(path / "manifest.json", manifests::kMaxManifestBytes);
  std::error_code ignored;
  if (!bytes || Sha256(*bytes) != *last->manifest ||
      !fs::exists(path / "manifest.json.sig", ignored)) {
    return std::optional<ExportResult>();
  }
  ExportResult result;
  result.path = path;
  TRY_ASSIGN(result.manifest, ReadWritten(*bytes, draft));
  TRY_ASSIGN(const bool there, AreVolumesThere(mirror, *last, result.manifest, *to));
  if (!there) return std::optional<ExportResult>();
  TRY(RemoveTree(WorkFolder(mirror, result.manifest) / "objects"));
  result.manifest_sha256 = *last->manifest;
  result.bytes = last->bytes;
  result.volumes = static_cast<std::uint32_t>(result.manifest.volumes.size());
  result.sealed = result.manifest.sealed.has_value();
  result.repeated = true;
  return std::optional(std::move(result));
}

Result<BundleOut> ReserveNew(Mirror& mirror, const ExportPlan& plan, const Manifest& draft) {
  TRY_ASSIGN(const Bytes intent, EncodeIntent(plan.intent));
  BundleOut bundle;
  bundle.site = plan.site.guid;
  for (const auto& one : plan.site.recipients) bundle.recipients.push_back(one.guid);
  bundle.full = plan.full;
  bundle.base = plan.base;
  bundle.target = plan.target;
  bundle.plan = EncodePlan({draft, plan.volume_bytes, plan.seal_for});
  bundle.plan_digest = PlanDigest(bundle.plan, intent, plan.content.files);
  bundle.reserved_at = mirror.clock().Now();
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(BundleOut reserved, ledger.Reserve(std::move(bundle), plan.content.files, intent));
  if (reserved.sequence != draft.sequence) {
    return Fail(ErrorCode::kInternal, "the ledger gave number " +
                                          std::to_string(reserved.sequence) + ", planned was " +
                                          std::to_string(draft.sequence));
  }
  return reserved;
}

Result<void> CheckSameOptions(Mirror& mirror, const BundleOut& unfinished, const StoredPlan& plan,
                              const ExportRequest& request) {
  bool same = (request.volume_bytes == 0 || plan.volume_bytes == request.volume_bytes) &&
              (!request.full || unfinished.full) &&
              (!request.seal || *request.seal != plan.seal_for.empty()) &&
              (!request.parity || *request.parity == plan.draft.parity);
  if (request.since || request.resend_since) {
    TRY_ASSIGN(const auto base, BaseOf(mirror, request));
    same = same && (base ? !unfinished.full && *base == unfinished.base : unfinished.full);
  }
  if (same) return {};
  return Fail(ErrorCode::kUsage, "unfinished-export",
              "bundle " + std::to_string(unfinished.sequence) +
                  " is unfinished and was begun with other options");
}

/// What the run before this one, or the one that ended the bundle, wrote behind the volumes.
constexpr const char* kKept = "small-files";

/// Ends a bundle whose volumes all have a place; one that is signed already must come out the same.
Result<void> Finish(Mirror& mirror, const BundleOut& bundle, const Manifest& draft, MediaRun& run,
                    manifests::BundleWriter& writer, const manifests::OwnIdentity& identity,
                    ExportResult& result) {
  const fs::path kept = WorkFolder(mirror, draft) / kKept;
  const auto known = ReadFile(kept / "manifest.json", manifests::kMaxManifestBytes);
  if (bundle.manifest && known && Sha256(*known) == *bundle.manifest) {
    TRY_ASSIGN(result.manifest, ReadWritten(*known, draft));
    TRY(run.FinishFrom(kept));
  } else {
    TRY(run.Finish(kept, [&]() -> Result<void> {
      TRY_ASSIGN(result.manifest, writer.Finish(draft, identity.key));
      return {};
    }));
  }
  TRY_ASSIGN(const Bytes bytes, ReadFile(kept / "manifest.json", manifests::kMaxManifestBytes));
  result.manifest_sha256 = Sha256(bytes);
  if (!bundle.manifest || *bundle.manifest == result.manifest_sha256) return {};
  return Fail(ErrorCode::kCorrupt, "plan-lost",
              "bundle " + std::to_string(bundle.sequence) +
                  " cannot be written as it was signed any more: expected manifest sha256:" +
                  bundle.manifest->ToHex() + ", got sha256:" + result.manifest_sha256.ToHex());
}

Result<ExportResult> WriteBundle(Mirror& mirror, const BundleOut& bundle,
                                 const ExportOptions& options) {
  TRY_ASSIGN(const StoredPlan plan, DecodePlan(bundle.plan));
  const fs::path work = WorkFolder(mirror, plan.draft);
  options.progress->Begin("preparing", 0, 0);
  TRY_ASSIGN(auto objects, BundleObjects::Build(mirror, bundle, plan.volume_bytes, work / "objects",
                                                options.stop));
  options.progress->End();
  TRY_ASSIGN(auto layout, manifests::LayOut(objects.plan(), plan.volume_bytes, plan.form()));
  TRY_ASSIGN(auto sealing, SealingOf(mirror, plan, bundle.manifest.has_value()));
  TRY_ASSIGN(auto writer, manifests::BundleWriter::Create({}, work / "journal", std::move(layout),
                                                          plan.draft.parity, std::move(sealing)));
  TRY_ASSIGN(
      const auto identity,
      manifests::LoadIdentity(mirror.identity().guid, mirror.identity().name, mirror.keys().signing,
                              mirror.keys().encryption, mirror.identity().key_number));
  TRY_ASSIGN(std::string trust, CarriedTrust(mirror.keys()));
  writer.SetTrust(std::move(trust));
  const std::string readme =
      manifests::BundleReadme(plan.draft, identity.card.Fingerprint(), plan.form());
  MediaRun run(mirror, bundle, {plan.draft, readme, plan.draft.parity}, writer, objects, options);
  ExportResult result;
  result.manifest = plan.draft;
  result.sealed = !plan.seal_for.empty();
  result.volumes = static_cast<std::uint32_t>(writer.volumes().size());
  TRY_ASSIGN(result.complete, run.PlaceVolumes());
  if (result.complete) TRY(Finish(mirror, bundle, plan.draft, run, writer, identity, result));
  TRY(run.WriteLabels());
  TRY_ASSIGN(result.media, run.Report());
  result.path = run.folder();
  result.pending = run.Pending();
  result.read_back = run.read_back();
  result.bytes = run.bytes();
  // What is large there can be made again; the rest is needed when a medium is lost.
  TRY(RemoveTree(work / "objects"));
  return result;
}

JsonValue::Object Summary(const ExportResult& result) {
  const Manifest& manifest = result.manifest;
  return {{"base", manifest.base.generation},
          {"bundle", manifest.DirectoryName()},
          {"bytes", result.bytes},
          {"complete", result.complete},
          {"content_files", manifest.totals.content_files},
          {"manifest", result.manifest_sha256.ToHex()},
          {"media", result.media.size()},
          {"read_back", manifests::ReadBackName(result.read_back)},
          {"revisions", manifest.totals.revisions},
          {"scope", manifests::ScopeName(manifest.scope)},
          {"target", manifest.target.generation}};
}

/// A signed bundle of which a medium was given up and not written anew.
Result<std::optional<BundleOut>> LackingMedia(Mirror& mirror, const mirror::Destination& site,
                                              const ExportOptions& options) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(auto last, ledger.Unfinished(site.guid));
  if (!last) {
    TRY_ASSIGN(last, ledger.FindBundle(site.guid, site.last_sequence));
  }
  const bool alive = last && last->state != mirror::BundleState::kVoid &&
                     last->state != mirror::BundleState::kAcknowledged;
  if (options.again && !alive) {
    return Fail(ErrorCode::kNotFound, "medium-unknown",
                "no bundle for '" + site.stream + "' is unfinished or on its way");
  }
  if (!alive) return std::optional<BundleOut>();
  mirror::BundleMedia media(mirror.db(), last->site, last->sequence);
  if (options.again) TRY(media.GiveUp(*options.again, mirror.clock().Now(), options.actor));
  TRY_ASSIGN(const auto all, media.All());
  const bool lacks = std::ranges::any_of(
      all, [](const auto& medium) { return medium.lost && !medium.volumes.empty(); });
  if (!lacks) last.reset();
  return last;
}

/// An unfinished bundle that is asked for with other options: given up when nothing of it lies
/// anywhere.
Result<bool> GiveUpUnplaced(Mirror& mirror, const BundleOut& unfinished,
                            const ExportOptions& options) {
  mirror::BundleMedia media(mirror.db(), unfinished.site, unfinished.sequence);
  TRY_ASSIGN(const auto all, media.All());
  for (const auto& medium : all) {
    if (!medium.volumes.empty()) return false;
  }
  mirror::Ledger ledger(mirror.db());
  TRY(ledger.Abandon(unfinished.site, unfinished.sequence, mirror.clock().Now(), options.actor));
  return true;
}

/// The reserved bundle of an earlier run, or a new one; nullopt with `repeated` set.
Result<std::optional<BundleOut>> ChooseBundle(Mirror& mirror, const ExportRequest& request,
                                              const ExportOptions& options, ExportResult& result) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindDestination(request.site));
  TRY_ASSIGN(auto lacking, LackingMedia(mirror, site, options));
  TRY_ASSIGN(auto unfinished, ledger.Unfinished(site.guid));
  if (unfinished) {
    TRY_ASSIGN(const StoredPlan plan, DecodePlan(unfinished->plan));
    auto same = CheckSameOptions(mirror, *unfinished, plan, request);
    if (same) {
      result.resumed = true;
      return unfinished;
    }
    TRY_ASSIGN(const bool given_up, GiveUpUnplaced(mirror, *unfinished, options));
    if (!given_up) return std::unexpected(std::move(same.error()));
  } else if (lacking) {
    result.resumed = true;
    return lacking;
  }
  TRY_ASSIGN(const ExportPlan plan, PlanExport(mirror, request));
  TRY_ASSIGN(const Manifest draft, DraftManifest(mirror, plan));
  TRY_ASSIGN(auto repeated, Repeat(mirror, plan, draft, options.to));
  result.missing_files = plan.content.missing;
  result.dangling = plan.dangling.size();
  if (repeated) {
    result = std::move(*repeated);
    return std::optional<BundleOut>();
  }
  TidyWorkFolders(mirror, draft);
  TRY(TidySecrets(mirror, plan.site));
  TRY_ASSIGN(BundleOut bundle, ReserveNew(mirror, plan, draft));
  return std::optional(std::move(bundle));
}

Result<ExportResult> Export(Mirror& mirror, const ExportRequest& request,
                            const ExportOptions& options) {
  const UtcTime started = mirror.clock().Now();
  for (const auto& to : options.to) TRY(CheckExportMedium(mirror, to));
  TRY(mirror::CommitConfiguration(mirror, options.actor));
  ExportResult chosen;
  TRY_ASSIGN(const auto bundle, ChooseBundle(mirror, request, options, chosen));
  if (!bundle) return chosen;
  mirror::Ledger ledger(mirror.db());
  auto written = WriteBundle(mirror, *bundle, options);
  if (!written) {
    // No repetition can finish such a plan, and nothing of it was written: its number is given up,
    // so that the next command may ask for larger volumes.
    if (written.error().reason == "source-changed" && !bundle->manifest) {
      TRY_ASSIGN(const StoredPlan plan, DecodePlan(bundle->plan));
      TRY(ForgetSecret(mirror, plan.draft));
    }
    if (written.error().reason == "volume-too-small") {
      TRY(ledger.Abandon(bundle->site, bundle->sequence, mirror.clock().Now(), options.actor));
    }
    return written;
  }
  ExportResult result = std::move(*written);
  result.resumed = chosen.resumed;
  result.missing_files = chosen.missing_files;
  result.dangling = chosen.dangling;
  TRY(RecordExportFacts(mirror, *bundle, result, options, started));
  const mirror::AuditEntry audit = {options.actor, result.complete ? "export" : "export.media",
                                    bundle->site.ToString(),
                                    WriteCanonicalJson(JsonValue(Summary(result)))};
  if (result.complete && !bundle->manifest) {
    TRY(ledger.MarkSigned(*bundle, result.manifest_sha256, result.path.string(), result.bytes,
                          mirror.clock().Now(), audit));
  } else {
    TRY(mirror::AppendAuditAlone(mirror.db(), mirror.clock().Now(), audit));
  }
  return result;
}

}  // namespace

fs::path KeptSmallFiles(Mirror& mirror, const Manifest& manifest) {
  return WorkFolder(mirror, manifest) / kKept;
}

Result<ExportResult> RunExport(Mirror& mirror, const ExportRequest& request,
                               const ExportOptions& options) {
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "export", *options.progress));
  ExportOptions shared = options;
  shared.progress = &job.progress();
  if (options.next_medium) {
    shared.next_medium = [&](const MediumWanted& wanted) -> Result<std::optional<fs::path>> {
      TRY_ASSIGN(auto next, options.next_medium(wanted));
      if (next) TRY(CheckExportMedium(mirror, *next));
      return next;
    };
  }
  auto result = Export(mirror, request, shared);
  if (!result) {
    job.Fail(result.error());
    return result;
  }
  TRY(job.End(result->complete ? mirror::JobResult::kDone : mirror::JobResult::kPartly,
              std::nullopt, WriteCanonicalJson(JsonValue(Summary(*result)))));
  return result;
}

}  // namespace gapferry::exporter
