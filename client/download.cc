#include "client/download.h"

#include <fmt/core.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "client/partial_file.h"
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

std::string FileNameOf(const UpdateFile& file) {
  return fmt::format("{}.{}", file.sha1.ToHex(HexCase::kUpper), file.Extension());
}

bool IsComplete(const fs::path& path, std::uint64_t size) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == size && !error;
}

class Downloader {
 public:
  Downloader(std::span<Fetcher* const> fetchers, const Clock& clock, Progress& progress,
             std::stop_token stop, const DownloadOptions& options, DownloadResult& result)
      : fetchers_(fetchers),
        clock_(clock),
        progress_(progress),
        stop_(std::move(stop)),
        options_(options),
        result_(result) {}

  Result<DownloadedFile> Get(const OfferedFile& wanted, const fs::path& directory) {
    const UpdateFile& file = wanted.file;
    DownloadedFile done{file, directory / FileNameOf(file), false};
    if (IsComplete(done.path, file.size)) {
      done.was_there = true;
      progress_.Advance(1, file.size);
      return done;
    }
    if (wanted.url.empty()) {
      return Fail(ErrorCode::kNotFound, fmt::format("file '{}': the server gave no location for it",
                                                    EscapeForDisplay(file.file_name)));
    }
    const fs::path part(done.path.string() + ".part");
    for (int attempt = 1;; ++attempt) {
      TRY(Fill(wanted, part), fmt::format("file '{}'", EscapeForDisplay(file.file_name)));
      const auto verified = Verify(part, file);
      if (verified) break;
      TRY(PartialFile::Remove(part));
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
  // The missing pieces, by all connections at once, in no order, as agents do it.
  Result<void> Fill(const OfferedFile& wanted, const fs::path& part) {
    TRY_ASSIGN(PartialFile partial,
               PartialFile::Open(part, wanted.file.size, options_.range_bytes));
    result_.resumed_bytes += partial.present_bytes();
    progress_.Advance(0, partial.present_bytes());
    std::vector<PartialFile::Piece> missing = partial.Missing();
    for (std::size_t i = missing.size(); i > 1; --i) {
      std::swap(missing[i - 1], missing[RandomNumber() % i]);
    }
    Work work{wanted, partial, missing};
    const std::stop_callback pass_on(stop_, [&work] { work.stop.request_stop(); });
    const std::size_t workers = std::min(fetchers_.size(), missing.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 1; i < workers; ++i) {
        threads.emplace_back([this, &work, i] { FetchPieces(work, *fetchers_[i]); });
      }
      if (workers > 0) FetchPieces(work, *fetchers_[0]);
    }
    if (work.error) return std::unexpected(*work.error);
    return partial.Finish();
  }

  // What the connections share while one file is filled; `lock_` guards it.
  struct Work {
    const OfferedFile& wanted;
    PartialFile& partial;
    const std::vector<PartialFile::Piece>& pieces;
    std::size_t next = 0;
    std::stop_source stop = {};
    std::optional<Error> error = {};
  };

  void FetchPieces(Work& work, Fetcher& fetcher) {
    std::unique_lock lock(lock_);
    while (!work.error && work.next < work.pieces.size()) {
      const PartialFile::Piece piece = work.pieces[work.next++];
      lock.unlock();
      Result<void> fetched = FetchPiece(work, fetcher, piece);
      lock.lock();
      if (fetched) fetched = work.partial.MarkDone(piece.index);
      if (fetched || work.error) continue;
      work.error = std::move(fetched).error();
      work.stop.request_stop();
    }
  }

  // One piece with its retries.
  Result<void> FetchPiece(Work& work, Fetcher& fetcher, const PartialFile::Piece& piece) {
    std::uint64_t offset = piece.first;
    for (int attempt = 1;; ++attempt) {
      RangeSink sink(work.partial.file(), offset, piece.end);
      protocol::AttemptOutcome outcome;
      std::string retry_after;
      const auto fetched = FetchOnce(work, fetcher, sink, offset, piece.end, retry_after);
      Count(sink.offset() - offset);
      if (fetched) return {};
      // What came before a break counts: the next attempt goes on behind it.
      offset = sink.offset();
      outcome.error = fetched.error().code;
      outcome.retry_after = retry_after;
      const auto wait =
          protocol::RetryWait(options_.retry, attempt, outcome, RandomNumber(), clock_.Now());
      if (!wait) return fetched;
      progress_.Note(fetched.error().message + ": trying again");
      TRY(Pause(*wait, work.stop.get_token()));
    }
  }

  void Count(std::uint64_t bytes) {
    progress_.Advance(0, bytes);
    const std::lock_guard lock(lock_);
    result_.fetched_bytes += bytes;
    ++result_.requests;
  }

  static Result<void> FetchOnce(const Work& work, Fetcher& fetcher, RangeSink& sink,
                                std::uint64_t offset, std::uint64_t end, std::string& retry_after) {
    const OfferedFile& wanted = work.wanted;
    FetchRequest request;
    request.url = wanted.url;
    request.headers = {{"User-Agent", std::string(kUserAgent)}, {"Accept", "*/*"}};
    request.range_first = offset;
    request.range_last = end - 1;
    request.max_body_bytes = end - offset;
    request.success_body_only = true;
    TRY_ASSIGN(const FetchResponse response, fetcher.Fetch(request, sink, work.stop.get_token()));
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

  std::mutex lock_;  // of counters and the work at hand
  const std::span<Fetcher* const> fetchers_;
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
              UtcTime began, UtcTime now) {
  PendingEvent event;
  event.instance = Guid::Random();
  event.event_id = 167;  // started
  event.time = began;
  event.update = update.id;
  event.title = update.title;
  event.is_bundle = update.is_bundle;
  state.pending_events().push_back(event);
  event.instance = Guid::Random();
  event.event_id = done.error ? 161 : 162;
  event.time = now;
  event.bytes = update.bytes;
  History& history = state.history();
  if (done.error) {
    event.hresult = done.error->code == ErrorCode::kCorrupt ? kIncorrectHash : kNotDownloaded;
    Failure& failure = history.failed[update.id.guid];
    failure.hresult = event.hresult;
    event.earlier_failures = failure.times++;
  } else {
    history.failed.erase(update.id.guid);
  }
  state.pending_events().push_back(std::move(event));
}

}  // namespace

fs::path ContentPath(const ClientState& state, const UpdateFile& file) {
  return state.content_directory() / FileNameOf(file);
}

bool IsDownloaded(const ClientState& state, const UpdateFile& file) {
  return IsComplete(ContentPath(state, file), file.size);
}

Result<DownloadResult> Download(std::span<Fetcher* const> fetchers, ClientState& state,
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
  Downloader downloader(fetchers, clock, progress, std::move(stop), options, result);
  for (const OfferedUpdate& update : updates) {
    if (update.files.empty()) continue;
    DownloadedUpdate done{update.id, update.title, {}, {}};
    bool fetched_any = false;
    const UtcTime began = clock.Now();
    std::vector<OfferedFile> wanted = update.files;
    wanted.insert(wanted.end(), update.licences.begin(), update.licences.end());
    for (const OfferedFile& file : wanted) {
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
      Remember(state, update, done, began, clock.Now());
    }
    if (!done.error && state.history().downloaded.insert(update.id.guid).second) fetched_any = true;
    if (fetched_any || done.error) TRY(state.Save());
    result.updates.push_back(std::move(done));
  }
  progress.End();
  return result;
}

}  // namespace gapferry::client
