#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fetcher.h"
#include "base/progress.h"
#include "base/result.h"
#include "client/client_state.h"
#include "client/scan.h"
#include "protocol/retry.h"

namespace gapferry::client {

struct DownloadOptions {
  std::uint64_t range_bytes = 1 << 20;  ///< agents ask for pieces of exactly 1 MiB
  protocol::RetryPolicy retry = {};
};

/// Where a file of an update is, or is to be, on the computer.
std::filesystem::path ContentPath(const ClientState& state, const protocol::UpdateFile& file);
/// Whether it is there; files get that name after they were verified.
bool IsDownloaded(const ClientState& state, const protocol::UpdateFile& file);

struct DownloadedFile {
  protocol::UpdateFile file;
  std::filesystem::path path;
  bool was_there = false;  ///< nothing had to be fetched
};

struct DownloadedUpdate {
  protocol::UpdateId id;
  std::string title;
  std::vector<DownloadedFile> files;  ///< complete and verified
  std::optional<Error> error;         ///< why it is not complete
};

struct DownloadResult {
  std::vector<DownloadedUpdate> updates;
  std::uint64_t fetched_bytes = 0;  ///< over the wire, this time
  std::uint64_t resumed_bytes = 0;  ///< found in partial files
  std::size_t requests = 0;
};

/// Downloads the files of `updates` (located, see scan.h) into the state's content folder, by
/// ranges of 1 MiB in random order, over one connection per fetcher. A partial file of an earlier
/// run is continued. Size, SHA-1 and, where it is declared, SHA-256 of the whole file are checked
/// before it gets its name; a file that fails is fetched once more from its beginning. An update
/// whose file cannot be had gets its error and the others go on; fails as a whole with kCancelled
/// and kNoSpace only. Every finished or failed update leaves pending events (167, then 162 or 161).
Result<DownloadResult> Download(std::span<Fetcher* const> fetchers, ClientState& state,
                                const std::vector<OfferedUpdate>& updates, const Clock& clock,
                                Progress& progress, std::stop_token stop,
                                const DownloadOptions& options = {});

/// Over one connection.
inline Result<DownloadResult> Download(Fetcher& fetcher, ClientState& state,
                                       const std::vector<OfferedUpdate>& updates,
                                       const Clock& clock, Progress& progress, std::stop_token stop,
                                       const DownloadOptions& options = {}) {
  Fetcher* const one[] = {&fetcher};
  return Download(one, state, updates, clock, progress, std::move(stop), options);
}

}  // namespace gapferry::client
