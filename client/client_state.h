#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/guid.h"
#include "base/result.h"
#include "client/history.h"
#include "client/revision_cache.h"
#include "protocol/update_id.h"

namespace gapferry::client {

/// Something that is to be reported: kept until the server has taken it. The instance id makes a
/// repeated report harmless.
struct PendingEvent {
  Guid instance;
  std::int32_t event_id = 0;  ///< as in MS-WUSP 2.2.2.3.1, such as 162: download succeeded
  UtcTime time;
  protocol::UpdateId update;
  std::string title;
  std::uint64_t bytes = 0;
  std::int32_t hresult = 0;
  std::int32_t earlier_failures = 0;  ///< of a failure: how often it had failed before
  bool is_bundle = false;
};

/// An agent's state directory, held by one process at a time:
///   lock          advisory lock
///   state.json    client id, history, events still to be reported, last scan
///   cache.jsonl   revisions and session (RevisionCache)
///   content/      downloaded files, <SHA1>.<ext>; *.part while they are not complete
/// state.json is replaced as a whole. Not thread-safe.
class ClientState {
 public:
  /// Creates the directory when it is missing. `wanted_id` (of the facts) wins over the stored one;
  /// without either a new id is made. Fails with kBusy when another process has it open, with
  /// kCorrupt when a file in it cannot be read.
  static Result<ClientState> Open(const std::filesystem::path& directory,
                                  const std::optional<Guid>& wanted_id);

  const Guid& client_id() const { return client_id_; }
  RevisionCache& cache() { return cache_; }
  const RevisionCache& cache() const { return cache_; }
  std::filesystem::path content_directory() const { return directory_ / "content"; }

  History& history() { return history_; }
  const History& history() const { return history_; }
  std::set<Guid>& installed_updates() { return history_.installed; }
  std::vector<PendingEvent>& pending_events() { return pending_events_; }
  std::optional<UtcTime>& last_scan() { return last_scan_; }

  /// Makes the members above durable; the cache has its own Commit.
  Result<void> Save() const;

 private:
  ClientState(std::filesystem::path directory, FileLock lock, RevisionCache cache)
      : directory_(std::move(directory)), lock_(std::move(lock)), cache_(std::move(cache)) {}
  Result<void> Load();

  std::filesystem::path directory_;
  FileLock lock_;
  RevisionCache cache_;
  Guid client_id_;
  History history_;
  std::vector<PendingEvent> pending_events_;
  std::optional<UtcTime> last_scan_;
};

}  // namespace gapferry::client
