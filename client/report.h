#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "client/client_state.h"
#include "client/facts.h"
#include "client/scan.h"
#include "client/wusp_session.h"
#include "protocol/reporting_messages.h"

namespace gapferry::client {

struct ReportResult {
  std::vector<std::int32_t> event_ids;  ///< of the events sent, in order
  std::size_t needed = 0;
  std::size_t installed = 0;
};

/// Sends what is queued, then 147 (scan succeeded) and 156 (the inventory: U= needed, V=
/// installed, W= installed after a restart, g= failed, h= downloaded), as an agent does after a
/// scan. What the server has taken leaves the queue. Fails with kUsage when there was no scan yet,
/// and as WuspSession does.
Result<ReportResult> Report(WuspSession& session, ClientState& state, const Facts& facts,
                            const Clock& clock);

/// The events of a scan (MS-WUSP 2.2.2.3.1).
std::vector<protocol::ReportingEvent> ScanEvents(const ScanResult& scan, const Facts& facts,
                                                 const Guid& client_id, UtcTime when);

}  // namespace gapferry::client
