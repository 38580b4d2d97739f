#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "base/progress.h"
#include "exporter/upstream.h"

namespace gapferry::exporter {

/// The calls of a rollup with their repetitions (MS-WSUSSS PB 77): four attempts in all, one to
/// five minutes apart while the upstream is busy, seconds apart after a failure on the way. Each
/// attempt carries the time at which it is sent: an old one would shift every time in the request.
/// Thread-compatible; what it refers to must outlive it.
class RollupCalls {
 public:
  using Wait = std::function<bool(std::chrono::milliseconds, std::stop_token)>;
  RollupCalls(Upstream& upstream, Wait wait, Progress& progress, std::stop_token stop);

  /// Repeated only when the upstream certainly did not take it.
  Result<void> Servers(const protocol::RollupDownstreamServersRequest& request);
  Result<protocol::RollupComputersResponse> Computers(
      const protocol::RollupComputersRequest& request);
  Result<protocol::GetOutOfSyncComputersResponse> OutOfSync(
      const protocol::GetOutOfSyncComputersRequest& request);
  /// false: it stayed busy.
  Result<bool> Status(const protocol::RollupComputerStatusRequest& request);

 private:
  template <class Call>
  auto Repeat(Call call, bool only_busy) -> decltype(call());
  Result<void> Pause(int attempt, bool busy, std::string_view why);

  Upstream& upstream_;
  Wait wait_;
  Progress& progress_;
  std::stop_token stop_;
};

/// Whether the upstream certainly did not take a request: it said so, or was not asked. A time-out,
/// a broken answer, an error page of something between: nobody knows.
bool CertainlyNotTaken(const Error& error);

}  // namespace gapferry::exporter
