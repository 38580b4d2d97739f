#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/mirror.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

struct AskedFiles {
  std::uint64_t noted = 0;          ///< the upstream will fetch them
  std::vector<Sha1Digest> unknown;  ///< the upstream answered that it knows no such file
  std::string failure;              ///< why it could not be asked for the others; empty: it was
};

/// Asks the upstream to fetch files that it lists but has not stored (DownloadFiles, at most 100 a
/// call). FileDigestsMissing does not say in a form to rely on which of a call are missing, so the
/// call is halved until that is known; at most 200 calls more than needed, then a whole call counts
/// as unknown. Only kCancelled is an error: everything else leaves the files for the next sync.
Result<AskedFiles> AskForFiles(Upstream& upstream, const std::vector<Sha1Digest>& files);

/// For each file an update that declares it, the newest revision where there are several: what the
/// upstream should know if it knew the file. Upstream::TakeDemands has their metadata asked for
/// again (companion 1.5, FileDigestsMissing).
Result<std::unordered_map<Sha1Digest, protocol::UpdateId>> OwnersOf(
    mirror::Mirror& mirror, const std::vector<Sha1Digest>& files);

}  // namespace gapferry::exporter
