#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/context.h"

namespace gapferry::cli {

/// A size of media or volumes: bytes, or fat32 (the largest file there), dvd, bd25: what fits
/// beside the file system's own needs. `option` is named when it is none of these.
Result<std::uint64_t> ParseMediaSize(std::string_view option, std::string_view text);

/// Asks on the terminal for the next medium and where it is; an empty answer means `same`, the
/// place of the one before. Nothing without a terminal, with --json or --yes, or when the answer is
/// "q".
Result<std::optional<std::filesystem::path>> AskForMedium(Context& context, std::string_view what,
                                                          const std::filesystem::path& same);

/// A folder that somebody named for what leaves: it must be there. Making it would write to the
/// disk below when a medium is not mounted. Fails with kNotFound, reasons "no-folder" (next: how to
/// make it) and "medium-not-mounted" (it lies where /etc/fstab mounts something that is not), with
/// kUsage when it is no folder, or (reason "folder-of-a-bundle") that of a bundle.
Result<void> CheckTargetFolder(const std::filesystem::path& folder);

/// What `fstab` mounts at `folder` or above it (but for "/") while `mounts`, the list of what is
/// mounted, does not name that place: device and place. Nothing when that cannot be told.
struct UnmountedPlace {
  std::string device;
  std::filesystem::path place;
};
std::optional<UnmountedPlace> FindUnmounted(const std::filesystem::path& folder, const char* fstab,
                                            const char* mounts);

}  // namespace gapferry::cli
