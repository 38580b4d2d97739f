#include "server/page_chunks.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "protocol/wusp_codec.h"
#include "protocol/xpress.h"

namespace gapferry::server {
namespace {

using protocol::AnswerPiece;
using protocol::ContentEncoding;
using protocol::PreparedText;

/// Of the elements around a fragment, rounded up: where chunks end must not depend on what is said
/// of an update, or one approval would move all ends behind it.
constexpr std::uint64_t kAroundBytes = 400;
constexpr std::uint64_t kChunkBytes = 2 * protocol::kXpressBlockBytes;
/// From here on a chunk ends at the next update that is an end by its id, one in four.
constexpr std::uint64_t kLeastChunkBytes = 24 * 1024;
/// What an entry costs beside key and text.
constexpr std::uint64_t kEntryBytes = 256;

bool EndsByItself(mirror::RevisionId id) {
  return (static_cast<std::uint32_t>(id) * 2654435761U) >> 30 == 0;
}

/// Longer ones are packed by their store.
bool IsLong(std::uint64_t fragment_bytes) { return fragment_bytes > protocol::kXpressBlockBytes; }

protocol::TextValue ToText(mirror::StoredFragment fragment) {
  if (fragment.prepared) return std::move(fragment.prepared);
  return protocol::EscapedText{std::move(fragment.escaped_text)};
}

/// Keys are compared within one process only, so the order of bytes is the machine's.
void AppendKey(std::string& key, std::initializer_list<std::uint64_t> numbers) {
  key.append(reinterpret_cast<const char*>(numbers.begin()), numbers.size() * 8);
}

/// All that is written of an update beside its fragment, which the id stands for.
void AppendKey(std::string& key, mirror::RevisionId revision,
               const protocol::Deployment& deployment, bool is_leaf) {
  const auto id = static_cast<std::uint32_t>(revision);
  const auto deployed = static_cast<std::uint32_t>(deployment.id);
  const auto flags = static_cast<std::uint64_t>(deployment.action) << 4 |
                     (deployment.is_assigned ? 8U : 0U) | (deployment.with_auto_fields ? 4U : 0U) |
                     (is_leaf ? 2U : 0U) | (deployment.deadline ? 1U : 0U);
  // Written as a date: ticks would be more than is said.
  const auto changed = static_cast<std::uint64_t>(deployment.last_change_time.UnixSeconds());
  AppendKey(key,
            {(std::uint64_t{id} << 32) | deployed, changed << 8 | flags,
             deployment.deadline ? static_cast<std::uint64_t>(deployment.deadline->ticks) : 0});
}

}  // namespace

/// One page being filled.
class PageChunks::Filling {
 public:
  Filling(PageChunks& chunks, const PageWish& wish, mirror::FragmentStore& fragments)
      : chunks_(chunks), wish_(wish), fragments_(fragments), sizes_(chunks.SizesOf(wish.index)) {}

  Result<FilledPage> Run() {
    TRY(Choose());
    std::size_t begin = 0;
    while (begin < items_.size()) {
      const std::size_t end = EndOf(begin);
      const bool is_cut = end == items_.size() && !ended_by_itself_;
      if (is_cut && (page_.taken < wish_.positions.size() || wish_.goes_on) &&
          begin >= items_.size() - begin) {
        page_.taken = items_[begin].index;  // the next page begins with it
        break;
      }
      TRY(Append(std::span(items_).subspan(begin, end - begin)));
      begin = end;
    }
    return std::move(page_);
  }

 private:
  /// The updates of the page with their sizes.
  Result<void> Choose() {
    std::uint64_t bytes = 0;
    items_.reserve(wish_.positions.size());
    for (std::uint32_t i = 0; i < wish_.positions.size(); ++i) {
      const std::uint32_t position = wish_.positions[i];
      const RevisionOrdinal revision = wish_.scope.placed[position].revision;
      std::uint64_t size = sizes_->bytes[revision].load(std::memory_order_relaxed);
      if (size == 0) {
        TRY_ASSIGN(size, Measure(i, revision));
      }
      if (size > 0) {
        bytes += size;
        if (bytes > wish_.max_bytes && !items_.empty()) return {};
        items_.push_back({revision, position, i, size});
      }
      page_.taken = i + 1;
    }
    return {};
  }

  /// Reads the fragment, which the chunk will need; 0 when there is none.
  Result<std::uint64_t> Measure(std::uint32_t index, RevisionOrdinal revision) {
    const mirror::RevisionId id = wish_.index.catalog().revisions()[revision].id;
    TRY_ASSIGN(auto fragment, fragments_.FindCore(id));
    if (!fragment) {
      // Without its rules a client cannot judge it; the next start makes fragments again.
      Log(LogLevel::kWarning, "core fragment missing", {{"revision_id", id}});
      return 0;
    }
    const std::uint64_t size = std::max<std::uint64_t>(1, fragment->decoded_bytes());
    sizes_->bytes[revision].store(
        static_cast<std::uint32_t>(std::min<std::uint64_t>(size, UINT32_MAX)),
        std::memory_order_relaxed);
    read_.emplace(index, *std::move(fragment));
    return size;
  }

  /// Behind the last item of the chunk that begins there.
  std::size_t EndOf(std::size_t begin) {
    ended_by_itself_ = true;
    if (IsLong(items_[begin].bytes)) return begin + 1;
    std::uint64_t bytes = 0;
    for (std::size_t i = begin; i < items_.size(); ++i) {
      const std::uint64_t size = items_[i].bytes + kAroundBytes;
      if (i > begin && (bytes + size > kChunkBytes || IsLong(items_[i].bytes))) return i;
      bytes += size;
      if (bytes >= kLeastChunkBytes && EndsByItself(IdOf(items_[i]))) return i + 1;
    }
    ended_by_itself_ = false;
    return items_.size();
  }

  Result<void> Append(std::span<const Item> items) {
    const Guid& epoch = wish_.index.intent().state.name.epoch;
    key_.clear();
    AppendKey(key_, {LoadLe64(epoch.bytes.data()), LoadLe64(epoch.bytes.data() + 8),
                     wish_.encoding == ContentEncoding::kXpress ? 1U : 0U});
    for (const Item& item : items) {
      const bool is_leaf = IsLeaf(item);
      AppendKey(key_, IdOf(item), DeploymentOf(item), is_leaf);
      page_.has_non_leaf = page_.has_non_leaf || !is_leaf;
    }
    const std::uint64_t hash = std::hash<std::string_view>()(key_);
    std::shared_ptr<const Chunk> chunk = chunks_.Find(key_, hash);
    if (chunk == nullptr) {
      TRY_ASSIGN(Chunk made, Make(items));
      chunk = std::make_shared<const Chunk>(std::move(made));
      if (chunk->may_be_kept) chunks_.Keep(key_, hash, chunk);
    }
    page_.pieces.insert(page_.pieces.end(), chunk->pieces.begin(), chunk->pieces.end());
    page_.updates += chunk->updates;
    return {};
  }

  Result<Chunk> Make(std::span<const Item> items) {
    Chunk chunk;
    std::vector<protocol::UpdateInfo> infos;
    for (const Item& item : items) {
      TRY_ASSIGN(auto fragment, FragmentOf(item));
      if (!fragment) {
        Log(LogLevel::kWarning, "core fragment missing", {{"revision_id", IdOf(item)}});
        chunk.may_be_kept = false;
        continue;
      }
      protocol::UpdateInfo& info = infos.emplace_back();
      info.id = IdOf(item);
      info.deployment = DeploymentOf(item);
      info.is_leaf = IsLeaf(item);
      info.xml = ToText(*std::move(fragment));
    }
    chunk.updates = infos.size();
    protocol::AnswerBody body = protocol::EncodeUpdates(infos);
    std::vector<AnswerPiece> pieces = std::move(body).TakePieces();
    for (AnswerPiece& piece : pieces) Prepare(std::move(piece), chunk);
    return chunk;
  }

  Result<std::optional<mirror::StoredFragment>> FragmentOf(const Item& item) {
    const auto read = read_.find(item.index);
    if (read == read_.end()) return fragments_.FindCore(IdOf(item));
    std::optional<mirror::StoredFragment> fragment = std::move(read->second);
    read_.erase(read);
    return fragment;
  }

  void Prepare(AnswerPiece piece, Chunk& chunk) {
    if (auto* literal = std::get_if<std::string>(&piece)) {
      if (wish_.encoding == ContentEncoding::kXpress) {
        thread_local protocol::XpressEncoder encoder;  // its tables are large
        std::string blocks;
        encoder.AppendBlocks(AsBytes(*literal), blocks);
        blocks.shrink_to_fit();
        chunk.held_bytes += blocks.size();
        chunk.pieces.emplace_back(protocol::PrepareInMemory(std::move(blocks), literal->size()));
      } else {
        chunk.held_bytes += literal->size();
        chunk.pieces.emplace_back(
            protocol::StoredPiece{protocol::StoreInMemory(Bytes(literal->begin(), literal->end())),
                                  protocol::Rendering::kMarkup});
      }
      return;
    }
    // A long fragment: its store has packed it already. What its store reads in parts stays there:
    // the reader belongs to this worker, and a fragment that is made again gets another row.
    const auto& prepared = std::get<std::shared_ptr<const PreparedText>>(piece);
    if (prepared->InMemory().empty()) chunk.may_be_kept = false;
    chunk.held_bytes += prepared->InMemory().size();
    chunk.pieces.push_back(std::move(piece));
  }

  protocol::Deployment DeploymentOf(const Item& item) const {
    return wish_.index.Present(wish_.scope.placed[item.position], wish_.with_auto_fields);
  }
  bool IsLeaf(const Item& item) const { return wish_.index.catalog().IsLeaf(item.revision); }
  mirror::RevisionId IdOf(const Item& item) const {
    return wish_.index.catalog().revisions()[item.revision].id;
  }

  PageChunks& chunks_;
  const PageWish& wish_;
  mirror::FragmentStore& fragments_;
  const std::shared_ptr<Sizes> sizes_;
  FilledPage page_;
  std::vector<Item> items_;
  std::unordered_map<std::uint32_t, mirror::StoredFragment> read_;  // by index in the wish
  bool ended_by_itself_ = false;
  std::string key_;
};

PageChunks::PageChunks(std::uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

Result<FilledPage> PageChunks::Fill(const PageWish& wish, mirror::FragmentStore& fragments) {
  return Filling(*this, wish, fragments).Run();
}

std::uint64_t PageChunks::held_bytes() const {
  std::uint64_t total = 0;
  for (auto& shard : shards_) total += shard.Lock()->held_bytes;
  return total;
}

std::shared_ptr<PageChunks::Sizes> PageChunks::SizesOf(const ScanIndex& index) {
  std::shared_ptr<Sizes> known = *sizes_.Lock();
  if (known && known->catalog == index.shared_catalog()) return known;
  auto fresh = std::make_shared<Sizes>();
  fresh->catalog = index.shared_catalog();
  const auto& revisions = fresh->catalog->revisions();
  fresh->bytes = std::vector<std::atomic<std::uint32_t>>(revisions.size());
  if (known) {  // both ascend by id
    const auto& before = known->catalog->revisions();
    for (std::size_t i = 0, k = 0; i < revisions.size() && k < before.size(); ++k) {
      while (i < revisions.size() && revisions[i].id < before[k].id) ++i;
      if (i == revisions.size() || revisions[i].id != before[k].id) continue;
      fresh->bytes[i].store(known->bytes[k].load(std::memory_order_relaxed),
                            std::memory_order_relaxed);
    }
  }
  *sizes_.Lock() = fresh;
  return fresh;
}

std::shared_ptr<const PageChunks::Chunk> PageChunks::Find(std::string_view key,
                                                          std::uint64_t hash) {
  auto shard = shards_[hash % kShards].Lock();
  const auto found = shard->by_hash.find(hash);
  if (found == shard->by_hash.end() || found->second->key != key) return nullptr;
  shard->entries.splice(shard->entries.begin(), shard->entries, found->second);
  return found->second->chunk;
}

void PageChunks::Keep(std::string_view key, std::uint64_t hash,
                      const std::shared_ptr<const Chunk>& chunk) {
  const std::uint64_t bytes = chunk->held_bytes + key.size() + kEntryBytes;
  if (bytes > limit_bytes_ / kShards) return;
  std::list<Entry> dropped;  // freed without the lock
  std::list<Entry> added;
  added.push_back({std::string(key), hash, chunk, bytes});
  auto shard = shards_[hash % kShards].Lock();
  const auto drop = [&](std::list<Entry>::iterator entry) {
    shard->held_bytes -= entry->held_bytes;
    shard->by_hash.erase(entry->hash);
    dropped.splice(dropped.begin(), shard->entries, entry);
  };
  // Another thread's equal one, or another chunk with this hash.
  if (const auto old = shard->by_hash.find(hash); old != shard->by_hash.end()) drop(old->second);
  while (!shard->entries.empty() && shard->held_bytes + bytes > limit_bytes_ / kShards) {
    drop(std::prev(shard->entries.end()));
  }
  shard->entries.splice(shard->entries.begin(), added);
  shard->by_hash[hash] = shard->entries.begin();
  shard->held_bytes += bytes;
}

}  // namespace gapferry::server
