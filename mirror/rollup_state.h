#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

/// What this mirror's upstream has been told in rollups (MS-WSUSSS 3.2.4.5): the half of the
/// dialogue that must survive. Tables of its own in activity.db; each function is one short
/// transaction (or several), so that a rollup goes on after the last batch the upstream has
/// answered. Thread rule of its Activity, which must outlive it.
class RollupState {
 public:
  explicit RollupState(Activity& activity) : activity_(activity) {}

  struct UpstreamRecord {
    Guid server_id;   ///< the upstream's ServerId
    Guid reset_guid;  ///< its RollupResetGuid
    bool detailed = true;
    UtcTime last_rollup;  ///< of the last rollup that ended well; kNever
  };
  Result<std::optional<UpstreamRecord>> ReadUpstream();
  /// Takes over what the upstream says it is. Another reset GUID makes everything stale: all
  /// details and full statuses are sent again; another server also starts the numbers at 0.
  /// Returns whether something became stale.
  Result<bool> Begin(const Guid& server_id, const Guid& reset_guid, bool detailed);
  Result<void> End(UtcTime at);

  struct ComputerState {
    std::int32_t last_sent = 0;              ///< rollup number; 0: never
    std::optional<std::int64_t> status_seq;  ///< states told up to it; nothing: a full one is due
    std::int64_t full_seq = 0;               ///< Computer::full_seq when status was told
    std::optional<Sha256Digest> details;     ///< that it was told; nothing: they are due
    std::optional<UtcTime> deleted_at;       ///< the upstream has deleted it; suppressed since
  };
  Result<ComputerState> Find(std::string_view computer_id);

  struct DetailsTold {
    std::string computer_id;
    std::optional<Sha256Digest> details;  ///< nothing: the upstream does not have them any more
  };
  Result<void> DetailsAreTold(const std::vector<DetailsTold>& told);
  /// The upstream answered Deleted: nothing of it is sent until it registers again.
  Result<void> MarkDeleted(const std::vector<std::string>& computer_ids, UtcTime at);
  Result<std::vector<std::string>> DeletedUpstream();  ///< for the way back down
  Result<void> LiftDeletion(std::string_view computer_id);
  Result<void> NeedFull(const std::vector<std::string>& computer_ids);

  struct StatusTold {
    std::string computer_id;
    std::int32_t number;
    std::int64_t status_seq;
    std::int64_t full_seq;
  };
  Result<void> StatusesTold(const std::vector<StatusTold>& told);

  // Install activity. The upstream adds what it is told to its own counts, and nothing in the
  // protocol detects a repetition, except that a server record with an older LastRollupTime than
  // the known one is passed over. So each request is noted before it is sent ("a try"), with that
  // time and with the totals it leads to; a try without an answer stays open, over a crash too.
  struct ActivityKey {
    Guid server;      ///< zero: computers of this mirror itself
    Sha256Digest os;  ///< OsDigest of the kind of computer
    protocol::UpdateId update;
    auto operator<=>(const ActivityKey&) const = default;
  };
  struct Totals {
    std::int64_t success = 0;
    std::int64_t failure = 0;
  };
  /// What the upstream has counted for certain.
  Result<Totals> FindAcknowledged(const ActivityKey& key);

  struct Try {
    std::vector<std::pair<Guid, UtcTime>> servers;  ///< with their LastRollupTime; zero: ourselves
    std::vector<std::pair<ActivityKey, Totals>> totals;
  };
  /// The three may take several transactions. Ended in between, what is left counts as open, and
  /// is settled like any other: totals are noted after the servers and closed before them.
  Result<void> BeginTry(const Try& what);
  /// The upstream has it.
  Result<void> TryTaken(const Try& what);
  /// It certainly does not.
  Result<void> TryRefused(const Try& what);

  /// A server with open tries.
  struct OpenTry {
    Guid server;
    UtcTime told_at;   ///< LastRollupTime that the upstream has for certain; kNever
    UtcTime tried_at;  ///< of the last try
    std::vector<std::pair<ActivityKey, Totals>> totals;
  };
  Result<std::vector<OpenTry>> OpenTries();

  static Sha256Digest OsDigest(const protocol::ClientSummary& os);

 private:
  Activity& activity_;
};

}  // namespace gapferry::mirror
