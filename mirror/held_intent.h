#pragma once

#include <chrono>
#include <optional>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/commit.h"
#include "mirror/intent_history.h"
#include "mirror/job_lock.h"

// A replica that holds back what was decided above (`import --hold`). What came is stored as it
// came, so the state digest stays provable; what is followed and passed on are rows of their own
// (IntentOrigin::kFollowed), equal to the received ones but for what waits or was rejected. As soon
// as nothing differs, the received rows are followed again.

namespace gapferry::mirror {

/// Copies the intent that is followed into rows of kFollowed, unseen, in short transactions; does
/// nothing while a hold lasts. Hold the job lock.
Result<void> PrepareHold(Mirror& mirror, const JobLock& lock);
/// From this commit on the copies are followed; PrepareHold must have made them under the same job
/// lock. Changes nothing that is effective.
Result<void> BeginHold(CommitTransaction& commit);
/// Lets one element of what came from above take effect, as it is now; deadlines are settled by
/// `floor` where given, else as at their import. Passed on with this commit's generation.
Result<void> Follow(CommitTransaction& commit, IntentKind kind, const Guid& guid,
                    std::optional<std::chrono::seconds> floor = {});
/// Ends the hold when what is followed equals what came.
Result<void> EndHoldWhenEqual(CommitTransaction& commit);

}  // namespace gapferry::mirror
