#pragma once

#include <functional>

#include "base/result.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

/// A change of files, which no transaction covers: `entry` is recorded first, then `change` runs.
/// So a crash between leaves a record too many and never a change without one; the same command
/// again makes it. When `change` fails, a second record, ACTION.failed, says why, and its error is
/// returned. What can be refused is checked by the caller before.
Result<void> ChangeAudited(mirror::Mirror& mirror, const mirror::AuditEntry& entry,
                           const std::function<Result<void>()>& change);

}  // namespace gapferry::cli
