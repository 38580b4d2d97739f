#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "mirror/intent.h"
#include "mirror/intent_history.h"

// Decisions from above that wait here for somebody's word: on a replica what 'import --hold' kept
// back, on a mirror that decides by itself everything that its sender decided otherwise.

namespace gapferry::mirror {

/// One element that the upstream sees otherwise than what is followed here.
struct Proposal {
  std::string id;  ///< "approval-1b2c3d4e5f60": of the element, stays the same when it changes
  IntentKind kind = IntentKind::kGroup;
  Guid guid;                                ///< of the upstream's element
  bool is_removal = false;                  ///< it ended above: unapprove, lift, remove, take back
  bool is_rejected = false;                 ///< by somebody here, as the upstream has it now
  std::optional<IncomingDeployment> above;  ///< approvals (of a removal: what ended)
  std::optional<TargetGroup> group;  ///< of a group: what it is above; of an approval: its group
  /// Approvals where this mirror decides by itself: the group here that it would go to.
  std::optional<Guid> local_group;
  std::optional<Deployment> here;  ///< the approval that stands here instead
  Sha256Digest value;              ///< of what the upstream says
};

/// Groups first, then approvals, declines, licences; each ascending by GUID. Empty on a mirror that
/// has no upstream's intent. Memory: one row per approval.
Result<std::vector<Proposal>> ReadProposals(Mirror& mirror);
Result<std::uint64_t> CountProposals(Mirror& mirror);  ///< those that are not rejected

struct ApplyOptions {
  std::map<std::string, Guid> groups;  ///< name of a group above -> group here
  bool create_groups = false;          ///< of the same name, where there is none
  bool accept_eulas = false;
  std::string actor;
};
struct ApplyOutcome {
  struct Failure {
    std::string id;
    Error error;
  };
  std::uint64_t applied = 0;
  std::vector<Failure> failures;  ///< "no-local-group", "clock-behind", or as Intent::Approve says
};
/// Lets proposals take effect, each by itself: what cannot is told and waits on. On a replica in
/// short commits of many, elsewhere as decisions of this mirror.
Result<ApplyOutcome> ApplyProposals(Mirror& mirror, const std::vector<Proposal>& proposals,
                                    const ApplyOptions& options);
/// They stay rejected until the upstream changes them.
Result<void> RejectProposals(Mirror& mirror, const std::vector<Proposal>& proposals,
                             std::string_view actor);

}  // namespace gapferry::mirror
