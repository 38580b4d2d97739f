#include "exporter/content_download.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "exporter/staged_file.h"
#include "protocol/retry.h"

namespace gapferry::exporter {

using mirror::VerifiedContent;

namespace {

constexpr int kAttempts = 4;
constexpr std::uint64_t kProgressBytes = 1 << 20;

std::unexpected<Error> FailStopped() { return Fail(ErrorCode::kCancelled, "download: stopped"); }

// Slows the bytes down to the shared limit, and ends them when the window closes.
class PacedSink : public Sink {
 public:
  PacedSink(StagedFile& file, const DownloadShared& shared, std::stop_token stop)
      : file_(file), shared_(shared), stop_(std::move(stop)) {}

  Result<void> Write(ByteView bytes) override {
    if (!shared_.window.IsOpen()) {
      return Fail(ErrorCode::kCancelled, "window-closed", "the time window for content has ended");
    }
    TRY(file_.Write(bytes));
    shared_.progress.Advance(0, bytes.size());
    if (shared_.limiter == nullptr) return {};
    const auto wait = shared_.limiter->Reserve(bytes.size());
    if (wait.count() > 0 && !shared_.wait(wait, stop_)) return FailStopped();
    return {};
  }

 private:
  StagedFile& file_;
  const DownloadShared& shared_;
  std::stop_token stop_;
};

class Download {
 public:
  Download(Fetcher& fetcher, const NeededFile& needed, const DownloadShared& shared,
           std::stop_token stop)
      : fetcher_(fetcher), needed_(needed), shared_(shared), stop_(std::move(stop)) {}

  Downloaded Run(const std::vector<ContentPlace>& places);

 private:
  // Nothing: the place does not have it.
  using Outcome = Result<std::optional<VerifiedContent>>;

  Outcome TryPlace(const std::string& url);
  Outcome TryOnce(const std::string& url, protocol::AttemptOutcome& outcome);
  Result<FetchResponse> Fetch(const std::string& url);
  Result<void> OnAnswer(const std::string& url, const FetchResponse& answer);
  Outcome AfterAnswer(const std::string& url, const FetchResponse& answer);
  Outcome Accept();
  Result<void> OpenStaged();
  std::string Name() const { return needed_.expected.sha1.ToHex(HexCase::kUpper); }

  Fetcher& fetcher_;
  const NeededFile& needed_;
  const DownloadShared& shared_;
  std::stop_token stop_;
  std::optional<StagedFile> staged_;
  std::string retry_after_;
  std::uint64_t network_bytes_ = 0;
};

// What ends the whole file, not only this place.
bool EndsAll(const Error& error) {
  return error.code == ErrorCode::kCancelled || error.code == ErrorCode::kNoSpace ||
         error.code == ErrorCode::kInternal;
}

Downloaded Download::Run(const std::vector<ContentPlace>& places) {
  if (places.empty()) {
    return {Error{ErrorCode::kNotFound,
                  fmt::format("file {}: the upstream gave no address of the vendor for it", Name()),
                  "no-url",
                  {}},
            0};
  }
  std::optional<Error> failure;
  bool absent_upstream = false;
  for (const ContentPlace& place : places) {
    Outcome outcome = TryPlace(place.url);
    if (outcome && *outcome) return {std::move(**outcome), network_bytes_};
    if (!outcome && EndsAll(outcome.error())) return {std::move(outcome).error(), network_bytes_};
    if (outcome && place.is_upstream) {
      absent_upstream = true;
      continue;
    }
    Error error = outcome ? Error{ErrorCode::kNotFound,
                                  fmt::format("GET {}: HTTP status 404", DisplayUrl(place.url)),
                                  "absent",
                                  {}}
                          : std::move(outcome).error();
    if (failure) {
      failure->message += "; " + error.message;
    } else {
      failure = std::move(error);
    }
  }
  if (absent_upstream) return {AbsentUpstream{}, network_bytes_};
  if (!failure->message.starts_with("content ")) {  // which names it already
    failure->message = fmt::format("file {}: {}", Name(), failure->message);
  }
  return {std::move(*failure), network_bytes_};
}

Download::Outcome Download::TryPlace(const std::string& url) {
  const protocol::RetryPolicy policy{.attempts = kAttempts};
  bool was_wrong = false;
  std::uint64_t counted = staged_ ? staged_->offset() : 0;
  for (int attempt = 1;;) {
    protocol::AttemptOutcome outcome;
    retry_after_.clear();
    Outcome result = TryOnce(url, outcome);
    if (result || EndsAll(result.error())) return result;
    const Error& error = result.error();
    if (error.code == ErrorCode::kCorrupt || error.reason == "content-changed") {
      if (std::exchange(was_wrong, true)) return result;
      continue;  // once more, from the first byte
    }
    // Only what no attempt had before is progress: a server that knows no ranges could send the
    // same first part for ever.
    const std::uint64_t reached = staged_ ? staged_->offset() : 0;
    if (reached >= counted + kProgressBytes) {
      attempt = 1;
      counted = reached;
    }
    outcome.error = error.code;
    outcome.retry_after = retry_after_;
    const auto wait =
        RetryWait(policy, attempt++, outcome, protocol::RandomBits(), shared_.clock.Now());
    if (!wait) return result;
    if (!shared_.wait(*wait, stop_)) return FailStopped();
  }
}

Result<void> Download::OpenStaged() {
  if (staged_) return {};
  TRY_ASSIGN(auto path, shared_.store.StagedPath(needed_.expected));
  TRY_ASSIGN(auto staged, StagedFile::Open(std::move(path), needed_, stop_));
  staged_.emplace(std::move(staged));
  return {};
}

Download::Outcome Download::TryOnce(const std::string& url, protocol::AttemptOutcome& outcome) {
  if (stop_.stop_requested()) return FailStopped();
  if (!shared_.window.IsOpen()) {
    return Fail(ErrorCode::kCancelled, "window-closed", "outside the time window for content");
  }
  TRY(OpenStaged());
  if (staged_->IsWhole()) {  // an earlier run did not come to accept it
    auto accepted = Accept();
    if (accepted || accepted.error().code != ErrorCode::kCorrupt) return accepted;
    TRY(OpenStaged());
  }
  auto answer = Fetch(url);
  if (!answer) {
    const Error& error = answer.error();
    const bool useless = error.code == ErrorCode::kCorrupt || error.reason == "content-changed";
    if (useless) TRY(staged_->Restart());
    return std::unexpected(std::move(answer).error());
  }
  outcome.http_status = answer->status;
  retry_after_ = answer->Header("Retry-After");
  return AfterAnswer(url, *answer);
}

Result<FetchResponse> Download::Fetch(const std::string& url) {
  FetchRequest request;
  request.url = url;
  request.range_first = staged_->offset();
  request.if_range = staged_->IfRange(url);
  request.accept_whole = true;
  request.max_body_bytes = needed_.LargestBytes();
  request.success_body_only = true;
  request.on_answer = [&](const FetchResponse& answer) { return OnAnswer(url, answer); };
  if (shared_.limiter != nullptr) request.low_speed_bytes_per_second = 1;
  PacedSink sink(*staged_, shared_, stop_);
  const std::uint64_t before = staged_->written();
  auto answer = fetcher_.Fetch(request, sink, stop_);
  network_bytes_ += staged_->written() - before;
  return answer;
}

// Before the first byte: what is sent must be the object that is wanted, and that was begun.
Result<void> Download::OnAnswer(const std::string& url, const FetchResponse& answer) {
  if (answer.status != 200 && answer.status != 206) {
    return Fail(ErrorCode::kUnsupported, "http-status",
                fmt::format("HTTP status {} instead of a file", answer.status));
  }
  const std::string known = staged_->IfRange(url);
  const std::string now = ValidatorOf(answer);
  if (answer.status == 206 && !known.empty() && !now.empty() && known != now) {
    return Fail(ErrorCode::kTransient, "content-changed",
                "the server has another file now and sent a part of it");
  }
  const auto total = answer.TotalBytes();
  if (total && !needed_.HasSize(*total)) {
    return Fail(ErrorCode::kCorrupt, "content-mismatch",
                fmt::format("content {}: size mismatch: expected {}, got {}",
                            needed_.expected.sha1.ToHex(), needed_.expected.size_bytes, *total));
  }
  if (answer.status == 200 && staged_->offset() > 0) TRY(staged_->Restart());
  return staged_->Remember(url, answer);
}

Download::Outcome Download::AfterAnswer(const std::string& url, const FetchResponse& answer) {
  const int status = answer.status;
  if (status == 404 || status == 410) return std::optional<VerifiedContent>();
  if (status == 416) {  // what is staged does not fit what is there
    TRY(staged_->Restart());
    return Fail(ErrorCode::kTransient, "content-changed",
                fmt::format("GET {}: HTTP status 416", DisplayUrl(url)));
  }
  if (status != 200 && status != 206) {
    const bool transient = status >= 500 || status == 408 || status == 429;
    return Fail(transient ? ErrorCode::kTransient : ErrorCode::kUnsupported, "http-status",
                fmt::format("GET {}: HTTP status {}", DisplayUrl(url), status));
  }
  if (!staged_->IsWhole()) {
    return Fail(ErrorCode::kTransient, "truncated",
                fmt::format("GET {}: ended after {} of {} bytes", DisplayUrl(url),
                            staged_->offset(), needed_.expected.size_bytes));
  }
  return Accept();
}

Download::Outcome Download::Accept() {
  auto verified = staged_->Accept();
  staged_.reset();
  if (!verified) return std::unexpected(std::move(verified).error());
  return std::optional<VerifiedContent>(std::move(*verified));
}

}  // namespace

bool WindowGate::IsOpen() {
  if (!window_) return true;
  const UtcTime now = clock_.Now();
  const std::int64_t second = now.UnixSeconds();
  if (second_.exchange(second) != second) {
    open_ = window_->Contains(mirror::LocalMinuteOfDay(now));
  }
  return open_;
}

Downloaded DownloadFile(Fetcher& fetcher, const NeededFile& needed,
                        const std::vector<ContentPlace>& places, const DownloadShared& shared,
                        std::stop_token stop) {
  return Download(fetcher, needed, shared, std::move(stop)).Run(places);
}

}  // namespace gapferry::exporter
