#pragma once

#include <optional>
#include <string_view>

#include "base/result.h"
#include "mirror/job_history.h"
#include "mirror/mirror.h"
#include "mirror/schedule.h"

// What a mirror knows that decides when its schedules start: the history of its jobs, and since
// when a schedule is as it is.

namespace gapferry::mirror {

/// The kinds of jobs that can be scheduled.
inline constexpr std::string_view kScheduledKinds[] = {"sync", "rollup"};

/// The zone of the machine, the GUID of the mirror.
ScheduleFrame FrameOf(const Mirror& mirror);

const JobSchedule& ScheduleOf(const Schedule& schedule, std::string_view kind);
/// "02:00 every day", "after each sync", "never".
std::string KindText(const Schedule& schedule, std::string_view kind);

/// Remembers each schedule that is seen for the first time, with the time it was: what was missed
/// before is not made up for. Writes only what changed.
Result<void> NoteSchedules(Mirror& mirror, const Schedule& schedule);

/// When `serve` starts the next job of this kind; nothing when it never will.
Result<std::optional<DueRun>> NextRunOf(Mirror& mirror, const Schedule& schedule,
                                        std::string_view kind);

}  // namespace gapferry::mirror
