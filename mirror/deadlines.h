#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

// Deadlines never arrive in the past (design section 5), also where the clock of this machine is
// wrong: docs/behaviours.md, "Clocks".

namespace gapferry::mirror {

class Mirror;
class CommitTransaction;

struct SettledDeadline {
  std::optional<UtcTime> effective;   ///< none though given: the clock cannot be believed
  std::optional<UtcTime> floored_at;  ///< the clock by which it was settled
};
/// The later of `given` and `now` + `floor`; nothing while `now` lies before `not_before`, for then
/// nobody can tell whether `given` is past.
SettledDeadline SettleDeadline(std::optional<UtcTime> given, UtcTime now,
                               std::chrono::seconds floor, std::optional<UtcTime> not_before);

/// The time from which a commit reckons deadlines: its commit time, or the clock where commit times
/// are more than a day ahead of it (they rise even when the clock was set back).
UtcTime ReckonedFrom(CommitTransaction& commit);

/// What the clock must have reached to be believed: a day before the last imported bundle was
/// written, by what it says. None: no bundle yet.
Result<std::optional<UtcTime>> ClockNotBefore(Mirror& mirror);
UtcTime NotBeforeOf(UtcTime bundle_created);

/// Settles again what was settled by a clock that proves to have been wrong: deadlines that wait,
/// those reckoned from a time that is still to come, and local approvals that would go live then.
/// Nothing while the clock cannot be believed. Commits generations of kind "clock", each short; the
/// number of approvals changed. Cheap when there is nothing to do. Thread rule of its mirror.
Result<std::uint64_t> SettleByClock(Mirror& mirror, std::string_view actor);

}  // namespace gapferry::mirror
