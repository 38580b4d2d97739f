#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/mirror.h"

namespace gapferry::mirror::exchange {

extern const Guid kDefinitionUpdates;  // classification e0789628-...

/// What an update is, as far as it decides who is sent its files, and when.
struct UpdateTraits {
  /// How much it is needed: 0 definition, 1 critical, 2 security updates, 3 all others.
  int urgency = 3;
  int severity = 4;  ///< 0 critical, 1 important, 2 moderate, 3 low, 4 not given
  bool is_definition = false;
  std::optional<UtcTime> created_at;
  std::vector<std::string> languages;      ///< lower case, ascending; empty: any
  std::vector<std::string> architectures;  ///< x86, x64, arm64, ascending; empty: any, or not told
  /// Equal for updates of which only the newest is of use although none says so: definitions of one
  /// product that differ in their version alone. Empty for everything else.
  std::string series;
};
Result<UpdateTraits> TraitsOf(Mirror& mirror, const RevisionRelations& revision);

/// Architectures that a title or file name tells, ascending: documents say it nowhere else but in
/// rules. "2026-10 Update for x64-based Systems" tells x64, "Writer (32-bit)" tells x86.
std::vector<std::string> ArchitecturesIn(std::string_view text);

}  // namespace gapferry::mirror::exchange
