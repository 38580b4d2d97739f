#include "manifests/bundle_report.h"

#include <algorithm>

#include "manifests/block_hasher.h"
#include "manifests/seal_format.h"

namespace gapferry::manifests {
namespace {

/// The file that a failure of VerifyIndex is about, when other bytes of it help.
std::string FileOf(const Error& error, const Manifest& manifest) {
  if (error.reason == "sums-digest") return "SHA256SUMS";
  if (error.reason == "index-digest") return StoredName(manifest, "index.jsonl.zst");
  const std::size_t from = error.message.find('\'');
  const std::size_t to = error.message.find('\'', from + 1);
  if (from == std::string::npos || to == std::string::npos) return {};
  return error.message.substr(from + 1, to - from - 1);
}

class Reporter {
 public:
  Reporter(MendingMedium& medium, Progress* progress, const std::stop_token& stop)
      : medium_(medium), progress_(progress), stop_(stop) {}

  Result<BundleReport> Run(VerifiedManifest manifest) {
    report_.manifest = manifest.manifest();
    report_.manifest_sha256 = manifest.digest();
    report_.signatures = manifest.signatures();
    report_.was_opened = manifest.has_details();
    for (const VolumeSummary& volume : report_.manifest.volumes) report_.all_bytes += volume.size;
    TRY(manifest.has_details() ? CheckObjects(std::move(manifest)) : CheckStored(manifest));
    using enum MendingMedium::Depth;
    TRY(Survey(!report_.failure    ? kRepairBlocks
               : report_.has_index ? kDamagedVolumes
                                   : kEverything));
    report_.volumes = medium_.Damage();
    report_.mended_files = medium_.MendedFiles();
    RefuseDerivedSums();
    return std::move(report_);
  }

 private:
  Result<void> CheckObjects(VerifiedManifest manifest) {
    auto index = VerifyIndex(medium_, std::move(manifest), OnDamage::kGoOn);
    if (!index) return NoteFile(std::move(index.error()));
    report_.damaged_files = index->damaged_files();
    report_.absent_volumes = index->absent_volumes();
    report_.all_objects = index->lines().size();
    report_.all_bytes = 0;
    for (const IndexLine& line : index->lines()) report_.all_bytes += line.size;
    const std::vector<IndexLine> lines = index->lines();
    DamagedObjects damaged;
    VerifyOptions options;
    options.progress = progress_;
    options.stop = stop_;
    options.damaged = &damaged;
    auto bundle = VerifyVolumes(medium_, std::move(*index), options);
    if (bundle) return {};
    const bool is_absent = bundle.error().reason == "volumes-missing";
    if (is_absent) return {};
    if (!IsDamage(bundle.error())) return std::unexpected(std::move(bundle.error()));
    report_.failure = std::move(bundle.error());
    report_.damaged_objects = damaged.count;
    report_.damaged_bytes = damaged.bytes;
    for (auto& item : damaged.items) {
      report_.objects.push_back({lines[item.line], std::move(item.why)});
    }
    return {};
  }

  /// The list follows from sound files, which helps to read on. Where nothing mends, an import
  /// refuses the bundle all the same, and so must a check.
  void RefuseDerivedSums() {
    const auto sums = std::ranges::find(report_.mended_files, "SHA256SUMS");
    if (sums == report_.mended_files.end() || medium_.MayMend(report_.manifest)) return;
    report_.mended_files.erase(sums);
    Error error{ErrorCode::kCorrupt,
                "SHA256SUMS is not the list that was signed, sha256:" +
                    report_.manifest.sums_sha256.ToHex(),
                "sums-digest", ""};
    if (report_.failure) error.message += "; " + report_.failure->message;
    report_.damaged_files.try_emplace("SHA256SUMS", error);
    report_.failure = std::move(error);
  }

  Result<void> CheckStored(const VerifiedManifest& manifest) {
    report_.has_index = false;
    auto stored = VerifyStored(medium_, manifest, progress_, stop_);
    if (!stored) return NoteFile(std::move(stored.error()));
    report_.absent_volumes = std::move(stored->absent_volumes);
    return {};
  }

  Result<void> NoteFile(Error error) {
    if (!IsDamage(error)) return std::unexpected(std::move(error));
    report_.has_index = false;
    report_.failure = error;
    const std::string name = FileOf(error, report_.manifest);
    const bool is_volume =
        std::ranges::find(report_.manifest.volumes, name, &VolumeSummary::name) !=
        report_.manifest.volumes.end();
    if (!is_volume && !name.empty()) report_.damaged_files.try_emplace(name, std::move(error));
    return {};
  }

  Result<void> Survey(MendingMedium::Depth depth) {
    if (progress_ != nullptr) progress_->Begin("looking for damage", 0, 0);
    const auto between = [&]() -> Result<void> {
      if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while verifying");
      if (progress_ != nullptr) progress_->Advance(0, kBlockBytes);
      return {};
    };
    auto done = medium_.Survey(depth, between);
    if (progress_ != nullptr) progress_->End();
    return done;
  }

  MendingMedium& medium_;
  Progress* progress_;
  const std::stop_token& stop_;
  BundleReport report_;
};

/// The stored block that holds this byte of a volume's text.
std::uint64_t BlockOf(const Manifest& manifest, std::uint64_t offset) {
  return manifest.sealed ? (offset + kSealHeaderBytes) / kSealPlainBytes : offset / kBlockBytes;
}

/// Every block that a damaged object touches: which of them are wrong is not known.
std::vector<std::uint64_t> BlocksOfObjects(const BundleReport& report, std::uint32_t volume) {
  std::set<std::uint64_t> blocks;
  const std::uint64_t bytes = report.manifest.volumes[volume - 1].size;
  for (const auto& object : report.objects) {
    if (object.line.volume != volume) continue;
    const std::uint64_t end = BlockOf(report.manifest, object.line.end() + kTarTrailer - 1);
    for (std::uint64_t block = BlockOf(report.manifest, object.line.offset);
         block <= end && block * kBlockBytes < bytes; ++block) {
      blocks.insert(block);
    }
  }
  return {blocks.begin(), blocks.end()};
}

}  // namespace

bool BundleReport::needed_repair() const {
  return !volumes.empty() || !mended_files.empty() || !damaged_files.empty();
}

Result<BundleReport> ReportOn(MendingMedium& medium, const TrustPolicy& policy,
                              const std::optional<Addressee>& addressee, Progress* progress,
                              const std::stop_token& stop) {
  TRY_ASSIGN(auto manifest, VerifyManifest(medium, policy, addressee));
  const std::string name = manifest.manifest().DirectoryName();
  auto report = Reporter(medium, progress, stop).Run(std::move(manifest));
  if (!report) return WithContext(std::move(report.error()), name);
  return report;
}

RepairRequest RequestFor(const BundleReport& report, MendingMedium& medium) {
  RepairRequest request;
  request.stream = report.manifest.stream;
  request.sequence = report.manifest.sequence;
  request.manifest = report.manifest_sha256;
  for (const auto& [name, why] : report.damaged_files) {
    const auto digest = medium.StatedDigest(name);
    if (digest) request.files.emplace(name, *digest);
  }
  // A volume whose digests are lost shows no bad blocks of its own, only bad objects.
  for (std::uint32_t volume = 1; volume <= report.manifest.volumes.size(); ++volume) {
    const auto damage = std::ranges::find(report.volumes, volume, &VolumeDamage::volume);
    const bool has_damage = damage != report.volumes.end();
    const Bytes digests = medium.BlockDigests(volume);
    const auto blocks = digests.empty() ? BlocksOfObjects(report, volume)
                        : has_damage    ? damage->lost
                                        : std::vector<std::uint64_t>();
    AppendRuns(request.runs, volume, blocks, digests);
  }
  return request;
}

}  // namespace gapferry::manifests
