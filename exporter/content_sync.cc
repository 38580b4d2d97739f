#include "exporter/content_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "base/file.h"
#include "base/log.h"
#include "exporter/content_asking.h"
#include "exporter/content_download.h"
#include "mirror/content_store.h"

namespace gapferry::exporter {

using mirror::ContentSource;
using mirror::Mirror;
using mirror::VerifiedContent;

namespace {

constexpr std::uint64_t kSpareBytes = 64ULL << 20;
constexpr std::size_t kPublishFiles = 256;
constexpr std::uint64_t kPublishBytes = 1ULL << 30;
constexpr std::chrono::milliseconds kShortestPoll{250};
constexpr std::chrono::milliseconds kFirstPoll{15'000};
constexpr std::chrono::milliseconds kLongestPoll{600'000};

struct Finished {
  std::size_t index;
  Downloaded downloaded;
};

// Results on their way from the downloading threads to the one that owns the store.
class ResultQueue {
 public:
  void Push(Finished result) {
    const std::lock_guard lock(mutex_);
    results_.push_back(std::move(result));
    filled_.notify_one();
  }
  Finished Pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !results_.empty(); });
    Finished result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<Finished> results_;
};

class ContentRun {
 public:
  ContentRun(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
             const ContentSyncOptions& options, Progress& progress, std::stop_token stop)
      : mirror_(mirror),
        upstream_(upstream),
        fetchers_(fetchers),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)),
        window_(options.window, mirror.clock()),
        wait_(options.wait ? options.wait : WaitOrStop) {
    if (options.bandwidth > 0) limiter_.emplace(options.bandwidth);
  }

  Result<ContentReport> Run();

 private:
  std::vector<std::size_t> SortOut();
  Result<void> CheckSpace(std::uint64_t spare_bytes);
  Result<void> CountMissing();
  Result<void> DownloadThese(const std::vector<std::size_t>& indices);
  Result<void> Take(Finished finished);
  Result<void> TakeFailure(const NeededFile& needed, Error error);
  Result<void> Publish();
  Result<void> AskUpstream();
  Result<void> TellUnknown(const std::vector<Sha1Digest>& unknown);
  Result<void> WaitForContent();
  std::vector<ContentPlace> PlacesOf(const NeededFile& needed) const;
  static Error Stopped() { return {ErrorCode::kCancelled, "content download: stopped", {}, {}}; }

  Mirror& mirror_;
  Upstream& upstream_;
  const FetcherFactory& fetchers_;
  const ContentSyncOptions& options_;
  Progress& progress_;
  std::stop_token stop_;
  WindowGate window_;
  std::optional<RateLimiter> limiter_;
  std::function<bool(std::chrono::milliseconds, std::stop_token)> wait_;

  std::vector<NeededFile> needed_;
  std::vector<char> is_settled_;  // of needed_: fetched, or will not be
  // Of needed_: what was still to come when the run began; 0 once settled. And their sum.
  std::vector<std::uint64_t> missing_;
  std::uint64_t missing_bytes_ = 0;
  std::vector<VerifiedContent> batch_;
  std::uint64_t batch_bytes_ = 0;
  std::vector<std::size_t> absent_;  // of needed_: the upstream does not have them
  ContentReport report_;
};

Result<ContentReport> ContentRun::Run() {
  TRY_ASSIGN(needed_, FindNeededFiles(mirror_));
  is_settled_.assign(needed_.size(), 0);
  report_.needed_files = needed_.size();
  if (needed_.empty()) return std::move(report_);
  const std::vector<std::size_t> wanted = SortOut();
  if (options_.window) report_.window = options_.window->ToString();
  if (!window_.IsOpen()) {
    report_.postponed_files = wanted.size();
    return std::move(report_);
  }
  TRY(CountMissing());
  TRY(CheckSpace(kSpareBytes));
  progress_.Begin("content", wanted.size(), missing_bytes_);
  TRY(DownloadThese(wanted));
  progress_.End();
  if (stop_.stop_requested()) return std::unexpected(Stopped());
  TRY(AskUpstream());
  TRY(WaitForContent());
  if (stop_.stop_requested()) return std::unexpected(Stopped());
  report_.waiting_files = absent_.size();
  if (report_.postponed_files == 0) report_.window.clear();
  return std::move(report_);
}

// What may be fetched at all: a declaration of a petabyte must not keep the others away.
std::vector<std::size_t> ContentRun::SortOut() {
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < needed_.size(); ++i) {
    const std::uint64_t bytes = needed_[i].LargestBytes();
    if (bytes <= options_.max_file_bytes) {
      report_.needed_bytes += bytes;
      wanted.push_back(i);
      continue;
    }
    is_settled_[i] = 1;
    const Sha1Digest& sha1 = needed_[i].expected.sha1;
    std::string message =
        fmt::format("file {}: {} bytes, at most {} are allowed (import.max_file_bytes)",
                    sha1.ToHex(HexCase::kUpper), bytes, options_.max_file_bytes);
    report_.failed.push_back(
        {sha1, {ErrorCode::kUnsupported, std::move(message), "file-too-large", {}}});
  }
  return wanted;
}

// ---- Space -------------------------------------------------------------------------------------

// What is still to come over the network: what is staged takes no more room.
Result<void> ContentRun::CountMissing() {
  missing_.assign(needed_.size(), 0);
  for (std::size_t i = 0; i < needed_.size(); ++i) {
    if (is_settled_[i] != 0) continue;
    const std::uint64_t wanted = needed_[i].LargestBytes();
    TRY_ASSIGN(const auto staged, mirror_.content().StagedPath(needed_[i].expected));
    std::error_code error;
    const std::uintmax_t size = fs::file_size(staged, error);
    missing_[i] = wanted - (error ? 0 : std::min<std::uint64_t>(size, wanted));
    missing_bytes_ += missing_[i];
  }
  return {};
}

Result<void> ContentRun::CheckSpace(std::uint64_t spare_bytes) {
  return CheckFreeSpace(mirror_.path(), missing_bytes_ + spare_bytes);
}

// ---- Downloading -------------------------------------------------------------------------------

std::vector<ContentPlace> ContentRun::PlacesOf(const NeededFile& needed) const {
  std::vector<ContentPlace> places;
  if (options_.source != ContentSource::kVendor) {
    places.push_back({options_.content_root + "/Content/" +
                          mirror::ContentPath(needed.expected.sha1, needed.expected.extension),
                      /*is_upstream=*/true});
  }
  if (options_.source != ContentSource::kUpstream && needed.vendor_url &&
      !needed.vendor_url->empty()) {
    places.push_back({*needed.vendor_url, /*is_upstream=*/false});
  }
  return places;
}

Result<void> ContentRun::DownloadThese(const std::vector<std::size_t>& indices) {
  std::vector<std::unique_ptr<Fetcher>> fetchers;
  const std::size_t threads = std::min<std::size_t>(options_.parallel, indices.size());
  for (std::size_t i = 0; i < threads; ++i) {
    TRY_ASSIGN(auto fetcher, fetchers_());
    fetchers.push_back(std::move(fetcher));
  }
  const DownloadShared shared{mirror_.content(),
                              mirror_.clock(),
                              progress_,
                              window_,
                              limiter_ ? &*limiter_ : nullptr,
                              wait_};
  ResultQueue queue;
  std::atomic<std::size_t> next = 0;
  std::stop_source give_up;
  const std::stop_callback forward(stop_, [&] { give_up.request_stop(); });
  std::vector<std::jthread> workers;
  for (auto& fetcher : fetchers) {
    workers.emplace_back([&, one = fetcher.get()] {
      for (std::size_t i = next++; i < indices.size(); i = next++) {
        const NeededFile& needed = needed_[indices[i]];
        queue.Push({indices[i], give_up.stop_requested()
                                    ? Downloaded{Stopped(), 0}
                                    : DownloadFile(*one, needed, PlacesOf(needed), shared,
                                                   give_up.get_token())});
      }
    });
  }
  Result<void> outcome;
  for (std::size_t received = 0; received < indices.size(); ++received) {
    Finished finished = queue.Pop();
    if (!outcome) continue;  // draining: every worker must end before its data goes
    outcome = Take(std::move(finished));
    if (!outcome) give_up.request_stop();
  }
  workers.clear();
  TRY(std::move(outcome));
  return Publish();
}

Result<void> ContentRun::Take(Finished finished) {
  const NeededFile& needed = needed_[finished.index];
  report_.fetched_bytes += finished.downloaded.network_bytes;
  auto& result = finished.downloaded.result;
  is_settled_[finished.index] = 1;
  missing_bytes_ -= std::exchange(missing_[finished.index], 0);
  if (auto* verified = std::get_if<VerifiedContent>(&result)) {
    ++report_.fetched_files;
    progress_.Advance(1, 0);
    batch_bytes_ += verified->file().size_bytes;
    batch_.push_back(std::move(*verified));
    if (batch_.size() < kPublishFiles && batch_bytes_ < kPublishBytes) return {};
    TRY(Publish());
    return CheckSpace(0);
  }
  if (std::holds_alternative<AbsentUpstream>(result)) {
    absent_.push_back(finished.index);
    return {};
  }
  return TakeFailure(needed, std::move(std::get<Error>(result)));
}

Result<void> ContentRun::TakeFailure(const NeededFile& needed, Error error) {
  if (error.reason == "window-closed") {
    ++report_.postponed_files;
    return {};
  }
  if (error.code == ErrorCode::kCancelled) return {};
  if (error.code == ErrorCode::kNoSpace || error.code == ErrorCode::kInternal) {
    // What was verified until now is kept: it would only be fetched again.
    if (const auto kept = Publish(); !kept) {
      Log(LogLevel::kWarning, "verified content not published", {{"why", kept.error().message}});
    }
    return std::unexpected(std::move(error));
  }
  Log(LogLevel::kWarning, "content file not fetched",
      {{"sha1", needed.expected.sha1.ToHex(HexCase::kUpper)}, {"why", error.message}});
  report_.failed.push_back({needed.expected.sha1, std::move(error)});
  return {};
}

Result<void> ContentRun::Publish() {
  if (batch_.empty()) return {};
  std::vector<Sha1Digest> held;
  for (const VerifiedContent& one : batch_) held.push_back(one.file().sha1);
  batch_bytes_ = 0;
  TRY(mirror_.content().Publish(std::exchange(batch_, {})));
  return mirror_.content().ForgetWanted(held);
}

// ---- What the upstream has not stored ----------------------------------------------------------

// 404: the upstream has not stored it. An empty answer only means that it will (companion 2.7).
Result<void> ContentRun::AskUpstream() {
  if (absent_.empty() || !options_.ask_upstream) return {};
  std::vector<Sha1Digest> sha1s;
  for (const std::size_t index : absent_) sha1s.push_back(needed_[index].expected.sha1);
  std::sort(sha1s.begin(), sha1s.end());
  TRY_ASSIGN(const AskedFiles asked, AskForFiles(upstream_, sha1s));
  report_.asked_files = asked.noted;
  if (!asked.failure.empty()) {
    progress_.Note("the upstream was not asked for missing files: " + asked.failure);
  }
  return TellUnknown(asked.unknown);
}

Result<void> ContentRun::TellUnknown(const std::vector<Sha1Digest>& unknown) {
  if (unknown.empty()) return {};
  TRY_ASSIGN(const auto owners, OwnersOf(mirror_, unknown));
  for (const Sha1Digest& sha1 : unknown) {
    std::erase_if(absent_, [&](std::size_t i) { return needed_[i].expected.sha1 == sha1; });
    const auto owner = owners.find(sha1);
    std::string message =
        fmt::format("file {}: the upstream does not know it", sha1.ToHex(HexCase::kUpper));
    if (owner != owners.end()) {
      message += fmt::format(", though update {} declares it", owner->second.ToString());
    }
    report_.failed.push_back({sha1, {ErrorCode::kNotFound, message, "unknown-upstream", {}}});
  }
  return {};
}

// Asks for absent files with growing pauses, as long as the operator wants to wait.
Result<void> ContentRun::WaitForContent() {
  const std::chrono::milliseconds limit = options_.wait_for_content;
  std::chrono::milliseconds waited{0};
  std::chrono::milliseconds pause = std::clamp(limit / 16, kShortestPoll, kFirstPoll);
  while (!absent_.empty() && waited < limit && window_.IsOpen()) {
    pause = std::min(pause, limit - waited);
    progress_.Note(fmt::format("the upstream does not have {} files yet: asking again in {} s",
                               absent_.size(), (pause.count() + 999) / 1000));
    if (!wait_(pause, stop_)) return std::unexpected(Stopped());
    waited += pause;
    pause = std::min(2 * pause, kLongestPoll);
    TRY(DownloadThese(std::exchange(absent_, {})));
  }
  return {};
}

}  // namespace

ContentSyncOptions ContentOptionsOf(const Mirror& mirror, bool catalog_only,
                                    const ContentChoices& choices) {
  const mirror::Config& config = mirror.config();
  ContentSyncOptions options;
  options.content_root = config.upstream.content_url.empty() ? ContentRootOf(config.upstream.wsus)
                                                             : config.upstream.content_url;
  while (options.content_root.ends_with('/')) options.content_root.pop_back();
  options.source = catalog_only ? ContentSource::kVendor : config.content.source;
  options.ask_upstream = config.content.ask_upstream;
  options.parallel = std::max<std::uint32_t>(1, config.sync.parallel_downloads);
  options.max_file_bytes = config.import.max_file_bytes;
  options.bandwidth = choices.bandwidth.value_or(config.content.bandwidth);
  if (!choices.ignore_window) options.window = config.content.window;
  options.wait_for_content = choices.wait_for_content;
  return options;
}

Result<ContentReport> SyncContent(Mirror& mirror, Upstream& upstream,
                                  const FetcherFactory& fetchers, const ContentSyncOptions& options,
                                  Progress& progress, std::stop_token stop) {
  return ContentRun(mirror, upstream, fetchers, options, progress, std::move(stop)).Run();
}

}  // namespace gapferry::exporter
