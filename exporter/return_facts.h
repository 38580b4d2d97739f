#pragma once

#include "base/guid.h"
#include "base/result.h"
#include "mirror/exchange/return_records.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// The records of a return that every level has: receipts of the bundles of `sender`, what is asked
/// for, lost, damaged, blocked and withheld here. Reads only.
Result<void> AddBundlesAndFiles(mirror::Mirror& mirror, const Guid& sender,
                                mirror::exchange::ReturnDocument& document);

}  // namespace gapferry::exporter
