#include "importer/staging.h"

#include <algorithm>

#include "base/file.h"

namespace gapferry::importer {
namespace {

using manifests::IndexLine;
using manifests::ObjectKind;

constexpr std::size_t kPiece = 1 << 20;
/// Rows and fragments that documents become, roughly.
constexpr std::uint64_t kDatabaseFactor = 8;

std::filesystem::path FolderOf(mirror::Mirror& mirror, const Sha256Digest& manifest) {
  return mirror.staging() / ("import-" + manifest.ToHex().substr(0, 32));
}

}  // namespace

/// Writes one object or part at its place and hashes what the store will ask for.
class Staging::Slot : public manifests::ObjectSlot {
 public:
  Slot(Staging& owner, const IndexLine& line, File file)
      : owner_(owner), line_(line), file_(std::move(file)), at_(owner.OffsetOf(line)) {}

  Result<void> Write(ByteView bytes) override {
    TRY(file_.WriteAllAt(at_, bytes));
    at_ += bytes.size();
    if (line_.name.IsContent() && line_.name.part == 0) sha1_.Update(bytes);
    return {};
  }

  Result<void> Complete() override {
    TRY(file_.Close());
    if (line_.name.IsContent() && line_.name.part == 0) {
      (*owner_.hashed_.Lock())[line_.name.sha1] = {sha1_.Finish(), line_.sha256};
    }
    return {};
  }

 private:
  Staging& owner_;
  const IndexLine& line_;
  File file_;
  std::uint64_t at_;
  Sha1Hasher sha1_;
};

Staging::Staging(mirror::Mirror& mirror, const manifests::VerifiedIndex& index)
    : mirror_(mirror), index_(index), folder_(FolderOf(mirror, index.manifest().digest())) {}

Result<std::unique_ptr<Staging>> Staging::Open(mirror::Mirror& mirror,
                                               const manifests::VerifiedIndex& index) {
  std::unique_ptr<Staging> staging(new Staging(mirror, index));
  TRY(staging->Plan());
  TRY(CreateDirectories(staging->folder_));
  TRY(CheckFreeSpace(staging->folder_, staging->bytes_to_copy_));
  for (const std::uint32_t volume : index.absent_volumes()) {
    std::error_code error;
    if (fs::exists(staging->MarkOf(volume), error)) staging->marked_.insert(volume);
  }
  staging->is_all_here_ = staging->marked_.size() == index.absent_volumes().size();
  return staging;
}

Result<void> Staging::Plan() {
  std::uint64_t in_file = 0;
  for (const IndexLine& line : index_.lines()) {
    if (!line.name.IsContent()) {
      bytes_to_copy_ += line.size * (1 + kDatabaseFactor);
      continue;
    }
    in_file = line.name.part <= 1 ? 0 : in_file;
    part_offsets_[line.name] = in_file;
    in_file += line.size;
    if (line.name.part > 1) continue;
    Place place;
    place.expected = {line.name.sha1, line.file_sha256(), line.full_size, line.name.extension};
    TRY_ASSIGN(const auto held, mirror_.content().Find(line.name.sha1));
    if (held && held->sha256 != line.file_sha256()) {
      return Fail(ErrorCode::kCorrupt, "digest-conflict",
                  "object '" + line.name.ToString() + "': this mirror holds another file of that " +
                      "SHA-1: sha256:" + held->sha256.ToHex() +
                      ", the bundle has sha256:" + line.file_sha256().ToHex());
    }
    place.is_held = held.has_value();
    TRY_ASSIGN(place.path, mirror_.content().StagedPath(place.expected));
    std::error_code error;
    const auto there = std::filesystem::file_size(place.path, error);
    const std::uint64_t staged = error ? 0 : std::min<std::uint64_t>(there, line.full_size);
    if (!place.is_held) bytes_to_copy_ += line.full_size - staged;
    content_.emplace(line.name.sha1, std::move(place));
  }
  return {};
}

std::filesystem::path Staging::PathOf(const manifests::ObjectName& name) const {
  std::string flat = name.ToString();
  std::ranges::replace(flat, '/', '-');
  return folder_ / flat;
}

std::filesystem::path Staging::FileOf(const IndexLine& line) const {
  return line.name.IsContent() ? content_.at(line.name.sha1).path : PathOf(line.name);
}

std::uint64_t Staging::OffsetOf(const IndexLine& line) const {
  const auto found = part_offsets_.find(line.name);
  return found == part_offsets_.end() ? 0 : found->second;
}

fs::path Staging::MarkOf(std::uint32_t volume) const {
  return folder_ / (manifests::VolumeName(volume) + ".staged");
}

Result<void> Staging::MarkVolumes() {
  const std::size_t volumes = index_.manifest().manifest().volumes.size();
  for (std::uint32_t volume = 1; volume <= volumes; ++volume) {
    if (index_.absent_volumes().contains(volume)) continue;
    TRY(WriteFileAtomically(MarkOf(volume), {}));
  }
  return {};
}

Result<bool> Staging::Has(const IndexLine& line) {
  if (marked_.contains(line.volume)) return HasFromBefore(line);
  if (line.name.IsContent() && content_.at(line.name.sha1).is_held) return false;
  return IsStaged(line);
}

/// Files that the store holds, and attachments, were compared when their medium was here.
Result<bool> Staging::HasFromBefore(const IndexLine& line) {
  const bool is_held = line.name.IsContent() && content_.at(line.name.sha1).is_held;
  if (!is_all_here_ || is_held || line.name.kind == ObjectKind::kAttachment) return true;
  TRY_ASSIGN(const bool staged, IsStaged(line));
  if (!staged) TRY(RemoveFile(MarkOf(line.volume)));  // its medium must come once more
  return staged;
}

Result<bool> Staging::IsStaged(const IndexLine& line) {
  auto file = File::OpenRead(FileOf(line));
  if (!file && file.error().code == ErrorCode::kNotFound) return false;
  if (!file) return std::unexpected(std::move(file.error()));
  Sha256Hasher sha256;
  Sha1Hasher sha1;
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, line.size)));
  const bool whole = line.name.IsContent() && line.name.part == 0;
  for (std::uint64_t done = 0; done < line.size;) {
    const auto piece = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), line.size - done)));
    TRY_ASSIGN(const std::size_t count, file->ReadAt(OffsetOf(line) + done, piece));
    if (count < piece.size()) return false;
    sha256.Update(piece);
    if (whole) sha1.Update(piece);
    done += count;
  }
  TRY_ASSIGN(const std::uint64_t size, file->Size());
  const std::uint64_t expected = line.name.IsContent() ? line.full_size : line.size;
  if (sha256.Finish() != line.sha256 || size > expected) return false;
  if (whole) (*hashed_.Lock())[line.name.sha1] = {sha1.Finish(), line.sha256};
  return true;
}

Result<std::unique_ptr<manifests::ObjectSlot>> Staging::Begin(const IndexLine& line) {
  const bool held = line.name.IsContent() && content_.at(line.name.sha1).is_held;
  if (held || line.name.kind == ObjectKind::kAttachment) {
    return std::unique_ptr<manifests::ObjectSlot>();
  }
  TRY_ASSIGN(File file, File::OpenUpdate(FileOf(line)));
  const std::uint64_t limit = line.name.IsContent() ? line.full_size : line.size;
  TRY_ASSIGN(const std::uint64_t size, file.Size());
  if (size > limit) TRY(file.Truncate(limit));
  return std::unique_ptr<manifests::ObjectSlot>(
      std::make_unique<Slot>(*this, line, std::move(file)));
}

std::vector<Staging::StagedObject> Staging::StagedObjects() const {
  std::vector<StagedObject> out;
  for (const IndexLine& line : index_.lines()) {
    const bool is_document = !line.name.IsContent() && line.name.kind != ObjectKind::kAttachment;
    if (is_document) {
      out.push_back({line.name.ToString(), PathOf(line.name), line.sha256, std::nullopt});
    }
  }
  for (const auto& [sha1, place] : content_) {
    if (place.is_held) continue;
    out.push_back({"content/" + mirror::ContentPath(sha1, place.expected.extension), place.path,
                   *place.expected.sha256, place.expected});
  }
  return out;
}

Result<std::vector<mirror::VerifiedContent>> Staging::TakeContent() {
  std::vector<mirror::VerifiedContent> out;
  const auto hashed = *hashed_.Lock();
  for (const auto& [sha1, place] : content_) {
    if (place.is_held || place.is_left_out) continue;
    const auto known = hashed.find(sha1);
    if (known == hashed.end()) {
      TRY_ASSIGN(auto verified, mirror::ContentStore::VerifyStaged(place.path, place.expected));
      out.push_back(std::move(verified));
    } else {
      TRY_ASSIGN(auto verified, mirror::ContentStore::AcceptHashed(
                                    place.path, place.expected, known->second.sha1,
                                    known->second.sha256, place.expected.size_bytes));
      out.push_back(std::move(verified));
    }
  }
  return out;
}

Result<void> Staging::RemoveFolder(mirror::Mirror& mirror, const Sha256Digest& manifest) {
  return RemoveTree(FolderOf(mirror, manifest));
}

Result<void> Staging::RemoveFolders(mirror::Mirror& mirror) {
  TRY_ASSIGN(const auto names, ListDirectory(mirror.staging()));
  for (const std::string& name : names) {
    if (name.starts_with("import-")) TRY(RemoveTree(mirror.staging() / name));
  }
  return {};
}

Result<void> Staging::Remove(bool content) {
  if (content) {
    for (const auto& [sha1, place] : content_) TRY(RemoveFile(place.path));
  }
  return RemoveTree(folder_);
}

}  // namespace gapferry::importer
