#pragma once

// Private to the load generator: one connection and what is counted on it.

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/curl_fetcher.h"
#include "base/guid.h"
#include "base/result.h"
#include "client/latency.h"
#include "client/load.h"
#include "client/sync_scanner.h"
#include "protocol/wusp_messages.h"

namespace gapferry::client {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Never negative.
std::uint64_t MicrosecondsSince(SteadyTime began);

/// The ids that a scan sends along.
struct IdLists {
  std::vector<std::int32_t> installed;
  std::vector<std::int32_t> other;

  /// Takes what an answer brought; of what is no leaf, `holds_percent` of all ids count as true.
  void Take(const SyncOutline& outline, unsigned holds_percent);
  /// Ascending, so that what is equal looks equal.
  void Sort();
  bool operator==(const IdLists&) const = default;
};

/// One computer: all that differs between them. Used by one connection at a time.
struct LoadComputer {
  Guid id;
  std::string name;
  protocol::Cookie cookie;
  std::shared_ptr<const IdLists> known;  ///< shared by those that know the same
};

/// What one thread has counted.
struct LoadCounts {
  static constexpr std::size_t kMaxErrorTexts = 20;

  std::uint64_t scans = 0;
  std::uint64_t reports = 0;
  std::uint64_t events = 0;
  std::uint64_t answer_bytes = 0;
  std::uint64_t updates = 0;
  std::uint64_t late = 0;
  std::uint64_t errors = 0;
  LatencyHistogram request;
  LatencyHistogram scan;
  LatencyHistogram report;
  std::map<std::string, std::uint64_t> error_texts;
  std::vector<std::uint64_t> latest;  ///< microseconds, by the second in which a request was sent

  void AddError(const Error& error);
  void AddRequest(std::uint64_t at_microseconds, std::uint64_t took_microseconds);
  void Merge(const LoadCounts& other);
};

/// One connection, used for one computer after the other. `options` must outlive it. Not
/// thread-safe.
class LoadConnection {
 public:
  static Result<std::unique_ptr<LoadConnection>> Create(const LoadOptions& options,
                                                        std::stop_token stop);

  LoadCounts& counts() { return *counts_; }
  const LoadCounts& counts() const { return *counts_; }
  /// What is counted from now on belongs to the measurement that began then.
  void BeginMeasuring(SteadyTime began);

  /// Shakes hands and registers.
  Result<void> Join(LoadComputer& computer);
  /// One SyncUpdates; a computer whose cookie is refused shakes hands again, as an agent does.
  Result<SyncOutline> Sync(LoadComputer& computer, const IdLists& lists);
  /// A scan from these lists to its end; false when `until` came first.
  Result<bool> Scan(LoadComputer& computer, IdLists& lists, std::optional<SteadyTime> until = {});
  /// One ReportEventBatch of so many events, as an agent sends after a scan and installations.
  Result<void> Report(LoadComputer& computer, std::size_t events);

 private:
  LoadConnection(const LoadOptions& options, std::unique_ptr<CurlFetcher> fetcher,
                 std::stop_token stop)
      : options_(options), fetcher_(std::move(fetcher)), stop_(std::move(stop)) {}
  template <class Request>
  Result<std::string> Post(std::string_view path, const Request& request);
  template <class Response, class Request>
  Result<Response> Call(std::string_view path, const Request& request);

  const LoadOptions& options_;
  std::unique_ptr<CurlFetcher> fetcher_;
  std::stop_token stop_;
  std::unique_ptr<LoadCounts> counts_ = std::make_unique<LoadCounts>();
  std::optional<SteadyTime> measuring_since_;
};

}  // namespace gapferry::client
