#include "exporter/repair_bundle.h"

#include <algorithm>
#include <optional>

#include "base/canonical_json.h"
#include "base/file.h"
#include "exporter/bundle_objects.h"
#include "exporter/export.h"
#include "exporter/sealing.h"
#include "exporter/stored_plan.h"
#include "manifests/block_hasher.h"
#include "manifests/bundle_writer.h"
#include "manifests/card.h"
#include "manifests/repair_folder.h"
#include "manifests/seal_format.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/running_job.h"

namespace gapferry::exporter {
namespace {

using manifests::BlockRun;
using manifests::RepairRequest;
using mirror::BundleOut;
using mirror::Mirror;

constexpr std::uint64_t kMaxSmallFile = 1ULL << 30;
/// A return is written by somebody else: no run is longer than a volume of 256 GiB.
constexpr std::uint64_t kMaxAskedBlocks = 4 << 20;
/// How a stream ends once the last wanted block has passed.
constexpr const char* kEnough = "enough";

/// Keeps the wanted blocks of a volume that passes.
class BlockPicker : public Sink {
 public:
  BlockPicker(std::span<const BlockRun> runs, std::string volume, Sink& out)
      : runs_(runs), volume_(std::move(volume)), out_(out) {}

  Result<void> Write(ByteView bytes) override {
    while (!bytes.empty()) {
      const std::size_t room = static_cast<std::size_t>(manifests::kBlockBytes) - block_.size();
      const std::size_t count = std::min(bytes.size(), room);
      if (IsWanted()) {
        block_.insert(block_.end(), bytes.begin(),
                      bytes.begin() + static_cast<std::ptrdiff_t>(count));
      } else {
        block_.resize(block_.size() + count);
      }
      bytes = bytes.subspan(count);
      if (block_.size() == manifests::kBlockBytes) TRY(EndBlock());
    }
    return {};
  }

  /// The last block may be short.
  Result<void> Finish() {
    if (!block_.empty() && !runs_.empty()) TRY(EndBlock());
    if (runs_.empty()) return {};
    return Fail(ErrorCode::kNotFound, "repair-unknown",
                volume_ + " has no block " + std::to_string(runs_.front().block) + ", it has " +
                    std::to_string(number_));
  }

 private:
  bool IsWanted() const { return !runs_.empty() && number_ >= runs_.front().block; }

  Result<void> EndBlock() {
    if (IsWanted()) {
      TRY(Check());
      block_.resize(manifests::kBlockBytes);
      TRY(out_.Write(block_));
      if (number_ + 1 == runs_.front().block + runs_.front().count) runs_ = runs_.subspan(1);
    }
    block_.clear();
    ++number_;
    if (runs_.empty()) return Fail(ErrorCode::kCancelled, kEnough, "every wanted block has passed");
    return {};
  }

  Result<void> Check() const {
    const BlockRun& run = runs_.front();
    if (run.digests.empty()) return {};
    const Sha256Digest digest = Sha256(block_);
    const auto at = static_cast<std::size_t>((number_ - run.block) * manifests::kBlockDigestBytes);
    const ByteView expected = ByteView(run.digests).subspan(at, manifests::kBlockDigestBytes);
    if (std::ranges::equal(expected, ByteView(digest.bytes).first(expected.size()))) return {};
    return Fail(ErrorCode::kCorrupt, "repair-changed",
                "block " + std::to_string(number_) + " of " + volume_ + " (offset " +
                    std::to_string(number_ * manifests::kBlockBytes) +
                    ") cannot be made again as it was: expected " + HexEncode(expected) + ", got " +
                    HexEncode(ByteView(digest.bytes).first(expected.size())));
  }

  std::span<const BlockRun> runs_;
  std::string volume_;
  Sink& out_;
  Bytes block_;
  std::uint64_t number_ = 0;
};

/// The bundle that a request is about, as long as it can be made again.
Result<BundleOut> FindAsked(Mirror& mirror, const RepairRequest& request) {
  mirror::Ledger ledger(mirror.db());
  const std::string name =
      "bundle " + std::to_string(request.sequence) + " of '" + request.stream + "'";
  TRY_ASSIGN(const auto owner, ledger.StreamOwner(request.stream));
  std::optional<BundleOut> bundle;
  if (owner) {
    TRY_ASSIGN(bundle, ledger.FindBundle(*owner, request.sequence));
  }
  if (!bundle || !bundle->manifest) {
    return Fail(ErrorCode::kNotFound, "repair-unknown", "this mirror has signed no " + name);
  }
  if (*bundle->manifest != request.manifest) {
    return Fail(ErrorCode::kUntrusted, "repair-foreign",
                name + " has the manifest sha256:" + bundle->manifest->ToHex() +
                    ", asked for is sha256:" + request.manifest.ToHex());
  }
  if (bundle->state == mirror::BundleState::kVoid ||
      bundle->state == mirror::BundleState::kAcknowledged) {
    return Fail(ErrorCode::kUsage, "plan-gone",
                name + " is " + std::string(mirror::BundleStateName(bundle->state)) +
                    ": it cannot be made again");
  }
  CountingSink plan;
  TRY(ledger.CopyIntentObject(*owner, request.sequence, plan));
  if (plan.count() == 0) {
    return Fail(ErrorCode::kUsage, "plan-gone",
                name + " was overtaken by later ones: its plan is not kept any more");
  }
  return std::move(*bundle);
}

/// One run: the plan's objects made again, their volumes streamed, wanted blocks kept.
class RepairRun {
 public:
  RepairRun(Mirror& mirror, const RepairRequest& request, const RepairOptions& options)
      : mirror_(mirror), options_(options), list_(request) {}

  Result<RepairResult> Run() {
    TRY_ASSIGN(const BundleOut bundle, FindAsked(mirror_, list_));
    TRY_ASSIGN(plan_, DecodePlan(bundle.plan));
    result_.bundle = plan_.draft.DirectoryName();
    bundle_folder_ = bundle.path;
    TRY(Prepare());
    auto written = Write(bundle);
    const auto removed = RemoveTree(work_);
    if (!written) return std::unexpected(std::move(written.error()));
    TRY(removed);
    return std::move(result_);
  }

 private:
  Result<void> Prepare() {
    const std::string text = manifests::EncodeRepairRequest(list_);
    result_.path = options_.to / (result_.bundle + "-repair-" + Sha256(text).ToHex().substr(0, 8));
    work_ = mirror_.staging() / ("repair-" + result_.bundle);
    TRY(CreateDirectories(result_.path / manifests::kRepairFilesName));
    return CheckFreeSpace(result_.path, list_.blocks() * manifests::kBlockBytes + (1 << 20));
  }

  Result<void> Write(const BundleOut& bundle) {
    // What says that the folder is complete comes last.
    TRY(RemoveFile(result_.path / manifests::kRepairListName));
    TRY(WriteBlocks(bundle));
    TRY(WriteFiles());
    if (list_.runs.empty() && list_.files.empty()) {
      return Fail(ErrorCode::kNotFound, "repair-nothing",
                  "nothing of what is asked for can be had any more: '" +
                      result_.missing_files.front() + "'");
    }
    TRY(WriteFileAtomically(result_.path / "README.txt", AsBytes(Readme())));
    TRY(WriteFileAtomically(result_.path / manifests::kRepairListName,
                            AsBytes(manifests::EncodeRepairRequest(list_))));
    result_.blocks = list_.blocks();
    result_.files = list_.files.size();
    result_.bytes += result_.blocks * manifests::kBlockBytes;
    return SyncDirectory(result_.path);
  }

  Result<void> WriteBlocks(const BundleOut& bundle) {
    TRY_ASSIGN(File file, File::Create(result_.path / manifests::kRepairBlocksName));
    if (!list_.runs.empty()) {
      FileSink out(file);
      options_.progress->Begin("preparing", 0, 0);
      auto objects = BundleObjects::Build(mirror_, bundle, plan_.volume_bytes, work_ / "objects",
                                          options_.stop);
      options_.progress->End();
      if (!objects) return std::unexpected(std::move(objects.error()));
      TRY_ASSIGN(auto layout, manifests::LayOut(objects->plan(), plan_.volume_bytes, plan_.form()));
      TRY_ASSIGN(auto sealing, SealingOf(mirror_, plan_, /*is_signed=*/true));
      TRY_ASSIGN(auto writer,
                 manifests::BundleWriter::Create({}, work_ / "journal", std::move(layout),
                                                 plan_.draft.parity, std::move(sealing)));
      TRY(PickBlocks(writer, *objects, out));
    }
    TRY(file.Sync());
    return file.Close();
  }

  Result<void> PickBlocks(manifests::BundleWriter& writer, BundleObjects& objects, Sink& out) {
    options_.progress->Begin("making blocks again", 0, list_.blocks() * manifests::kBlockBytes);
    manifests::WriteOptions options;
    options.stop = options_.stop;
    for (auto from = list_.runs.begin(); from != list_.runs.end();) {
      const std::uint32_t volume = from->volume;
      const auto to = std::ranges::find_if(
          from, list_.runs.end(), [&](const BlockRun& run) { return run.volume != volume; });
      if (volume > writer.volumes().size()) {
        return Fail(ErrorCode::kNotFound, "repair-unknown",
                    "the bundle has no volume " + std::to_string(volume) + ", it has " +
                        std::to_string(writer.volumes().size()));
      }
      BlockPicker picker({from, to}, writer.volumes()[volume - 1].name, out);
      const auto streamed = writer.StreamVolume(volume, objects, options, picker);
      if (streamed) {
        TRY(Enough(picker.Finish()));
      } else {
        TRY(Enough(streamed));
      }
      from = to;
    }
    options_.progress->End();
    return {};
  }

  static Result<void> Enough(Result<void> result) {
    if (!result && result.error().reason == kEnough) return {};
    return result;
  }

  /// Copies of small files that are still what they were; others are left out and named.
  Result<void> WriteFiles() {
    std::map<std::string, Sha256Digest> found;
    for (const auto& [name, digest] : list_.files) {
      const auto bytes = FindSmallFile(name, digest);
      if (!bytes) {
        result_.missing_files.push_back(name);
        continue;
      }
      TRY(WriteFileAtomically(result_.path / manifests::kRepairFilesName / name, *bytes));
      result_.bytes += bytes->size();
      found.emplace(name, digest);
    }
    list_.files = std::move(found);
    return {};
  }

  std::optional<Bytes> FindSmallFile(const std::string& name, const Sha256Digest& digest) {
    const fs::path kept = KeptSmallFiles(mirror_, plan_.draft);
    for (const fs::path& folder : {kept, bundle_folder_}) {
      auto bytes = ReadFile(folder / name, kMaxSmallFile);
      if (bytes && Sha256(*bytes) == digest) return std::move(*bytes);
    }
    const auto identity = manifests::LoadIdentity(mirror_.identity().guid, mirror_.identity().name,
                                                  mirror_.keys().signing, mirror_.keys().encryption,
                                                  mirror_.identity().key_number);
    if (name != "README.txt" || !identity) return std::nullopt;
    const std::string text =
        manifests::BundleReadme(plan_.draft, identity->card.Fingerprint(), plan_.form());
    if (Sha256(text) != digest) return std::nullopt;
    return Bytes(text.begin(), text.end());
  }

  std::string Readme() const {
    return "This folder mends " + result_.bundle +
           ". It is no bundle: it holds the blocks and files that\n"
           "were asked for, and the bundle's own digests decide about each of them.\n\n"
           "  gapferry verify BUNDLE --repair THIS_FOLDER\n"
           "  gapferry import BUNDLE --repair THIS_FOLDER\n";
  }

  Mirror& mirror_;
  const RepairOptions& options_;
  RepairRequest list_;
  StoredPlan plan_;
  fs::path work_;
  fs::path bundle_folder_;
  RepairResult result_;
};

}  // namespace

Result<RepairResult> WriteRepairFolder(Mirror& mirror, const RepairRequest& request,
                                       const RepairOptions& options) {
  if (request.runs.empty() && request.files.empty()) {
    return Fail(ErrorCode::kNotFound, "repair-nothing", "the request asks for nothing");
  }
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "export-repair", *options.progress));
  RepairOptions shared = options;
  shared.progress = &job.progress();
  auto result = RepairRun(mirror, request, shared).Run();
  if (!result) {
    job.Fail(result.error());
    return result;
  }
  const std::string summary = WriteCanonicalJson(JsonValue::Object{
      {"blocks", result->blocks}, {"bundle", result->bundle}, {"files", result->files}});
  TRY(mirror::AppendAuditAlone(mirror.db(), mirror.clock().Now(),
                               {options.actor, "export.repair", result->bundle, summary}));
  TRY(job.End(mirror::JobResult::kDone, std::nullopt, summary));
  return result;
}

Result<std::vector<RepairRequest>> AskedRepairs(Mirror& mirror, const std::string& site) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto found, ledger.FindSite(site));
  TRY_ASSIGN(const auto runs, ledger.Damage(found.guid));
  std::vector<RepairRequest> requests;
  for (const auto& run : runs) {
    TRY_ASSIGN(const auto owner, ledger.StreamOwner(run.stream));
    if (!owner) continue;
    TRY_ASSIGN(const auto bundle, ledger.FindBundle(*owner, run.sequence));
    if (!bundle || !bundle->manifest) continue;
    const bool continues = !requests.empty() && requests.back().stream == run.stream &&
                           requests.back().sequence == run.sequence;
    if (!continues) requests.push_back({run.stream, run.sequence, *bundle->manifest, {}, {}});
    const std::uint64_t count = std::min(run.count, kMaxAskedBlocks);
    for (std::uint64_t done = 0; done < count; done += manifests::kMaxRepairRun) {
      requests.back().runs.push_back(
          {run.volume, run.block + done, std::min(count - done, manifests::kMaxRepairRun), {}});
    }
  }
  if (requests.empty()) {
    return Fail(ErrorCode::kNotFound, "repair-nothing",
                "the last return of '" + found.stream + "' asks for no blocks of our bundles");
  }
  return requests;
}

}  // namespace gapferry::exporter
