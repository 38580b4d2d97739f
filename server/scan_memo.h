#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "mirror/state.h"
#include "server/csr.h"

namespace gapferry::server {

/// Sets of positions that were worked out for states of computers, kept because many computers are
/// in the same state: those with the same true conditions can be delivered the same updates, those
/// with equal anchors have missed the same changes. `Key` is compared whole. Never holds more than
/// kLimitBytes and kLimitEntries (each is looked at by Find); the least recently used goes first.
/// Thread-safe.
template <class Key>
class PositionsMemo {
 public:
  static constexpr std::size_t kLimitBytes = 4 << 20;
  static constexpr std::size_t kLimitEntries = 1024;

  std::shared_ptr<const Bitmap> Find(const Key& key, std::uint64_t hash) {
    auto state = state_.Lock();
    for (Entry& entry : state->entries) {
      if (entry.hash != hash || entry.key != key) continue;
      entry.used = ++state->clock;
      return entry.positions;
    }
    return nullptr;
  }

  /// `key_bytes`: what the key takes in memory.
  void Keep(Key key, std::uint64_t hash, std::size_t key_bytes,
            std::shared_ptr<const Bitmap> positions) {
    const std::size_t bytes = key_bytes + positions->words().size_bytes() + sizeof(Entry);
    if (bytes > kLimitBytes) return;
    auto state = state_.Lock();
    while (state->bytes + bytes > kLimitBytes || state->entries.size() >= kLimitEntries) {
      const auto oldest = std::ranges::min_element(state->entries, {}, &Entry::used);
      state->bytes -= oldest->bytes;
      *oldest = std::move(state->entries.back());
      state->entries.pop_back();
    }
    state->bytes += bytes;
    state->entries.push_back({std::move(key), hash, bytes, ++state->clock, std::move(positions)});
  }

 private:
  struct Entry {
    Key key;
    std::uint64_t hash = 0;
    std::size_t bytes = 0;
    std::uint64_t used = 0;
    std::shared_ptr<const Bitmap> positions;
  };
  struct State {
    std::vector<Entry> entries;
    std::size_t bytes = 0;
    std::uint64_t clock = 0;
  };
  Guarded<State> state_;
};

/// What a computer was told of before, as far as changes go by it.
struct ToldUpTo {
  mirror::Generation generation = 0;
  std::int64_t content_sequence = 0;
  bool operator==(const ToldUpTo&) const = default;
};

inline std::uint64_t MixHash(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15ULL;
  return hash ^ (hash >> 32);
}

inline std::uint64_t HashOf(const Bitmap& bits) {
  std::uint64_t hash = bits.size();
  for (const std::uint64_t word : bits.words()) hash = MixHash(hash, word);
  return hash;
}

}  // namespace gapferry::server
