#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "mirror/activity.h"
#include "mirror/activity_rows.h"
#include "mirror/rollup_intake.h"

namespace gapferry::mirror {

struct ActivityWriter::Impl {
  struct Item {
    Work work;
    Done done;
  };
  explicit Impl(Activity a) : activity(std::move(a)) {}

  void Loop(std::stop_token stop);
  void RunBatch(std::deque<Item>& batch);
  Result<void> RunOne(std::deque<Item>& batch, std::deque<Item>& taken,
                      std::vector<Result<void>>& results);

  Activity activity;  // used by the writer's thread alone
  std::mutex mutex;   // guards waiting
  std::condition_variable_any wake;
  std::deque<Item> waiting;
  std::jthread thread;  // last: ends before the rest goes
};

namespace {
constexpr std::size_t kMaxWaiting = 10'000;
constexpr std::size_t kMaxBatch = 500;
constexpr std::chrono::milliseconds kHeld{40};  // the write lock, one piece of work more at most
}  // namespace

Result<std::unique_ptr<ActivityWriter>> ActivityWriter::Start(const std::filesystem::path& path,
                                                              const Clock& clock,
                                                              const DatabaseOptions& options) {
  TRY_ASSIGN(auto activity, Activity::Open(path, clock, options));
  const RollupIntake::Runner alone = [&](const Work& work) {
    return InWrite(activity.db(), [&] { return work(activity); });
  };
  TRY(RollupIntake(alone, Guid{}).Recover());
  auto impl = std::make_unique<Impl>(std::move(activity));
  Impl* const raw = impl.get();
  impl->thread = std::jthread([raw](std::stop_token stop) { raw->Loop(stop); });
  return std::unique_ptr<ActivityWriter>(new ActivityWriter(std::move(impl)));
}

ActivityWriter::ActivityWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ActivityWriter::~ActivityWriter() {
  impl_->thread.request_stop();
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

Result<void> ActivityWriter::Post(Work work, Done done) {
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->waiting.size() >= kMaxWaiting) {
      return Fail(ErrorCode::kBusy, "activity-busy", "too many reports are waiting to be stored");
    }
    impl_->waiting.push_back({std::move(work), std::move(done)});
  }
  impl_->wake.notify_one();
  return {};
}

Result<void> ActivityWriter::Run(Work work) {
  std::promise<Result<void>> promise;
  auto future = promise.get_future();
  TRY(Post(std::move(work), [&](Result<void> result) { promise.set_value(std::move(result)); }));
  return future.get();
}

void ActivityWriter::Impl::Loop(std::stop_token stop) {
  for (;;) {
    std::deque<Item> batch;
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, stop, [&] { return !waiting.empty(); });
      if (waiting.empty()) return;  // stopped, and all that was posted is done
      while (!waiting.empty() && batch.size() < kMaxBatch) {
        batch.push_back(std::move(waiting.front()));
        waiting.pop_front();
      }
    }
    RunBatch(batch);
  }
}

void ActivityWriter::Impl::RunBatch(std::deque<Item>& batch) {
  while (!batch.empty()) {
    std::deque<Item> taken;
    std::vector<Result<void>> results;
    const auto since = std::chrono::steady_clock::now();
    const Result<void> commit = RunOne(batch, taken, results);
    const auto held = std::chrono::steady_clock::now() - since;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      // Without the commit nothing is stored, whatever the work said.
      const bool failed_alone = i < results.size() && !results[i].has_value();
      taken[i].done(failed_alone ? results[i] : commit);
    }
    // Others poll for the lock: without a pause a long row of work would keep them out.
    if (held > kHeld / 4) std::this_thread::sleep_for(held / 4);
  }
}

// One transaction over as much of `batch` as fits into it, moved to `taken`.
Result<void> ActivityWriter::Impl::RunOne(std::deque<Item>& batch, std::deque<Item>& taken,
                                          std::vector<Result<void>>& results) {
  Database& db = activity.db();
  auto tx = Transaction::Begin(db, TransactionKind::kWrite);
  if (!tx) {
    taken.swap(batch);
    return std::unexpected(tx.error());
  }
  const auto since = std::chrono::steady_clock::now();
  while (!batch.empty() && std::chrono::steady_clock::now() - since < kHeld) {
    taken.push_back(std::move(batch.front()));
    batch.pop_front();
    TRY(db.Run("SAVEPOINT work"));
    auto result = taken.back().work(activity);
    // After some errors (a full disk) SQLite has rolled back everything by itself.
    if (!db.in_transaction()) return result ? Fail(ErrorCode::kInternal, "rolled back") : result;
    if (!result) TRY(db.Run("ROLLBACK TO work"));
    TRY(db.Run("RELEASE work"));
    results.push_back(std::move(result));
  }
  return tx->Commit();
}

}  // namespace gapferry::mirror
