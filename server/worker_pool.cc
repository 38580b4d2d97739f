#include "server/worker_pool.h"

#include <utility>

namespace gapferry::server {

WorkerPool::WorkerPool(std::vector<std::unique_ptr<WorkerContext>> contexts,
                       std::size_t queue_limit)
    : queue_limit_(queue_limit), contexts_(std::move(contexts)) {
  threads_.reserve(contexts_.size());
  for (auto& context : contexts_) {
    threads_.emplace_back([this, raw = context.get()] { Run(*raw); });
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

void WorkerPool::Submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void WorkerPool::Stop() {
  std::deque<Job> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  wake_.notify_all();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkerPool::Run(WorkerContext& context) {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job(context);
  }
}

}  // namespace gapferry::server
