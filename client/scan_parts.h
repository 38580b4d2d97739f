#pragma once

#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/evaluation.h"
#include "client/scan.h"

// What the .cc files of a scan share.

namespace gapferry::client {

/// History with what the facts take as installed.
History HistoryOf(const ClientState& state, const Facts& facts);

/// What is deployed for its own sake, not as a dependency or a member.
bool IsTopLevel(const CachedRevision& revision);

/// Extended data of these revisions into the cache, as far as the server has it.
Result<void> FetchTitles(WuspSession& session, RevisionCache& cache,
                         const std::vector<std::int32_t>& ids);

/// Files of the update and of the members chosen, with the locations that are known.
void AddFiles(OfferedUpdate& update, const RevisionCache& cache, Evaluator& evaluator,
              const std::unordered_map<Sha1Digest, std::string>& locations);

}  // namespace gapferry::client
