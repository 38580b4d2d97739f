#include "exporter/update_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "base/stream.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using mirror::CatalogLoad;
using mirror::DecodedRevision;
using mirror::DocumentForm;
using mirror::IncomingRevision;
using protocol::UpdateId;

namespace {

constexpr std::uint64_t kMaxBlobBytes = 512ULL << 20;

// One run over a list of ids.
class BatchFetcher {
 public:
  BatchFetcher(Upstream& upstream, const std::function<Result<void>(FetchedUpdate)>& receive,
               std::vector<UpdateId>& gone, std::stop_token stop)
      : upstream_(upstream), receive_(receive), gone_(gone), stop_(std::move(stop)) {}

  Result<void> Fetch(std::vector<UpdateId> ids) {
    while (!ids.empty()) {
      if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "sync: stopped");
      auto answer = upstream_.GetUpdateData(ids);
      if (!answer) {
        if (protocol::FaultCodeOf(answer.error()) != protocol::FaultCode::kInternalServerError) {
          return std::unexpected(std::move(answer.error()));
        }
        return Divide(std::move(ids));
      }
      TRY_ASSIGN(const bool progress, Deliver(std::move(*answer), ids));
      if (!progress) return Divide(std::move(ids));
    }
    return {};
  }

 private:
  // One of them is not held any more, or cannot be delivered.
  Result<void> Divide(std::vector<UpdateId> ids) {
    if (ids.size() == 1) {
      gone_.push_back(ids.front());
      return {};
    }
    const auto middle = ids.begin() + static_cast<std::ptrdiff_t>(ids.size() / 2);
    TRY(Fetch({ids.begin(), middle}));
    return Fetch({middle, ids.end()});
  }

  // Hands on what was asked for and takes it off `ids`; false when nothing of it came.
  Result<bool> Deliver(protocol::GetUpdateDataResponse answer, std::vector<UpdateId>& ids) {
    std::unordered_map<Sha1Digest, protocol::FileUrl> urls;
    for (protocol::FileUrl& url : answer.file_urls) urls.emplace(url.file_digest, std::move(url));
    std::unordered_set<UpdateId> wanted(ids.begin(), ids.end());
    std::unordered_set<UpdateId> came;
    for (protocol::UpdateData& data : answer.updates) {
      if (!wanted.contains(data.id) || !came.insert(data.id).second) continue;
      FetchedUpdate update;
      for (const Sha1Digest& digest : data.file_digests) {
        const auto found = urls.find(digest);
        if (found != urls.end()) update.urls.push_back(found->second);
      }
      if (came.size() == 1) AddUnclaimed(answer, urls, update);
      update.data = std::move(data);
      TRY(receive_(std::move(update)));
    }
    std::erase_if(ids, [&](const UpdateId& id) { return came.contains(id); });
    return !came.empty();
  }

  // Addresses of files that no FileDigestList names (licence texts): kept with the first update,
  // since the store knows addresses by digest alone.
  static void AddUnclaimed(const protocol::GetUpdateDataResponse& answer,
                           const std::unordered_map<Sha1Digest, protocol::FileUrl>& urls,
                           FetchedUpdate& update) {
    std::unordered_set<Sha1Digest> claimed;
    for (const auto& data : answer.updates) {
      claimed.insert(data.file_digests.begin(), data.file_digests.end());
    }
    for (const auto& [digest, url] : urls) {
      if (!claimed.contains(digest)) update.urls.push_back(url);
    }
  }

  Upstream& upstream_;
  const std::function<Result<void>(FetchedUpdate)>& receive_;
  std::vector<UpdateId>& gone_;
  std::stop_token stop_;
};

// Between the thread that asks and decodes and the one that stores. Bounded by items and bytes.
class DecodedQueue {
 public:
  struct Item {
    UpdateId update;
    Result<DecodedRevision> decoded;
    std::uint64_t bytes;   ///< as they came
    std::uint64_t memory;  ///< what the item holds: a small cabinet may be a large document
  };

  // false when the other side has given up.
  bool Push(Item item) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || items_.empty() || HasRoom(); });
    if (closed_) return false;
    memory_ += item.memory;
    items_.push_back(std::move(item));
    filled_.notify_one();
    return true;
  }
  std::optional<Item> Pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    Item item = std::move(items_.front());
    items_.pop_front();
    memory_ -= item.memory;
    room_.notify_one();
    return item;
  }
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    filled_.notify_all();
  }

 private:
  static constexpr std::size_t kMaxItems = 256;
  static constexpr std::uint64_t kMaxBytes = 64ULL << 20;
  bool HasRoom() const { return items_.size() < kMaxItems && memory_ < kMaxBytes; }

  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable filled_;
  std::deque<Item> items_;
  std::uint64_t memory_ = 0;
  bool closed_ = false;
};

bool IsRefusal(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kUnsupported;
}

// Ends the producer whichever way the consumer is left.
class QueueGuard {
 public:
  QueueGuard(DecodedQueue& queue, std::jthread& thread) : queue_(queue), thread_(thread) {}
  ~QueueGuard() {
    queue_.Close();
    if (thread_.joinable()) thread_.join();
  }

 private:
  DecodedQueue& queue_;
  std::jthread& thread_;
};

}  // namespace

Result<void> FetchUpdates(Upstream& upstream, const std::vector<UpdateId>& ids, std::size_t batch,
                          const std::function<Result<void>(FetchedUpdate)>& receive,
                          std::vector<UpdateId>& gone, std::stop_token stop) {
  const std::set<UpdateId> distinct(ids.begin(), ids.end());
  const std::size_t gone_before = gone.size();
  BatchFetcher fetcher(upstream, receive, gone, stop);
  std::vector<UpdateId> some;
  std::size_t asked = 0;
  for (auto it = distinct.begin(); it != distinct.end();) {
    some.push_back(*it++);
    ++asked;
    const bool last = it == distinct.end();
    if (some.size() < batch && !last) continue;
    TRY(fetcher.Fetch(std::exchange(some, {})));
    const std::size_t missing = gone.size() - gone_before;
    // Not to the end when nearly nothing comes: each id that does not come costs two requests.
    if (missing * 2 > asked && (last ? missing > 1 : asked >= 4 * batch)) {
      return Fail(
          ErrorCode::kTransient, "upstream-incomplete",
          fmt::format("upstream delivered {} of {} revisions it listed", asked - missing, asked));
    }
  }
  return {};
}

Result<IncomingRevision> ToIncoming(FetchedUpdate update) {
  IncomingRevision incoming;
  incoming.update = update.data.id;
  const bool has_text = update.data.blob.has_value();
  if (has_text == static_cast<bool>(update.data.compressed_blob)) {
    return Fail(
        ErrorCode::kCorrupt, "no-document",
        fmt::format("update {}: expected either a text or a cabinet", incoming.update.ToString()));
  }
  if (has_text) {
    const auto& text = std::get<protocol::PlainText>(*update.data.blob).text;
    incoming.form = DocumentForm::kPlain;
    incoming.bytes.assign(text.begin(), text.end());
  } else {
    incoming.form = DocumentForm::kCabinet;
    TRY_ASSIGN(const auto source, update.data.compressed_blob->Open());
    MemorySink sink(kMaxBlobBytes);
    TRY(Copy(*source, sink, kMaxBlobBytes));
    incoming.bytes = sink.Take();
  }
  for (protocol::FileUrl& url : update.urls) {
    if (!url.mu_url || url.mu_url->empty()) continue;
    incoming.file_urls.push_back({url.file_digest, std::move(*url.mu_url)});
  }
  return incoming;
}

Result<LoadOutcome> LoadUpdates(Upstream& upstream, CatalogLoad& load,
                                const std::vector<UpdateId>& ids, std::size_t batch,
                                std::uint64_t max_document_bytes, Progress& progress,
                                std::stop_token stop) {
  LoadOutcome outcome;
  DecodedQueue queue;
  Result<void> fetched;  // read after the thread has ended
  const auto receive = [&](FetchedUpdate update) -> Result<void> {
    const UpdateId id = update.data.id;
    auto incoming = ToIncoming(std::move(update));
    const std::uint64_t bytes = incoming ? incoming->bytes.size() : 0;
    auto decoded = incoming ? DecodedRevision::Decode(std::move(*incoming), max_document_bytes)
                            : Result<DecodedRevision>(std::unexpected(incoming.error()));
    const std::uint64_t memory = decoded ? decoded->memory_bytes() : 0;
    if (queue.Push({id, std::move(decoded), bytes, memory})) return {};
    return Fail(ErrorCode::kCancelled, "sync: stopped");
  };
  std::jthread producer([&] {
    fetched = FetchUpdates(upstream, ids, batch, receive, outcome.gone, stop);
    queue.Close();
  });
  QueueGuard guard(queue, producer);
  while (auto item = queue.Pop()) {
    ++outcome.fetched;
    progress.Advance(1, item->bytes);
    if (item->decoded) {
      auto added = load.Add(std::move(*item->decoded));
      if (added) {
        if (*added == mirror::Added::kNew) ++outcome.added;
        continue;
      }
      item->decoded = std::unexpected(std::move(added.error()));
    }
    if (!IsRefusal(item->decoded.error())) return std::unexpected(std::move(item->decoded.error()));
    outcome.refused.push_back({item->update, std::move(item->decoded.error())});
  }
  producer.join();
  TRY(std::move(fetched));
  TRY(load.Flush());
  return outcome;
}

}  // namespace gapferry::exporter
