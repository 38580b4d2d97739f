#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"

// Updates that this mirror does not offer, whoever approves them: a decision of this place, which
// is not passed on and is part of no state digest, but is told upward with every return.

namespace gapferry::mirror {

class Mirror;

struct UpdateBlock {
  Guid update;
  std::string reason;  ///< in words, may be empty; at most kMaxBlockReason bytes
  std::string actor;
  UtcTime at;
};
inline constexpr std::size_t kMaxBlockReason = 200;

/// All of `updates` or none: kNotFound (no-update) for an unknown one, kUsage (not-deployable) for
/// what is neither software nor driver, kUsage for a reason that is too long or no text. One short
/// commit, which makes a generation; the number newly blocked. A block that stands keeps its
/// reason.
Result<std::uint64_t> BlockUpdates(Mirror& mirror, const std::vector<Guid>& updates,
                                   std::string_view reason, std::string_view actor);
/// The number that was blocked.
Result<std::uint64_t> UnblockUpdates(Mirror& mirror, const std::vector<Guid>& updates,
                                     std::string_view actor);
/// Ascending by GUID.
Result<std::vector<UpdateBlock>> ReadBlocks(Mirror& mirror);
/// The blocked updates and all that bundle a revision of them: what is not offered. Ascending.
Result<std::vector<Guid>> NotOfferedByBlocks(Mirror& mirror);

}  // namespace gapferry::mirror
