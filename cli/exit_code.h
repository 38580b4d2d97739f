#pragma once

#include <string_view>

#include "base/result.h"

namespace gapferry::cli {

/// What the process ends with. Scripts rely on these numbers: values are only ever added, and a
/// number that a script does not know counts as failure. docs/operations.md has the same table; a
/// test compares the two.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kPartlyDone = 3,
  kNotFound = 10,
  kBusy = 11,
  kCorrupt = 20,
  kUntrusted = 21,
  kExpired = 22,
  kNoSpace = 30,
  kCancelled = 130,
};

/// The one mapping from failures to exit codes.
ExitCode ExitCodeFor(ErrorCode code);

/// What the EXIT STATUS part of a help says about `code`, such as "busy: another job holds the
/// mirror".
std::string_view ExitCodeText(ExitCode code);

}  // namespace gapferry::cli
