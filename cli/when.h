#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace gapferry::cli {

/// A moment as a person types it, always UTC unless it names a zone:
///   2030-01-31               the first moment of that day
///   2030-01-31T18:00[:SS]    the blank instead of T, a Z or an offset (+01:00) are fine
///   +7d  +12h  +2w           counted from `now`, whole seconds
/// Fails with kUsage naming these forms; relative moments reach at most 100 years.
Result<UtcTime> ParseWhen(std::string_view text, UtcTime now);

/// The beginning of a period that ends now: "7d", "12h" or "2w" ago, or a moment as above.
Result<UtcTime> ParseSince(std::string_view text, UtcTime now);

}  // namespace gapferry::cli
