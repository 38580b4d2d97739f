#pragma once

#include <memory>

#include "protocol/sync_messages.h"
#include "protocol/update_id_list.h"
#include "server/catalog_index.h"

namespace gapferry::server {

/// The revisions that GetRevisionIdList names (MS-WSUSSS 3.1.4.5), highest of each update, each
/// once, bundle members of every match included in the revision that the bundle names. `anchor`:
/// generation of the caller's anchor, 0 for none. `protocol_version`: what the caller announced;
/// updates that need more are left out. Expired revisions are listed: that is how withdrawals
/// travel.
///
/// Categories and classifications select what names one of each in a prerequisite clause; one list
/// alone selects nothing. A product family or company stands for its products. Delta is per id: a
/// pair of which one is not a delta gives old revisions too. Costs as many steps as revisions are
/// newer than `anchor`, unless some id is no delta: then as many as there are revisions.
std::shared_ptr<const protocol::UpdateIdList> ListRevisions(
    std::shared_ptr<const CatalogIndex> catalog, const protocol::SyncFilter& filter,
    mirror::Generation anchor, std::uint32_t protocol_version);

}  // namespace gapferry::server
