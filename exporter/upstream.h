#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fetcher.h"
#include "base/guid.h"
#include "base/result.h"
#include "protocol/reporting_messages.h"
#include "protocol/retry.h"
#include "protocol/sync_messages.h"

namespace gapferry::exporter {

/// A fetcher for each thread that downloads.
using FetcherFactory = std::function<Result<std::unique_ptr<Fetcher>>()>;

struct UpstreamOptions {
  std::string url;           ///< the server's root, such as "http://wsus.corp:8530"
  std::string account_name;  ///< a DNS name
  Guid account_guid;         ///< the mirror's, for ever; also the ServerId of the rollup
  /// Announced in GetCookie. Integers separated by a dot: an older one would make an upstream leave
  /// updates out without a word (MS-WSUSSS companion 1.3).
  std::string protocol_version = "1.20";
  protocol::RetryPolicy retry;
  /// Waits between attempts; false when stopped. Replaced by tests.
  std::function<bool(std::chrono::milliseconds, std::stop_token)> wait;
  std::function<void(const std::string&)> note;  ///< told of retries; may be empty
};

/// The downstream role of MS-WSUSSS against one upstream: authorization, cookies and their renewal,
/// retries and the reaction to faults (companion 1.5). Every call authorizes when there is no
/// usable cookie, and once more when the upstream refuses it. Faults come back as protocol::
/// FaultError; FaultCodeOf tells which. ServerChanged and InvalidParameters are the caller's.
/// Thread-compatible. The fetcher and the clock must outlive it.
class Upstream {
 public:
  Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options, std::stop_token stop);

  /// GetAuthConfig, GetAuthorizationCookie, GetCookie. The upstream makes a record of this server.
  Result<void> Authorize();

  /// `anchor` absent: everything.
  Result<protocol::GetConfigDataResponse> GetConfigData(std::optional<std::string> anchor = {});
  /// Fails with kUsage before asking when only one of products and classifications is given: an
  /// upstream would answer with an empty list and no fault (companion 2.3).
  Result<protocol::GetRevisionIdListResponse> GetRevisionIdList(protocol::SyncFilter filter);
  /// One request, not retried on InternalServerError: it may mean an id the upstream does not hold.
  /// The answer may hold fewer updates than asked.
  Result<protocol::GetUpdateDataResponse> GetUpdateData(std::vector<protocol::UpdateId> ids);
  Result<protocol::GetDeploymentsResponse> GetDeployments(std::optional<std::string> anchor,
                                                          const std::string& sync_anchor);
  /// Asks the upstream to fetch files; success means it was noted. At most 100.
  Result<void> DownloadFiles(const std::vector<Sha1Digest>& digests);

  // Rollup: without a cookie of ours. Authorize first, so that the upstream knows the sender.
  Result<protocol::GetRollupConfigurationResponse> GetRollupConfiguration();
  Result<void> RollupDownstreamServers(protocol::RollupDownstreamServersRequest request);
  Result<protocol::RollupComputersResponse> RollupComputers(
      protocol::RollupComputersRequest request);
  Result<protocol::GetOutOfSyncComputersResponse> GetOutOfSyncComputers(
      protocol::GetOutOfSyncComputersRequest request);
  /// false: busy. Not retried here.
  Result<bool> RollupComputerStatus(protocol::RollupComputerStatusRequest request);

  const std::string& url() const { return options_.url; }

 private:
  struct Exchange;
  template <class Response, class Request>
  Result<Response> Call(std::string_view path, const Request& request, int attempts);
  template <class Response, class Request>
  Result<Response> CallWithCookie(Request request, int attempts);
  Result<std::string> Post(const Exchange& exchange, int attempts);
  Result<std::string> PostOnce(const Exchange& exchange, protocol::AttemptOutcome& outcome,
                               std::string& retry_after);
  bool CookieIsFresh() const;

  Fetcher& fetcher_;
  const Clock& clock_;
  UpstreamOptions options_;
  std::stop_token stop_;
  std::optional<protocol::Cookie> cookie_;
  UtcTime cookie_obtained_;
};

/// Sleeps, ended early by `stop`; false then.
bool WaitOrStop(std::chrono::milliseconds time, std::stop_token stop);

/// Where an upstream serves content (companion 1.6): the same place over HTTP, port 80 for HTTPS on
/// 443 and the port below for HTTPS elsewhere. Ends without slash.
std::string ContentRootOf(std::string_view url);

}  // namespace gapferry::exporter
