#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"
#include "mirror/fragment_store.h"
#include "protocol/answer_body.h"
#include "protocol/wusp_messages.h"
#include "server/scan_index.h"

namespace gapferry::server {

/// What one answer is to bring.
struct PageWish {
  const ScanIndex& index;
  const Scope& scope;
  std::span<const std::uint32_t> positions;  ///< of `scope`, ascending
  bool goes_on = false;                      ///< more follow behind `positions`
  bool with_auto_fields = true;              ///< client protocol 1.8 and later
  std::uint64_t max_bytes = 0;               ///< of decoded fragments; one may be larger
  protocol::ContentEncoding encoding = protocol::ContentEncoding::kIdentity;
};

struct FilledPage {
  std::vector<protocol::AnswerPiece> pieces;  ///< for SyncInfo::prepared_updates
  std::size_t updates = 0;                    ///< in them
  std::size_t taken = 0;                      ///< of the wish's positions, from the front
  bool has_non_leaf = false;                  ///< some update of it is a condition of others
};

/// New updates as they stand in answers to scans, prepared for sending and kept.
///
/// A page is cut into chunks: updates that follow each other, up to two xpress blocks (32,704
/// bytes) together, an update whose fragment is longer than one block alone. Where a chunk ends is
/// decided by the updates themselves (ids and sizes), not by where the page began, so computers
/// that are given the same updates meet the same chunks, wherever they stand in their scans and
/// whatever else they are given. Each chunk is written and compressed once and sent as it is. What
/// is kept is found by all it consists of (the mirror's epoch, revision ids, everything
/// ScanIndex::Present says of them, the encoding): a changed approval makes new chunks of those
/// with that update and no others, and what is kept can never be out of date. Fragments never
/// change under their id (mirror/fragment_store.h).
///
/// Never holds more than `limit_bytes`; the least recently used goes first. Fragments that are not
/// held in memory by their store (over 64 KiB packed) are not kept here either. Thread-safe.
class PageChunks {
 public:
  explicit PageChunks(std::uint64_t limit_bytes);

  /// As many of the wish's updates as fit. A page that others follow ends where a chunk ends if
  /// that leaves it at least half as long. Updates whose fragment is missing are logged and left
  /// out.
  Result<FilledPage> Fill(const PageWish& wish, mirror::FragmentStore& fragments);

  std::uint64_t held_bytes() const;

 private:
  struct Item {
    RevisionOrdinal revision = 0;
    std::uint32_t position = 0;  ///< in the scope
    std::uint32_t index = 0;     ///< in the wish
    std::uint64_t bytes = 0;     ///< of the decoded fragment
  };
  /// Sizes of core fragments by revision, as far as they were asked for; 0: not yet.
  struct Sizes {
    std::shared_ptr<const CatalogIndex> catalog;
    std::vector<std::atomic<std::uint32_t>> bytes;
  };
  struct Chunk {
    std::vector<protocol::AnswerPiece> pieces;
    std::size_t updates = 0;
    std::uint64_t held_bytes = 0;
    bool may_be_kept = true;
  };
  struct Entry {
    std::string key;
    std::uint64_t hash = 0;
    std::shared_ptr<const Chunk> chunk;
    std::uint64_t held_bytes = 0;
  };
  struct Shard {
    std::list<Entry> entries;  // the last used in front
    std::unordered_map<std::uint64_t, std::list<Entry>::iterator> by_hash;
    std::uint64_t held_bytes = 0;
  };
  class Filling;

  std::shared_ptr<Sizes> SizesOf(const ScanIndex& index);
  std::shared_ptr<const Chunk> Find(std::string_view key, std::uint64_t hash);
  void Keep(std::string_view key, std::uint64_t hash, const std::shared_ptr<const Chunk>& chunk);

  static constexpr std::size_t kShards = 16;
  const std::uint64_t limit_bytes_;
  Guarded<std::shared_ptr<Sizes>> sizes_;
  mutable std::array<Guarded<Shard>, kShards> shards_;
};

}  // namespace gapferry::server
