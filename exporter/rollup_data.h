#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/mirror.h"
#include "mirror/rollup_state.h"
#include "protocol/reporting_messages.h"

namespace gapferry::exporter {

/// `text` cut to at most `bytes` at a character's boundary: one field that is too long fails a
/// whole call (companion 4.2).
std::string CutText(std::string_view text, std::size_t bytes);

/// The server records of one rollup, parents before children and this mirror last, each with its
/// client summaries; and the totals that count as told once the upstream has them.
struct ServerRecords {
  std::vector<protocol::DownstreamServerRollup> servers;
  std::vector<std::pair<mirror::RollupState::ActivityKey, mirror::RollupState::Acknowledged>>
      totals;
  std::vector<std::pair<mirror::RollupState::ActivityKey, mirror::RollupState::Acknowledged>>
      before;
  std::uint64_t installs = 0;  ///< in this rollup
};
Result<ServerRecords> BuildServerRecords(mirror::Mirror& mirror, mirror::Activity& activity,
                                         mirror::RollupState& state);

/// Requests of at most `limit` client summaries; a server with more is repeated with the rest.
std::vector<std::vector<protocol::DownstreamServerRollup>> SplitServers(
    std::vector<protocol::DownstreamServerRollup> servers, std::size_t limit);

/// The record of a computer as the upstream takes it. `groups`: those the upstream knows.
protocol::ComputerRollup BuildComputer(const mirror::Computer& computer, const Guid& self,
                                       std::vector<Guid> groups, bool with_details);

}  // namespace gapferry::exporter
