#include "manifests/read_back.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/file.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kPiece = 1 << 20;
constexpr std::size_t kAlignment = 4096;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

/// Nullopt when this file system cannot read directly.
Result<std::optional<VolumeDigests>> ReadDirect(const fs::path& path, std::stop_token stop) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_DIRECT));
  if (fd.get() < 0) {
    if (errno == EINVAL) return std::optional<VolumeDigests>();
    return FailErrno(errno, "cannot open '" + path.string() + "'");
  }
  const std::unique_ptr<void, FreeDeleter> memory(std::aligned_alloc(kAlignment, kPiece));
  if (memory == nullptr) return Fail(ErrorCode::kInternal, "out of memory");
  const auto* bytes = static_cast<const std::uint8_t*>(memory.get());
  BlockHasher hasher;
  for (bool first = true;; first = false) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while reading back");
    const ssize_t count = ::read(fd.get(), memory.get(), kPiece);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EINVAL && first) return std::optional<VolumeDigests>();
    if (count < 0) return FailErrno(errno, "cannot read '" + path.string() + "'");
    if (count == 0) return std::optional(hasher.Finish());
    hasher.Add(std::make_shared<Bytes>(bytes, bytes + count));
    // A short direct read ends at the end of the file; the next one would be unaligned.
    if (static_cast<std::size_t>(count) % kAlignment != 0) return std::optional(hasher.Finish());
  }
}

Result<VolumeDigests> ReadAfterDrop(const fs::path& path, std::stop_token stop) {
  TRY_ASSIGN(File file, File::OpenRead(path));
  TRY(file.DropCache());
  BlockHasher hasher;
  for (;;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while reading back");
    auto piece = std::make_shared<Bytes>(kPiece);
    TRY_ASSIGN(const std::size_t count, file.Read(*piece));
    if (count == 0) return hasher.Finish();
    piece->resize(count);
    hasher.Add(std::move(piece));
  }
}

}  // namespace

std::string_view ReadBackName(ReadBack mode) {
  return mode == ReadBack::kDirect ? "read from the medium" : "read after dropping cached pages";
}

Result<VolumeDigests> ReadBackFile(const fs::path& path, ReadBack& mode, std::stop_token stop) {
  TRY_ASSIGN(auto direct, ReadDirect(path, stop));
  if (direct) return std::move(*direct);
  mode = ReadBack::kAfterDrop;
  return ReadAfterDrop(path, stop);
}

}  // namespace gapferry::manifests
