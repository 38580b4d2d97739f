#include "exporter/list_compare.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "mirror/load_queries.h"

namespace gapferry::exporter {

using mirror::RevisionRow;
using protocol::UpdateId;
using protocol::UpdateType;

namespace {

bool IsOffered(const RevisionRow& row) {
  const bool is_update = row.type == UpdateType::kSoftware || row.type == UpdateType::kDriver;
  return is_update && row.is_latest && !row.is_withdrawn && !row.is_expired;
}

// Updates that the list does not name. What bundles them is looked up for these alone: nearly all
// that is held is listed.
class Unlisted {
 public:
  Unlisted(mirror::Mirror& mirror, const mirror::CatalogLoad* load, const UpdateFilter& filter,
           const std::vector<UpdateId>& listed)
      : mirror_(mirror), load_(load), filter_(filter), listed_(listed) {}

  /// Published ones first.
  void Add(const RevisionRow& row, bool is_loaded) {
    if (!IsOffered(row) || Lists(listed_, row.update.guid)) return;
    auto [at, inserted] = entries_.emplace(row.update.guid, Entry{row, is_loaded});
    if (inserted) return;
    is_loaded = at->second.is_loaded && is_loaded;  // an older revision is published
    at->second = Entry{row, is_loaded};
  }

  /// Of all entries; ends, since each is judged once.
  Result<void> Judge(ListDifference& out, ListKind kind) {
    for (auto& [guid, entry] : entries_) {
      TRY_ASSIGN(const bool is_missing, IsMissing(guid, /*depth=*/0));
      if (!is_missing) continue;
      if (entry.is_loaded) {
        out.lost.push_back(entry.row.update);
      } else if (kind == ListKind::kComplete) {
        out.withdrawn.push_back(entry.row.update);
      }
    }
    std::sort(out.lost.begin(), out.lost.end());
    std::sort(out.withdrawn.begin(), out.withdrawn.end());
    return {};
  }

 private:
  enum class Verdict : std::uint8_t { kOpen, kAsked, kKept, kMissing };
  struct Entry {
    RevisionRow row;
    bool is_loaded = false;
    Verdict verdict = Verdict::kOpen;
  };

  Result<bool> IsSelected(const RevisionRow& row) {
    if (filter_.all()) return true;
    TRY_ASSIGN(const auto relations, mirror::RelationsOf(mirror_, row));
    return filter_.Selects(relations);
  }

  // Bundles are three levels deep; documents that bundle each other in a circle are kept.
  Result<bool> IsMissing(const Guid& guid, int depth) {
    const auto found = entries_.find(guid);
    if (found == entries_.end()) return false;
    Entry& entry = found->second;
    if (entry.verdict == Verdict::kAsked || depth > 64) return false;
    if (entry.verdict != Verdict::kOpen) return entry.verdict == Verdict::kMissing;
    entry.verdict = Verdict::kAsked;
    TRY_ASSIGN(const auto bundles, mirror::BundlesNaming(mirror_, load_, guid));
    bool is_kept = false;
    for (const RevisionRow& bundle : bundles) {
      if (is_kept) break;
      is_kept = Lists(listed_, bundle.update.guid);
      if (is_kept) break;
      TRY_ASSIGN(const bool is_missing, IsMissing(bundle.update.guid, depth + 1));
      is_kept = !is_missing;
    }
    if (!is_kept && bundles.empty()) {
      TRY_ASSIGN(const bool is_selected, IsSelected(entry.row));
      is_kept = !is_selected;
    }
    entry.verdict = is_kept ? Verdict::kKept : Verdict::kMissing;
    return !is_kept;
  }

  mirror::Mirror& mirror_;
  const mirror::CatalogLoad* load_;
  const UpdateFilter& filter_;
  const std::vector<UpdateId>& listed_;
  std::unordered_map<Guid, Entry> entries_;
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
  TRY_ASSIGN(difference.again, mirror::WithdrawnAmong(mirror, listed));
  Unlisted unlisted(mirror, load, filter, listed);
  if (kind == ListKind::kComplete) {
    TRY(mirror.catalog().ForEachRevision([&](const RevisionRow& row) -> Result<void> {
      unlisted.Add(row, /*is_loaded=*/false);
      return {};
    }));
  }
  if (load != nullptr) {
    TRY(mirror::ForEachLoadedRow(mirror, *load, [&](const RevisionRow& row) -> Result<void> {
      // A list of changes can only take back what nobody has seen in any revision.
      if (kind == ListKind::kChanges && IsOffered(row) && !Lists(listed, row.update.guid)) {
        TRY_ASSIGN(const auto published, mirror.catalog().FindLatest(row.update.guid));
        if (published && IsOffered(*published)) return {};
      }
      unlisted.Add(row, /*is_loaded=*/true);
      return {};
    }));
  }
  TRY(unlisted.Judge(difference, kind));
  return difference;
}

}  // namespace gapferry::exporter
