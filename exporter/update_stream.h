#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/catalog_load.h"
#include "protocol/sync_messages.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

/// An update as the upstream sent it, with the addresses the answer gave for its files.
struct FetchedUpdate {
  protocol::UpdateData data;
  std::vector<protocol::FileUrl> urls;
};

/// Fetches updates in batches of at most `batch`. Short answers are asked for again; a batch that
/// the upstream answers with InternalServerError is halved until the id it does not hold is found
/// (companion 2.4). `receive` gets every update once, as soon as its batch is there. What the
/// upstream listed but does not hold any more goes to `gone`. Fails with kTransient when more than
/// half of what was asked for is gone: that is a broken upstream, not a withdrawal.
Result<void> FetchUpdates(Upstream& upstream, const std::vector<protocol::UpdateId>& ids,
                          std::size_t batch,
                          const std::function<Result<void>(FetchedUpdate)>& receive,
                          std::vector<protocol::UpdateId>& gone, std::stop_token stop);

/// What the upstream sent in the form the mirror takes. Fails with kCorrupt when there is not
/// exactly one of text and cabinet.
Result<mirror::IncomingRevision> ToIncoming(FetchedUpdate update);

/// An update that could not be taken.
struct RefusedUpdate {
  protocol::UpdateId update;
  Error error;
};

struct LoadOutcome {
  std::uint64_t fetched = 0;
  std::uint64_t added = 0;
  std::vector<protocol::UpdateId> gone;
  std::vector<RefusedUpdate> refused;  ///< unreadable, of another identity, or in conflict
};

/// FetchUpdates into a load: one thread asks and decodes, the calling thread adds. Revisions that
/// are refused for what they are (kCorrupt, kUnsupported) are collected; every other error ends it.
/// What was added before an error stays in the load's open change.
Result<LoadOutcome> LoadUpdates(Upstream& upstream, mirror::CatalogLoad& load,
                                const std::vector<protocol::UpdateId>& ids, std::size_t batch,
                                std::uint64_t max_document_bytes, Progress& progress,
                                std::stop_token stop);

}  // namespace gapferry::exporter
