#include "exporter/list_compare.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

namespace gapferry::exporter {

using mirror::RevisionRelations;
using protocol::UpdateId;
using protocol::UpdateType;

namespace {

// Updates that the list does not name, with what they are members of.
class Unlisted {
 public:
  Unlisted(const UpdateFilter& filter, const std::vector<UpdateId>& listed)
      : filter_(filter), listed_(listed) {}

  void Add(const RevisionRelations& revision, bool is_loaded) {
    const auto& row = revision.row;
    const bool is_update = row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver;
    if (!is_update || !row.is_latest || row.is_withdrawn) return;
    const Guid& guid = row.update.guid;
    const bool is_listed = Lists(listed_, guid);
    for (const auto& group : revision.bundled) {
      for (const UpdateId& member : group) {
        if (!Lists(listed_, member.guid)) parents_.emplace(member.guid, Parent{guid, is_listed});
      }
    }
    if (is_listed || row.is_expired) return;
    Entry entry{row.update, is_loaded, filter_.Selects(revision), Verdict::kOpen};
    auto [at, inserted] = entries_.emplace(guid, entry);
    if (inserted) return;
    entry.is_loaded = at->second.is_loaded && is_loaded;  // an older revision is published
    at->second = entry;
  }

  /// Of all entries; ends, since each is judged once.
  void Judge(ListDifference& out, ListKind kind) {
    for (auto& [guid, entry] : entries_) {
      if (!IsMissing(guid, /*depth=*/0)) continue;
      if (entry.is_loaded) {
        out.lost.push_back(entry.id);
      } else if (kind == ListKind::kComplete) {
        out.withdrawn.push_back(entry.id);
      }
    }
    std::sort(out.lost.begin(), out.lost.end());
    std::sort(out.withdrawn.begin(), out.withdrawn.end());
  }

 private:
  enum class Verdict : std::uint8_t { kOpen, kAsked, kKept, kMissing };
  struct Entry {
    UpdateId id;
    bool is_loaded;
    bool is_selected;
    Verdict verdict;
  };
  struct Parent {
    Guid guid;
    bool is_listed;
  };

  // Bundles are three levels deep; documents that bundle each other in a circle are kept.
  bool IsMissing(const Guid& guid, int depth) {
    const auto found = entries_.find(guid);
    if (found == entries_.end()) return false;
    Entry& entry = found->second;
    if (entry.verdict == Verdict::kAsked || depth > 64) return false;
    if (entry.verdict != Verdict::kOpen) return entry.verdict == Verdict::kMissing;
    entry.verdict = Verdict::kAsked;
    bool has_parents = false;
    bool is_kept = false;
    const auto [first, last] = parents_.equal_range(guid);
    for (auto it = first; it != last && !is_kept; ++it) {
      has_parents = true;
      is_kept = it->second.is_listed || !IsMissing(it->second.guid, depth + 1);
    }
    const bool is_missing = !is_kept && (entry.is_selected || has_parents);
    entry.verdict = is_missing ? Verdict::kMissing : Verdict::kKept;
    return is_missing;
  }

  const UpdateFilter& filter_;
  const std::vector<UpdateId>& listed_;
  std::unordered_map<Guid, Entry> entries_;
  std::unordered_multimap<Guid, Parent> parents_;  // of members that the list does not name
};

}  // namespace

bool Lists(const std::vector<UpdateId>& sorted, const Guid& guid) {
  const UpdateId lowest{guid, std::numeric_limits<std::int32_t>::min()};
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), lowest);
  return at != sorted.end() && at->guid == guid;
}

Result<ListDifference> CompareWithList(mirror::Mirror& mirror, mirror::CatalogLoad* load,
                                       const UpdateFilter& filter,
                                       const std::vector<UpdateId>& listed, ListKind kind) {
  ListDifference difference;
  TRY_ASSIGN(const auto counts, mirror.catalog().Counts());
  if (counts.withdrawn > 0) {
    TRY(mirror.catalog().ForEachRevision([&](const mirror::RevisionRow& row) -> Result<void> {
      if (row.is_withdrawn && Lists(listed, row.update.guid))
        difference.again.push_back(row.update);
      return {};
    }));
  }
  // A list of changes can only take back what was loaded since its anchor.
  bool has_loaded = false;
  if (load != nullptr && kind == ListKind::kChanges) {
    TRY(load->ForEachLoaded([&](RevisionRelations& revision) -> Result<void> {
      has_loaded = has_loaded || !Lists(listed, revision.row.update.guid);
      return {};
    }));
  }
  if (kind == ListKind::kChanges && !has_loaded) return difference;
  Unlisted unlisted(filter, listed);
  TRY(mirror.catalog().ForEachRelations(0, [&](RevisionRelations& revision) -> Result<void> {
    unlisted.Add(revision, /*is_loaded=*/false);
    return {};
  }));
  if (load != nullptr) {
    TRY(load->ForEachLoaded([&](RevisionRelations& revision) -> Result<void> {
      unlisted.Add(revision, /*is_loaded=*/true);
      return {};
    }));
  }
  unlisted.Judge(difference, kind);
  return difference;
}

}  // namespace gapferry::exporter
