#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry {

namespace fs = std::filesystem;

/// An open file descriptor, closed on destruction. Thread-compatible; ReadAt and WriteAt may be
/// called from several threads at once. Error messages name the path.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  /// Regular files only, links not followed in the last component; kNotFound when absent.
  static Result<File> OpenRead(const fs::path& path);
  /// Creates or truncates, mode 0644 (`mode` otherwise).
  static Result<File> Create(const fs::path& path, unsigned mode = 0644);
  /// Opens for reading and writing, creating it when absent; keeps the content.
  static Result<File> OpenUpdate(const fs::path& path, unsigned mode = 0644);

  Result<std::uint64_t> Size() const;
  Result<std::size_t> Read(std::span<std::uint8_t> out);
  /// Short only at the end of the file.
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const;
  Result<void> WriteAll(ByteView bytes);
  Result<void> WriteAllAt(std::uint64_t offset, ByteView bytes);
  Result<void> Truncate(std::uint64_t size);
  Result<void> Sync();  ///< fdatasync
  /// Asks the kernel to drop the file's pages, so that the next read comes from the medium.
  Result<void> DropCache();
  Result<void> Close();

  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  const fs::path& path() const { return path_; }

 private:
  File(int fd, fs::path path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  fs::path path_;
};

class FileSource : public Source {
 public:
  explicit FileSource(File& file) : file_(file) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override { return file_.Read(out); }

 private:
  File& file_;  // must outlive
};

class FileSink : public Sink {
 public:
  explicit FileSink(File& file) : file_(file) {}
  Result<void> Write(ByteView bytes) override { return file_.WriteAll(bytes); }

 private:
  File& file_;  // must outlive
};

/// Replaces `path` as a whole: temporary file beside it, fsync, rename, fsync of the folder.
/// Without Commit the target stays as it was and the temporary file is removed.
class AtomicFile {
 public:
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();
  static Result<AtomicFile> Create(const fs::path& path, unsigned mode = 0644);
  File& file() { return file_; }
  Result<void> Commit();

 private:
  AtomicFile(File file, fs::path temporary, fs::path target);
  File file_;
  fs::path temporary_;
  fs::path target_;
  bool committed_ = false;
};

Result<void> WriteFileAtomically(const fs::path& path, ByteView bytes, unsigned mode = 0644);
/// Fails with kCorrupt when the file is larger than `limit_bytes`.
Result<Bytes> ReadFile(const fs::path& path, std::uint64_t limit_bytes);
Result<std::string> ReadTextFile(const fs::path& path, std::uint64_t limit_bytes);

Result<void> CreateDirectories(const fs::path& path, unsigned mode = 0755);
Result<void> SyncDirectory(const fs::path& path);
/// syncfs of the file system that holds `path`: everything written there is durable afterwards.
Result<void> SyncFileSystem(const fs::path& path);
Result<void> Rename(const fs::path& from, const fs::path& to);
Result<void> RemoveFile(const fs::path& path);  ///< success when absent
Result<void> RemoveTree(const fs::path& path);  ///< success when absent
/// Names of the entries, sorted; no "." and "..".
Result<std::vector<std::string>> ListDirectory(const fs::path& path);
Result<std::uint64_t> FreeBytes(const fs::path& path);
/// Fails with kNoSpace, naming path, needed and free bytes.
Result<void> CheckFreeSpace(const fs::path& path, std::uint64_t needed_bytes);

/// An exclusive advisory lock on a file, held until destruction or process end. The file's first
/// line is `holder` and the pid, so that another process can name who holds it; a second line may
/// say more. Thread-compatible.
class FileLock {
 public:
  FileLock(FileLock&&) noexcept = default;
  /// Fails with kBusy naming the holder.
  static Result<FileLock> Acquire(const fs::path& path, std::string_view holder);

  /// Replaces the second line; `note` has no line end. Not synced: it is of use only while the lock
  /// is held, and after a crash as far as it got.
  Result<void> Annotate(std::string_view note);

  struct Text {
    std::string holder;
    std::string note;  ///< empty: none
    bool held = false;
  };
  /// What the file says, and whether some process holds the lock, without touching it: who asks
  /// must not make one that starts in this moment believe that another one runs. A note that is
  /// written in this moment may be cut or mixed. Both empty when there is no file.
  static Result<Text> Look(const fs::path& path);

 private:
  FileLock(File file, std::uint64_t note_at) : file_(std::move(file)), note_at_(note_at) {}
  File file_;
  std::uint64_t note_at_ = 0;
};

}  // namespace gapferry
