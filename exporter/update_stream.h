#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <vector>

#include "base/fetcher.h"
#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/catalog_load.h"
#include "protocol/answer_stream.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

/// An update that could not be taken.
struct RefusedUpdate {
  protocol::UpdateId update;
  Error error;
};

/// One batch of updates over one connection. Short answers are asked for again; a batch that the
/// upstream answers with InternalServerError is halved until the id it does not hold is found
/// (companion 2.4); so is one whose answer cannot be read. Not thread-safe.
class BatchFetcher {
 public:
  /// `receiver.update` gets every update once, as soon as it is there; what was not asked for is
  /// dropped. `receiver.url` may get an address again.
  BatchFetcher(Upstream& upstream, protocol::UpdateDataAnswer::Receiver receiver,
               std::uint64_t max_document_bytes, std::stop_token stop);

  Result<void> Fetch(std::vector<protocol::UpdateId> ids);

  /// Listed, but not held by the upstream any more.
  std::vector<protocol::UpdateId> gone;
  /// Whose answer cannot be read, asked for alone.
  std::vector<RefusedUpdate> refused;

 private:
  Result<void> Divide(std::vector<protocol::UpdateId> ids, Error why);

  Upstream& upstream_;
  protocol::UpdateDataAnswer::Receiver receiver_;
  std::uint64_t max_document_bytes_;
  std::stop_token stop_;
  std::vector<protocol::UpdateId> wanted_;  // of the request under way, sorted
  std::vector<bool> came_;                  // of each of them
  std::set<protocol::UpdateId> delivered_;  // by all requests
};

/// What an upstream sent in the form the mirror takes. Fails with kCorrupt when there is not
/// exactly one of text and cabinet, or it is too large.
Result<mirror::IncomingRevision> ToIncoming(protocol::ReceivedUpdate update);

struct LoadOutcome {
  std::uint64_t fetched = 0;
  std::uint64_t added = 0;
  std::vector<protocol::UpdateId> gone;  ///< ascending
  std::vector<RefusedUpdate> refused;    ///< unreadable, of another identity, or in conflict
};

struct LoadUpdatesOptions {
  std::size_t batch = 100;  ///< ids in one request
  std::uint64_t max_document_bytes = 256ULL << 20;
  /// A list named them: an upstream that delivers less than half of it is broken.
  bool are_listed = true;
};

/// Fetches `ids` (sorted, distinct) in batches over all of `connections` at once and adds them to
/// the load in the order of the batches, whichever comes first: of two revisions that contradict
/// each other the same one always wins. Each connection asks and decodes in a thread of its own,
/// the calling thread adds.
///
/// Revisions that are refused for what they are (kCorrupt, kUnsupported) are collected; every other
/// error ends it. What was added before an error stays in the load's open change. Fails with
/// kTransient (reason "upstream-incomplete") when more than half of what a list named does not
/// come: that is a broken upstream, not a withdrawal.
///
/// Memory: one update and its decoded form per connection, and up to 64 MiB decoded ahead.
Result<LoadOutcome> LoadUpdates(Upstream& upstream,
                                const std::vector<std::unique_ptr<Fetcher>>& connections,
                                mirror::CatalogLoad& load,
                                const std::vector<protocol::UpdateId>& ids,
                                const LoadUpdatesOptions& options, Progress& progress,
                                std::stop_token stop);

}  // namespace gapferry::exporter
