#include "mirror/job_lock.h"

namespace gapferry::mirror {

Result<JobLock> JobLock::Acquire(const std::filesystem::path& mirror, std::string_view job) {
  auto lock = FileLock::Acquire(mirror / "job.lock", job);
  if (!lock) {
    Error error = std::move(lock).error();
    if (error.code == ErrorCode::kBusy) {
      error.reason = "job-running";
      error.message = "mirror '" + mirror.string() + "' is " + error.message;
    }
    return std::unexpected(std::move(error));
  }
  return JobLock(std::move(*lock));
}

}  // namespace gapferry::mirror
