#pragma once

#include <cstdint>
#include <stop_token>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/catalog_load.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Asks for the keys of encrypted files (GetUpdateDecryptionData, MS-WSUSSS 3.1.4.9): of the
/// revisions in the open change that need them, and again of those published before whose keys the
/// upstream did not give then. At most `limit` revisions in one request; a batch with an id that
/// the upstream does not hold is halved. Keys of loaded revisions go into the load, those of
/// published ones are known at once. Returns the number of revisions that stay without. A key that
/// belongs to no file asked for is dropped. Keys go nowhere else: no log, no message.
Result<std::uint64_t> LoadFileKeys(Upstream& upstream, mirror::Mirror& mirror,
                                   mirror::CatalogLoad& load, std::size_t limit, Progress& progress,
                                   std::stop_token stop);

}  // namespace gapferry::exporter
