#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"

namespace gapferry::mirror {

class Mirror;

/// Something in the databases that does not fit to something else.
struct Inconsistency {
  std::string where;  ///< "history", "documents", "intent", "counts", "content digest", "fragments"
  std::string what;
};

/// Compares what the catalogue says of itself: the chain of generations, the digests of the
/// published state with the trees they are made of. With `deep` also the trees with the rows they
/// cover, the kept counts with counting, every document with its SHA-256, and that each revision
/// has its fragments. At most 100 findings. Reads one state throughout, documents apart, which
/// never change.
Result<std::vector<Inconsistency>> CheckCatalog(Mirror& mirror, bool deep, Progress& progress,
                                                std::stop_token stop);

}  // namespace gapferry::mirror
