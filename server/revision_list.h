#pragma once

#include <vector>

#include "protocol/sync_messages.h"
#include "server/catalog_index.h"

namespace gapferry::server {

/// The revisions that GetRevisionIdList names (MS-WSUSSS 3.1.4.5), highest of each update, bundle
/// members of every match included. `anchor`: generation of the caller's anchor, 0 for none.
/// `protocol_version`: what the caller announced; updates that need more are left out. Expired
/// revisions are listed: that is how withdrawals travel.
std::vector<protocol::UpdateId> ListRevisions(const CatalogIndex& catalog,
                                              const protocol::SyncFilter& filter,
                                              mirror::Generation anchor,
                                              std::uint32_t protocol_version);

}  // namespace gapferry::server
