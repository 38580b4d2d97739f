#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "server/http_message.h"

namespace gapferry::server {

/// Threads that run jobs in order of arrival, each with its own WorkerContext. Thread-safe.
class WorkerPool {
 public:
  /// Gets its thread's context and the thread's index.
  using Job = std::move_only_function<void(WorkerContext&, std::size_t worker)>;

  /// One thread for each of `contexts`. At most `queue_limit` jobs wait.
  WorkerPool(std::vector<std::unique_ptr<WorkerContext>> contexts, std::size_t queue_limit);
  ~WorkerPool();

  /// False when the queue is full or the pool stops; `job` is then untouched.
  bool TrySubmit(Job& job);
  /// For continuations of an accepted request (the next piece of its body) on the thread `worker`
  /// that began it, whose context the body may refer to. Never refused while the pool runs, since
  /// their number is bounded by that of the connections. Dropped after Stop.
  void SubmitTo(std::size_t worker, Job job);
  /// Finishes the jobs that run, drops those that wait and joins.
  void Stop();

 private:
  void Run(std::size_t worker);
  bool Take(std::size_t worker, Job& job);

  const std::size_t queue_limit_;
  std::mutex mutex_;  // guards the following
  std::condition_variable wake_;
  std::deque<Job> queue_;
  std::vector<std::deque<Job>> continuations_;  // one per thread, before new requests
  bool stopping_ = false;

  std::vector<std::unique_ptr<WorkerContext>> contexts_;
  std::vector<std::jthread> threads_;  // last: joined first
};

}  // namespace gapferry::server
