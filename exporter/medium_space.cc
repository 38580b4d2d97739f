#include "exporter/medium_space.h"

#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/text.h"

namespace gapferry::exporter {
namespace {

constexpr std::uint64_t kCluster = 128 * 1024;  ///< the largest that formatting tools choose
constexpr std::uint64_t kFatLimit = 0xffff'ffff;
constexpr const char* kProbe = ".gapferry-probe";

/// The kernel refuses to seek where the file system can hold no byte.
Result<bool> CanHold(const fs::path& folder, std::uint64_t size_bytes) {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      size_bytes > limit.rlim_cur) {
    return false;
  }
  struct statfs info {};
  if (::statfs(folder.c_str(), &info) == 0 && info.f_type == MSDOS_SUPER_MAGIC &&
      size_bytes > kFatLimit) {
    return false;
  }
  const fs::path probe = folder / kProbe;
  auto file = File::Create(probe);
  if (!file) {
    // Of the folder that was named, not of a file that nobody knows.
    const std::size_t why = file.error().message.rfind(": ");
    file.error().message = "cannot write to '" + folder.string() + "'" +
                           (why == std::string::npos ? "" : file.error().message.substr(why));
    return std::unexpected(std::move(file.error()));
  }
  const bool can = ::lseek(file->fd(), static_cast<off_t>(size_bytes), SEEK_SET) >= 0;
  TRY(file->Close());
  TRY(RemoveFile(probe));
  return can;
}

}  // namespace

std::uint64_t BytesIn(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!it->is_regular_file(ignored)) continue;
    const std::uintmax_t size = it->file_size(ignored);
    if (!ignored) bytes += size;
  }
  return bytes;
}

std::uint64_t OnMedium(std::uint64_t size_bytes) {
  return (size_bytes + kCluster - 1) / kCluster * kCluster + kCluster;
}

Result<void> CheckLargestFile(const fs::path& folder, const std::string& what,
                              std::uint64_t size_bytes) {
  TRY_ASSIGN(const bool can, CanHold(folder, size_bytes));
  if (can) return {};
  return Fail(ErrorCode::kUsage, "file-too-large-for-medium",
              what + " has " + FormatByteCount(size_bytes) + ", which is more than a file in '" +
                  folder.string() + "' can have");
}

}  // namespace gapferry::exporter
