#include "exporter/content_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <variant>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"
#include "protocol/retry.h"

namespace gapferry::exporter {

using mirror::ContentExpectation;
using mirror::ContentStore;
using mirror::DeclaredFile;
using mirror::DeploymentAction;
using mirror::FileKind;
using mirror::Mirror;
using mirror::RevisionRelations;
using mirror::VerifiedContent;

namespace {

constexpr std::uint64_t kSpareBytes = 64ULL << 20;
constexpr std::size_t kPublishFiles = 256;
constexpr std::uint64_t kPublishBytes = 1ULL << 30;
constexpr std::size_t kDownloadFilesLimit = 100;  // MS-WSUSSS 3.1.4.9
constexpr int kAttempts = 4;

// ---- What is needed ----------------------------------------------------------------------------

class NeedFinder {
 public:
  explicit NeedFinder(Mirror& mirror) : mirror_(mirror) {}

  Result<std::vector<NeededFile>> Find() {
    TRY_ASSIGN(const auto declined, mirror_.intent().Declined());
    declined_.insert(declined.begin(), declined.end());
    const auto policy = mirror_.config().content.download;
    if (policy == mirror::ContentPolicy::kApproved) TRY(Approved());
    if (policy != mirror::ContentPolicy::kNone) {
      TRY(Everywhere(policy == mirror::ContentPolicy::kAll));
    }
    TRY(Wanted());
    std::vector<NeededFile> needed;
    for (auto& [sha1, expected] : files_) {
      if (mirror_.content().Holds(sha1)) continue;
      TRY_ASSIGN(auto url, mirror_.catalog().FileUrl(sha1));
      needed.push_back({std::move(expected), std::move(url)});
    }
    return needed;
  }

 private:
  Result<void> Approved() {
    TRY_ASSIGN(const auto deployments, mirror_.intent().Deployments());
    for (const auto& deployment : deployments) {
      const bool carries = deployment.action == DeploymentAction::kInstall ||
                           deployment.action == DeploymentAction::kUninstall ||
                           deployment.action == DeploymentAction::kOptionalInstall;
      if (carries && !declined_.contains(deployment.update.guid)) TRY(Payload(deployment.update));
    }
    return {};
  }

  // The files of a revision and of what it bundles, at any depth.
  Result<void> Payload(const protocol::UpdateId& root) {
    std::vector<protocol::UpdateId> pending{root};
    while (!pending.empty()) {
      const protocol::UpdateId update = pending.back();
      pending.pop_back();
      if (!visited_.insert(update).second) continue;
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(update));
      if (!row || row->has_digest_conflict) continue;
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      if (!relations) continue;
      for (const DeclaredFile& file : relations->files) Add(file);
      for (const auto& group : relations->bundled) {
        pending.insert(pending.end(), group.begin(), group.end());
      }
    }
    return {};
  }

  // Licence texts of every live update: they are read before an approval. Payload too when asked.
  Result<void> Everywhere(bool payload) {
    return mirror_.catalog().ForEachRelations(0, [&](RevisionRelations& revision) -> Result<void> {
      const auto& row = revision.row;
      if (!row.is_latest || row.is_expired || row.is_withdrawn || row.has_digest_conflict)
        return {};
      if (declined_.contains(row.update.guid)) return {};
      for (const DeclaredFile& file : revision.files) {
        if (payload || file.kind == FileKind::kEula) Add(file);
      }
      return {};
    });
  }

  // Asked for by servers below, or lost here. Only what a revision declares can be verified.
  Result<void> Wanted() {
    TRY_ASSIGN(const auto wanted, mirror_.content().Wanted());
    std::unordered_set<Sha1Digest> open;
    for (const Sha1Digest& sha1 : wanted) {
      if (!files_.contains(sha1)) open.insert(sha1);
    }
    if (open.empty()) return {};
    return mirror_.catalog().ForEachRelations(0, [&](RevisionRelations& revision) -> Result<void> {
      for (const DeclaredFile& file : revision.files) {
        if (open.contains(file.sha1)) Insert(file);
      }
      return {};
    });
  }

  void Add(const DeclaredFile& file) {
    const bool express = EqualsIgnoreCase(file.patching_type, "Express");
    if (express && !mirror_.config().content.express) return;
    Insert(file);
  }

  void Insert(const DeclaredFile& file) {
    auto [at, inserted] = files_.try_emplace(file.sha1);
    ContentExpectation& expected = at->second;
    if (inserted) expected = {file.sha1, file.sha256, file.size_bytes, file.extension};
    if (!expected.sha256) expected.sha256 = file.sha256;
  }

  Mirror& mirror_;
  std::unordered_set<Guid> declined_;
  std::unordered_set<protocol::UpdateId> visited_;
  std::map<Sha1Digest, ContentExpectation> files_;
};

// ---- Downloading -------------------------------------------------------------------------------

// Appends to a staged file and hashes what passes, when it began with the first byte.
class StagingSink : public Sink {
 public:
  StagingSink(File& file, std::uint64_t offset, Progress& progress)
      : file_(file), offset_(offset), progress_(progress) {}

  Result<void> Write(ByteView bytes) override {
    TRY(file_.WriteAllAt(offset_, bytes));
    offset_ += bytes.size();
    written_ += bytes.size();
    sha1_.Update(bytes);
    sha256_.Update(bytes);
    progress_.Advance(0, bytes.size());
    return {};
  }
  std::uint64_t offset() const { return offset_; }
  std::uint64_t written() const { return written_; }
  Sha1Digest Sha1() { return sha1_.Finish(); }
  Sha256Digest Sha256() { return sha256_.Finish(); }

 private:
  File& file_;
  std::uint64_t offset_;
  std::uint64_t written_ = 0;
  Progress& progress_;
  Sha1Hasher sha1_;
  Sha256Hasher sha256_;
};

struct Absent {};  // 404
struct Downloaded {
  std::size_t index;
  std::variant<VerifiedContent, Absent, Error> result;
  std::uint64_t network_bytes;
};

// One file, on one thread with its own fetcher.
class Download {
 public:
  Download(Fetcher& fetcher, ContentStore& store, const ContentSyncOptions& options,
           Progress& progress, std::stop_token stop)
      : fetcher_(fetcher),
        store_(store),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)) {}

  std::variant<VerifiedContent, Absent, Error> Run(const NeededFile& needed) {
    auto done = TryAll(needed);
    if (!done) return std::move(done.error());
    if (!*done) return Absent{};
    return std::move(**done);
  }
  std::uint64_t network_bytes() const { return network_bytes_; }

 private:
  std::string UrlOf(const NeededFile& needed) const {
    if (options_.use_vendor_urls) return needed.vendor_url.value_or("");
    return options_.content_root + "/Content/" +
           mirror::ContentPath(needed.expected.sha1, needed.expected.extension);
  }

  // Nothing: the server does not have it.
  Result<std::optional<VerifiedContent>> TryAll(const NeededFile& needed) {
    const std::string url = UrlOf(needed);
    if (url.empty()) {
      return Fail(ErrorCode::kNotFound, "no-url",
                  fmt::format("file {}: the upstream gave no address for it",
                              needed.expected.sha1.ToHex(HexCase::kUpper)));
    }
    if (needed.expected.size_bytes > options_.max_file_bytes) {
      return Fail(ErrorCode::kUnsupported, "file-too-large",
                  fmt::format("file {}: {} bytes, at most {} are allowed",
                              needed.expected.sha1.ToHex(HexCase::kUpper),
                              needed.expected.size_bytes, options_.max_file_bytes));
    }
    const protocol::RetryPolicy policy{.attempts = kAttempts};
    for (int attempt = 1;; ++attempt) {
      protocol::AttemptOutcome outcome;
      auto result = TryOnce(needed.expected, url, outcome);
      if (result) return result;
      // A damaged copy is worth one more try from the first byte; staging is empty by now.
      const bool damaged = result.error().code == ErrorCode::kCorrupt && attempt == 1;
      outcome.error = damaged ? ErrorCode::kTransient : result.error().code;
      const auto wait = RetryWait(policy, attempt, outcome, 0, SystemClock().Now());
      if (!wait) return result;
      if (!WaitOrStop(*wait, stop_)) return Fail(ErrorCode::kCancelled, "download: stopped");
    }
  }

  Result<std::optional<VerifiedContent>> TryOnce(const ContentExpectation& expected,
                                                 const std::string& url,
                                                 protocol::AttemptOutcome& outcome) {
    TRY_ASSIGN(const auto staged, store_.StagedPath(expected));
    TRY_ASSIGN(File file, File::OpenUpdate(staged));
    TRY_ASSIGN(std::uint64_t have, file.Size());
    if (have > expected.size_bytes) {
      TRY(file.Truncate(0));
      have = 0;
    }
    if (have == expected.size_bytes && have > 0) return Verify(staged, expected);
    StagingSink sink(file, have, progress_);
    FetchRequest request;
    request.url = url;
    request.range_first = have;
    request.max_body_bytes = expected.size_bytes - have;
    request.success_body_only = true;
    auto answer = fetcher_.Fetch(request, sink, stop_);
    network_bytes_ += sink.written();
    if (!answer) {
      if (answer.error().reason == "range-ignored") TRY(file.Truncate(0));
      if (answer.error().code == ErrorCode::kCorrupt) TRY(file.Truncate(0));
      return std::unexpected(std::move(answer.error()));
    }
    outcome.http_status = answer->status;
    if (answer->status == 416) {  // what is staged does not fit what is there
      TRY(file.Truncate(0));
      return Fail(ErrorCode::kTransient, fmt::format("GET {}: HTTP status 416", DisplayUrl(url)));
    }
    if (answer->status != 200 && answer->status != 206) {
      if (answer->status == 404 || answer->status == 410) return std::optional<VerifiedContent>();
      return Fail(answer->status >= 500 || answer->status == 429 ? ErrorCode::kTransient
                                                                 : ErrorCode::kUnsupported,
                  "http-status",
                  fmt::format("GET {}: HTTP status {}", DisplayUrl(url), answer->status));
    }
    TRY(file.Close());
    if (have > 0) return Verify(staged, expected);
    TRY_ASSIGN(auto verified, ContentStore::AcceptHashed(staged, expected, sink.Sha1(),
                                                         sink.Sha256(), sink.offset()));
    return std::optional<VerifiedContent>(std::move(verified));
  }

  static Result<std::optional<VerifiedContent>> Verify(const fs::path& staged,
                                                       const ContentExpectation& expected) {
    TRY_ASSIGN(auto verified, ContentStore::VerifyStaged(staged, expected));
    return std::optional<VerifiedContent>(std::move(verified));
  }

  Fetcher& fetcher_;
  ContentStore& store_;  // StagedPath only, which is thread-safe
  const ContentSyncOptions& options_;
  Progress& progress_;
  std::stop_token stop_;
  std::uint64_t network_bytes_ = 0;
};

// Results on their way from the downloading threads to the one that owns the store.
class ResultQueue {
 public:
  void Push(Downloaded result) {
    const std::lock_guard lock(mutex_);
    results_.push_back(std::move(result));
    filled_.notify_one();
  }
  Downloaded Pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !results_.empty(); });
    Downloaded result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<Downloaded> results_;
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
        stop_(std::move(stop)) {}

  Result<ContentReport> Run() {
    TRY_ASSIGN(needed_, FindNeededFiles(mirror_));
    report_.needed_files = needed_.size();
    for (const NeededFile& file : needed_) report_.needed_bytes += file.expected.size_bytes;
    if (needed_.empty()) return std::move(report_);
    TRY_ASSIGN(const std::uint64_t staged, StagedBytes());
    TRY(CheckFreeSpace(mirror_.path(), report_.needed_bytes - staged + kSpareBytes));
    progress_.Begin("content", needed_.size(), report_.needed_bytes - staged);
    TRY(DownloadAll());
    TRY(Publish());
    progress_.End();
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "content download: stopped");
    TRY(AskUpstream());
    return std::move(report_);
  }

 private:
  Result<std::uint64_t> StagedBytes() {
    std::uint64_t total = 0;
    for (const NeededFile& file : needed_) {
      TRY_ASSIGN(const auto staged, mirror_.content().StagedPath(file.expected));
      std::error_code error;
      const std::uintmax_t size = fs::file_size(staged, error);
      if (!error) total += std::min<std::uint64_t>(size, file.expected.size_bytes);
    }
    return total;
  }

  Result<void> DownloadAll() {
    std::vector<std::unique_ptr<Fetcher>> fetchers;
    const std::size_t threads = std::min<std::size_t>(options_.parallel, needed_.size());
    for (std::size_t i = 0; i < threads; ++i) {
      TRY_ASSIGN(auto fetcher, fetchers_());
      fetchers.push_back(std::move(fetcher));
    }
    ResultQueue queue;
    std::atomic<std::size_t> next = 0;
    std::stop_source give_up;
    const std::stop_callback forward(stop_, [&] { give_up.request_stop(); });
    std::vector<std::jthread> workers;
    for (auto& fetcher : fetchers) {
      workers.emplace_back([&, one = fetcher.get()] {
        for (std::size_t i = next++; i < needed_.size(); i = next++) {
          Download download(*one, mirror_.content(), options_, progress_, give_up.get_token());
          auto result = give_up.stop_requested()
                            ? std::variant<VerifiedContent, Absent, Error>(Cancelled())
                            : download.Run(needed_[i]);
          queue.Push({i, std::move(result), download.network_bytes()});
        }
      });
    }
    Result<void> outcome;
    for (std::size_t received = 0; received < needed_.size(); ++received) {
      Downloaded downloaded = queue.Pop();
      if (!outcome) continue;  // draining: every worker must end before its data goes
      outcome = Take(std::move(downloaded));
      if (!outcome) give_up.request_stop();
    }
    return outcome;
  }

  static Error Cancelled() { return {ErrorCode::kCancelled, "content download: stopped", {}, {}}; }

  Result<void> Take(Downloaded downloaded) {
    const NeededFile& needed = needed_[downloaded.index];
    report_.fetched_bytes += downloaded.network_bytes;
    if (auto* verified = std::get_if<VerifiedContent>(&downloaded.result)) {
      ++report_.fetched_files;
      progress_.Advance(1, 0);
      batch_bytes_ += verified->file().size_bytes;
      batch_.push_back(std::move(*verified));
      if (batch_.size() < kPublishFiles && batch_bytes_ < kPublishBytes) return {};
      return Publish();
    }
    if (std::holds_alternative<Absent>(downloaded.result)) {
      absent_.push_back(needed.expected.sha1);
      return {};
    }
    Error& error = std::get<Error>(downloaded.result);
    if (error.code == ErrorCode::kCancelled) return {};
    if (error.code == ErrorCode::kNoSpace || error.code == ErrorCode::kInternal) {
      return std::unexpected(std::move(error));
    }
    Log(LogLevel::kWarning, "content file not fetched",
        {{"sha1", needed.expected.sha1.ToHex(HexCase::kUpper)}, {"why", error.message}});
    report_.failed.push_back({needed.expected.sha1, std::move(error)});
    return {};
  }

  Result<void> Publish() {
    if (batch_.empty()) return {};
    std::vector<Sha1Digest> held;
    for (const VerifiedContent& one : batch_) held.push_back(one.file().sha1);
    batch_bytes_ = 0;
    TRY(mirror_.content().Publish(std::exchange(batch_, {})));
    return mirror_.content().ForgetWanted(held);
  }

  // 404: the upstream has not stored it. An empty answer only means that it will (companion 2.7);
  // the next sync asks again.
  Result<void> AskUpstream() {
    report_.waiting_files = absent_.size();
    if (absent_.empty() || options_.use_vendor_urls) return {};
    for (std::size_t i = 0; i < absent_.size(); i += kDownloadFilesLimit) {
      const auto from = absent_.begin() + static_cast<std::ptrdiff_t>(i);
      const auto count = std::min(kDownloadFilesLimit, absent_.size() - i);
      const std::vector<Sha1Digest> some(from, from + static_cast<std::ptrdiff_t>(count));
      if (const auto asked = upstream_.DownloadFiles(some); !asked) {
        if (asked.error().code == ErrorCode::kCancelled) return asked;
        progress_.Note("the upstream was not asked for missing files: " + asked.error().message);
        return {};
      }
    }
    return {};
  }

  Mirror& mirror_;
  Upstream& upstream_;
  const FetcherFactory& fetchers_;
  const ContentSyncOptions& options_;
  Progress& progress_;
  std::stop_token stop_;

  std::vector<NeededFile> needed_;
  std::vector<VerifiedContent> batch_;
  std::uint64_t batch_bytes_ = 0;
  std::vector<Sha1Digest> absent_;
  ContentReport report_;
};

}  // namespace

Result<std::vector<NeededFile>> FindNeededFiles(Mirror& mirror) {
  return NeedFinder(mirror).Find();
}

Result<ContentReport> SyncContent(Mirror& mirror, Upstream& upstream,
                                  const FetcherFactory& fetchers, const ContentSyncOptions& options,
                                  Progress& progress, std::stop_token stop) {
  return ContentRun(mirror, upstream, fetchers, options, progress, std::move(stop)).Run();
}

}  // namespace gapferry::exporter
