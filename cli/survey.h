#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "cli/context.h"
#include "cli/job_view.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"
#include "mirror/state.h"

// What `gapferry status` knows about a mirror, apart from how it is told.

namespace gapferry::cli {

/// Something wrong or waiting; `next` is what to type.
struct Notice {
  std::string reason;  ///< a stable word
  std::string text;
  std::string next;
};

/// Approvals, and what of them cannot be offered yet.
struct Approvals {
  std::uint64_t approved = 0;  ///< updates
  std::uint64_t needing_files = 0;
  std::uint64_t missing_files = 0;  ///< a file of two updates counts twice
  std::uint64_t missing_bytes = 0;
  std::uint64_t expired = 0;
  std::uint64_t withheld = 0;  ///< digest conflict
};

/// All that `status` knows.
struct Everything {
  mirror::PublishedState state;
  Sha256Digest content_digest;
  mirror::ContentStore::Totals content;
  mirror::CatalogCounts catalog;
  mirror::ActivityCounts activity;
  Approvals approvals;
  std::uint64_t declined = 0;
  std::map<std::string, mirror::JobRecord> last_jobs;       ///< by kind
  std::map<std::string, mirror::JobRecord> last_good_jobs;  ///< by kind
  std::vector<mirror::Site> sites;
  std::optional<mirror::BundleIn> last_import;
  mirror::JobLock::Holder job;  ///< that runs now
  std::vector<NextRunView> next_runs;
  bool schedules_run = false;  ///< a `serve` is there to start them
  UtcTime last_downstream_contact = kNever;
  UtcTime now;
  std::vector<Notice> notices;
};

inline constexpr const char* kJobKinds[] = {"sync",          "import",        "export",
                                            "export-return", "import-return", "rollup"};

/// Reads everything and finds what is wrong or waiting. Changes nothing.
Result<Everything> Survey(const Context& context, mirror::Mirror& mirror);

}  // namespace gapferry::cli
