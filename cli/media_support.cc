#include "cli/media_support.h"

#include <fmt/format.h>
#include <mntent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <vector>

#include "base/text.h"
#include "cli/admin_support.h"

namespace gapferry::cli {

Result<std::uint64_t> ParseMediaSize(std::string_view option, std::string_view text) {
  if (text == "fat32") return 4'294'966'784;  // in whole tar blocks
  if (text == "dvd") return 4'600'000'000;
  if (text == "bd25") return 24'900'000'000;
  const auto bytes = ParseInt<std::uint64_t>(text);
  if (bytes && *bytes > 0) return *bytes;
  return Fail(ErrorCode::kUsage,
              fmt::format("{} takes a number of bytes, fat32, dvd or bd25, not '{}'", option,
                          EscapeForDisplay(text, 40)));
}

Result<std::optional<std::filesystem::path>> AskForMedium(Context& context, std::string_view what,
                                                          const std::filesystem::path& same) {
  if (context.json() || context.global().yes || ::isatty(STDIN_FILENO) == 0) {
    return std::optional<std::filesystem::path>();
  }
  fmt::print(stderr, "{}\n", what);
  for (;;) {
    fmt::print(stderr,
               "Put it in and press Enter ({}), type another path, or q to stop: ", same.string());
    std::fflush(stderr);
    std::array<char, 4096> answer{};
    if (std::fgets(answer.data(), static_cast<int>(answer.size()), stdin) == nullptr ||
        context.stop().stop_requested()) {
      return Fail(ErrorCode::kCancelled, "no answer");
    }
    const std::string_view word = TrimAscii(answer.data());
    if (word == "q" || word == "Q") return std::optional<std::filesystem::path>();
    const auto path = word.empty() ? same : std::filesystem::absolute(word);
    const auto good = CheckTargetFolder(path);
    if (good) return std::optional(path);
    fmt::print(stderr, "{}\n", good.error().message);
  }
}

namespace {

namespace fs = std::filesystem;

fs::path WithoutLastSlash(fs::path path) {
  path = path.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

std::vector<UnmountedPlace> ReadMounts(const char* path) {
  std::vector<UnmountedPlace> out;
  std::FILE* file = ::setmntent(path, "re");
  if (file == nullptr) return out;
  struct mntent entry {};
  std::array<char, 8192> buffer{};
  while (::getmntent_r(file, &entry, buffer.data(), static_cast<int>(buffer.size())) != nullptr) {
    out.push_back({entry.mnt_fsname, WithoutLastSlash(entry.mnt_dir)});
  }
  ::endmntent(file);
  return out;
}

/// Or a part of one, on one of several media.
bool IsOfABundle(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "manifest.json", error)) return true;
  return fs::exists(folder / "README.txt", error) &&
         (fs::exists(folder / "SHA256SUMS", error) || fs::exists(folder / "blocks-0001", error));
}

std::unexpected<Error> NoFolder(ErrorCode code, const char* reason, std::string message,
                                std::string next) {
  return std::unexpected(Error{code, std::move(message), reason, std::move(next)});
}

}  // namespace

std::optional<UnmountedPlace> FindUnmounted(const fs::path& folder, const char* fstab,
                                            const char* mounts) {
  std::error_code error;
  fs::path path = fs::canonical(folder, error);
  if (error) return std::nullopt;
  const auto mounted = ReadMounts(mounts);
  if (mounted.empty()) return std::nullopt;
  const auto wanted = ReadMounts(fstab);
  for (; path.has_relative_path(); path = path.parent_path()) {
    if (std::ranges::find(mounted, path, &UnmountedPlace::place) != mounted.end()) break;
    const auto found = std::ranges::find(wanted, path, &UnmountedPlace::place);
    if (found != wanted.end()) return *found;
  }
  return std::nullopt;
}

Result<void> CheckTargetFolder(const fs::path& folder) {
  const std::string shown = "'" + EscapeForDisplay(folder.string(), 400) + "'";
  std::error_code error;
  if (IsOfABundle(folder)) {
    return NoFolder(ErrorCode::kUsage, "folder-of-a-bundle",
                    shown + " is the folder of a bundle: one more file in it, and it is refused",
                    "name the folder or medium that it lies in: --to " +
                        ShellWord(WithoutLastSlash(folder).parent_path().string()));
  }
  if (fs::is_directory(folder, error)) {
    const auto unmounted = FindUnmounted(folder, "/etc/fstab", "/proc/self/mounts");
    if (!unmounted) return {};
    return NoFolder(ErrorCode::kNotFound, "medium-not-mounted",
                    shown + " is where " + EscapeForDisplay(unmounted->device, 200) +
                        " is mounted by /etc/fstab, and it is not: what is written there would lie "
                        "on the disk below",
                    "put the medium in, then: mount " + ShellWord(unmounted->place.string()));
  }
  if (fs::exists(folder, error)) {
    return NoFolder(ErrorCode::kUsage, "no-folder", shown + " is no folder",
                    "name the folder that it lies in, or another one: --to DIR");
  }
  return NoFolder(ErrorCode::kNotFound, "no-folder",
                  "there is no folder " + shown + ": if it is a medium, it is not mounted",
                  "put the medium in and mount it; if a folder on this disk is meant: mkdir -p " +
                      ShellWord(folder.string()));
}

}  // namespace gapferry::cli
