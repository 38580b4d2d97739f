#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "client/client_state.h"
#include "client/scan.h"

namespace gapferry::client {

struct InstallOptions {
  bool needs_restart = false;             ///< every installation waits for a restart
  std::map<Guid, std::int32_t> failures;  ///< updates that fail, with their HRESULT
};

struct InstallStep {
  protocol::UpdateId id;
  std::string title;
  std::string outcome;       ///< "installed", "removed", "restart-pending", "failed"
  std::int32_t hresult = 0;  ///< of a failure
};

/// Acts as if the updates (offered by a scan) had been installed, or removed where the server wants
/// them uninstalled; nothing is executed. The state takes them as such from now on, so that the
/// next scan changes, and the events of an agent are queued: 181 with 183, 201 or 182; 226 with 222
/// or 221. All or none: fails with kUsage, reason "not-downloaded", when an update has files and
/// they have not been downloaded.
Result<std::vector<InstallStep>> PretendInstall(ClientState& state,
                                                const std::vector<OfferedUpdate>& updates,
                                                const InstallOptions& options, const Clock& clock);

/// Acts as if the computer had restarted: what waited for it is installed. Queues 202. The number
/// of updates that waited.
Result<std::size_t> PretendRestart(ClientState& state, const Clock& clock);

/// Takes `update` as installed from now on, whatever its rules say, and queues event 183. Fails
/// with kNotFound when the cache does not know it.
Result<void> MarkInstalled(ClientState& state, const Guid& update, const Clock& clock);
/// Queues the failure of an installation, or of a removal where the server wants it removed. The
/// same failure of kNotFound.
Result<void> MarkFailed(ClientState& state, const Guid& update, std::int32_t hresult,
                        const Clock& clock);

}  // namespace gapferry::client
