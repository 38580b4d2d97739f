#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "mirror/state.h"

namespace gapferry::mirror {

class Mirror;

/// Commits a generation "configuration" when gapferry.yaml was edited so that another intent is
/// followed than at the last commit (`replica:`, `upstream.gap:`): its digests are then what the
/// mirror passes on now. Whether it did. To be called, job lock held, before a plan is made of what
/// is published.
Result<bool> CommitConfiguration(Mirror& mirror, std::string_view actor);

/// Why a delta over (base, target] would not lead a site to the target's state digest: another
/// intent was followed between (a delta has what changed, not what was followed instead), or
/// revisions left or joined the state without a change of their own. kUsage, reason
/// "history-changed"; a full bundle helps. None: nothing stands in the way.
Result<std::optional<Error>> DeltaObstacle(Mirror& mirror, Generation base, Generation target);

}  // namespace gapferry::mirror
