#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "server/index_keeper.h"

namespace gapferry::server {

/// Tells when one of some files was replaced or written: by inode, size and time. Not thread-safe.
class FileWatch {
 public:
  explicit FileWatch(std::vector<std::filesystem::path> files);
  /// Whether something changed since the last call (or the construction).
  bool HasChanged();

 private:
  std::string Look() const;
  const std::vector<std::filesystem::path> files_;
  std::string seen_;
};

/// Drops events that are older than `days`, a thousand at a time between the batches of clients;
/// the number gone. Nothing when the clock is far after the last commit: it may have jumped, and
/// what is dropped is gone.
Result<std::uint64_t> DropOldEvents(mirror::ActivityWriter& activity, UtcTime last_commit,
                                    UtcTime now, std::uint64_t days, const std::stop_token& stop);

/// What a server does beside answering: once an hour old events go; every few seconds certificate
/// and key are looked at and read again when they changed; the service manager's watchdog is told.
struct Housekeeping {
  mirror::ActivityWriter& activity;
  const IndexKeeper& keeper;
  const Clock& clock;
  std::uint64_t events_kept_days = 0;
  std::vector<std::filesystem::path> certificate_files;  ///< empty: no TLS
  std::function<Result<void>()> reload_certificate;

  void Run(const std::stop_token& stop);
};

}  // namespace gapferry::server
