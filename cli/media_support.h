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

}  // namespace gapferry::cli
