#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/progress.h"
#include "base/result.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

/// One job of this process: the job lock, its record in the history, and what others see of its
/// progress (`gapferry status`, `gapferry job show`). Without End or Fail the record stays and is
/// read as interrupted once the process has ended. Thread-compatible; progress() is thread-safe.
class RunningJob {
 public:
  /// Fails as JobLock::Acquire. `mirror` and `progress` must outlive the job. What a job before it
  /// that was killed was doing is put into the record of that one.
  static Result<RunningJob> Start(Mirror& mirror, std::string_view kind, Progress& progress);
  RunningJob(RunningJob&&) noexcept;
  ~RunningJob();

  /// Hands everything on to the one given to Start.
  Progress& progress();
  JobLock& lock();
  std::int64_t id() const;

  Result<void> End(JobResult result, std::optional<Generation> generation,
                   std::string_view detail_json);
  /// Failed or cancelled, by the error's code. A history that cannot be written is logged: what
  /// counts is the error itself.
  void Fail(const Error& error);

 private:
  struct State;
  explicit RunningJob(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The same for work that holds the lock without a record while it runs (an import): progress that
/// others see. Hands everything on to `inner`; both must outlive it. Thread-safe.
std::unique_ptr<Progress> ShareProgress(JobLock& lock, Progress& inner);

}  // namespace gapferry::mirror
