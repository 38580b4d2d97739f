#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/upstream.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

struct RollupOptions {
  bool dry_run = false;  ///< counts what would be told; asks nobody
  /// Waits between attempts; false when stopped. Replaced by tests.
  std::function<bool(std::chrono::milliseconds, std::stop_token)> wait;
};

struct RollupReport {
  /// The upstream takes rollups at all. Microsoft's own service and servers before WSUS 3.0 do not:
  /// nothing was told then.
  bool offered = true;
  bool detailed = true;           ///< the upstream wants computers and status, not only sums
  bool everything_again = false;  ///< the upstream asked for a fresh start
  std::uint64_t servers = 0;
  std::uint64_t client_summaries = 0;
  std::uint64_t installs = 0;           ///< install counts told
  std::uint64_t computers = 0;          ///< told of
  std::uint64_t computers_changed = 0;  ///< of these with details
  std::uint64_t computers_again = 0;    ///< NewParent: told once more with details
  std::uint64_t deleted_upstream = 0;
  std::uint64_t full_statuses = 0;
  std::uint64_t delta_statuses = 0;
  std::uint64_t states = 0;
  bool busy = false;  ///< the upstream stayed busy: status is not complete
  /// Install counts that may or may not have arrived; they are not sent again.
  std::uint64_t uncertain_installs = 0;
};

/// Tells the upstream what is known of computers and servers here and below (MS-WSUSSS 3.2.4.5,
/// companion 4): this mirror is the downstream server, everything that came in returns or rollups
/// is below it. The state of the dialogue is kept after each batch (mirror::RollupState), so an
/// interrupted or repeated rollup tells what is still due; install counts are told once, whatever
/// is interrupted. Takes the job lock, writes job history and audit. Fails with kUsage and reason
/// "no-upstream", or as Upstream says.
Result<RollupReport> Rollup(mirror::Mirror& mirror, const FetcherFactory& fetchers,
                            const RollupOptions& options, Progress& progress, std::stop_token stop);

}  // namespace gapferry::exporter
