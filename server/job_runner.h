#pragma once

#include <chrono>
#include <filesystem>
#include <memory>

#include "mirror/mirror.h"
#include "mirror/schedule.h"

namespace gapferry::server {

struct JobRunnerOptions {
  std::filesystem::path mirror;
  mirror::MirrorOptions mirror_options;
  mirror::Schedule schedule;  ///< of the configuration that serve has read and checked
  /// Run as `PROGRAM KIND --mirror DIR --json`.
  std::filesystem::path program = "/proc/self/exe";
  std::chrono::milliseconds tick{2000};  ///< how often the schedule and the clock are looked at
  std::chrono::milliseconds stop_wait{20'000};  ///< for a job in progress; then it is killed
};

/// Starts the jobs of `schedule` in gapferry.yaml when they are due, one at a time, as processes of
/// their own: one that crashes or runs out of memory leaves the server alone, and none outlives it.
/// Each leaves a record in the job history, also when it could not begin. A changed gapferry.yaml
/// counts once two ticks saw it alike; one that is broken is logged and the schedule before it
/// stays.
/// Of several on one mirror, one does the work, and another takes over when that one ends.
/// Thread-safe.
class JobRunner {
 public:
  /// Never fails: what is wrong with the mirror is logged, once, and tried again.
  static std::unique_ptr<JobRunner> Start(JobRunnerOptions options);
  ~JobRunner();

  /// Ends the job in progress as Ctrl-C would. Returns at once.
  void RequestStop();
  /// Waits for it, `stop_wait` at most.
  void Stop();

 private:
  struct Impl;
  explicit JobRunner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::server
