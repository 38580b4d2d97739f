#include "mirror/content_adopt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

#include "base/file.h"
#include "base/text.h"
#include "mirror/content_store.h"

namespace gapferry::mirror {
namespace {

constexpr std::size_t kPublishFiles = 256;
constexpr std::uint64_t kPublishBytes = 1ULL << 30;
constexpr std::size_t kMostLeft = 1000;
constexpr std::uint64_t kSpareBytes = 64ULL << 20;
constexpr std::size_t kCopyPiece = 1 << 20;

std::optional<struct stat> StatusOf(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}

bool IsHexByte(std::string_view name) {
  return name.size() == 2 && name.find_first_not_of("0123456789ABCDEFabcdef") == name.npos;
}

/// A file of the foreign folder that is worth reading.
struct Candidate {
  fs::path path;
  std::string shown;
  ContentName name;
  std::uint64_t size_bytes = 0;
  std::vector<ContentExpectation> declared;
};

bool Fits(const ContentExpectation& declared, const ContentHashes& found) {
  return declared.size_bytes == found.size_bytes &&
         (!declared.sha256 || *declared.sha256 == found.sha256);
}

class Adoption {
 public:
  Adoption(Mirror& mirror, const AdoptOptions& options, Progress& progress, std::stop_token stop)
      : mirror_(mirror), options_(options), progress_(progress), stop_(std::move(stop)) {}

  Result<AdoptReport> Run(const fs::path& directory);

 private:
  using Visit = std::function<Result<void>(Candidate)>;

  Result<std::vector<fs::path>> FindRoots(const fs::path& given);
  Result<void> CheckPlace(const fs::path& root) const;
  Result<void> Walk(const fs::path& root, const Visit& visit);
  Result<void> WalkFolder(const fs::path& folder, const Visit& visit);
  Result<std::optional<Candidate>> Classify(const fs::path& path, std::string_view folder);
  Result<void> Adopt(Candidate candidate);
  Result<void> Take(const Candidate& candidate, const ContentExpectation& expected,
                    const fs::path& staged, const ContentHashes& found);
  Result<ContentHashes> Stage(const Candidate& candidate, const fs::path& staged);
  Result<bool> HardLink(const fs::path& from, const fs::path& to) const;
  Result<bool> Reflink(const fs::path& from, const fs::path& to);
  Result<ContentHashes> Copy(const fs::path& from, const fs::path& to);
  Result<void> Publish();
  void Leave(const fs::path& path, AdoptLeft why, std::string what);
  std::string Shown(const fs::path& path) const {
    return path.lexically_relative(directory_).string();
  }

  Mirror& mirror_;
  const AdoptOptions& options_;
  Progress& progress_;
  std::stop_token stop_;
  fs::path directory_;
  bool is_counting_ = false;  // the first of two walks: nothing is read, nothing is reported
  bool room_is_checked_ = false;
  bool can_reflink_ = true;
  std::uint64_t candidate_bytes_ = 0;
  std::unordered_set<Sha1Digest> staged_sha1s_;  // of batch_
  std::vector<VerifiedContent> batch_;
  std::vector<fs::path> sources_;  // of batch_, in its order
  std::uint64_t batch_bytes_ = 0;
  AdoptReport report_;
};

// ---- Finding -----------------------------------------------------------------------------------

// WsusContent in the folder, whatever its case, else the folder itself if it holds 00 to FF.
Result<std::vector<fs::path>> Adoption::FindRoots(const fs::path& given) {
  std::error_code error;
  directory_ = fs::canonical(given, error);
  if (error || !fs::is_directory(directory_)) {
    return Fail(ErrorCode::kNotFound, "no-folder",
                fmt::format("'{}' is no folder that can be read", given.string()));
  }
  TRY_ASSIGN(const auto names, ListDirectory(directory_));
  std::vector<fs::path> roots;
  bool is_content = false;
  for (const std::string& name : names) {
    const auto status = StatusOf(directory_ / name);
    if (!status || !S_ISDIR(status->st_mode)) continue;
    if (EqualsIgnoreCase(name, "WsusContent")) roots.push_back(directory_ / name);
    is_content = is_content || IsHexByte(name);
  }
  if (roots.empty() && is_content) roots.push_back(directory_);
  if (!roots.empty()) return roots;
  return Fail(ErrorCode::kNotFound, "no-content-folder",
              fmt::format("'{}' holds neither folders 00 to FF nor WsusContent", given.string()));
}

Result<void> Adoption::CheckPlace(const fs::path& root) const {
  const fs::path own = fs::canonical(mirror_.path());
  const auto [end, ignored] = std::mismatch(own.begin(), own.end(), root.begin(), root.end());
  if (end == own.end()) {
    return Fail(ErrorCode::kUsage, "own-folder",
                fmt::format("'{}' belongs to the mirror itself", root.string()));
  }
  const auto there = StatusOf(root);
  const auto here = StatusOf(own);
  if (options_.mode == AdoptMode::kLink && there && here && there->st_dev != here->st_dev) {
    return Fail(ErrorCode::kUsage, "other-file-system",
                fmt::format("'{}' is on another file system than the mirror: files cannot be "
                            "linked, only copied or moved",
                            root.string()));
  }
  return {};
}

Result<void> Adoption::Walk(const fs::path& root, const Visit& visit) {
  TRY_ASSIGN(const auto names, ListDirectory(root));
  for (const std::string& name : names) {
    const fs::path path = root / name;
    const auto status = StatusOf(path);
    if (!status) {
      Leave(path, AdoptLeft::kUnreadable, "disappeared");
    } else if (S_ISLNK(status->st_mode)) {
      Leave(path, AdoptLeft::kLink, "a symbolic link");
    } else if (!S_ISDIR(status->st_mode)) {
      Leave(path, AdoptLeft::kForeign, "lies beside the folders 00 to FF");
    } else if (!IsHexByte(name)) {
      Leave(path, AdoptLeft::kNoFile, "a folder that is none of 00 to FF");
    } else {
      TRY(WalkFolder(path, visit));
    }
  }
  return {};
}

Result<void> Adoption::WalkFolder(const fs::path& folder, const Visit& visit) {
  const auto names = ListDirectory(folder);
  if (!names) {
    Leave(folder, AdoptLeft::kUnreadable, names.error().message);
    return {};
  }
  for (const std::string& name : *names) {
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "adoption: stopped");
    if (!is_counting_) ++report_.seen_files;
    TRY_ASSIGN(auto candidate, Classify(folder / name, folder.filename().string()));
    if (candidate) TRY(visit(std::move(*candidate)));
  }
  return {};
}

// Everything that can be said without reading the file.
Result<std::optional<Candidate>> Adoption::Classify(const fs::path& path, std::string_view folder) {
  const std::optional<Candidate> none;
  const auto status = StatusOf(path);
  if (!status || S_ISLNK(status->st_mode) || !S_ISREG(status->st_mode)) {
    const bool is_link = status && S_ISLNK(status->st_mode);
    Leave(path, is_link ? AdoptLeft::kLink : AdoptLeft::kNoFile,
          is_link ? "a symbolic link" : "no regular file");
    return none;
  }
  const auto name = ParseContentName(path.filename().string());
  if (!name) {
    Leave(path, AdoptLeft::kForeign, "the name is not <SHA-1>.<extension>");
    return none;
  }
  const std::string hex = name->sha1.ToHex();
  if (!EqualsIgnoreCase(folder, hex.substr(hex.size() - 2))) {
    Leave(path, AdoptLeft::kForeign, fmt::format("belongs into folder {}", hex.substr(38)));
    return none;
  }
  TRY_ASSIGN(const auto held, mirror_.content().Find(name->sha1));
  if (held || staged_sha1s_.contains(name->sha1)) {
    if (!is_counting_) ++report_.held_files;
    return none;
  }
  Candidate candidate{path, Shown(path), *name, static_cast<std::uint64_t>(status->st_size), {}};
  TRY_ASSIGN(candidate.declared, mirror_.content().Declared(name->sha1));
  if (candidate.declared.empty() && !options_.all) {
    Leave(path, AdoptLeft::kUndeclared, "no update here declares it");
    return none;
  }
  const auto has_size = [&](const auto& d) { return d.size_bytes == candidate.size_bytes; };
  if (!candidate.declared.empty() &&
      std::none_of(candidate.declared.begin(), candidate.declared.end(), has_size)) {
    Leave(path, AdoptLeft::kDamaged,
          fmt::format("size mismatch: expected {}, got {}", candidate.declared.front().size_bytes,
                      candidate.size_bytes));
    return none;
  }
  return std::optional<Candidate>(std::move(candidate));
}

void Adoption::Leave(const fs::path& path, AdoptLeft why, std::string what) {
  if (is_counting_) return;
  switch (why) {
    case AdoptLeft::kForeign:
    case AdoptLeft::kLink:
    case AdoptLeft::kNoFile:
      ++report_.foreign_files;
      break;
    case AdoptLeft::kUndeclared:
      ++report_.undeclared_files;
      break;
    case AdoptLeft::kDamaged:
      ++report_.damaged_files;
      break;
    case AdoptLeft::kUnreadable:
      ++report_.unreadable_files;
      break;
    case AdoptLeft::kNotRemoved:
      ++report_.not_removed_files;
      break;
  }
  if (report_.left.size() < kMostLeft) report_.left.push_back({Shown(path), why, std::move(what)});
}

// ---- Taking ------------------------------------------------------------------------------------

Result<bool> Adoption::Reflink(const fs::path& from, const fs::path& to) {
  if (!can_reflink_) return false;
  TRY_ASSIGN(const File source, File::OpenRead(from));
  TRY_ASSIGN(File target, File::Create(to));
  if (::ioctl(target.fd(), FICLONE, source.fd()) == 0) return true;
  can_reflink_ = false;  // of the two file systems, so for all files
  TRY(target.Close());
  TRY(RemoveFile(to));
  return false;
}

Result<bool> Adoption::HardLink(const fs::path& from, const fs::path& to) const {
  if (::link(from.c_str(), to.c_str()) == 0) return true;
  if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP) return false;
  return FailErrno(errno, fmt::format("cannot link '{}'", from.string()));
}

Result<ContentHashes> Adoption::Copy(const fs::path& from, const fs::path& to) {
  if (!std::exchange(room_is_checked_, true)) {
    TRY(CheckFreeSpace(mirror_.path(), candidate_bytes_ + kSpareBytes));
  }
  TRY_ASSIGN(File source, File::OpenRead(from));
  TRY_ASSIGN(File target, File::Create(to));
  Sha1Hasher sha1;
  Sha256Hasher sha256;
  ContentHashes hashes;
  Bytes piece(kCopyPiece);
  for (;;) {
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "adoption: stopped");
    TRY_ASSIGN(const std::size_t size, source.Read(piece));
    if (size == 0) break;
    const ByteView bytes = ByteView(piece).first(size);
    TRY(target.WriteAll(bytes));
    sha1.Update(bytes);
    sha256.Update(bytes);
    hashes.size_bytes += size;
  }
  hashes.sha1 = sha1.Finish();
  hashes.sha256 = sha256.Finish();
  TRY(target.Close());
  return hashes;
}

// A name of ours for the bytes, and what they hash to: read after the link was made, so that it is
// this file and no other that was hashed.
Result<ContentHashes> Adoption::Stage(const Candidate& candidate, const fs::path& staged) {
  TRY(RemoveFile(staged));
  bool is_there = false;
  if (options_.mode == AdoptMode::kMove) {
    TRY_ASSIGN(is_there, HardLink(candidate.path, staged));
  }
  if (!is_there) {
    TRY_ASSIGN(is_there, Reflink(candidate.path, staged));
  }
  if (!is_there && options_.mode == AdoptMode::kLink) {
    TRY_ASSIGN(is_there, HardLink(candidate.path, staged));
    if (!is_there) {
      return Fail(ErrorCode::kUsage, "cannot-link",
                  fmt::format("'{}' cannot be linked into the mirror", candidate.path.string()));
    }
  }
  return is_there ? HashContent(staged, stop_) : Copy(candidate.path, staged);
}

bool EndsAll(const Error& error) {
  return error.code == ErrorCode::kCancelled || error.code == ErrorCode::kNoSpace ||
         error.code == ErrorCode::kUsage;
}

Result<void> Adoption::Adopt(Candidate candidate) {
  const ContentName& name = candidate.name;
  const fs::path staged = mirror_.staging() / "adopt" /
                          fmt::format("{}.{}", name.sha1.ToHex(HexCase::kUpper), name.extension);
  const auto found =
      options_.dry_run ? HashContent(candidate.path, stop_) : Stage(candidate, staged);
  if (!found) {
    if (EndsAll(found.error())) return std::unexpected(found.error());
    if (!options_.dry_run) TRY(RemoveFile(staged));
    Leave(candidate.path, AdoptLeft::kUnreadable, found.error().message);
    return {};
  }
  progress_.Advance(1, candidate.size_bytes);
  ContentExpectation expected{name.sha1, std::nullopt, found->size_bytes, name.extension};
  if (!candidate.declared.empty()) {
    const auto match = std::find_if(candidate.declared.begin(), candidate.declared.end(),
                                    [&](const auto& d) { return Fits(d, *found); });
    expected = match == candidate.declared.end() ? candidate.declared.front() : *match;
  }
  return Take(candidate, expected, staged, *found);
}

Result<void> Adoption::Take(const Candidate& candidate, const ContentExpectation& expected,
                            const fs::path& staged, const ContentHashes& found) {
  if (options_.dry_run) {
    const std::string wrong = DifferenceOf(found, expected);
    if (!wrong.empty()) {
      Leave(candidate.path, AdoptLeft::kDamaged, wrong);
      return {};
    }
    staged_sha1s_.insert(expected.sha1);
  } else {
    auto verified =
        ContentStore::AcceptHashed(staged, expected, found.sha1, found.sha256, found.size_bytes);
    if (!verified && verified.error().code == ErrorCode::kCorrupt) {
      Leave(candidate.path, AdoptLeft::kDamaged, DifferenceOf(found, expected));
      return {};
    }
    if (!verified) return std::unexpected(std::move(verified).error());
    batch_.push_back(std::move(*verified));
    sources_.push_back(candidate.path);
    batch_bytes_ += found.size_bytes;
    staged_sha1s_.insert(expected.sha1);
  }
  ++report_.taken_files;
  report_.taken_bytes += found.size_bytes;
  if (batch_.size() < kPublishFiles && batch_bytes_ < kPublishBytes) return {};
  return Publish();
}

// Only what the store has is removed at its old place.
Result<void> Adoption::Publish() {
  if (batch_.empty()) return {};
  batch_bytes_ = 0;
  TRY(mirror_.content().Publish(std::exchange(batch_, {})));
  staged_sha1s_.clear();
  const auto sources = std::exchange(sources_, {});
  if (options_.mode != AdoptMode::kMove) return {};
  for (const fs::path& source : sources) {
    if (const auto removed = RemoveFile(source); !removed) {
      Leave(source, AdoptLeft::kNotRemoved, removed.error().message);
    }
  }
  return {};
}

Result<AdoptReport> Adoption::Run(const fs::path& directory) {
  TRY_ASSIGN(const auto roots, FindRoots(directory));
  for (const fs::path& root : roots) TRY(CheckPlace(root));
  const fs::path staging = mirror_.staging() / "adopt";
  if (!options_.dry_run) {
    TRY(RemoveTree(staging));  // of a run that was killed; names and copies of ours only
    TRY(CreateDirectories(staging));
  }
  std::uint64_t files = 0;
  is_counting_ = true;
  for (const fs::path& root : roots) {
    TRY(Walk(root, [&](const Candidate& candidate) -> Result<void> {
      ++files;
      candidate_bytes_ += candidate.size_bytes;
      return {};
    }));
  }
  is_counting_ = false;
  progress_.Begin("adopting content", files, candidate_bytes_);
  const auto adopt = [&](Candidate candidate) { return Adopt(std::move(candidate)); };
  Result<void> walked;
  for (const fs::path& root : roots) {
    walked = Walk(root, adopt);
    if (!walked) break;
  }
  TRY(Publish());  // what was verified until a failure is kept
  TRY(std::move(walked));
  progress_.End();
  if (!options_.dry_run) TRY(RemoveTree(staging));
  return std::move(report_);
}

}  // namespace

std::string_view AdoptLeftName(AdoptLeft why) {
  switch (why) {
    case AdoptLeft::kForeign:
      return "foreign";
    case AdoptLeft::kLink:
      return "link";
    case AdoptLeft::kNoFile:
      return "no-file";
    case AdoptLeft::kUndeclared:
      return "undeclared";
    case AdoptLeft::kDamaged:
      return "damaged";
    case AdoptLeft::kUnreadable:
      return "unreadable";
    case AdoptLeft::kNotRemoved:
      return "not-removed";
  }
  return "foreign";
}

Result<AdoptReport> AdoptContent(Mirror& mirror, const fs::path& directory,
                                 const AdoptOptions& options, Progress& progress,
                                 std::stop_token stop) {
  return Adoption(mirror, options, progress, std::move(stop)).Run(directory);
}

}  // namespace gapferry::mirror
