#pragma once

#include <mutex>
#include <utility>

namespace gapferry {

/// State that can only be reached with its lock held: `auto s = state.Lock(); s->field`.
/// Thread-safe. Do no I/O while the guard lives.
template <class T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  class Guard {
   public:
    T* operator->() { return value_; }
    T& operator*() { return *value_; }
    std::unique_lock<std::mutex>& lock() { return lock_; }  ///< for condition variables

   private:
    friend class Guarded;
    Guard(std::mutex& mutex, T& value) : lock_(mutex), value_(&value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Guard Lock() { return Guard(mutex_, value_); }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace gapferry
