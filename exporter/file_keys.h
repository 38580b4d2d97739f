#pragma once

#include <cstdint>
#include <stop_token>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/catalog_load.h"

namespace gapferry::exporter {

/// Asks for the keys of encrypted files (GetUpdateDecryptionData, MS-WSUSSS 3.1.4.9) of the
/// revisions in the open change that need them, at most `limit` revisions in one request, and puts
/// them into the load. Revisions that the upstream gives no key for stay without; their number is
/// returned. A key that belongs to no file of the revisions asked for is dropped. Keys go nowhere
/// else: no log, no message.
Result<std::uint64_t> LoadFileKeys(Upstream& upstream, mirror::CatalogLoad& load, std::size_t limit,
                                   Progress& progress, std::stop_token stop);

}  // namespace gapferry::exporter
