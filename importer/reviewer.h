#pragma once

#include <filesystem>

#include "base/result.h"
#include "manifests/keys.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// The key of a person who read a return and lets it go: one that is trusted here in the role
/// release. Fails with kUntrusted (reason "reviewer-unknown"), or as SigningKey::Load.
Result<manifests::SigningKey> LoadReviewer(mirror::Mirror& mirror,
                                           const std::filesystem::path& key);

}  // namespace gapferry::importer
