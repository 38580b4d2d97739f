#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/rollup.h"
#include "exporter/rollup_calls.h"
#include "mirror/activity.h"
#include "mirror/mirror.h"
#include "mirror/rollup_state.h"
#include "protocol/reporting_messages.h"

namespace gapferry::exporter {

/// What a computer needs to be told of, gathered before anything is sent.
struct Due {
  std::string id;
  Guid parent;  ///< as the upstream knows it
  bool has_status = false;
  std::int64_t status_seq = 0;
  std::int64_t full_seq = 0;
  mirror::RollupState::ComputerState told;
};

/// Calls 4 and 5 of a rollup: which computers need everything again, and the states of all that
/// have something to tell (companion 4.4). Without `calls` (a dry run) it only counts. What it
/// refers to must outlive it.
class StatusTeller {
 public:
  StatusTeller(mirror::Mirror& mirror, mirror::Activity& activity, mirror::RollupState& state,
               RollupCalls* calls, Progress& progress, std::stop_token stop, RollupReport& report);

  /// At most `limit` computers in one request.
  Result<void> FindOutOfSync(const std::vector<Due*>& computers, std::size_t limit);
  /// report.busy is set when the upstream stayed busy; the rest is left to the next rollup then.
  Result<void> Tell(const std::vector<Due*>& computers, std::size_t limit);

 private:
  struct Batch {
    std::vector<protocol::ComputerStatusRollup> computers;
    std::vector<mirror::RollupState::StatusTold> told;
    std::size_t states = 0;
  };
  Result<void> StopIfAsked();
  Result<std::optional<protocol::ComputerStatusRollup>> StatusOf(const Due& due);
  Result<bool> KnownUpstream(const Guid& update);
  Result<void> TellBatch(Batch batch);

  mirror::Mirror& mirror_;
  mirror::Activity& activity_;
  mirror::RollupState& state_;
  RollupCalls* calls_;
  Progress& progress_;
  std::stop_token stop_;
  RollupReport& report_;
  std::unordered_map<Guid, bool> known_updates_;
};

}  // namespace gapferry::exporter
