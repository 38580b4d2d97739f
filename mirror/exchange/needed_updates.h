#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/exchange/update_traits.h"
#include "mirror/mirror.h"

namespace gapferry::mirror::exchange {

struct NeedRules {
  bool all = false;      ///< every live update, approved or not
  bool express = false;  ///< express payloads too
  /// Approvals for these groups, those above and those below count; empty: all.
  std::vector<Guid> groups;
  /// An update replaces others only when all its files are held here: otherwise it cannot be sent,
  /// and what it replaces is of use until it can.
  bool replaced_by_held_only = false;
};

/// An update whose files clients need as a whole: with one of them missing none is of use.
struct NeededUpdate {
  protocol::UpdateId update;
  bool is_approved = false;
  std::optional<UtcTime> deadline;     ///< the earliest
  std::optional<UtcTime> approved_at;  ///< the earliest that still stands; nullopt: not approved
  UpdateTraits traits;                 ///< of it and of what it bundles
  std::vector<DeclaredFile> files;  ///< payload of it and of what it bundles; ascending, each once
};

struct Need {
  std::vector<NeededUpdate> updates;   ///< each once, in no order; those without files left out
  std::vector<DeclaredFile> licences;  ///< texts of all updates on offer; ascending, each once
  std::uint64_t replaced = 0;          ///< approved updates that others replace: no files
};

/// What clients of this mirror, or of a site below it, can need now: the payload of everything
/// approved for installation or removal, unless it is declined, or another update that is approved
/// for installation in the same group or one above supersedes it. Of definition updates that
/// differ in version only the newest counts, superseded or not. Holds a view of the catalogue as
/// its caller does.
Result<Need> FindNeed(Mirror& mirror, const NeedRules& rules);

}  // namespace gapferry::mirror::exchange
