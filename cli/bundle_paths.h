#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace gapferry::cli {

/// The bundle's folders that are meant by what somebody typed: each the folder itself, or a medium
/// with one bundle on it. Fails with reason "no-bundle" for what does not exist, is a file (names
/// the folder where that can be told) or holds no bundle, "several-bundles" for a medium with
/// several.
Result<std::vector<std::filesystem::path>> BundleFolders(const std::vector<std::string>& typed,
                                                         const std::string& command);

/// Where `path` is a file: whether it may be a return, else an error that says what to name
/// instead.
Result<void> CheckReturnPath(const std::filesystem::path& path);

/// Behind no gap bundles are not imported: an error that names the returns that lie in `folder`.
Error NoBundlesHere(const std::filesystem::path& folder);

}  // namespace gapferry::cli
