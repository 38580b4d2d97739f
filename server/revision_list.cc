#include "server/revision_list.h"

#include <algorithm>
#include <unordered_map>

namespace gapferry::server {
namespace {

using mirror::UpdateType;

bool IsConfiguration(const RevisionFacts& facts) {
  return facts.type == UpdateType::kCategory || facts.type == UpdateType::kDetectoid;
}

/// Whether the caller may hear of it: anchor and filter.
class Matcher {
 public:
  Matcher(const CatalogIndex& catalog, const protocol::SyncFilter& filter,
          mirror::Generation anchor)
      : catalog_(catalog), anchor_(anchor) {
    for (const auto& category : filter.categories) Enter(categories_, category);
    for (const auto& classification : filter.classifications) {
      Enter(classifications_, classification);
    }
    has_filter_ = !filter.categories.empty() || !filter.classifications.empty();
  }

  bool Matches(RevisionOrdinal r) const {
    const bool is_new = catalog_.revisions()[r].generation > anchor_;
    if (!has_filter_) return is_new;
    bool named_category = false;
    bool named_classification = false;
    bool full_category = false;
    bool full_classification = false;
    for (const ClauseOrdinal clause : catalog_.Clauses(r)) {
      for (const UpdateOrdinal u : catalog_.Alternatives(clause)) {
        Note(categories_, u, named_category, full_category);
        Note(classifications_, u, named_classification, full_classification);
      }
    }
    if (!named_category || !named_classification) return false;
    // Old revisions are given again unless both of the pair are deltas (wsusss.md 3.2).
    return is_new || full_category || full_classification;
  }

 private:
  using Selection = std::unordered_map<UpdateOrdinal, bool>;  // -> delta

  void Enter(Selection& selection, const protocol::IdAndDelta& item) {
    const UpdateOrdinal u = catalog_.FindUpdate(item.id);
    if (u != kNone) selection[u] = item.delta;
  }
  static void Note(const Selection& selection, UpdateOrdinal u, bool& named, bool& full) {
    const auto found = selection.find(u);
    if (found == selection.end()) return;
    named = true;
    if (!found->second) full = true;
  }

  const CatalogIndex& catalog_;
  const mirror::Generation anchor_;
  Selection categories_;
  Selection classifications_;
  bool has_filter_ = false;
};

}  // namespace

std::vector<protocol::UpdateId> ListRevisions(const CatalogIndex& catalog,
                                              const protocol::SyncFilter& filter,
                                              mirror::Generation anchor,
                                              std::uint32_t protocol_version) {
  const Matcher matcher(catalog, filter, anchor);
  Bitmap listed(catalog.revisions().size());
  std::vector<RevisionOrdinal> pending;
  const auto list = [&](RevisionOrdinal r) {
    if (listed.Test(r)) return;
    if (catalog.revisions()[r].protocol_version > protocol_version) return;
    listed.Set(r);
    pending.push_back(r);
  };
  for (RevisionOrdinal r = 0; r < catalog.revisions().size(); ++r) {
    const RevisionFacts& facts = catalog.revisions()[r];
    if (!facts.is_latest || IsConfiguration(facts) != filter.get_config) continue;
    const bool wanted = filter.get_config ? facts.generation > anchor : matcher.Matches(r);
    if (wanted) list(r);
  }
  while (!pending.empty()) {
    const RevisionOrdinal r = pending.back();
    pending.pop_back();
    for (const RevisionOrdinal member : catalog.Members(r)) list(member);
  }
  std::vector<protocol::UpdateId> names;
  listed.ForEach([&](std::size_t r) {
    names.push_back(catalog.NameOf(static_cast<RevisionOrdinal>(r)));
    return true;
  });
  return names;
}

}  // namespace gapferry::server
