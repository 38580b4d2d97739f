#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "cli/admin_support.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "mirror/mirror.h"
#include "mirror/update_block.h"

namespace gapferry::cli {

/// What has been decided about updates and what computers say of them: read once, for lists.
struct Decisions {
  std::map<Guid, std::vector<mirror::Deployment>> approvals;  ///< live, by update
  std::set<Guid> declined;
  std::map<Guid, mirror::UpdateBlock> blocks;
  std::set<Guid> stopped;                       ///< by blocks: these, and what bundles them
  std::set<Sha1Digest> quarantined;             ///< files that came and were not let in
  std::map<Guid, mirror::UpdateCounts> counts;  ///< what computers have reported
  GroupNames groups;
};
Result<Decisions> ReadDecisions(mirror::Mirror& mirror);

/// One update with its decisions, as `update list` and `update show` tell it.
struct UpdateView {
  mirror::UpdateSummary summary;
  std::vector<mirror::Deployment> approvals;
  bool declined = false;
  std::optional<mirror::UpdateBlock> block;
  bool is_stopped = false;  ///< by a block of it or of a part of it
  bool waits_for_quarantine = false;
  mirror::UpdateCounts counts;
  mirror::Catalog::Payload payload;
};
Result<UpdateView> ViewOf(mirror::Mirror& mirror, const Decisions& decisions,
                          mirror::UpdateSummary summary);

/// Why an approved update is not offered now: "blocked", "part-blocked", "declined", "expired",
/// "digest-conflict", "quarantined", "missing-files". Empty: it is offered where it is approved.
std::vector<std::string_view> WaitReasons(const UpdateView& view);
/// "Approved", "NotApproved" or "Declined".
std::string_view ApprovalState(const UpdateView& view);
/// In words, such as "Install: Workstations, waits for files".
std::string StateText(const UpdateView& view, const GroupNames& groups);
nlohmann::json ApprovalToJson(const mirror::Deployment& deployment, const GroupNames& groups);
nlohmann::json ViewToJson(const UpdateView& view, const GroupNames& groups);

}  // namespace gapferry::cli
