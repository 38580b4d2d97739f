#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "base/text.h"

namespace gapferry {
namespace {

std::string Quoted(const fs::path& path) { return "'" + path.string() + "'"; }

Result<int> OpenFd(const fs::path& path, int flags, unsigned mode) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0 && errno == ELOOP && (flags & O_NOFOLLOW) != 0) {
    return Fail(ErrorCode::kCorrupt, "file-not-regular",
                Quoted(path) + " is a link, no plain file");
  }
  if (fd < 0) return FailErrno(errno, "cannot open " + Quoted(path));
  return fd;
}

/// Runs `call` until it is not interrupted.
template <class Call>
auto Retry(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<File> File::OpenRead(const fs::path& path) {
  // O_NONBLOCK: a FIFO on a foreign medium must not hang us before its type is checked.
  TRY_ASSIGN(const int fd, OpenFd(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0));
  File file(fd, path);
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "cannot read " + Quoted(path));
  if (!S_ISREG(info.st_mode))
    return Fail(ErrorCode::kCorrupt, "file-not-regular", Quoted(path) + " is no regular file");
  return file;
}

Result<File> File::Create(const fs::path& path, unsigned mode) {
  TRY_ASSIGN(const int fd, OpenFd(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
  return File(fd, path);
}

Result<File> File::OpenUpdate(const fs::path& path, unsigned mode) {
  TRY_ASSIGN(const int fd, OpenFd(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode));
  return File(fd, path);
}

Result<std::uint64_t> File::Size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return FailErrno(errno, "cannot read " + Quoted(path_));
  return static_cast<std::uint64_t>(info.st_size);
}

Result<std::size_t> File::Read(std::span<std::uint8_t> out) {
  const ssize_t count = Retry([&] { return ::read(fd_, out.data(), out.size()); });
  if (count < 0) return FailErrno(errno, "cannot read " + Quoted(path_));
  return static_cast<std::size_t>(count);
}

Result<std::size_t> File::ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count = Retry([&] {
      return ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    });
    if (count < 0) {
      return FailErrno(
          errno, "cannot read " + Quoted(path_) + " at offset " + std::to_string(offset + done));
    }
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Result<void> File::WriteAll(ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t count = Retry([&] { return ::write(fd_, bytes.data(), bytes.size()); });
    if (count < 0) return FailErrno(errno, "cannot write " + Quoted(path_));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> File::WriteAllAt(std::uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t count = Retry(
        [&] { return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (count < 0) return FailErrno(errno, "cannot write " + Quoted(path_));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> File::Truncate(std::uint64_t size) {
  if (Retry([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) != 0) {
    return FailErrno(errno, "cannot set the size of " + Quoted(path_));
  }
  return {};
}

Result<void> File::Sync() {
  if (Retry([&] { return ::fdatasync(fd_); }) != 0) {
    return FailErrno(errno, "cannot sync " + Quoted(path_));
  }
  return {};
}

Result<void> File::DropCache() {
  const int error = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  if (error != 0) return FailErrno(error, "cannot drop cached pages of " + Quoted(path_));
  return {};
}

Result<void> File::Close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && ::close(fd) != 0 && errno != EINTR) {
    return FailErrno(errno, "cannot close " + Quoted(path_));
  }
  return {};
}

AtomicFile::AtomicFile(File file, fs::path temporary, fs::path target)
    : file_(std::move(file)), temporary_(std::move(temporary)), target_(std::move(target)) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : file_(std::move(other.file_)),
      temporary_(std::move(other.temporary_)),
      target_(std::move(other.target_)),
      committed_(std::exchange(other.committed_, true)) {}

AtomicFile::~AtomicFile() {
  if (!committed_) ::unlink(temporary_.c_str());
}

Result<AtomicFile> AtomicFile::Create(const fs::path& path, unsigned mode) {
  fs::path temporary = path;
  temporary += ".tmp";
  TRY_ASSIGN(File file, File::Create(temporary, mode));
  return AtomicFile(std::move(file), std::move(temporary), path);
}

Result<void> AtomicFile::Commit() {
  TRY(file_.Sync());
  TRY(file_.Close());
  TRY(Rename(temporary_, target_));
  committed_ = true;
  return SyncDirectory(target_.parent_path());
}

Result<void> WriteFileAtomically(const fs::path& path, ByteView bytes, unsigned mode) {
  TRY_ASSIGN(AtomicFile file, AtomicFile::Create(path, mode));
  TRY(file.file().WriteAll(bytes));
  return file.Commit();
}

Result<Bytes> ReadFile(const fs::path& path, std::uint64_t limit_bytes) {
  TRY_ASSIGN(File file, File::OpenRead(path));
  FileSource source(file);
  MemorySink sink(limit_bytes);
  TRY(Copy(source, sink, limit_bytes), Quoted(path));
  return sink.Take();
}

Result<std::string> ReadTextFile(const fs::path& path, std::uint64_t limit_bytes) {
  TRY_ASSIGN(const Bytes bytes, ReadFile(path, limit_bytes));
  return std::string(AsText(bytes));
}

Result<void> CreateDirectories(const fs::path& path, unsigned mode) {
  fs::path so_far;
  for (const fs::path& part : path) {
    so_far /= part;
    if (::mkdir(so_far.c_str(), mode) == 0 || errno == EEXIST) continue;
    const int error = errno;
    std::error_code ignored;
    if (!fs::is_directory(so_far, ignored)) {
      return FailErrno(error, "cannot create folder " + Quoted(so_far));
    }
  }
  return {};
}

Result<void> SyncDirectory(const fs::path& path) {
  TRY_ASSIGN(const int fd, OpenFd(path.empty() ? fs::path(".") : path, O_RDONLY | O_DIRECTORY, 0));
  const int result = Retry([&] { return ::fsync(fd); });
  const int error = errno;
  ::close(fd);
  if (result != 0) return FailErrno(error, "cannot sync folder " + Quoted(path));
  return {};
}

Result<void> SyncFileSystem(const fs::path& path) {
  TRY_ASSIGN(const int fd, OpenFd(path.empty() ? fs::path(".") : path, O_RDONLY, 0));
  const int result = ::syncfs(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0) return FailErrno(error, "cannot sync the file system of " + Quoted(path));
  return {};
}

Result<void> Rename(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return FailErrno(errno, "cannot rename " + Quoted(from) + " to " + Quoted(to));
  }
  return {};
}

Result<void> RemoveFile(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return FailErrno(errno, "cannot remove " + Quoted(path));
  }
  return {};
}

Result<void> RemoveTree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return FailErrno(error.value(), "cannot remove " + Quoted(path));
  return {};
}

Result<std::vector<std::string>> ListDirectory(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator it(path, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return FailErrno(error.value(), "cannot list " + Quoted(path));
  std::ranges::sort(names);
  return names;
}

Result<std::uint64_t> FreeBytes(const fs::path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) {
    return FailErrno(errno, "cannot ask for the free space of " + Quoted(path));
  }
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

Result<void> CheckFreeSpace(const fs::path& path, std::uint64_t needed_bytes) {
  TRY_ASSIGN(const std::uint64_t free_bytes, FreeBytes(path));
  if (free_bytes >= needed_bytes) return {};
  return Fail(ErrorCode::kNoSpace, Quoted(path) + " has " + FormatByteCount(free_bytes) +
                                       " free, needed are " + FormatByteCount(needed_bytes));
}

namespace {

constexpr std::size_t kMaxLockText = 8192;

Result<FileLock::Text> ReadLockText(File& file) {
  Bytes bytes(kMaxLockText);
  TRY_ASSIGN(const std::size_t count, file.ReadAt(0, bytes));
  bytes.resize(count);
  const auto lines = Split(AsText(bytes), '\n');
  FileLock::Text text;
  text.holder = TrimAscii(lines[0]);
  if (lines.size() > 1) text.note = lines[1];
  return text;
}

/// By the kernel's list of locks.
bool IsLocked(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return false;
  std::ifstream locks("/proc/locks");
  const std::string inode = ":" + std::to_string(info.st_ino);
  std::string line;
  while (std::getline(locks, line)) {
    // "1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF"; "1: ->" is one that waits.
    if (line.find("FLOCK") == std::string::npos || line.find("->") != std::string::npos) continue;
    for (const std::string_view word : Split(line, ' ')) {
      if (word.ends_with(inode)) return true;
    }
  }
  return false;
}

}  // namespace

Result<FileLock> FileLock::Acquire(const fs::path& path, std::string_view holder) {
  TRY_ASSIGN(File file, File::OpenUpdate(path));
  if (Retry([&] { return ::flock(file.fd(), LOCK_EX | LOCK_NB); }) != 0) {
    if (errno != EWOULDBLOCK) return FailErrno(errno, "cannot lock " + Quoted(path));
    TRY_ASSIGN(const Text text, ReadLockText(file));
    return Fail(ErrorCode::kBusy, "held by " + EscapeForDisplay(text.holder));
  }
  const std::string text = std::string(holder) + " (pid " + std::to_string(::getpid()) + ")\n";
  TRY(file.Truncate(0));
  TRY(file.WriteAllAt(0, AsBytes(text)));
  return FileLock(std::move(file), text.size());
}

Result<void> FileLock::Annotate(std::string_view note) {
  const std::string line = std::string(note) + '\n';
  TRY(file_.WriteAllAt(note_at_, AsBytes(line)));
  return file_.Truncate(note_at_ + line.size());
}

Result<FileLock::Text> FileLock::Look(const fs::path& path) {
  const bool held = IsLocked(path);
  auto file = File::OpenRead(path);
  if (!file && file.error().code == ErrorCode::kNotFound) return Text{};
  if (!file) return std::unexpected(std::move(file).error());
  TRY_ASSIGN(Text text, ReadLockText(*file));
  text.held = held;
  return text;
}

}  // namespace gapferry
