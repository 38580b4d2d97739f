#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace gapferry::server {

/// Bounds what answers keep in memory while their readers take them, however many read slowly.
/// Thread-safe.
class AnswerBudget : public std::enable_shared_from_this<AnswerBudget> {
 public:
  /// Gives back what was taken when it ends.
  class Share {
   public:
    Share(std::shared_ptr<AnswerBudget> budget, std::uint64_t bytes)
        : budget_(std::move(budget)), bytes_(bytes) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { budget_->taken_ -= bytes_; }

   private:
    std::shared_ptr<AnswerBudget> budget_;
    std::uint64_t bytes_;
  };

  static std::shared_ptr<AnswerBudget> Make(std::uint64_t limit_bytes) {
    return std::shared_ptr<AnswerBudget>(new AnswerBudget(limit_bytes));
  }
  /// Nothing when it would be more than the limit, unless nothing else is taken.
  std::unique_ptr<Share> Take(std::uint64_t bytes) {
    const std::uint64_t before = taken_.fetch_add(bytes);
    if (before != 0 && before + bytes > limit_bytes_) {
      taken_ -= bytes;
      return nullptr;
    }
    return std::make_unique<Share>(shared_from_this(), bytes);
  }
  std::uint64_t taken() const { return taken_; }

 private:
  explicit AnswerBudget(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  const std::uint64_t limit_bytes_;
  std::atomic<std::uint64_t> taken_{0};
};

}  // namespace gapferry::server
