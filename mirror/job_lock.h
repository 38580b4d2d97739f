#pragma once

#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "base/result.h"

namespace gapferry::mirror {

/// The one lock of long jobs (sync, import, export, gc, restore), DIR/job.lock. May be held for
/// hours; database writes of others go on meanwhile. Released by destruction or process end.
class JobLock {
 public:
  /// Fails with kBusy naming the holder ("sync, pid 4711") and reason "job-running".
  static Result<JobLock> Acquire(const std::filesystem::path& mirror, std::string_view job);

 private:
  explicit JobLock(FileLock lock) : lock_(std::move(lock)) {}
  FileLock lock_;
};

}  // namespace gapferry::mirror
