#pragma once

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string>

#include "base/clock.h"
#include "mirror/activity_rows.h"

// What the sources of the rollup intake share.

namespace gapferry::mirror {

/// The sender's clock is corrected when it is off by more than a minute (MS-WSUSSS PB 50, 54, 61);
/// no time is later than now or earlier than "never".
class ClockCorrection {
 public:
  ClockCorrection(UtcTime now, UtcTime sender) : now_(now) {
    const std::int64_t off = now.ticks - sender.ticks;
    if (std::abs(off) > 60 * UtcTime::kTicksPerSecond) offset_ = off;
  }
  UtcTime operator()(UtcTime time) const {
    if (time <= kNever) return kNever;
    return std::min(UtcTime{time.ticks + offset_}, now_);
  }

 private:
  UtcTime now_;
  std::int64_t offset_ = 0;
};

/// `root` and every server below it; nothing when it is not known.
Result<std::set<Guid>> Subtree(Database& db, const Guid& root);

/// Its parent and site alone: the whole record may be long.
struct ServerPlace {
  Guid parent;
  Guid site;
};
Result<std::optional<ServerPlace>> FindServerPlace(Database& db, const Guid& server);

/// kUsage, reason "bad-rollup".
std::unexpected<Error> FailRollup(std::string message);

}  // namespace gapferry::mirror
