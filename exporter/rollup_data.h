#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/mirror.h"
#include "mirror/rollup_state.h"
#include "protocol/reporting_messages.h"

namespace gapferry::exporter {

/// The server records of one rollup, parents before children and this mirror last, each with its
/// client summaries, without install activity.
Result<std::vector<protocol::DownstreamServerRollup>> BuildServerRecords(
    mirror::Mirror& mirror, mirror::Activity& activity);

/// The totals that count as told once the upstream has what is told of a key. The first key is that
/// of the message, whose fields are cut to what fits; the second is ours.
using ActivityTargets =
    std::multimap<mirror::RollupState::ActivityKey,
                  std::pair<mirror::RollupState::ActivityKey, mirror::RollupState::Totals>>;

/// Puts install activity that the upstream has not counted into the records. Updates that it does
/// not know (published inside) are left out.
struct AddedActivity {
  ActivityTargets targets;
  std::uint64_t installs = 0;
};
Result<AddedActivity> AddActivity(mirror::Mirror& mirror, mirror::Activity& activity,
                                  mirror::RollupState& state,
                                  std::vector<protocol::DownstreamServerRollup>& servers);

/// The records of servers with open tries, to be told once more: just the activity of the try, with
/// a LastRollupTime that is passed over when the try had arrived. What cannot be told so counts as
/// told, for better lost than counted twice.
struct Settling {
  std::vector<protocol::DownstreamServerRollup> servers;
  ActivityTargets targets;
  mirror::RollupState::Try settled;  ///< the tries that end with it
  mirror::RollupState::Try lost;
  std::uint64_t lost_installs = 0;
};
Result<Settling> BuildSettling(mirror::Activity& activity, mirror::RollupState& state,
                               const Guid& self,
                               std::vector<protocol::DownstreamServerRollup> servers);

/// What a request leads to when the upstream takes it.
mirror::RollupState::Try TryOf(const Guid& self,
                               const std::vector<protocol::DownstreamServerRollup>& sent,
                               const ActivityTargets& targets);

/// Requests of at most `limit` client summaries and `limit` servers, in the same order; only a
/// server with more than `limit` is divided, its other fields repeated.
std::vector<std::vector<protocol::DownstreamServerRollup>> SplitServers(
    std::vector<protocol::DownstreamServerRollup> servers, std::size_t limit);

/// The record of a computer as the upstream takes it, with details. `groups`: those the upstream
/// knows.
protocol::ComputerRollup BuildComputer(const mirror::Computer& computer, const Guid& parent,
                                       std::vector<Guid> groups);

/// Equal for equal details.
Sha256Digest DigestOf(const protocol::ComputerRollupDetails& details);

/// Whether a server of this protocol version takes rollups at all: from 1.3 on.
bool TakesRollups(std::string_view protocol_version);

}  // namespace gapferry::exporter
