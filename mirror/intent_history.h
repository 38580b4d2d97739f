#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/commit.h"
#include "mirror/intent.h"

// What local decisions changed, so that they can be taken back ('gapferry intent undo').

namespace gapferry::mirror {

enum class IntentKind { kGroup = 1, kApproval = 2, kDecline = 3, kEula = 4 };
std::string_view IntentKindName(IntentKind kind);  ///< "group", "approval", "decline", "licence"

// For intent_rows.cc: notes within a commit what a local element is before it changes; the first
// note of a generation counts. Old generations are forgotten on the way.
Result<void> RememberGroup(CommitTransaction& commit, const Guid& group,
                           const std::optional<TargetGroup>& before);
Result<void> RememberDeployment(CommitTransaction& commit, const IncomingDeployment& now,
                                const std::optional<Deployment>& before);
Result<void> RememberDecline(CommitTransaction& commit, const Guid& update, bool was_declined);
Result<void> RememberEula(CommitTransaction& commit, const Guid& eula, bool was_accepted);

/// Generations of local decisions that can be taken back, newest first, at most `limit`.
struct LocalDecision {
  Generation generation = 0;
  UtcTime at;
  std::string kind;  ///< of the commit: approve, decline, group, ...
  std::uint64_t groups = 0, approvals = 0, declines = 0, eulas = 0;  ///< changed by it
};
Result<std::vector<LocalDecision>> ReadLocalDecisions(Mirror& mirror, int limit);

struct UndoOutcome {
  struct Step {
    IntentKind kind = IntentKind::kGroup;
    Guid guid;                          ///< of the element
    std::optional<Guid> update, group;  ///< of approvals and declines
    bool restored = false;              ///< it is there (again); else it is gone
  };
  std::vector<Step> steps;
  Generation generation = 0;  ///< the new one; unchanged for a dry run
};
/// Restores, in one new generation, what the local decision `generation` changed. Fails with
/// kUsage: "replica", "not-local" (no local decision, or of an import), "undo-too-old", and
/// "undo-conflict" naming what later generations have changed again; kNotFound for a generation
/// that does not exist. Deadlines that would lie in the past are moved (import.deadline_floor).
/// Computers of a group that comes back are not put into it again.
Result<UndoOutcome> UndoGeneration(Mirror& mirror, Generation generation, std::string_view actor,
                                   bool dry_run);

}  // namespace gapferry::mirror
