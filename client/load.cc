#include "client/load.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/curl_fetcher.h"
#include "base/hash.h"
#include "base/text.h"
#include "client/latency.h"
#include "client/pause.h"
#include "client/sync_scanner.h"
#include "client/wusp_session.h"
#include "protocol/wusp_codec.h"

namespace gapferry::client {

namespace {

using namespace protocol;  // NOLINT: every message type is from there
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::uint64_t kMaxAnswerBytes = 512ULL << 20;
constexpr std::size_t kMaxConnections = 256;
constexpr std::size_t kDefaultConnections = 32;
constexpr std::size_t kMaxErrorTexts = 20;
constexpr int kMaxWalk = 5000;  // round trips
constexpr std::string_view kProtocolVersion = "2.90";

// The ids that a scan sends along.
struct IdLists {
  std::vector<std::int32_t> installed;
  std::vector<std::int32_t> other;

  void Take(const SyncOutline& outline) {
    for (const SyncOutline::Update& update : outline.fresh) {
      (update.is_leaf ? other : installed).push_back(update.id);
    }
    for (const std::int32_t id : outline.out_of_scope) {
      std::erase(installed, id);
      std::erase(other, id);
    }
  }
};

// One computer: all that differs between them.
struct Computer {
  Guid id;
  std::string name;
  Cookie cookie;
};

std::uint64_t MicrosecondsSince(SteadyTime began) {
  const auto time = std::chrono::steady_clock::now() - began;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(
      0, std::chrono::duration_cast<std::chrono::microseconds>(time).count()));
}

// What one thread has counted.
struct Counts {
  std::uint64_t scans = 0;
  std::uint64_t answer_bytes = 0;
  std::uint64_t updates = 0;
  std::uint64_t late = 0;
  std::uint64_t errors = 0;
  LatencyHistogram request;
  LatencyHistogram scan;
  std::map<std::string, std::uint64_t> error_texts;

  void AddError(const Error& error) {
    ++errors;
    const std::string text = EscapeForDisplay(error.message, 200);
    if (error_texts.size() < kMaxErrorTexts || error_texts.contains(text)) ++error_texts[text];
  }
};

// One connection, used for one computer after the other.
class Connection {
 public:
  static Result<std::unique_ptr<Connection>> Create(const LoadOptions& options,
                                                    std::stop_token stop) {
    TRY_ASSIGN(auto fetcher, CurlFetcher::Create({}));
    return std::unique_ptr<Connection>(
        new Connection(options, std::move(fetcher), std::move(stop)));
  }

  Counts& counts() { return *counts_; }

  Result<void> Join(Computer& computer) {
    TRY_ASSIGN(
        const GetConfigResponse config,
        (Call<GetConfigResponse>(path::kClient, GetConfigRequest{std::string(kProtocolVersion)})));
    SimpleAuthorizationRequest ask;
    ask.client_id = computer.id.ToString();
    ask.dns_name = computer.name;
    TRY_ASSIGN(const SimpleAuthorizationResponse granted,
               (Call<SimpleAuthorizationResponse>(path::kSimpleAuth, ask)));
    GetCookieRequest cookie;
    cookie.auth_cookies = {granted.cookie};
    cookie.last_change = config.last_change;
    cookie.current_time = SystemClock().Now();
    cookie.protocol_version = kProtocolVersion;
    TRY_ASSIGN(const GetCookieResponse given, (Call<GetCookieResponse>(path::kClient, cookie)));
    computer.cookie = given.cookie;
    if (!config.is_registration_required) return {};
    Facts facts;
    facts.name = computer.name;
    TRY((Call<RegisterComputerResponse>(
        path::kClient, RegisterComputerRequest{computer.cookie, ComputerInfoOf(facts)})));
    return {};
  }

  // One SyncUpdates; a computer whose cookie is refused shakes hands again, as an agent does.
  Result<SyncOutline> Sync(Computer& computer, const IdLists& lists) {
    for (int attempt = 0;; ++attempt) {
      SyncUpdatesRequest request;
      request.cookie = computer.cookie;
      SyncUpdatesParameters& parameters = request.parameters;
      parameters.installed_non_leaf_update_ids = lists.installed;
      parameters.other_cached_update_ids = lists.other;
      parameters.need_two_group_out_of_scope_updates = true;
      parameters.also_perform_regular_sync = false;
      parameters.computer_spec.emplace();
      TRY_ASSIGN(const std::string body, Post(path::kClient, request));
      auto outline = ScanSyncAnswer(body);
      if (outline) {
        computer.cookie = outline->cookie;
        return outline;
      }
      const std::string_view fault = FaultCodeIn(body);
      if (fault.empty()) return outline;
      if (attempt > 0 || fault == "InvalidParameters" || fault == "InternalServerError") {
        return Fail(ErrorCode::kTransient, fmt::format("SyncUpdates: fault {}", fault));
      }
      TRY(Join(computer));
    }
  }

  // A scan from these lists to its end; false when `until` came first.
  Result<bool> Scan(Computer& computer, IdLists& lists, std::optional<SteadyTime> until = {}) {
    for (int round = 0; round < kMaxWalk; ++round) {
      if (until && std::chrono::steady_clock::now() >= *until) return false;
      TRY_ASSIGN(const SyncOutline outline, Sync(computer, lists));
      counts_->updates += outline.fresh.size();
      lists.Take(outline);
      const bool unlocked =
          std::ranges::any_of(outline.fresh, [](const auto& update) { return !update.is_leaf; });
      if (!outline.truncated && !unlocked) return true;
    }
    return Fail(ErrorCode::kCorrupt, "the server does not come to an end");
  }

 private:
  Connection(const LoadOptions& options, std::unique_ptr<CurlFetcher> fetcher, std::stop_token stop)
      : options_(options), fetcher_(std::move(fetcher)), stop_(std::move(stop)) {}

  template <class Request>
  Result<std::string> Post(std::string_view path, const Request& request) {
    const MessageName name = NameOf<Request>();
    const std::string body = Encode(request);
    FetchRequest fetch;
    fetch.method = "POST";
    fetch.url = ResolveAgainstRoot(options_.server, path);
    fetch.headers = {{"Content-Type", std::string(SoapContentType(SoapVersion::k11))},
                     {"SOAPAction", SoapActionHeader(name.name_space, name.element)}};
    if (options_.use_xpress) fetch.headers.emplace_back("Accept-Encoding", "xpress");
    fetch.body = AsBytes(body);
    fetch.max_body_bytes = kMaxAnswerBytes;
    MemorySink sink(kMaxAnswerBytes);
    const SteadyTime began = std::chrono::steady_clock::now();
    TRY_ASSIGN(const FetchResponse response, fetcher_->Fetch(fetch, sink, stop_),
               std::string(name.element));
    counts_->request.Add(MicrosecondsSince(began));
    counts_->answer_bytes += response.body_bytes;
    if (response.status != 200 && response.status != 500) {
      return Fail(ErrorCode::kTransient, fmt::format("{}: HTTP {}", name.element, response.status));
    }
    return DecodeContent(sink.Take(), response.Header("Content-Encoding"), kMaxAnswerBytes);
  }

  template <class Response, class Request>
  Result<Response> Call(std::string_view path, const Request& request) {
    TRY_ASSIGN(std::string body, Post(path, request));
    const std::string_view element = NameOf<Request>().element;
    TRY_ASSIGN(const SoapMessage message, SoapMessage::Parse(std::move(body), SoapLimits::Answer()),
               std::string(element));
    if (message.IsFault()) {
      TRY_ASSIGN(const SoapFault fault, DecodeFault(message), std::string(element));
      return std::unexpected(FaultError(fault, element));
    }
    return Decode<Response>(message);
  }

  const LoadOptions& options_;
  std::unique_ptr<CurlFetcher> fetcher_;
  std::stop_token stop_;
  std::unique_ptr<Counts> counts_ = std::make_unique<Counts>();
};

LatencySummary Summarize(const LatencyHistogram& histogram) {
  return {histogram.count(), histogram.Quantile(0.5), histogram.Quantile(0.99), histogram.max()};
}

class Load {
 public:
  Load(const LoadOptions& options, Progress& progress, std::stop_token stop)
      : options_(options), progress_(progress), stop_(std::move(stop)) {}

  Result<LoadResult> Run() {
    TRY(Prepare());
    TRY(Measure());
    return Finish();
  }

 private:
  Result<void> Prepare() {
    const SteadyTime began = std::chrono::steady_clock::now();
    computers_.resize(options_.clients);
    for (std::size_t i = 0; i < computers_.size(); ++i) {
      computers_[i].name = fmt::format("load-{:05}.example", i + 1);
      const Sha256Digest digest = Sha256("gapferry load " + computers_[i].name);
      std::copy_n(digest.bytes.begin(), computers_[i].id.bytes.size(),
                  computers_[i].id.bytes.begin());
    }
    std::size_t count = options_.connections;
    if (count == 0) count = std::min(options_.clients, kDefaultConnections);
    for (std::size_t i = 0; i < std::min(count, options_.clients); ++i) {
      TRY_ASSIGN(auto connection, Connection::Create(options_, stop_));
      connections_.push_back(std::move(connection));
    }
    progress_.Begin("registering computers", computers_.size(), 0);
    const auto join = [&](Connection& connection, Computer& computer) -> Result<void> {
      TRY(connection.Join(computer));
      // With a call that lists nothing the cookie says that all changes are known.
      if (options_.scan != LoadScan::kFirst) TRY(connection.Sync(computer, {}));
      return {};
    };
    TRY(ForEachComputer(join));
    progress_.End();
    // What they all come to know.
    TRY(connections_[0]->Scan(computers_[0], known_));
    prepared_seconds_ = static_cast<double>(MicrosecondsSince(began)) / 1e6;
    for (auto& connection : connections_) connection->counts() = {};
    return {};
  }

  // Each computer once, over all connections; the first error ends it.
  template <class Use>
  Result<void> ForEachComputer(Use use) {
    std::atomic<std::size_t> next = 0;
    std::mutex lock;
    std::optional<Error> error;
    const auto work = [&](Connection& connection) {
      for (std::size_t i; (i = next++) < computers_.size();) {
        const Result<void> done = use(connection, computers_[i]);
        const std::lock_guard guard(lock);
        if (!done && !error) error = done.error();
        if (error) return;
        progress_.Advance(1, 0);
      }
    };
    {
      std::vector<std::jthread> threads;
      for (auto& connection : connections_) {
        threads.emplace_back([&work, &connection] { work(*connection); });
      }
    }
    if (error) return std::unexpected(std::move(*error));
    return {};
  }

  Result<void> Measure() {
    progress_.Begin("scanning", 0, 0);
    began_ = std::chrono::steady_clock::now();
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < connections_.size(); ++i) {
        threads.emplace_back([this, i] { ScanOn(i); });
      }
    }
    seconds_ = static_cast<double>(MicrosecondsSince(began_)) / 1e6;
    progress_.End();
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
    return {};
  }

  // A connection's share: its own computers in turn, each when its scan is due.
  void ScanOn(std::size_t index) {
    Connection& connection = *connections_[index];
    Counts& counts = connection.counts();
    const SteadyTime end = began_ + options_.duration;
    const std::size_t step = connections_.size();
    // No computer is used by two connections.
    const std::size_t own = (computers_.size() - index + step - 1) / step;
    for (std::size_t round = 0; !stop_.stop_requested(); ++round) {
      const std::size_t turn = index + round * step;
      SteadyTime due = std::chrono::steady_clock::now();
      if (options_.rate > 0) {
        const double seconds = static_cast<double>(turn) / options_.rate;
        due = began_ + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                           std::chrono::duration<double>(seconds));
        if (due >= end) return;
        const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(
            due - std::chrono::steady_clock::now());
        if (wait.count() > 0 && !Pause(wait, stop_)) return;
        if (MicrosecondsSince(due) > 1'000'000) ++counts.late;
      }
      if (std::chrono::steady_clock::now() >= end) return;
      IdLists lists = ListsFor(turn);
      const Result<bool> done = connection.Scan(computers_[index + round % own * step], lists, end);
      if (stop_.stop_requested()) return;
      if (done && !*done) return;  // the time is over: its requests count, the scan does not
      if (done) {
        ++counts.scans;
        counts.scan.Add(MicrosecondsSince(due));
        progress_.Advance(1, 0);
      } else {
        counts.AddError(done.error());
      }
    }
  }

  IdLists ListsFor(std::size_t turn) const {
    if (options_.scan == LoadScan::kFirst) return {};
    IdLists lists = known_;
    if (options_.scan == LoadScan::kCatchUp && !lists.other.empty()) {
      // Other ones for each scan, in a row somewhere among all.
      const std::size_t missing = std::min(options_.missing, lists.other.size());
      const std::size_t from = turn * missing % (lists.other.size() - missing + 1);
      const auto first = lists.other.begin() + static_cast<std::ptrdiff_t>(from);
      lists.other.erase(first, first + static_cast<std::ptrdiff_t>(missing));
    }
    return lists;
  }

  LoadResult Finish() const {
    LoadResult result;
    result.clients = computers_.size();
    result.connections = connections_.size();
    result.revisions = known_.installed.size() + known_.other.size();
    result.prepared_seconds = prepared_seconds_;
    result.seconds = seconds_;
    LatencyHistogram request;
    LatencyHistogram scan;
    for (const auto& connection : connections_) {
      const Counts& counts = connection->counts();
      result.scans += counts.scans;
      result.answer_bytes += counts.answer_bytes;
      result.updates += counts.updates;
      result.late += counts.late;
      result.errors += counts.errors;
      for (const auto& [text, count] : counts.error_texts) {
        if (result.error_texts.size() < kMaxErrorTexts || result.error_texts.contains(text)) {
          result.error_texts[text] += count;
        }
      }
      request.Merge(counts.request);
      scan.Merge(counts.scan);
    }
    result.requests = request.count();
    result.request = Summarize(request);
    result.scan = Summarize(scan);
    return result;
  }

  const LoadOptions& options_;
  Progress& progress_;
  const std::stop_token stop_;
  std::vector<Computer> computers_;
  std::vector<std::unique_ptr<Connection>> connections_;
  IdLists known_;
  SteadyTime began_;
  double prepared_seconds_ = 0;
  double seconds_ = 0;
};

}  // namespace

Result<LoadResult> RunLoad(const LoadOptions& given, Progress& progress, std::stop_token stop) {
  LoadOptions options = given;
  if (!options.server.starts_with("http://") && !options.server.starts_with("https://")) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no http or https URL of a server",
                                               EscapeForDisplay(DisplayUrl(options.server))));
  }
  while (options.server.ends_with('/')) options.server.pop_back();
  if (options.clients < 1 || options.connections > kMaxConnections) {
    return Fail(ErrorCode::kUsage,
                fmt::format("{} clients over {} connections: at least 1 client and at most {} "
                            "connections are possible",
                            options.clients, options.connections, kMaxConnections));
  }
  return Load(options, progress, std::move(stop)).Run();
}

}  // namespace gapferry::client
