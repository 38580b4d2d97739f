#include "server/worker_pool.h"

#include <utility>

namespace gapferry::server {

WorkerPool::WorkerPool(std::vector<std::unique_ptr<WorkerContext>> contexts,
                       std::size_t queue_limit)
    : queue_limit_(queue_limit), continuations_(contexts.size()), contexts_(std::move(contexts)) {
  threads_.reserve(contexts_.size());
  for (std::size_t worker = 0; worker < contexts_.size(); ++worker) {
    threads_.emplace_back([this, worker] { Run(worker); });
  }
}

WorkerPool::~WorkerPool() { Stop(); }

bool WorkerPool::TrySubmit(Job& job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= queue_limit_) return false;
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
  return true;
}

void WorkerPool::SubmitTo(std::size_t worker, Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    continuations_[worker].push_back(std::move(job));
  }
  wake_.notify_all();
}

void WorkerPool::Stop() {
  std::deque<Job> dropped;
  std::vector<std::deque<Job>> dropped_continuations(continuations_.size());
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
    dropped_continuations.swap(continuations_);
  }
  wake_.notify_all();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool WorkerPool::Take(std::size_t worker, Job& job) {
  std::deque<Job>& own = continuations_[worker];
  std::deque<Job>& from = own.empty() ? queue_ : own;
  if (from.empty()) return false;
  job = std::move(from.front());
  from.pop_front();
  return true;
}

void WorkerPool::Run(std::size_t worker) {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || Take(worker, job); });
      if (stopping_) return;
    }
    job(*contexts_[worker], worker);
  }
}

}  // namespace gapferry::server
