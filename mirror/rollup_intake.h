#pragma once

#include <functional>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "protocol/reporting_messages.h"

namespace gapferry::mirror {

/// Takes what servers below report (MS-WSUSSS 3.1.4.14 to 3.1.4.17, companion 4.3), in pieces that
/// hold the write lock for some tens of milliseconds each. Nothing in these calls proves who the
/// caller is, so that
///   - this mirror itself, its own computers and what sites behind a gap return cannot be spoken
///     for; a computer or server changes its parent only by news that are later than its last
///     contact here; a status is taken of computers below `parent_server_id` only;
///   - times are corrected by the sender's clock when it is off by more than a minute, and none is
///     later than now: it would never be overtaken.
/// What the data of a request does not allow fails with kUsage before anything is kept: reason
/// "unknown-parent", or "bad-rollup". A request that ends in the middle (a full disk) may be kept
/// in part, but install activity of a server is added as a whole or not at all. Thread rule of what
/// runs the work.
class RollupIntake {
 public:
  /// Runs work on the activity in a write transaction of its own and waits for it.
  using Runner = std::function<Result<void>(const ActivityWriter::Work&)>;
  RollupIntake(Runner run, const Guid& self) : run_(std::move(run)), self_(self) {}

  Result<void> Servers(const protocol::RollupDownstreamServersRequest& request);
  /// One answer at most for each computer.
  Result<std::vector<protocol::ChangedComputer>> Computers(
      const protocol::RollupComputersRequest& request);
  Result<void> Status(const protocol::RollupComputerStatusRequest& request);

  /// Ends what an earlier process left of large requests: accepted activity is counted, the rest
  /// dropped. For the one writer, before it takes anything.
  Result<void> Recover();

 private:
  struct Incoming;
  Result<std::vector<std::int64_t>> Stage(const protocol::RollupDownstreamServersRequest& request);
  Result<void> Fold(const std::vector<std::int64_t>& batches);

  Runner run_;
  Guid self_;
};

/// How long a computer that was removed is answered Deleted (MS-WSUSSS PB 55).
inline constexpr std::chrono::hours kDeletedKept{90 * 24};

}  // namespace gapferry::mirror
