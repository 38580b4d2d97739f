#include "client/load.h"

#include <fmt/core.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "base/hash.h"
#include "base/text.h"
#include "client/load_connection.h"
#include "client/pause.h"

namespace gapferry::client {

namespace {

constexpr std::size_t kDefaultConnections = 32;

LatencySummary Summarize(const LatencyHistogram& histogram) {
  return {histogram.count(), histogram.Quantile(0.5), histogram.Quantile(0.99), histogram.max()};
}

/// As many descriptors as this process may have: a connection takes up to three.
void RaiseDescriptorLimit() {
  struct ::rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // without it connections fail, which is counted
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
    NameComputers();
    std::size_t count = options_.connections;
    if (count == 0) count = std::min(options_.clients, kDefaultConnections);
    for (std::size_t i = 0; i < std::min(count, options_.clients); ++i) {
      TRY_ASSIGN(auto connection, LoadConnection::Create(options_, stop_));
      connections_.push_back(std::move(connection));
    }
    progress_.Begin("registering computers", computers_.size(), 0);
    const bool scans = options_.scan != LoadScan::kNone;
    const auto join = [&](LoadConnection& connection, LoadComputer& computer) -> Result<void> {
      TRY(connection.Join(computer));
      // With a call that lists nothing the cookie says that all changes are known.
      if (scans && options_.scan != LoadScan::kFirst) TRY(connection.Sync(computer, {}));
      return {};
    };
    TRY(ForEachComputer(join));
    progress_.End();
    IdLists known;  // what they all come to know
    if (scans) TRY(connections_[0]->Scan(computers_[0], known));
    known.Sort();
    const auto shared = std::make_shared<const IdLists>(std::move(known));
    revisions_ = shared->installed.size() + shared->other.size();
    for (LoadComputer& computer : computers_) computer.known = shared;
    *newest_.Lock() = shared;
    prepared_seconds_ = static_cast<double>(MicrosecondsSince(began)) / 1e6;
    return {};
  }

  void NameComputers() {
    computers_.resize(options_.clients);
    for (std::size_t i = 0; i < computers_.size(); ++i) {
      computers_[i].name = fmt::format("load-{:05}.example", i + 1);
      const Sha256Digest digest = Sha256("gapferry load " + computers_[i].name);
      std::copy_n(digest.bytes.begin(), computers_[i].id.bytes.size(),
                  computers_[i].id.bytes.begin());
    }
  }

  // Each computer once, over all connections; the first error ends it.
  template <class Use>
  Result<void> ForEachComputer(Use use) {
    std::atomic<std::size_t> next = 0;
    std::mutex lock;
    std::optional<Error> error;
    const auto work = [&](LoadConnection& connection) {
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
      // More at once would only wait for each other.
      for (std::size_t i = 0; i < std::min(connections_.size(), kDefaultConnections); ++i) {
        threads.emplace_back([&work, connection = connections_[i].get()] { work(*connection); });
      }
    }
    if (error) return std::unexpected(std::move(*error));
    return {};
  }

  Result<void> Measure() {
    progress_.Begin("scanning", 0, 0);
    began_ = std::chrono::steady_clock::now();
    for (auto& connection : connections_) connection->BeginMeasuring(began_);
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
    LoadConnection& connection = *connections_[index];
    LoadCounts& counts = connection.counts();
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
      const Result<bool> done =
          ScanOnce(connection, computers_[index + round % own * step], turn, due, end);
      if (stop_.stop_requested()) return;
      if (done && !*done) return;  // the time is over: its requests count, the scan does not
      if (!done) counts.AddError(done.error());
    }
  }

  Result<bool> ScanOnce(LoadConnection& connection, LoadComputer& computer, std::size_t turn,
                        SteadyTime due, SteadyTime end) {
    LoadCounts& counts = connection.counts();
    const LoadScan kind = KindOf(turn);
    if (kind != LoadScan::kNone) {
      IdLists lists = ListsFor(computer, kind, turn);
      TRY_ASSIGN(const bool done, connection.Scan(computer, lists, end));
      if (!done) return false;
      Remember(computer, std::move(lists));
      ++counts.scans;
      counts.scan.Add(MicrosecondsSince(due));
    }
    progress_.Advance(1, 0);
    if (options_.events > 0) TRY(connection.Report(computer, 1 + turn % options_.events));
    return true;
  }

  /// What many know alike is kept once.
  void Remember(LoadComputer& computer, IdLists lists) {
    lists.Sort();
    if (lists == *computer.known) return;
    auto newest = newest_.Lock();
    if (lists != **newest) *newest = std::make_shared<const IdLists>(std::move(lists));
    computer.known = *newest;
  }

  LoadScan KindOf(std::size_t turn) const {
    if (options_.scan != LoadScan::kMixed) return options_.scan;
    const LoadOptions::Mix& mix = options_.mix;
    // Spread by a prime: a first scan is not followed by all the others of its kind.
    const std::size_t all = std::size_t{mix.first} + mix.catch_up + mix.idle;
    const std::size_t at = turn * 7919 % all;
    if (at < mix.first) return LoadScan::kFirst;
    return at < std::size_t{mix.first} + mix.catch_up ? LoadScan::kCatchUp : LoadScan::kIdle;
  }

  IdLists ListsFor(const LoadComputer& computer, LoadScan kind, std::size_t turn) const {
    if (kind == LoadScan::kFirst) return {};
    IdLists lists = *computer.known;
    if (kind == LoadScan::kCatchUp && !lists.other.empty()) {
      // Other ones for each scan, in a row somewhere among all.
      const std::size_t missing = std::min(options_.missing, lists.other.size());
      const std::size_t from = turn * missing % (lists.other.size() - missing + 1);
      const auto first = lists.other.begin() + static_cast<std::ptrdiff_t>(from);
      lists.other.erase(first, first + static_cast<std::ptrdiff_t>(missing));
    }
    return lists;
  }

  LoadResult Finish() const {
    LoadCounts counts;
    for (const auto& connection : connections_) counts.Merge(connection->counts());
    LoadResult result;
    result.clients = computers_.size();
    result.connections = connections_.size();
    result.revisions = revisions_;
    result.prepared_seconds = prepared_seconds_;
    result.seconds = seconds_;
    result.scans = counts.scans;
    result.reports = counts.reports;
    result.events = counts.events;
    result.requests = counts.request.count();
    result.answer_bytes = counts.answer_bytes;
    result.updates = counts.updates;
    result.request = Summarize(counts.request);
    result.scan = Summarize(counts.scan);
    result.report = Summarize(counts.report);
    result.late = counts.late;
    result.errors = counts.errors;
    result.error_texts = std::move(counts.error_texts);
    result.latest = std::move(counts.latest);
    return result;
  }

  const LoadOptions& options_;
  Progress& progress_;
  const std::stop_token stop_;
  std::vector<LoadComputer> computers_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  Guarded<std::shared_ptr<const IdLists>> newest_;
  std::size_t revisions_ = 0;
  SteadyTime began_;
  double prepared_seconds_ = 0;
  double seconds_ = 0;
};

Result<void> Check(const LoadOptions& options) {
  if (!options.server.starts_with("http://") && !options.server.starts_with("https://")) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no http or https URL of a server",
                                               EscapeForDisplay(DisplayUrl(options.server))));
  }
  if (options.clients < 1 || options.connections > LoadOptions::kMaxConnections) {
    return Fail(ErrorCode::kUsage,
                fmt::format("{} clients over {} connections: at least 1 client and at most {} "
                            "connections are possible",
                            options.clients, options.connections, LoadOptions::kMaxConnections));
  }
  if (options.mix.first == 0 && options.mix.catch_up == 0 && options.mix.idle == 0) {
    return Fail(ErrorCode::kUsage, "a mix of scans needs one of a kind at least");
  }
  if (options.scan == LoadScan::kNone && options.events == 0) {
    return Fail(ErrorCode::kUsage, "neither scans nor events: nothing to measure");
  }
  return {};
}

}  // namespace

Result<LoadResult> RunLoad(const LoadOptions& given, Progress& progress, std::stop_token stop) {
  LoadOptions options = given;
  TRY(Check(options));
  while (options.server.ends_with('/')) options.server.pop_back();
  options.holds_percent = std::min(options.holds_percent, 100U);
  RaiseDescriptorLimit();
  return Load(options, progress, std::move(stop)).Run();
}

}  // namespace gapferry::client
