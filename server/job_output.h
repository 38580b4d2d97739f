#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/child_process.h"
#include "base/result.h"
#include "mirror/job_history.h"

namespace gapferry::server {

/// What is kept of the lines that a job says with --json: its error, and the last lines that are no
/// JSON, which is all there is when it crashes. Bounded memory; any bytes are taken. Not
/// thread-safe.
class JobOutput {
 public:
  /// `line`: as ChildProcess hands it on.
  void Take(ChildProcess::Stream stream, std::string_view line);

  const std::optional<Error>& error() const { return error_; }
  /// The last lines that were no JSON, escaped, at most 2,000 bytes; empty when there were none.
  std::string tail() const;

 private:
  std::optional<Error> error_;
  std::vector<std::string> tail_;
};

/// How serve asked the job to end, if it did.
enum class JobStop { kNotAsked, kAsked };

/// What the history says of a job that has ended.
struct JobEnding {
  mirror::JobResult result = mirror::JobResult::kDone;
  Error error;              ///< message empty: there is none
  std::string output = {};  ///< of a crash
};

/// `recorded`: what the job wrote into its own record; nothing when it did not come so far.
/// A job that was stopped together with serve counts as interrupted: it goes on with the next one.
JobEnding JudgeEnding(const ProcessEnd& end, const JobOutput& output, JobStop stop,
                      std::optional<mirror::JobResult> recorded);

}  // namespace gapferry::server
