#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Updates that people approve, by what became of them since the base of a bundle.
struct UpdateCounts {
  std::uint64_t added = 0;
  std::uint64_t revised = 0;
  std::uint64_t expired = 0;
  std::uint64_t withdrawn = 0;
};

/// `newest` are the newest revisions of updates that changed after `base`.
Result<void> CountUpdates(mirror::Mirror& mirror, mirror::Generation base,
                          const std::vector<mirror::RevisionRow>& newest, UpdateCounts& counts);

struct ApprovalCounts {
  struct OfGroup {
    std::string group;
    std::uint64_t approvals = 0;  ///< new or changed
    std::uint64_t deadlines = 0;  ///< of these
  };
  std::vector<OfGroup> groups;  ///< by name
  std::uint64_t ended = 0;
  std::optional<UtcTime> first_deadline;
};

Result<void> CountApprovals(mirror::Mirror& mirror, const mirror::IntentImport& intent,
                            ApprovalCounts& counts);

}  // namespace gapferry::exporter
