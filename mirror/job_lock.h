#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file.h"
#include "base/result.h"

namespace gapferry::mirror {

/// How far the current step of a job is. Totals of 0 are unknown.
struct JobStep {
  std::string step;
  std::uint64_t items = 0;
  std::uint64_t total_items = 0;
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;
  double seconds = 0;  ///< since the step began
};

/// Who holds the job lock, and what for.
struct JobNote {
  std::string kind;     ///< sync, import, ...
  std::string process;  ///< base/process.h
  std::string actor;    ///< "user:jane", "schedule"
  UtcTime since;
  std::int64_t job = 0;  ///< id in the history; 0: none (yet)
  std::optional<JobStep> step;
};

/// The one lock of long jobs (sync, import, export, gc, restore), DIR/job.lock. May be held for
/// hours; database writes of others go on meanwhile. Released by destruction or process end. The
/// file tells who holds it: "sync (pid 4711)", and below that a JobNote as JSON.
/// Thread-compatible.
class JobLock {
 public:
  /// Fails with kBusy naming the holder ("sync, pid 4711") and reason "job-running".
  static Result<JobLock> Acquire(const std::filesystem::path& mirror, std::string_view job);

  /// Tells others what the holder does. Not durable.
  Result<void> Annotate(const JobNote& note);
  const JobNote& note() const { return note_; }  ///< the last one told

  struct Holder {
    bool held = false;  ///< otherwise: what the last holder left, as after a crash
    JobNote note;       ///< empty kind: nothing is known
  };
  /// Who holds the lock, without touching it.
  static Result<Holder> Look(const std::filesystem::path& mirror);

 private:
  explicit JobLock(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
  JobNote note_;
};

/// The lock of the one `serve` that runs the schedules of a mirror, DIR/schedule.lock; nothing else
/// waits for it. Fails with kBusy naming the holder.
Result<FileLock> AcquireScheduleLock(const std::filesystem::path& mirror);
/// Whether a `serve` runs the schedules of this mirror now.
Result<bool> AreSchedulesRun(const std::filesystem::path& mirror);

/// One JSON object, as it stands in the history of a job that was killed.
std::string JobStepToJson(const JobStep& step);

}  // namespace gapferry::mirror
