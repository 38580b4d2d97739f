#include "importer/import.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/log.h"
#include "importer/acknowledgement.h"
#include "importer/arrival.h"
#include "importer/bundle_source.h"
#include "importer/import_evidence.h"
#include "importer/loader.h"
#include "importer/own_side.h"
#include "importer/staging.h"
#include "manifests/medium_set.h"
#include "mirror/audit.h"
#include "mirror/bundle_damage.h"
#include "mirror/bundle_event.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/deadlines.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/held_intent.h"
#include "mirror/intent.h"
#include "mirror/intent_arrival.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/ledger.h"
#include "mirror/proposals.h"
#include "mirror/removal_guard.h"
#include "mirror/running_job.h"

namespace gapferry::importer {
namespace {

using manifests::Manifest;
using mirror::Mirror;
using mirror::exchange::IntentObject;

constexpr std::size_t kPublishBatch = 256;

/// Failures that say something about the bundle; the others say something about this machine, and
/// the same command will go on.
bool IsRefusal(const Error& error) {
  switch (error.code) {
    case ErrorCode::kCorrupt:
    case ErrorCode::kUntrusted:
    case ErrorCode::kUnsupported:
    case ErrorCode::kExpired:
      return true;
    default:
      return error.reason == "base-missing" || error.reason == "removals-need-acceptance";
  }
}

std::vector<std::filesystem::path> MediaOf(const std::filesystem::path& bundle,
                                           const ImportOptions& options) {
  std::vector<std::filesystem::path> media = {bundle};
  media.insert(media.end(), options.more_media.begin(), options.more_media.end());
  return media;
}

/// One import from its medium to its commit. Staged files of a refused bundle are removed; those of
/// an interrupted one stay.
class Import {
 public:
  /// Everything must outlive it.
  Import(Mirror& mirror, const BundleSource& source, const ImportOptions& options,
         mirror::RunningJob& job)
      : mirror_(mirror),
        path_(source.named),
        media_(source.folders, manifests::Lacking::kElsewhere),
        medium_(media_, {.scratch = mirror.staging()}),
        options_(options),
        job_(job),
        ledger_(mirror.db()) {
    // Our own copy of the small files is no medium.
    const std::string staging = mirror.staging().string();
    std::ranges::copy_if(source.folders, std::back_inserter(given_), [&](const auto& folder) {
      return !folder.string().starts_with(staging + "/");
    });
  }

  Result<ImportResult> Run() {
    for (const auto& medium : given_) TRY(CheckMedium(mirror_, medium));
    TRY(UseRepairFolders(medium_, media_, options_.repair));
    TRY_ASSIGN(own_, ReadOwnSide(mirror_, &medium_));
    TRY_ASSIGN(auto manifest, manifests::VerifyManifest(medium_, own_.policy, own_.addressee),
               path_.filename().string());
    name_ = manifest.manifest().DirectoryName();
    result_.manifest = manifest.manifest();
    result_.signatures = manifest.signatures();
    TRY_ASSIGN(const Arrival arrival, CheckArrival(mirror_, manifest, {options_.new_history}),
               name_);
    const Sha256Digest digest = manifest.digest();
    started_at_ = mirror_.clock().Now();
    if (arrival == Arrival::kAlreadyImported) return Already(digest);
    TRY_ASSIGN(const auto index, manifests::VerifyIndex(medium_, std::move(manifest)), name_);
    TRY(mirror_.content().Recover());
    TRY_ASSIGN(const auto staging, Staging::Open(mirror_, index), name_);
    scan_.emplace(mirror_, digest, name_, options_.actor);
    if (!index.absent_volumes().empty()) {
      TRY(KeepSmallFiles(medium_, index.manifest(), staging->folder() / kKeptFolder));
    }
    auto done = Stage(index, *staging);
    if (!done && done.error().reason == "volumes-missing") return Partly(*staging, digest);
    // One bad medium does not make the others come again: what they gave was verified.
    const bool other_media_count = !done && (!index.absent_volumes().empty() || given_.size() > 1);
    if (done) done = scan_->Run(*staging, *options_.progress, options_.stop);
    if (done) done = LoadAndCommit(index, *staging, digest);
    if (!done) {
      const bool keep = !IsRefusal(done.error()) ||
                        done.error().reason == "removals-need-acceptance" || other_media_count;
      if (!keep) Tidy(staging->Remove(/*content=*/true));
      if (!keep) Tidy(scan_->Forget());
      return WithContext(std::move(done.error()), name_);
    }
    Tidy(Staging::RemoveFolders(mirror_));
    AfterCommit();
    return std::move(result_);
  }

  const std::string& name() const { return name_; }

  /// After a refusal for damage. What cannot be remembered must not hide the refusal.
  void NoteDamage() {
    if (name_.empty()) return;
    const auto noted =
        RememberDamage(mirror_, medium_, result_.manifest, *options_.progress, options_.stop);
    if (noted) return;
    Log(LogLevel::kWarning, "damaged blocks are not remembered", {{"why", noted.error().message}});
  }
  MendedDamage damage() const { return {medium_.Damage(), medium_.MendedFiles()}; }

 private:
  /// What is left lying costs space and is removed by the next job; it must not hide the outcome.
  static void Tidy(const Result<void>& removed) {
    if (removed) return;
    Log(LogLevel::kWarning, "remains of an import not removed", {{"why", removed.error().message}});
  }

  Result<ImportResult> Already(const Sha256Digest& digest) {
    Tidy(Staging::RemoveFolder(mirror_, digest));  // of a run that ended right after its commit
    result_.already_imported = true;
    TRY_ASSIGN(const auto published, mirror_.catalog().Published());
    result_.generation = published.name.generation;
    AfterCommit();
    TRY(job_.End(mirror::JobResult::kDone, std::nullopt, Detail(digest)));
    return std::move(result_);
  }

  /// Some media are still to come: what was here is staged, and nothing of it can be seen.
  Result<ImportResult> Partly(Staging& staging, const Sha256Digest& digest) {
    TRY(staging.MarkVolumes());
    TRY(RecordImportMedium(mirror_, digest, given_, options_.actor));
    TRY(mirror::AppendAuditAlone(mirror_.db(), mirror_.clock().Now(),
                                 {options_.actor, "import.media", name_, Detail(digest)}));
    TRY(job_.End(mirror::JobResult::kPartly, std::nullopt, Detail(digest)));
    return std::move(result_);
  }

  /// What follows from the bundle, is not part of it, and is done again by the same command: the
  /// bundle is imported, whatever happens here.
  void AfterCommit() {
    const auto note = [&](const auto& done) {
      if (!done) result_.warnings.push_back(done.error().message);
    };
    // Advisory, and said again by every bundle: in a database of its own.
    for (const auto& one : result_.manifest.acknowledgements) {
      if (one.site == mirror_.identity().guid) {
        note(ApplyAcknowledgement(mirror_, result_.manifest.sender.guid, one));
      }
    }
    // What an earlier import settled by a clock that was wrong.
    note(mirror::SettleByClock(mirror_, options_.actor));
    note(Count());
  }

  Result<void> Stage(const manifests::VerifiedIndex& index, Staging& staging) {
    manifests::VerifyOptions options;
    options.receiver = &staging;
    options.progress = options_.progress;
    options.stop = options_.stop;
    options.missing = &result_.missing_volumes;
    TRY(manifests::VerifyVolumes(medium_, index, options));
    return {};
  }

  Result<void> LoadAndCommit(const manifests::VerifiedIndex& index, Staging& staging,
                             const Sha256Digest& digest) {
    if (Holds()) TRY(mirror::PrepareHold(mirror_, job_.lock()));
    TRY_ASSIGN(auto load,
               mirror::CatalogLoad::Open(mirror_, job_.lock(), "import", digest.ToHex()));
    auto done = LoadAndPublish(index, staging, load, digest);
    if (!done && IsRefusal(done.error()) && done.error().reason != "removals-need-acceptance") {
      Tidy(load.Abandon());
      Tidy(mirror::IntentArrival::Discard(mirror_));
    }
    return done;
  }

  Result<void> LoadAndPublish(const manifests::VerifiedIndex& index, Staging& staging,
                              mirror::CatalogLoad& load, const Sha256Digest& digest) {
    TRY_ASSIGN(IntentObject object, ReadStagedIntent(staging));
    if (object.full != (result_.manifest.scope == manifests::Scope::kFull)) {
      return Fail(ErrorCode::kCorrupt, "intent-malformed", "intent and manifest differ in scope");
    }
    TRY_ASSIGN(const auto summary, LoadDocuments(mirror_, index, staging, object, load,
                                                 *options_.progress, options_.stop));
    TRY(CheckDeclarations(mirror_, index));
    TRY(CheckRemovals(load, object.intent));
    object.intent.deadline_floor = mirror_.config().import.deadline_floor;
    object.intent.not_before = mirror::NotBeforeOf(result_.manifest.created);
    object.intent.hold = Holds();
    contents_ = mirror::ContentsOf(object);
    const bool hold = object.intent.hold;
    TRY_ASSIGN(auto intent,
               mirror::IntentArrival::Prepare(mirror_, job_.lock(), std::move(object.intent)));
    TRY(Rehearse(load, intent, hold));
    TRY(scan_->MoveToQuarantine());
    result_.withheld = scan_->withheld();
    TRY(PublishContent(staging));
    result_.documents = summary.new_revisions;
    result_.withdrawn = summary.withdrawn;
    TRY(Commit(load, intent, hold, digest));
    Tidy(scan_->Finish());
    return {};
  }

  /// Where a mirror decides by itself, what comes from above waits anyway.
  bool Holds() const { return options_.hold && mirror_.config().replica; }

  Result<void> CheckRemovals(mirror::CatalogLoad& load, const mirror::IntentImport& intent) {
    mirror::Removals removals;
    removals.withdrawn = load.Withdrawn();
    TRY_ASSIGN(removals.expired, load.NewlyExpired());
    if (mirror_.config().replica) {
      for (const Guid& guid : intent.declined) {
        TRY_ASSIGN(const bool before, mirror_.intent().IsDeclined(guid));
        if (!before) removals.declined.push_back(guid);
      }
    }
    TRY_ASSIGN(const auto arriving, mirror::ArrivingNames(load));
    TRY_ASSIGN(const auto verdict, mirror::JudgeRemovals(mirror_, removals, arriving));
    if (!verdict.needs_consent || options_.accept_removals == verdict.removals) return {};
    return std::unexpected(mirror::RemovalsNeedConsent(verdict, "the import",
                                                       "gapferry import " + path_.string() +
                                                           " --accept-removals " +
                                                           std::to_string(verdict.removals)));
  }

  Result<void> PublishBatch(std::vector<mirror::VerifiedContent> batch) {
    const std::size_t count = batch.size();
    TRY(mirror_.content().Publish(std::move(batch)));
    options_.progress->Advance(count, 0);
    return {};
  }

  /// Content is seen as soon as it is published: a bundle that does not lead to its target must be
  /// refused before.
  Result<void> Rehearse(mirror::CatalogLoad& load, mirror::IntentArrival& intent, bool hold) {
    auto reached = RehearseOnce(load, intent, hold);
    if (reached || reached.error().reason != "state-digest") return reached;
    // A digest that was computed beforehand must not be what refuses a bundle.
    intent.ForgetDigests();
    return RehearseOnce(load, intent, hold);
  }

  Result<void> RehearseOnce(mirror::CatalogLoad& load, const mirror::IntentArrival& intent,
                            bool hold) {
    TRY_ASSIGN(auto commit, load.BeginCommit("import"));
    if (hold) TRY(mirror::BeginHold(commit));
    TRY(intent.Enter(commit));
    commit.ExpectStateDigest(result_.manifest.target.state_digest);
    return commit.Rehearse();
  }

  Result<void> PublishContent(Staging& staging) {
    TRY_ASSIGN(auto content, staging.TakeContent());
    options_.progress->Begin("storing files", content.size(), 0);
    std::vector<mirror::VerifiedContent> batch;
    for (auto& file : content) {
      ++result_.content_files;
      result_.content_bytes += file.file().size_bytes;
      batch.push_back(std::move(file));
      if (batch.size() == kPublishBatch) {
        TRY(PublishBatch(std::exchange(batch, {})));
      }
    }
    if (!batch.empty()) TRY(PublishBatch(std::move(batch)));
    options_.progress->End();
    return {};
  }

  Result<void> Commit(mirror::CatalogLoad& load, const mirror::IntentArrival& intent, bool hold,
                      const Sha256Digest& digest) {
    TRY_ASSIGN(const auto last, ledger_.LastImport());
    TRY_ASSIGN(auto commit, load.BeginCommit("import"));
    if (hold) TRY(mirror::BeginHold(commit));
    TRY_ASSIGN(result_.intent, intent.Enter(commit));
    TRY(commit.db().Run("UPDATE mirror SET bundle_created_at = ?", result_.manifest.created));
    const mirror::BundleIn record = Record(commit, digest, last);
    TRY(ledger_.RecordImport(record));
    TRY(mirror::ForgetBundleDamage(commit.db(), record.sender, record.stream, record.sequence));
    TRY(KeepTrust(commit, own_, digest, result_.signatures.origin.key.Id(), options_.actor));
    TRY(KeepEvidence(commit, digest));
    TRY(commit.Audit({options_.actor, "import", name_, Detail(digest)}));
    // What serve tells clients about the last synchronisation is read from the job history.
    TRY(job_.End(mirror::JobResult::kDone, record.local_generation, Detail(digest)));
    commit.ExpectStateDigest(result_.manifest.target.state_digest);
    TRY_ASSIGN(const auto state, commit.Finish());
    result_.generation = state.generation;
    return {};
  }

  mirror::BundleIn Record(const mirror::CommitTransaction& commit, const Sha256Digest& digest,
                          const std::optional<mirror::BundleIn>& last) {
    const Manifest& manifest = result_.manifest;
    mirror::BundleIn in;
    in.sender = manifest.sender.guid;
    in.stream = manifest.stream;
    in.sequence = manifest.sequence;
    in.manifest = digest;
    in.full = manifest.scope == manifests::Scope::kFull;
    in.target = {
        {manifest.target.epoch, static_cast<mirror::Generation>(manifest.target.generation),
         manifest.target.chain},
        manifest.target.state_digest};
    in.local_generation = commit.changed() ? commit.generation() : commit.generation() - 1;
    // A sync that failed brought nothing: what clients have evaluated ends where the last good one
    // did.
    using enum manifests::UpstreamSync::Outcome;
    if (manifest.upstream_sync.outcome == kSucceeded) {
      in.upstream_sync_at = manifest.upstream_sync.at;
    } else if (manifest.upstream_sync.outcome == kFailed && last &&
               last->sender == manifest.sender.guid) {
      in.upstream_sync_at = last->upstream_sync_at;
    }
    in.detailed = true;  // unless the sender says that its upstream takes sums only
    for (const auto& one : manifest.acknowledgements) {
      if (one.site != mirror_.identity().guid) continue;
      in.applied_return = one.applied_return;
      in.detailed = one.detailed;
    }
    in.imported_at = commit.committed_at();
    return in;
  }

  Result<void> KeepEvidence(const mirror::CommitTransaction& commit, const Sha256Digest& digest) {
    const Manifest& manifest = result_.manifest;
    const auto policy = own_.policy.RuleFor(manifest.sender.guid, manifest.stream);
    JsonValue::Array moved;
    for (const auto& one : result_.intent.moved_deadlines) {
      if (moved.size() == mirror::kEventItems) break;
      moved.emplace_back(
          JsonValue::Object{{"given", one.given.ToXml()}, {"update", one.update.ToString()}});
    }
    TRY_ASSIGN(facts_, RecordImportFacts(mirror_, {manifest,
                                                   digest,
                                                   result_.signatures,
                                                   policy.rule.ToString(),
                                                   given_,
                                                   contents_,
                                                   scan_->Facts(),
                                                   {{"content_bytes", result_.content_bytes},
                                                    {"content_files", result_.content_files},
                                                    {"documents", result_.documents},
                                                    {"intent_changes", result_.intent.changed},
                                                    {"moved_deadlines", std::move(moved)},
                                                    {"withdrawn", result_.withdrawn}},
                                                   MendedText(damage()),
                                                   started_at_,
                                                   commit.committed_at(),
                                                   options_.actor}));
    return {};
  }

  std::string Detail(const Sha256Digest& digest) const {
    const Manifest& manifest = result_.manifest;
    return WriteCanonicalJson(
        JsonValue::Object{{"base", manifest.base.generation},
                          {"bundle", name_},
                          {"content_bytes", result_.content_bytes},
                          {"content_files", result_.content_files},
                          {"documents", result_.documents},
                          {"facts", facts_.ToHex()},
                          {"held", Holds()},
                          {"manifest", digest.ToHex()},
                          {"missing_volumes", result_.missing_volumes.size()},
                          {"moved_deadlines", result_.intent.moved_deadlines.size()},
                          {"scope", manifests::ScopeName(manifest.scope)},
                          {"sender", manifest.sender.guid.ToString()},
                          {"target", manifest.target.generation}});
  }

  Result<void> Count() {
    TRY_ASSIGN(result_.proposals, mirror::CountProposals(mirror_));
    TRY_ASSIGN(const auto needed, mirror::exchange::NeededFiles(mirror_, /*all=*/false));
    result_.missing_files = static_cast<std::uint64_t>(
        std::ranges::count(needed, false, &mirror::DeclaredFile::is_held));
    return {};
  }

  Mirror& mirror_;
  const std::filesystem::path path_;
  std::vector<std::filesystem::path> given_;  // folders of media
  manifests::MediumSet media_;
  manifests::MendingMedium medium_;  // media_ with repairs
  ImportOptions options_;
  mirror::RunningJob& job_;
  mirror::Ledger ledger_;
  OwnSide own_;
  std::string name_;
  UtcTime started_at_;
  std::optional<ImportScan> scan_;  // since the manifest was verified
  JsonValue::Object contents_;      // for evidence
  Sha256Digest facts_;              // of the event that evidence reads
  ImportResult result_;
};

}  // namespace

Result<ImportResult> RunImport(Mirror& mirror, const std::filesystem::path& bundle,
                               const ImportOptions& options) {
  // A mistyped path is no import that failed.
  for (const auto& one : MediaOf(bundle, options)) TRY(BundleFoldersAt(one));
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "import", *options.progress));
  ImportOptions shared = options;
  shared.progress = &job.progress();
  std::string name = bundle.filename().string();
  auto result = [&]() -> Result<ImportResult> {
    TRY_ASSIGN(const BundleSource source,
               FindBundle(mirror, MediaOf(bundle, options), options.new_history));
    Import import(mirror, source, shared, job);
    auto done = import.Run();
    if (!import.name().empty()) name = import.name();
    if (done) done->others = source.others;
    if (done) done->mended = import.damage();
    if (!done && manifests::IsDamage(done.error())) import.NoteDamage();
    return done;
  }();
  if (result) return result;
  job.Fail(result.error());
  if (!IsRefusal(result.error())) return result;
  TRY(mirror::AppendAuditAlone(
      mirror.db(), mirror.clock().Now(),
      {options.actor, "import.refused", name,
       WriteCanonicalJson(JsonValue::Object{{"error", ErrorCodeName(result.error().code)},
                                            {"message", result.error().message},
                                            {"reason", result.error().reason}})}));
  return result;
}

Result<DryRun> PlanImport(Mirror& mirror, const std::filesystem::path& bundle,
                          const ImportOptions& options) {
  for (const auto& one : MediaOf(bundle, options)) TRY(CheckMedium(mirror, one));
  TRY_ASSIGN(const BundleSource source,
             FindBundle(mirror, MediaOf(bundle, options), options.new_history));
  manifests::MediumSet media(source.folders, manifests::Lacking::kElsewhere);
  manifests::MendingMedium medium(media, {.scratch = mirror.staging()});
  TRY(UseRepairFolders(medium, media, options.repair));
  TRY_ASSIGN(const OwnSide own, ReadOwnSide(mirror, &medium));
  TRY_ASSIGN(auto manifest, manifests::VerifyManifest(medium, own.policy, own.addressee),
             source.named.filename().string());
  DryRun dry;
  dry.others = source.others;
  dry.manifest = manifest.manifest();
  dry.signatures = manifest.signatures();
  const std::string name = dry.manifest.DirectoryName();
  TRY_ASSIGN(const Arrival arrival, CheckArrival(mirror, manifest, {options.new_history}), name);
  if (arrival == Arrival::kAlreadyImported) {
    dry.already_imported = true;
    return dry;
  }
  TRY_ASSIGN(const auto index, manifests::VerifyIndex(medium, std::move(manifest)), name);
  TRY(ScanDocuments(mirror, medium, index, *options.progress, options.stop), name);
  dry.absent_volumes = index.absent_volumes();
  TRY_ASSIGN(dry.plan, MakeImportPlan(mirror, medium, index, options.hold), name);
  return dry;
}

}  // namespace gapferry::importer
