#pragma once

#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/mirror.h"
#include "protocol/reporting_messages.h"

namespace gapferry::exporter {

/// What this mirror tells of itself as an update server (MS-WSUSSS 3.2.4.5): its updates, and the
/// computers that talk to it. Servers below tell of theirs themselves.
Result<protocol::ServerSummary> SummaryOf(mirror::Mirror& mirror, mirror::Activity& activity);

}  // namespace gapferry::exporter
