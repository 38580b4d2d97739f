#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace gapferry::client {

/// Counts durations in buckets of 3 % width: fixed memory, mergeable. Not thread-safe.
class LatencyHistogram {
 public:
  void Add(std::uint64_t microseconds) {
    ++counts_[BucketOf(microseconds)];
    ++count_;
    max_ = std::max(max_, microseconds);
  }
  void Merge(const LatencyHistogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  /// The upper edge of the bucket that holds the quantile (0 to 1), never above max().
  std::uint64_t Quantile(double quantile) const {
    const auto wanted = static_cast<std::uint64_t>(quantile * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > wanted) return std::min(max_, UpperEdge(i));
    }
    return max_;
  }

 private:
  static constexpr unsigned kBits = 5;  // 32 buckets per power of two
  static constexpr std::size_t kPerPower = 1U << kBits;

  static std::size_t BucketOf(std::uint64_t value) {
    if (value < kPerPower) return static_cast<std::size_t>(value);
    const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
    const auto within = static_cast<std::size_t>(value >> (power - kBits)) - kPerPower;
    return (power - kBits + 1) * kPerPower + within;
  }
  static std::uint64_t UpperEdge(std::size_t bucket) {
    if (bucket < kPerPower) return bucket;
    const std::size_t power = bucket / kPerPower - 1;
    return ((static_cast<std::uint64_t>(kPerPower + bucket % kPerPower) + 1) << power) - 1;
  }

  std::array<std::uint64_t, kPerPower*(64 - kBits + 1)> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace gapferry::client
