#include "exporter/update_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "base/guarded.h"
#include "base/log.h"
#include "exporter/batch_queue.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using mirror::CatalogLoad;
using mirror::DecodedRevision;
using mirror::DocumentForm;
using mirror::IncomingRevision;
using protocol::FileUrl;
using protocol::ReceivedUpdate;
using protocol::UpdateId;

// ---- One batch ---------------------------------------------------------------------------------

BatchFetcher::BatchFetcher(Upstream& upstream, protocol::UpdateDataAnswer::Receiver receiver,
                           std::uint64_t max_document_bytes, std::stop_token stop)
    : upstream_(upstream),
      receiver_(std::move(receiver)),
      max_document_bytes_(max_document_bytes),
      stop_(std::move(stop)) {}

Result<void> BatchFetcher::Fetch(std::vector<UpdateId> ids) {
  while (!ids.empty()) {
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "sync: stopped");
    std::sort(ids.begin(), ids.end());
    wanted_ = ids;
    came_.assign(ids.size(), false);
    const protocol::UpdateDataAnswer::Receiver receiver{
        [this](ReceivedUpdate update) -> Result<void> {
          const auto at = std::lower_bound(wanted_.begin(), wanted_.end(), update.id);
          if (at == wanted_.end() || *at != update.id) return {};
          const auto position = static_cast<std::size_t>(at - wanted_.begin());
          if (came_[position]) return {};  // a repeated answer, or a repeated update in it
          came_[position] = true;
          if (!delivered_.insert(update.id).second) return {};
          return receiver_.update(std::move(update));
        },
        receiver_.url};
    auto answer = upstream_.GetUpdateData(ids, receiver, max_document_bytes_);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      if (!came_[i]) ids[kept++] = wanted_[i];
    }
    const bool progress = kept < ids.size();
    ids.resize(kept);
    if (!answer) {
      const Error& error = answer.error();
      const bool unreadable =
          error.code == ErrorCode::kCorrupt && error.reason != "answer-too-large";
      if (unreadable) {
        const bool came_alone = wanted_.size() == 1 && came_[0];
        if (came_alone) return answer;
        // Those that came too: their addresses would have come behind all updates.
        return Divide(wanted_, std::move(answer.error()));
      }
      if (protocol::FaultCodeOf(error) != protocol::FaultCode::kInternalServerError) return answer;
      return Divide(std::move(ids), std::move(answer.error()));
    }
    if (!progress) return Divide(std::move(ids), {});
  }
  return {};
}

// One of them is not held any more, or cannot be delivered.
Result<void> BatchFetcher::Divide(std::vector<UpdateId> ids, Error why) {
  if (ids.empty()) return {};
  if (ids.size() == 1) {
    if (why.code == ErrorCode::kCorrupt) {
      refused.push_back({ids.front(), std::move(why)});
    } else {
      gone.push_back(ids.front());
    }
    return {};
  }
  const auto middle = ids.begin() + static_cast<std::ptrdiff_t>(ids.size() / 2);
  TRY(Fetch({ids.begin(), middle}));
  return Fetch({middle, ids.end()});
}

Result<IncomingRevision> ToIncoming(ReceivedUpdate update) {
  IncomingRevision incoming;
  incoming.update = update.id;
  if (update.is_too_large) {
    return Fail(ErrorCode::kCorrupt, "document-too-large",
                fmt::format("update {}: the document is larger than import.max_document_bytes",
                            update.id.ToString()));
  }
  if (update.text.has_value() == update.cabinet.has_value()) {
    return Fail(
        ErrorCode::kCorrupt, "no-document",
        fmt::format("update {}: expected either a text or a cabinet", update.id.ToString()));
  }
  incoming.form = update.text ? DocumentForm::kPlain : DocumentForm::kCabinet;
  incoming.bytes = std::move(update.text ? *update.text : *update.cabinet);
  incoming.bytes.shrink_to_fit();
  return incoming;
}

// ---- Many batches over several connections -----------------------------------------------------

namespace {

constexpr std::size_t kMaxItems = 256;
constexpr std::uint64_t kMaxBytesAhead = 64ULL << 20;

// What a connection hands to the thread that stores.
struct Item {
  UpdateId update;
  std::optional<Result<DecodedRevision>> decoded;  // absent: addresses only
  std::uint64_t bytes = 0;                         // as they came
  std::vector<IncomingRevision::FileUrl> urls;
};

class LoadRun {
 public:
  LoadRun(Upstream& upstream, const std::vector<std::unique_ptr<Fetcher>>& connections,
          const std::vector<UpdateId>& ids, const LoadUpdatesOptions& options, std::stop_token stop)
      : upstream_(upstream),
        connections_(connections),
        ids_(ids),
        options_(options),
        batches_((ids.size() + options.batch - 1) / options.batch),
        queue_(batches_, kMaxItems, kMaxBytesAhead),
        forward_(std::move(stop), [this] { GiveUp(); }) {}

  Result<LoadOutcome> Run(CatalogLoad& load, Progress& progress) {
    std::vector<std::jthread> threads;
    const Leave leave{*this, threads};
    for (const auto& fetcher : connections_) {
      if (threads.size() == batches_) break;
      threads.emplace_back([this, &fetcher] { Work(*fetcher); });
    }
    while (auto item = queue_.Pop()) {
      if (auto taken = Take(*std::move(item), load, progress); !taken) return Leaving(load, taken);
    }
    for (auto& thread : threads) thread.join();
    auto shared = shared_.Lock();
    Result<void> done = CheckDelivered(*shared, /*at_end=*/true);
    if (give_up_.stop_requested()) done = Stopped();
    if (shared->error) done = std::unexpected(*std::move(shared->error));
    if (!done) return Leaving(load, done);
    outcome_.gone = std::move(shared->gone);
    std::sort(outcome_.gone.begin(), outcome_.gone.end());
    for (auto& one : shared->refused) outcome_.refused.push_back(std::move(one));
    TRY(load.Flush());
    return std::move(outcome_);
  }

 private:
  struct Shared {
    std::size_t next = 0;
    std::size_t asked = 0;
    std::vector<UpdateId> gone;
    std::vector<RefusedUpdate> refused;
    std::optional<Error> error;  // the first one
  };

  // Ends the threads whichever way the run is left.
  struct Leave {
    LoadRun& run;
    std::vector<std::jthread>& threads;
    ~Leave() {
      bool working = false;
      for (auto& thread : threads) working = working || thread.joinable();
      if (working) run.GiveUp();
      for (auto& thread : threads) {
        if (thread.joinable()) thread.join();
      }
    }
  };

  // What was added so far is kept: the next run adopts it. The error that ends this one counts.
  static std::unexpected<Error> Leaving(CatalogLoad& load, Result<void>& why) {
    if (const auto kept = load.Flush(); !kept) {
      Log(LogLevel::kWarning, "part of a sync is not kept", {{"why", kept.error().message}});
    }
    return std::unexpected(std::move(why.error()));
  }

  void GiveUp() {
    give_up_.request_stop();
    queue_.Close();
  }

  void Work(Fetcher& fetcher) {
    Upstream connection = upstream_.Connect(fetcher, give_up_.get_token());
    for (;;) {
      std::size_t batch = 0;
      {
        auto shared = shared_.Lock();
        if (shared->next == batches_ || give_up_.stop_requested()) return;
        batch = shared->next++;
      }
      auto done = FetchBatch(connection, batch);
      if (!done) {
        {
          auto shared = shared_.Lock();
          // Those that are stopped because another one failed have nothing to say.
          if (!shared->error && !give_up_.stop_requested()) shared->error = std::move(done.error());
        }
        return GiveUp();
      }
    }
  }

  Result<void> FetchBatch(Upstream& connection, std::size_t batch) {
    const std::size_t first = batch * options_.batch;
    const std::size_t last = std::min(ids_.size(), first + options_.batch);
    const auto at = [&](std::size_t n) { return ids_.begin() + static_cast<std::ptrdiff_t>(n); };
    Item addresses;
    BatchFetcher fetcher(connection,
                         {[&](ReceivedUpdate update) { return Decode(batch, std::move(update)); },
                          [&](FileUrl url) -> Result<void> {
                            if (url.mu_url && !url.mu_url->empty()) {
                              addresses.urls.push_back({url.file_digest, *std::move(url.mu_url)});
                            }
                            return {};
                          }},
                         options_.max_document_bytes, give_up_.get_token());
    TRY(fetcher.Fetch({at(first), at(last)}));
    const std::uint64_t memory = addresses.urls.size() * 256;
    if (!queue_.Push(batch, std::move(addresses), memory)) return Stopped();
    queue_.End(batch);
    auto shared = shared_.Lock();
    shared->asked += last - first;
    shared->gone.insert(shared->gone.end(), fetcher.gone.begin(), fetcher.gone.end());
    for (auto& one : fetcher.refused) shared->refused.push_back(std::move(one));
    return CheckDelivered(*shared, /*at_end=*/false);
  }

  Result<void> Decode(std::size_t batch, ReceivedUpdate update) {
    Item item;
    item.update = update.id;
    auto incoming = ToIncoming(std::move(update));
    item.bytes = incoming ? incoming->bytes.size() : 0;
    item.decoded = incoming
                       ? DecodedRevision::Decode(std::move(*incoming), options_.max_document_bytes)
                       : Result<DecodedRevision>(std::unexpected(incoming.error()));
    const std::uint64_t memory = *item.decoded ? (*item.decoded)->memory_bytes() : 0;
    return queue_.Push(batch, std::move(item), memory) ? Result<void>() : Stopped();
  }

  static Result<void> Stopped() { return Fail(ErrorCode::kCancelled, "sync: stopped"); }

  // Not to the end when nearly nothing comes: each id that does not come costs two requests.
  Result<void> CheckDelivered(const Shared& shared, bool at_end) const {
    const std::size_t missing = shared.gone.size() + shared.refused.size();
    if (!options_.are_listed || missing * 2 <= shared.asked) return {};
    if (at_end ? missing < 2 : shared.asked < 4 * options_.batch) return {};
    std::string text = fmt::format("upstream delivered {} of {} revisions it listed",
                                   shared.asked - missing, shared.asked);
    if (!shared.refused.empty()) text += ": " + shared.refused.front().error.message;
    return std::unexpected(Error{ErrorCode::kTransient, std::move(text), "upstream-incomplete",
                                 "look into the upstream's log; then type the same command again"});
  }

  Result<void> Take(Item item, CatalogLoad& load, Progress& progress) {
    if (!item.urls.empty()) return load.AddFileUrls(std::move(item.urls));
    if (!item.decoded) return {};
    ++outcome_.fetched;
    progress.Advance(1, item.bytes);
    Result<DecodedRevision>& decoded = *item.decoded;
    if (decoded) {
      auto added = load.Add(std::move(*decoded));
      if (added) {
        if (*added == mirror::Added::kNew) ++outcome_.added;
        return {};
      }
      decoded = std::unexpected(std::move(added.error()));
    }
    const ErrorCode code = decoded.error().code;
    if (code != ErrorCode::kCorrupt && code != ErrorCode::kUnsupported) {
      return std::unexpected(std::move(decoded.error()));
    }
    outcome_.refused.push_back({item.update, std::move(decoded.error())});
    return {};
  }

  Upstream& upstream_;
  const std::vector<std::unique_ptr<Fetcher>>& connections_;
  const std::vector<UpdateId>& ids_;
  const LoadUpdatesOptions& options_;
  const std::size_t batches_;
  std::stop_source give_up_;
  BatchQueue<Item> queue_;
  Guarded<Shared> shared_;
  LoadOutcome outcome_;
  std::stop_callback<std::function<void()>> forward_;  // last: it may call at once
};

}  // namespace

Result<LoadOutcome> LoadUpdates(Upstream& upstream,
                                const std::vector<std::unique_ptr<Fetcher>>& connections,
                                CatalogLoad& load, const std::vector<UpdateId>& ids,
                                const LoadUpdatesOptions& options, Progress& progress,
                                std::stop_token stop) {
  if (ids.empty()) return LoadOutcome();
  return LoadRun(upstream, connections, ids, options, std::move(stop)).Run(load, progress);
}

}  // namespace gapferry::exporter
