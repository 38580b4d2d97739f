#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/content_store.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// A file that this mirror should hold and does not.
struct NeededFile {
  mirror::ContentExpectation expected;
  std::optional<std::string> vendor_url;
};

/// What the configuration asks for: payload of updates with an effective approval for installation
/// or uninstallation and of what they bundle (or of everything), licence texts of all live updates,
/// and what downstream servers asked for. Each file once, by SHA-1, ascending. Files of declined
/// updates and of revisions with a digest conflict are left out.
Result<std::vector<NeededFile>> FindNeededFiles(mirror::Mirror& mirror);

struct ContentReport {
  std::uint64_t needed_files = 0;
  std::uint64_t needed_bytes = 0;
  std::uint64_t fetched_files = 0;
  std::uint64_t fetched_bytes = 0;  ///< over the network; resumed parts not counted again
  std::uint64_t waiting_files = 0;  ///< the upstream does not have them yet and was asked
  struct Failed {
    Sha1Digest sha1;
    Error error;
  };
  std::vector<Failed> failed;
  bool complete() const { return waiting_files == 0 && failed.empty(); }
};

struct ContentSyncOptions {
  std::string content_root;      ///< ContentRootOf(upstream), or as configured
  bool use_vendor_urls = false;  ///< CatalogOnlySync: the upstream has no content
  std::uint32_t parallel = 4;
  std::uint64_t max_file_bytes = 64ULL << 30;
};

/// Downloads what is needed: free space is checked first; each file is collected in staging, where
/// an interrupted one goes on by a range; size, SHA-1 and SHA-256 are verified before it enters the
/// store. 404 is answered by asking the upstream to fetch the file (DownloadFiles): it waits then.
/// A file that fails is reported and does not stop the others; kNoSpace, kCancelled and failures of
/// the store do. Hold the job lock. `upstream` is used by the calling thread only.
Result<ContentReport> SyncContent(mirror::Mirror& mirror, Upstream& upstream,
                                  const FetcherFactory& fetchers, const ContentSyncOptions& options,
                                  Progress& progress, std::stop_token stop);

}  // namespace gapferry::exporter
