#pragma once

#include <optional>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/mirror.h"

namespace gapferry::mirror::exchange {

/// The files that clients of this mirror need (FindNeed), licence texts of every update on offer
/// included; with `all` those of every live update. Ascending by SHA-1, each once. `is_held` tells
/// what is missing.
Result<std::vector<DeclaredFile>> NeededFiles(Mirror& mirror, bool all);

/// How revisions declare the file with this SHA-1, revisions of an open change included.
struct Declaration {
  std::optional<Sha256Digest> sha256;
  std::uint64_t size_bytes = 0;
};
Result<std::vector<Declaration>> DeclarationsOf(Mirror& mirror, const Sha1Digest& sha1);
/// The published revisions that declare it, at most 16.
Result<std::vector<RevisionId>> DeclaringRevisions(Mirror& mirror, const Sha1Digest& sha1);

}  // namespace gapferry::mirror::exchange
