#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fetcher.h"
#include "base/guid.h"
#include "base/result.h"
#include "client/facts.h"
#include "client/revision_cache.h"
#include "protocol/reporting_messages.h"
#include "protocol/retry.h"
#include "protocol/wusp_messages.h"

namespace gapferry::client {

struct WuspOptions {
  bool use_xpress = true;  ///< ask for `Content-Encoding: xpress`, as agents do
  /// Without it nothing is told to the server but the client id: for counting what a scan costs.
  /// A server that insists on registration answers with an error then.
  bool may_register = true;
  protocol::RetryPolicy retry = {};
};

/// What a conversation cost; for results and tests.
struct WuspCounters {
  int requests = 0;
  int handshakes = 0;              ///< GetCookie calls
  int refreshes = 0;               ///< RefreshCache calls
  std::uint64_t answer_bytes = 0;  ///< as they came over the wire
  std::uint64_t largest_answer_bytes = 0;
};

/// One client's conversation with one server (MS-WUSP 3.2): does the handshake when it is needed,
/// registers the computer, renews an expired cookie, and answers faults as an agent does:
/// CookieExpired - authorize again; ConfigChanged - also ask for the configuration; InvalidCookie
/// and ServerChanged - start anew and refresh the cache; RegistrationRequired - register;
/// FileLocationChanged - ask where the files are now. Transient failures and ServerBusy are
/// repeated by `retry`. Not thread-safe; everything passed must outlive it.
class WuspSession {
 public:
  /// `server` is the URL of the root, such as http://wsus.example:8530. A cache that belongs to
  /// another server or another client is emptied. Fails with kUsage when `server` is no http URL.
  static Result<WuspSession> Open(Fetcher& fetcher, std::string server, const Facts& facts,
                                  const Guid& client_id, RevisionCache& cache, const Clock& clock,
                                  WuspOptions options, std::stop_token stop);
  WuspSession(WuspSession&&) noexcept;
  ~WuspSession();

  /// `make` is called for each attempt: revision ids change when the cache is refreshed. The new
  /// cookie of the answer is not stored; that is the caller's, together with what was answered.
  Result<protocol::SyncInfo> SyncUpdates(
      const std::function<protocol::SyncUpdatesParameters()>& make);
  /// The categories to filter by of those that are wanted, and those the server does not know
  /// (MS-WUSP 3.1.5.6). Carries no cookie.
  Result<protocol::StartCategoryScanResponse> StartCategoryScan(const std::vector<Guid>& wanted);
  Result<protocol::GetExtendedUpdateInfoResponse> GetExtendedUpdateInfo(
      const std::function<std::vector<std::int32_t>()>& make, bool with_eulas = false);
  /// Where these files are; those that the server does not know are absent.
  Result<std::vector<protocol::FileLocation>> GetFileLocations(
      const std::vector<Sha1Digest>& digests);
  /// Fails with kTransient when the server answers false.
  Result<void> ReportEvents(const std::vector<protocol::ReportingEvent>& events);

  const WuspCounters& counters() const;
  bool may_register() const;
  std::int32_t max_extended_per_request() const;

 private:
  struct Impl;
  explicit WuspSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What RegisterComputer and events say about a computer.
protocol::ComputerInfo ComputerInfoOf(const Facts& facts);
/// The long `Key=Value;` string that Windows 11 sends along.
std::string DeviceAttributesOf(const Facts& facts, std::string_view server);

}  // namespace gapferry::client
