#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/guid.h"
#include "base/result.h"
#include "mirror/activity.h"

// Update servers below this mirror, as people look at them and forget them.

namespace gapferry::mirror {

/// The server and all below it, parents before children. Parents that name each other in a ring are
/// followed once.
std::vector<DownstreamServer> WithThoseBelow(const std::vector<DownstreamServer>& servers,
                                             const Guid& server);
/// From the one that talks to this mirror down to `server`, itself included; a parent that is not
/// known, or a ring, ends the chain.
std::vector<DownstreamServer> ChainTo(const std::vector<DownstreamServer>& servers,
                                      const Guid& server);

/// How many computers each server has told of; servers without any are absent.
Result<std::map<Guid, std::uint64_t>> ComputersByServer(Activity& activity);

struct RemovedServers {
  std::uint64_t servers = 0;
  std::uint64_t computers = 0;
};
/// Forgets a server and those below it with their computers and the status of these, in short
/// transactions: repeated after a crash, it does the rest. Counted installations stay, and nothing
/// is told to the server: it comes back when it authorizes again, with all it reports anew.
/// kNotFound.
Result<RemovedServers> RemoveServer(Activity& activity, const Guid& server);

}  // namespace gapferry::mirror
