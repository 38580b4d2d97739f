#include "client/download.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "client/pause.h"

namespace gapferry::client {

namespace {

using protocol::UpdateFile;

constexpr std::string_view kUserAgent = "Microsoft-Delivery-Optimization/10.1";
constexpr std::int32_t kIncorrectHash =
    static_cast<std::int32_t>(0x80246002);  // WU_E_DM_INCORRECTFILEHASH
constexpr std::int32_t kNotDownloaded =
    static_cast<std::int32_t>(0x80246007);  // WU_E_DM_NOTDOWNLOADED

// Writes at a moving offset, never past `end`.
class RangeSink : public Sink {
 public:
  RangeSink(File& file, std::uint64_t offset, std::uint64_t end)
      : file_(file), offset_(offset), end_(end) {}
  Result<void> Write(ByteView bytes) override {
    if (bytes.size() > end_ - offset_) {
      return Fail(ErrorCode::kCorrupt, "the server sent more than it was asked for");
    }
    TRY(file_.WriteAllAt(offset_, bytes));
    offset_ += bytes.size();
    return {};
  }
  std::uint64_t offset() const { return offset_; }

 private:
  File& file_;
  std::uint64_t offset_;
  const std::uint64_t end_;
};

class Downloader {
 public:
  Downloader(Fetcher& fetcher, const Clock& clock, Progress& progress, std::stop_token stop,
             const DownloadOptions& options, DownloadResult& result)
      : fetcher_(fetcher),
        clock_(clock),
        progress_(progress),
        stop_(std::move(stop)),
        options_(options),
        result_(result) {}

  Result<DownloadedFile> Get(const OfferedFile& wanted, const fs::path& directory) {
    const UpdateFile& file = wanted.file;
    const std::string name =
        fmt::format("{}.{}", file.sha1.ToHex(HexCase::kUpper), file.Extension());
    DownloadedFile done{file, directory / name, false};
    if (IsComplete(done.path, file.size)) {
      done.was_there = true;
      progress_.Advance(1, file.size);
      return done;
    }
    if (wanted.url.empty()) {
      return Fail(ErrorCode::kNotFound, fmt::format("file '{}': the server gave no location for it",
                                                    EscapeForDisplay(file.file_name)));
    }
    const fs::path part = directory / (name + ".part");
    for (int attempt = 1;; ++attempt) {
      TRY(Fill(wanted, part), fmt::format("file '{}'", EscapeForDisplay(file.file_name)));
      const auto verified = Verify(part, file);
      if (verified) break;
      TRY(RemoveFile(part));
      // A partial file of another life may have spoiled it: once more, from the beginning.
      if (attempt == 2) return std::unexpected(verified.error());
      progress_.Note(verified.error().message + ": fetching it again");
    }
    TRY(Rename(part, done.path));
    TRY(SyncDirectory(directory));
    progress_.Advance(1, 0);
    return done;
  }

 private:
  static bool IsComplete(const fs::path& path, std::uint64_t size) {
    std::error_code error;
    return fs::is_regular_file(path, error) && fs::file_size(path, error) == size && !error;
  }

  Result<void> Fill(const OfferedFile& wanted, const fs::path& part) {
    TRY_ASSIGN(File file, File::OpenUpdate(part));
    TRY_ASSIGN(std::uint64_t offset, file.Size());
    if (offset > wanted.file.size) {
      TRY(file.Truncate(0));
      offset = 0;
    }
    result_.resumed_bytes += offset;
    progress_.Advance(0, offset);
    while (offset < wanted.file.size) {
      const std::uint64_t end = std::min(wanted.file.size, offset + options_.range_bytes);
      TRY_ASSIGN(offset, FetchRange(wanted, file, offset, end));
    }
    TRY(file.Sync());
    return file.Close();
  }

  // One range with its retries; returns where the file is filled to.
  Result<std::uint64_t> FetchRange(const OfferedFile& wanted, File& file, std::uint64_t offset,
                                   std::uint64_t end) {
    for (int attempt = 1;; ++attempt) {
      RangeSink sink(file, offset, end);
      protocol::AttemptOutcome outcome;
      std::string retry_after;
      const auto fetched = FetchOnce(wanted, sink, offset, end, retry_after);
      result_.fetched_bytes += sink.offset() - offset;
      progress_.Advance(0, sink.offset() - offset);
      if (fetched) return sink.offset();
      // What came before a break counts: the next attempt goes on behind it.
      offset = sink.offset();
      outcome.error = fetched.error().code;
      outcome.retry_after = retry_after;
      const auto wait =
          protocol::RetryWait(options_.retry, attempt, outcome, RandomNumber(), clock_.Now());
      if (!wait) return std::unexpected(fetched.error());
      progress_.Note(fetched.error().message + ": trying again");
      TRY(Pause(*wait, stop_));
    }
  }

  Result<void> FetchOnce(const OfferedFile& wanted, RangeSink& sink, std::uint64_t offset,
                         std::uint64_t end, std::string& retry_after) {
    FetchRequest request;
    request.url = wanted.url;
    request.headers = {{"User-Agent", std::string(kUserAgent)}, {"Accept", "*/*"}};
    request.range_first = offset;
    request.range_last = end - 1;
    request.max_body_bytes = end - offset;
    ++result_.requests;
    TRY_ASSIGN(const FetchResponse response, fetcher_.Fetch(request, sink, stop_));
    if (response.status != 206 && response.status != 200) {
      retry_after = response.Header("Retry-After");
      return FailStatus(response.status, wanted.url);
    }
    if (const auto total = response.TotalBytes(); total && *total != wanted.file.size) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("{} has {} bytes, the update's metadata say {}",
                              DisplayUrl(wanted.url), *total, wanted.file.size));
    }
    if (sink.offset() != end) {
      return Fail(ErrorCode::kTransient, fmt::format("{} ended at byte {} of the range to {}",
                                                     DisplayUrl(wanted.url), sink.offset(), end));
    }
    return {};
  }

  static std::unexpected<Error> FailStatus(int status, const std::string& url) {
    const bool transient = status == 408 || status == 429 || status >= 500;
    return Fail(transient ? ErrorCode::kTransient : ErrorCode::kNotFound,
                fmt::format("{} answered HTTP {}", DisplayUrl(url), status));
  }

  Result<void> Verify(const fs::path& path, const UpdateFile& wanted) {
    TRY_ASSIGN(File file, File::OpenRead(path));
    FileSource source(file);
    HashingSink<Sha1Digest> sha1;
    HashingSink<Sha256Digest> sha256;
    TeeSink both(sha1, sha256);
    TRY_ASSIGN(const std::uint64_t size, Copy(source, both, wanted.size, stop_));
    const std::string name = EscapeForDisplay(wanted.file_name);
    if (size != wanted.size) {
      return Fail(ErrorCode::kCorrupt, fmt::format("file '{}': size mismatch: expected {}, got {}",
                                                   name, wanted.size, size));
    }
    if (const Sha1Digest got = sha1.Finish(); got != wanted.sha1) {
      return Fail(ErrorCode::kCorrupt, fmt::format("file '{}': SHA-1 mismatch: expected {}, got {}",
                                                   name, wanted.sha1.ToHex(), got.ToHex()));
    }
    if (const Sha256Digest got = sha256.Finish(); wanted.sha256 && got != *wanted.sha256) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("file '{}': SHA-256 mismatch: expected {}, got {}", name,
                              wanted.sha256->ToHex(), got.ToHex()));
    }
    return {};
  }

  Fetcher& fetcher_;
  const Clock& clock_;
  Progress& progress_;
  const std::stop_token stop_;
  const DownloadOptions& options_;
  DownloadResult& result_;
};

// Whole-run failures; everything else is one update's.
bool EndsTheRun(const Error& error) {
  return error.code == ErrorCode::kCancelled || error.code == ErrorCode::kNoSpace;
}

void Remember(ClientState& state, const OfferedUpdate& update, const DownloadedUpdate& done,
              UtcTime now) {
  PendingEvent event;
  event.instance = Guid::Random();
  event.event_id = done.error ? 161 : 162;
  event.time = now;
  event.update = update.id;
  event.title = update.title;
  event.bytes = update.bytes;
  event.is_bundle = update.is_bundle;
  if (done.error) {
    event.hresult = done.error->code == ErrorCode::kCorrupt ? kIncorrectHash : kNotDownloaded;
  }
  state.pending_events().push_back(std::move(event));
}

}  // namespace

Result<DownloadResult> Download(Fetcher& fetcher, ClientState& state,
                                const std::vector<OfferedUpdate>& updates, const Clock& clock,
                                Progress& progress, std::stop_token stop,
                                const DownloadOptions& options) {
  DownloadResult result;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  for (const OfferedUpdate& update : updates) {
    files += update.files.size();
    bytes += update.bytes;
  }
  progress.Begin("downloading", files, bytes);
  Downloader downloader(fetcher, clock, progress, std::move(stop), options, result);
  for (const OfferedUpdate& update : updates) {
    if (update.files.empty()) continue;
    DownloadedUpdate done{update.id, update.title, {}, {}};
    bool fetched_any = false;
    for (const OfferedFile& file : update.files) {
      auto got = downloader.Get(file, state.content_directory());
      if (got) {
        fetched_any = fetched_any || !got->was_there;
        done.files.push_back(std::move(*got));
        continue;
      }
      if (EndsTheRun(got.error())) return std::unexpected(got.error());
      done.error = got.error();
      break;
    }
    // What was complete before this run has been reported.
    if (fetched_any || done.error) {
      Remember(state, update, done, clock.Now());
      TRY(state.Save());
    }
    result.updates.push_back(std::move(done));
  }
  progress.End();
  return result;
}

}  // namespace gapferry::client
