#pragma once

#include <filesystem>
#include <stop_token>
#include <string_view>

#include "base/result.h"
#include "manifests/block_hasher.h"

namespace gapferry::manifests {

/// How a written file was read again: from the medium (O_DIRECT), or after asking the kernel to
/// drop its pages, which it may ignore.
enum class ReadBack { kDirect, kAfterDrop };
std::string_view ReadBackName(ReadBack mode);

/// Reads a file from front to back, past the page cache where the file system allows it. `mode`
/// becomes kAfterDrop when it does not.
Result<VolumeDigests> ReadBackFile(const std::filesystem::path& path, ReadBack& mode,
                                   std::stop_token stop = {});

}  // namespace gapferry::manifests
