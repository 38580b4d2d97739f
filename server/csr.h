#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace gapferry::server {

/// Lists of lists in two flat arrays. Thread-compatible; const after filling.
template <class T>
class Csr {
 public:
  /// Adds the next list.
  void Append(std::span<const T> list) {
    items_.insert(items_.end(), list.begin(), list.end());
    ends_.push_back(static_cast<std::uint32_t>(items_.size()));
  }
  std::size_t size() const { return ends_.size(); }
  std::size_t items() const { return items_.size(); }
  std::span<const T> operator[](std::size_t i) const {
    const std::uint32_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::span<const T>(items_).subspan(begin, ends_[i] - begin);
  }
  void Shrink() {
    ends_.shrink_to_fit();
    items_.shrink_to_fit();
  }

 private:
  std::vector<std::uint32_t> ends_;
  std::vector<T> items_;
};

/// A fixed number of bits.
class Bitmap {
 public:
  Bitmap() = default;
  explicit Bitmap(std::size_t bits) : bits_(bits), words_((bits + 63) / 64) {}

  std::size_t size() const { return bits_; }
  bool Test(std::size_t i) const { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  void Set(std::size_t i) { words_[i / 64] |= 1ULL << (i % 64); }
  void Clear(std::size_t i) { words_[i / 64] &= ~(1ULL << (i % 64)); }
  void SetAll() {
    for (auto& word : words_) word = ~0ULL;
    if (bits_ % 64 != 0) words_.back() = (1ULL << (bits_ % 64)) - 1;
  }
  std::span<const std::uint64_t> words() const { return words_; }
  std::size_t Count() const {
    std::size_t count = 0;
    for (const std::uint64_t word : words_) count += static_cast<std::size_t>(std::popcount(word));
    return count;
  }
  bool operator==(const Bitmap&) const = default;
  /// Calls `visit(i)` for each set bit, ascending, until it returns false.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::uint64_t word = words_[w]; word != 0; word &= word - 1) {
        if (!visit(w * 64 + static_cast<std::size_t>(std::countr_zero(word)))) return;
      }
    }
  }

 private:
  std::size_t bits_ = 0;
  std::vector<std::uint64_t> words_;
};

/// A set of numbers below a limit that tells the rank of each member: a quarter of a byte per
/// possible number.
class RankedSet {
 public:
  static constexpr std::uint32_t kAbsent = UINT32_MAX;

  RankedSet() = default;
  explicit RankedSet(Bitmap members) : members_(std::move(members)) {
    std::uint32_t count = 0;
    ranks_.reserve(members_.words().size());
    for (const std::uint64_t word : members_.words()) {
      ranks_.push_back(count);
      count += static_cast<std::uint32_t>(std::popcount(word));
    }
  }
  /// The number of members below `value`, or kAbsent when it is none.
  std::uint32_t Rank(std::size_t value) const {
    if (value >= members_.size() || !members_.Test(value)) return kAbsent;
    const std::uint64_t below = (1ULL << (value % 64)) - 1;
    return ranks_[value / 64] +
           static_cast<std::uint32_t>(std::popcount(members_.words()[value / 64] & below));
  }

 private:
  Bitmap members_;
  std::vector<std::uint32_t> ranks_;
};

}  // namespace gapferry::server
