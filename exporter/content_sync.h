#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/progress.h"
#include "base/result.h"
#include "exporter/content_need.h"
#include "exporter/upstream.h"
#include "mirror/config.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

struct ContentReport {
  std::uint64_t needed_files = 0;
  std::uint64_t needed_bytes = 0;
  std::uint64_t fetched_files = 0;
  std::uint64_t fetched_bytes = 0;    ///< over the network; resumed parts not counted again
  std::uint64_t waiting_files = 0;    ///< the upstream does not have them yet
  std::uint64_t asked_files = 0;      ///< of these, it was asked to fetch
  std::uint64_t postponed_files = 0;  ///< the time window was closed
  std::string window;                 ///< of content.window, when it postponed something
  struct Failed {
    Sha1Digest sha1;
    Error error;
  };
  std::vector<Failed> failed;
  bool complete() const { return waiting_files == 0 && postponed_files == 0 && failed.empty(); }
};

/// What one run changes about the configuration.
struct ContentChoices {
  std::optional<std::uint64_t> bandwidth;  ///< bytes per second; 0: no limit
  bool ignore_window = false;
  /// How long to go on asking for files that the upstream was asked to fetch; 0: not at all.
  std::chrono::seconds wait_for_content{0};
};

struct ContentSyncOptions {
  std::string content_root;  ///< ContentRootOf(upstream), or as configured
  mirror::ContentSource source = mirror::ContentSource::kUpstream;
  bool ask_upstream = true;
  std::uint32_t parallel = 4;
  std::uint64_t max_file_bytes = 64ULL << 30;
  std::uint64_t bandwidth = 0;  ///< bytes per second of all downloads together; 0: no limit
  std::optional<mirror::TimeWindow> window;
  std::chrono::seconds wait_for_content{0};
  /// Waits; false when stopped. Empty: WaitOrStop. Replaced by tests.
  std::function<bool(std::chrono::milliseconds, std::stop_token)> wait;
};

/// What the configuration of `mirror` and `choices` say. `catalog_only`: the upstream says that it
/// has no content (CatalogOnlySync), which leaves the vendor.
ContentSyncOptions ContentOptionsOf(const mirror::Mirror& mirror, bool catalog_only,
                                    const ContentChoices& choices);

/// Downloads what is needed: free space is checked first and before each batch; each file is
/// collected in staging, where an interrupted one goes on by a range; size, SHA-1 and SHA-256 are
/// verified before it enters the store. 404 of the upstream is answered by asking it to fetch the
/// file (DownloadFiles), where the policy says so, and by asking for the file again with growing
/// pauses while wait_for_content lasts. A file that fails is reported and does not stop the others;
/// kNoSpace, kCancelled and failures of the store do. Outside the time window nothing is fetched,
/// and what runs when it ends stays in staging: the report says so.
/// Hold the job lock. `upstream` is used by the calling thread only.
Result<ContentReport> SyncContent(mirror::Mirror& mirror, Upstream& upstream,
                                  const FetcherFactory& fetchers, const ContentSyncOptions& options,
                                  Progress& progress, std::stop_token stop);

}  // namespace gapferry::exporter
