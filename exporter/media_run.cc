#include "exporter/media_run.h"

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "exporter/medium_label.h"
#include "exporter/medium_space.h"
#include "manifests/medium.h"
#include "manifests/parity.h"

namespace gapferry::exporter {
namespace {

constexpr std::uint64_t kBlocksPerByte = manifests::kBlockBytes / manifests::kBlockDigestBytes;
constexpr std::uint64_t kSpareBytes = 256 * 1024;
constexpr std::uint64_t kMaxSmallFile = 1ULL << 30;

/// A device that fails is told apart from our own disk.
std::unexpected<Error> MediumFailed(Error error) {
  const bool is_plain = error.reason.empty() || error.reason == "read-only" ||
                        error.reason == "no-permission" || error.reason == "device-failed";
  const bool is_device = error.code == ErrorCode::kInternal || error.code == ErrorCode::kNotFound;
  if (is_plain && is_device) error.reason = "medium-failed";
  return std::unexpected(std::move(error));
}

bool IsSmallFile(const std::string& name) {
  return !manifests::VolumeOfFile(name) && !manifests::IsLitter(name) && !name.ends_with(".tmp");
}

/// For people who type gapferry-*: it must not look like one more bundle.
std::string LabelName(const manifests::Manifest& draft) {
  constexpr std::string_view kPrefix = "gapferry-";
  return "LABEL-" + draft.DirectoryName().substr(kPrefix.size()) + ".txt";
}

}  // namespace

MediaRun::MediaRun(mirror::Mirror& mirror, const mirror::BundleOut& bundle, Plan plan,
                   manifests::BundleWriter& writer, manifests::ObjectProvider& objects,
                   const ExportOptions& options)
    : mirror_(mirror),
      bundle_(bundle),
      plan_(std::move(plan)),
      writer_(writer),
      objects_(objects),
      options_(options),
      media_(mirror.db(), bundle.site, bundle.sequence) {}

// ---- What earlier runs did ---------------------------------------------------------------------

/// A volume whose record in the journal is gone must be written again: index and sums need it.
Result<void> MediaRun::ReadPlaces() {
  TRY_ASSIGN(const auto media, media_.All());
  for (const auto& medium : media) {
    for (const auto& volume : medium.volumes) {
      if (medium.lost || volume.number > writer_.volumes().size()) continue;
      if (!writer_.AdoptVolume(volume.number)) continue;
      place_[volume.number] = medium.number;
      placed_[volume.number] = volume.bytes;
    }
  }
  return {};
}

std::vector<std::uint32_t> MediaRun::Pending() const {
  std::vector<std::uint32_t> pending;
  for (std::uint32_t volume = 1; volume <= writer_.volumes().size(); ++volume) {
    if (!place_.contains(volume)) pending.push_back(volume);
  }
  return pending;
}

/// The medium whose volumes lie there. Its path alone says little: sticks are put in one after the
/// other at the same place.
Result<std::uint32_t> MediaRun::Identify(const fs::path& path) const {
  mirror::BundleMedia media(mirror_.db(), bundle_.site, bundle_.sequence);
  TRY_ASSIGN(const auto all, media.All());
  const fs::path folder = path / plan_.draft.DirectoryName();
  for (const auto& medium : all) {
    if (medium.lost || medium.path != path.string()) continue;
    for (const auto& volume : medium.volumes) {
      if (volume.number > writer_.volumes().size()) continue;
      std::error_code error;
      const auto size = fs::file_size(folder / NameOf(volume.number), error);
      if (error) continue;
      if (size == writer_.volumes()[volume.number - 1].size) return medium.number;
    }
    if (medium.volumes.empty() && fs::exists(folder / "README.txt")) return medium.number;
  }
  return std::uint32_t{0};
}

// ---- Filling one medium after the other --------------------------------------------------------

Result<std::optional<fs::path>> MediaRun::NextPath() {
  // One folder and a size of media: what is burnt later lies in numbered folders.
  if (options_.medium_bytes != 0 && options_.to.size() == 1) {
    return std::optional(options_.to[0] / ("medium-" + std::to_string(++next_path_)));
  }
  if (next_path_ < options_.to.size()) return std::optional(options_.to[next_path_++]);
  if (options_.next_medium == nullptr) return std::optional<fs::path>();
  const auto pending = Pending();
  std::uint64_t bytes = 0;
  for (const std::uint32_t volume : pending) bytes += VolumeBytes(volume);
  return options_.next_medium({NumberRanges(pending), pending.size(), bytes});
}

Result<bool> MediaRun::PlaceVolumes() {
  TRY(ReadPlaces());
  std::uint64_t bytes = 0;
  const auto pending = Pending();
  for (const std::uint32_t volume : pending) bytes += writer_.volumes()[volume - 1].size;
  options_.progress->Begin("writing", 0, bytes);
  for (;;) {
    TRY_ASSIGN(const auto path, NextPath());
    if (!path) break;
    TRY(Use(*path));
    if (!Pending().empty()) continue;
    TRY_ASSIGN(const bool room, RoomToFinish());
    if (room) {
      options_.progress->End();
      return true;
    }
  }
  options_.progress->End();
  if (written_ == 0 && !Pending().empty()) return TooSmall();
  return false;
}

Result<void> MediaRun::Use(const fs::path& path) {
  auto used = UseFolder(path);
  if (used) return {};
  // Full, and not the first one: the next may take what is left.
  if (used.error().code == ErrorCode::kNoSpace && targets_.size() > 1) return {};
  return MediumFailed(std::move(used.error()));
}

Result<void> MediaRun::UseFolder(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error)) {
    return Fail(ErrorCode::kUsage, "'" + path.string() + "' is no folder");
  }
  TRY(CreateDirectories(path));
  TRY_ASSIGN(const std::uint32_t medium, Identify(path));
  targets_.push_back({path, medium});
  folder_ = path / plan_.draft.DirectoryName();
  const manifests::VolumeSummary* largest = nullptr;
  for (const std::uint32_t volume : Pending()) {
    const auto& one = writer_.volumes()[volume - 1];
    if (largest == nullptr || one.size > largest->size) largest = &one;
  }
  if (largest != nullptr) TRY(CheckLargestFile(path, largest->name, largest->size));
  TRY(writer_.MoveTo(folder_));
  TRY(RemoveStrays());
  TRY(writer_.WriteReadme(plan_.readme));
  TRY(CheckPlaced());
  return Fill();
}

/// Volumes of this medium are read once more: what it does not give back is written again.
Result<void> MediaRun::CheckPlaced() {
  const std::uint32_t medium = targets_.back().medium;
  if (medium == 0) return {};
  std::vector<std::uint32_t> here;
  for (const auto& [volume, number] : place_) {
    if (number == medium) here.push_back(volume);
  }
  for (const std::uint32_t volume : here) {
    TRY_ASSIGN(const bool done, writer_.IsVolumeDone(volume, options_.stop));
    NoteReadBack();
    if (done) continue;
    place_.erase(volume);
    placed_.erase(volume);
  }
  return {};
}

/// What an interrupted run left of volumes that lie elsewhere now.
Result<void> MediaRun::RemoveStrays() {
  TRY_ASSIGN(const auto names, ListDirectory(folder_));
  for (const std::string& name : names) {
    const auto volume = manifests::VolumeOfFile(name);
    if (!volume) continue;
    const auto place = place_.find(*volume);
    if (place != place_.end() && place->second != targets_.back().medium) {
      TRY(RemoveFile(folder_ / name));
    }
  }
  return {};
}

const std::string& MediaRun::NameOf(std::uint32_t volume) const {
  return writer_.volumes()[volume - 1].name;
}

std::uint64_t MediaRun::VolumeBytes(std::uint32_t volume) const {
  const std::uint64_t size = writer_.volumes()[volume - 1].size;
  std::uint64_t bytes = OnMedium(size) + OnMedium(size / kBlocksPerByte);
  if (plan_.parity != 0) bytes += OnMedium(manifests::RepairFileBytes(size, plan_.parity));
  return bytes;
}

/// What the current medium still takes.
Result<std::uint64_t> MediaRun::Room() const {
  TRY_ASSIGN(const std::uint64_t free_bytes, FreeBytes(targets_.back().path));
  if (options_.medium_bytes == 0) return free_bytes;
  const std::uint64_t used = BytesIn(folder_) + kSpareBytes;
  return std::min(free_bytes, options_.medium_bytes - std::min(used, options_.medium_bytes));
}

Result<bool> MediaRun::Fits(std::uint32_t volume) const {
  TRY_ASSIGN(std::uint64_t room, Room());
  for (const std::string& name : {NameOf(volume), manifests::BlocksName(volume)}) {
    std::error_code error;  // an unfinished one is written over
    const auto size = fs::file_size(folder_ / name, error);
    if (!error) room += size;
  }
  return VolumeBytes(volume) + kSpareBytes <= room;
}

/// Index, sums, manifest, signature and a label, estimated from above.
Result<bool> MediaRun::RoomToFinish() const {
  TRY_ASSIGN(std::uint64_t room, Room());
  const std::uint64_t volumes = writer_.volumes().size();
  std::uint64_t needed = writer_.objects() * 128 + volumes * 600 + 2 * kSpareBytes;
  if (plan_.parity != 0) needed *= 2;
  TRY_ASSIGN(const auto names, ListDirectory(folder_));
  for (const std::string& name : names) {
    std::error_code error;
    const auto size = fs::file_size(folder_ / name, error);
    if (!error && IsSmallFile(name)) room += size;
  }
  return needed <= room;
}

Result<void> MediaRun::Fill() {
  const auto pending = Pending();
  std::vector<std::uint32_t> fitting;
  for (const std::uint32_t volume : pending) {
    if (options_.stop.stop_requested()) {
      return Fail(ErrorCode::kCancelled, "stopped while writing");
    }
    TRY_ASSIGN(const bool fits, Fits(volume));
    if (!fits) break;
    auto written = Write(volume);
    if (!written && written.error().code == ErrorCode::kNoSpace) {
      // Fuller than it said. What lies there of the volume would only be in the way.
      TRY(RemoveFile(folder_ / NameOf(volume)));
      TRY(RemoveFile(folder_ / manifests::BlocksName(volume)));
      break;
    }
    TRY(std::move(written));
    fitting.push_back(volume);
  }
  if (!pending.empty() && targets_.size() + pending.size() > fitting.size() + 1) {
    TRY_ASSIGN(const std::uint64_t room, Room());
    options_.progress->Note("'" + targets_.back().path.string() + "' took volumes " +
                            NumberRanges(fitting) + " of " +
                            std::to_string(writer_.volumes().size()) + ", " +
                            FormatByteCount(room) + " are left there");
  }
  return {};
}

Result<void> MediaRun::Write(std::uint32_t volume) {
  TRY(writer_.WriteVolume(volume, objects_, {options_.progress, options_.stop}));
  NoteReadBack();
  Target& target = targets_.back();
  const UtcTime now = mirror_.clock().Now();
  if (target.medium == 0) {
    TRY_ASSIGN(target.medium, media_.Begin(target.path.string(), now));
  }
  mirror::PlacedVolume placed{volume, 0, writer_.volumes()[volume - 1].sha256};
  TRY_ASSIGN(const auto names, ListDirectory(folder_));
  for (const std::string& name : names) {
    std::error_code error;
    const auto size = fs::file_size(folder_ / name, error);
    if (!error && manifests::VolumeOfFile(name) == volume) placed.bytes += size;
  }
  TRY(media_.Place(target.medium, placed, manifests::ReadBackName(writer_.read_back())));
  place_[volume] = target.medium;
  placed_[volume] = placed.bytes;
  ++written_;
  return {};
}

void MediaRun::NoteReadBack() {
  if (writer_.read_back() == manifests::ReadBack::kAfterDrop) {
    read_back_ = manifests::ReadBack::kAfterDrop;
  }
}

std::unexpected<Error> MediaRun::TooSmall() const {
  const std::uint32_t volume = Pending().front();
  const auto room = Room();
  return Fail(ErrorCode::kNoSpace, "medium-too-small",
              NameOf(volume) + " needs " + FormatByteCount(VolumeBytes(volume) + kSpareBytes) +
                  " with the files beside it, '" + targets_.back().path.string() + "' has " +
                  FormatByteCount(room ? *room : 0) + " left");
}

// ---- The end of the bundle ---------------------------------------------------------------------

Result<void> MediaRun::Finish(const fs::path& keep, const std::function<Result<void>()>& finish) {
  if (auto done = finish(); !done) return MediumFailed(std::move(done.error()));
  NoteReadBack();
  TRY(RemoveTree(keep));
  TRY(CopySmallFiles(folder_, keep));
  return FinishFrom(keep);
}

Result<void> MediaRun::FinishFrom(const fs::path& kept) {
  for (Target& target : targets_) {
    const bool is_last = &target == &targets_.back();
    if (target.medium == 0 && !is_last) continue;  // nothing is on it
    const fs::path folder = target.path / plan_.draft.DirectoryName();
    if (auto copied = CopySmallFiles(kept, folder); !copied) {
      if (is_last || copied.error().code != ErrorCode::kNoSpace) {
        return MediumFailed(std::move(copied.error()));
      }
      TRY(RemoveFile(folder / "manifest.json.sig"));  // not finished there, and needs not be
      continue;
    }
    if (target.medium == 0) {
      TRY_ASSIGN(target.medium, media_.Begin(target.path.string(), mirror_.clock().Now()));
    }
    TRY(media_.MarkManifest(target.medium));
  }
  return {};
}

/// All but volumes and what lies beside them; the signature last. Countersignatures that are there
/// already stay.
Result<void> MediaRun::CopySmallFiles(const fs::path& from, const fs::path& to) {
  constexpr const char* kSignature = "manifest.json.sig";
  TRY(CreateDirectories(to));
  TRY_ASSIGN(auto names, ListDirectory(from));
  std::erase(names, kSignature);
  names.emplace_back(kSignature);
  for (const std::string& name : names) {
    if (!IsSmallFile(name)) continue;
    TRY_ASSIGN(const Bytes bytes, ReadFile(from / name, kMaxSmallFile));
    const auto there = ReadFile(to / name, kMaxSmallFile);
    if (there && (*there == bytes || (name == kSignature && there->size() > bytes.size()))) {
      continue;
    }
    TRY(WriteFileAtomically(to / name, bytes));
    manifests::ReadBack mode = writer_.read_back();
    TRY_ASSIGN(const auto read, manifests::ReadBackFile(to / name, mode, options_.stop));
    if (read.sha256 == Sha256(bytes)) continue;
    return Fail(ErrorCode::kCorrupt, "read-back",
                "'" + (to / name).string() + "': the medium gives other bytes than were written");
  }
  return SyncDirectory(to);
}

Result<void> MediaRun::WriteLabels() {
  TRY_ASSIGN(const auto report, Report());
  for (const Target& target : targets_) {
    const auto medium = std::ranges::find(report, target.medium, &ExportMedium::number);
    if (target.medium == 0 || medium == report.end()) continue;
    const fs::path file = target.path / LabelName(plan_.draft);
    if (auto written = WriteFileAtomically(file, AsBytes(medium->label)); !written) {
      return MediumFailed(std::move(written.error()));
    }
  }
  return {};
}

Result<std::vector<ExportMedium>> MediaRun::Report() {
  TRY_ASSIGN(auto all, media_.All());
  std::erase_if(all, [](const auto& medium) { return medium.lost; });
  std::vector<std::uint32_t> numbers;
  for (const auto& medium : all) numbers.push_back(medium.number);
  if (!Pending().empty()) numbers.clear();
  std::vector<ExportMedium> report;
  for (const auto& medium : all) {
    ExportMedium one;
    one.number = medium.number;
    one.path = medium.path;
    one.has_manifest = medium.has_manifest;
    one.read_back = medium.read_back;
    for (const auto& volume : medium.volumes) {
      if (place_.contains(volume.number)) one.volumes.push_back(volume.number);
      one.bytes += volume.bytes;
    }
    one.label = MediumLabel(plan_.draft, {medium.number, numbers, one.volumes,
                                          static_cast<std::uint32_t>(writer_.volumes().size()),
                                          medium.has_manifest, one.bytes});
    report.push_back(std::move(one));
  }
  return report;
}

std::uint64_t MediaRun::bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [volume, size] : placed_) bytes += size;
  const auto names = ListDirectory(folder_);
  if (!names) return bytes;
  for (const std::string& name : *names) {
    std::error_code error;
    const auto size = fs::file_size(folder_ / name, error);
    if (!error && IsSmallFile(name)) bytes += size;
  }
  return bytes;
}

}  // namespace gapferry::exporter
