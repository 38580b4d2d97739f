#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace gapferry::exporter {

/// Items of numbered batches, put in by several threads in any order of batches and taken out by
/// one thread batch after batch, each in the order it was put in. Bounded: a thread that is ahead
/// waits while `max_memory` or `max_items` are reached; the one with the batch that is due never
/// does, so nothing can stand still. Thread-safe.
template <class T>
class BatchQueue {
 public:
  BatchQueue(std::size_t batches, std::size_t max_items, std::uint64_t max_memory)
      : batches_(batches), max_items_(max_items), max_memory_(max_memory) {}

  /// `memory`: bytes that the item holds. False when the queue was closed.
  bool Push(std::size_t batch, T item, std::uint64_t memory) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || batch == due_ || HasRoom(); });
    if (closed_) return false;
    memory_ += memory;
    ++count_;
    items_[batch].emplace_back(std::move(item), memory);
    filled_.notify_one();
    return true;
  }
  /// Nothing more comes of that batch.
  void End(std::size_t batch) {
    const std::lock_guard lock(mutex_);
    ended_.insert(batch);
    filled_.notify_one();
  }
  /// Nothing when all batches are through or the queue was closed.
  std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      auto& due = items_[due_];
      if (!due.empty()) {
        auto [item, memory] = std::move(due.front());
        due.pop_front();
        memory_ -= memory;
        --count_;
        room_.notify_all();
        return std::move(item);
      }
      if (due_ == batches_ || (closed_ && !ended_.contains(due_))) return std::nullopt;
      if (ended_.contains(due_)) {
        ended_.erase(due_);
        items_.erase(due_);
        ++due_;
        room_.notify_all();
        continue;
      }
      filled_.wait(lock);
    }
  }
  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    room_.notify_all();
    filled_.notify_all();
  }

 private:
  bool HasRoom() const { return count_ < max_items_ && memory_ < max_memory_; }

  const std::size_t batches_;
  const std::size_t max_items_;
  const std::uint64_t max_memory_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable filled_;
  std::map<std::size_t, std::deque<std::pair<T, std::uint64_t>>> items_;
  std::set<std::size_t> ended_;
  std::size_t due_ = 0;
  std::size_t count_ = 0;
  std::uint64_t memory_ = 0;
  bool closed_ = false;
};

}  // namespace gapferry::exporter
