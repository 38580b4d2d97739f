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
/// transaction, so that a rollup goes on after the last batch the upstream has answered.
/// Thread rule of its Activity, which must outlive it.
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
    std::int64_t record_seq = 0;             ///< Computer::change_seq told with details; 0: never
    std::optional<UtcTime> deleted_at;       ///< the upstream has deleted it; suppressed since
  };
  Result<ComputerState> Find(std::string_view computer_id);

  struct RecordTold {
    std::string computer_id;
    std::int64_t record_seq;
  };
  Result<void> RecordsTold(const std::vector<RecordTold>& told);
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

  /// Install activity: how much of the cumulative totals the upstream has added to its own.
  struct ActivityKey {
    Guid server;      ///< zero: computers of this mirror itself
    Sha256Digest os;  ///< OsDigest of the kind of computer
    protocol::UpdateId update;
    auto operator<=>(const ActivityKey&) const = default;
  };
  struct Acknowledged {
    std::int64_t success = 0;
    std::int64_t failure = 0;
  };
  Result<Acknowledged> FindAcknowledged(const ActivityKey& key);
  Result<void> Acknowledge(const std::vector<std::pair<ActivityKey, Acknowledged>>& totals);

  static Sha256Digest OsDigest(const protocol::ClientSummary& os);

 private:
  Activity& activity_;
};

}  // namespace gapferry::mirror
