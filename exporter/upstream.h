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
#include "protocol/answer_stream.h"
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
/// retries and the reaction to faults (exporter/fault_table.h). Every call authorizes when there is
/// no usable cookie, and once more when the upstream refuses it. Faults come back as protocol::
/// FaultError with the next step; FaultCodeOf tells which. Starting over is the caller's.
/// Memory: answers are decoded while they arrive (protocol/answer_stream.h); those that are not
/// lists or documents are held as text, 512 MiB at most.
/// Thread-compatible; connections of one session may be used at the same time. The fetcher and the
/// clock must outlive it.
class Upstream {
 public:
  Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options, std::stop_token stop);

  /// Another connection with the same cookie: whichever finds it old renews it for all.
  Upstream Connect(Fetcher& fetcher, std::stop_token stop) const;

  /// GetAuthConfig, GetAuthorizationCookie, GetCookie. The upstream makes a record of this server.
  Result<void> Authorize();

  /// `anchor` absent: everything.
  Result<protocol::GetConfigDataResponse> GetConfigData(std::optional<std::string> anchor = {});
  /// Fails with kUsage before asking when only one of products and classifications is given: an
  /// upstream would answer with an empty list and no fault (companion 2.3).
  Result<protocol::GetRevisionIdListResponse> GetRevisionIdList(protocol::SyncFilter filter);
  /// Not repeated on InternalServerError: it may mean an id that the upstream does not hold. The
  /// answer may hold fewer updates than asked. `receiver` is given what comes while it comes; when
  /// the connection breaks, the whole request is repeated and it is given the same again.
  /// `max_document_bytes` bounds a document as it comes.
  Result<void> GetUpdateData(std::vector<protocol::UpdateId> ids,
                             const protocol::UpdateDataAnswer::Receiver& receiver,
                             std::uint64_t max_document_bytes);
  /// Keys of encrypted files: secrets. At most as many ids as GetConfigData allows. Not repeated on
  /// InternalServerError, which may mean an id that the upstream does not hold.
  Result<protocol::GetUpdateDecryptionDataResponse> GetUpdateDecryptionData(
      std::vector<protocol::UpdateId> ids);
  Result<protocol::GetDeploymentsResponse> GetDeployments(std::optional<std::string> anchor,
                                                          const std::string& sync_anchor);
  /// Asks the upstream to fetch files; success means it was noted. At most 100. Fails with reason
  /// "FileDigestsMissing" when it does not know some of them.
  Result<void> DownloadFiles(const std::vector<Sha1Digest>& digests);

  /// Whether a call since the last time said ServerChanged, or that files are unknown: metadata has
  /// to be asked for again. Callers that go on without the answer need not report it.
  struct Demands {
    bool start_over = false;
    bool list_again = false;
  };
  Demands TakeDemands();

  // Rollup: without a cookie of ours. Authorize first, so that the upstream knows the sender. All
  // but the first are not repeated here: clientTime must be that of the attempt.
  Result<protocol::GetRollupConfigurationResponse> GetRollupConfiguration();
  Result<void> RollupDownstreamServers(protocol::RollupDownstreamServersRequest request);
  Result<protocol::RollupComputersResponse> RollupComputers(
      protocol::RollupComputersRequest request);
  Result<protocol::GetOutOfSyncComputersResponse> GetOutOfSyncComputers(
      protocol::GetOutOfSyncComputersRequest request);
  /// false: busy. Not retried here.
  Result<bool> RollupComputerStatus(protocol::RollupComputerStatusRequest request);

  const std::string& url() const { return options_.url; }
  const std::string& protocol_version() const { return options_.protocol_version; }

 private:
  struct Exchange;
  struct Session;  // what connections share
  // A new reader for each attempt; it lives until the next one is asked for.
  using ReaderFactory = std::function<protocol::AnswerReader&()>;

  Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options, std::stop_token stop,
           std::shared_ptr<Session> session);
  template <class Request>
  Result<void> Send(std::string_view path, const Request& request, const ReaderFactory& reader);
  template <class Response, class Request>
  Result<Response> Call(std::string_view path, const Request& request);
  template <class Request, class Function>
  auto WithCookie(Request request, Function call) -> decltype(call(request));
  template <class Response, class Request>
  Result<Response> CallWithCookie(Request request);
  void Name(const Exchange& exchange, Error& error) const;
  Result<void> Post(const Exchange& exchange, const ReaderFactory& reader);
  Result<void> PostOnce(const Exchange& exchange, protocol::AnswerReader& reader,
                        protocol::AttemptOutcome& outcome, std::string& retry_after);
  Result<protocol::Cookie> FreshCookie();
  Result<protocol::Cookie> NewCookie();
  Result<protocol::Cookie> AuthorizeOnce();
  void Refused(const protocol::Cookie& cookie);

  Fetcher& fetcher_;
  const Clock& clock_;
  UpstreamOptions options_;
  std::stop_token stop_;
  std::shared_ptr<Session> session_;
};

/// Sleeps, ended early by `stop`; false then.
bool WaitOrStop(std::chrono::milliseconds time, std::stop_token stop);

/// Where an upstream serves content (companion 1.6): the same place over HTTP, port 80 for HTTPS on
/// 443 and the port below for HTTPS elsewhere. Ends without slash.
std::string ContentRootOf(std::string_view url);

}  // namespace gapferry::exporter
