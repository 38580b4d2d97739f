#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"

namespace gapferry::exporter {

/// Bytes of the regular files that lie directly in a folder; 0 when it cannot be read.
std::uint64_t BytesIn(const std::filesystem::path& folder);

/// What a file of `size_bytes` takes on a medium at most, whatever its clusters are.
std::uint64_t OnMedium(std::uint64_t size_bytes);

/// Fails with kUsage, reason "file-too-large-for-medium", when no file of `size_bytes` named `what`
/// can lie in `folder`: FAT ends at 4 GiB, other file systems and limits of the process elsewhere.
/// Writes nothing but a probe, which is removed.
Result<void> CheckLargestFile(const std::filesystem::path& folder, const std::string& what,
                              std::uint64_t size_bytes);

}  // namespace gapferry::exporter
