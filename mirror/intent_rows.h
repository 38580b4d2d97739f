#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "mirror/commit.h"
#include "mirror/intent.h"
#include "mirror/sqlite.h"

// Rows of intent in catalog.db; for the sources of mirror/ only. The functions that write do so
// within a commit, record the change for the digests, and do nothing when nothing changes (then
// they return false).

namespace gapferry::mirror {

bool IsBuiltinGroup(const Guid& group);
std::vector<TargetGroup> BuiltinGroups();

// The lines of elements in the digests (see IntentBucketLines), without LF.
std::string GroupLine(const Guid& guid, const Guid& parent, std::string_view name);
std::string DeploymentLine(const IncomingDeployment& deployment);

/// deployment.is_dead of rows that an import has written and not yet let be seen, and their
/// generation: above every real one.
inline constexpr int kArriving = 2;
inline constexpr Generation kArrivingGeneration = std::numeric_limits<Generation>::max();

std::string DeploymentSelect(std::string_view rest);  ///< ends after "FROM deployment "
Deployment ReadDeployment(Statement& row);
Result<std::vector<Deployment>> ReadDeployments(Statement& rows);
Result<std::optional<Deployment>> FindDeployment(Database& db, IntentOrigin origin,
                                                 const Guid& guid);

Result<bool> PutGroup(CommitTransaction& commit, IntentOrigin origin, const TargetGroup& group);
/// Ends its deployments and assignments too.
Result<bool> EndGroup(CommitTransaction& commit, IntentOrigin origin, const Guid& group);
/// `effective_deadline` is used when the row is new or its deadline, revision, group or action
/// changed.
/// `floored_at`: the clock by which that deadline was settled, none when it is the given one.
Result<bool> PutDeployment(CommitTransaction& commit, IntentOrigin origin,
                           const IncomingDeployment& deployment,
                           std::optional<UtcTime> effective_deadline,
                           std::optional<UtcTime> floored_at = {});
IncomingDeployment Travelling(const Deployment& deployment);
Result<bool> EndDeployment(CommitTransaction& commit, const Deployment& deployment);
Result<bool> PutDecline(CommitTransaction& commit, IntentOrigin origin, const Guid& update,
                        bool declined);
Result<bool> PutEula(CommitTransaction& commit, IntentOrigin origin, const Guid& eula);
Result<bool> EndEula(CommitTransaction& commit, IntentOrigin origin, const Guid& eula);

/// The live GUIDs of decline or eula_acceptance.
Result<std::vector<Guid>> LiveGuids(Database& db, std::string_view table, IntentOrigin origin);

}  // namespace gapferry::mirror
