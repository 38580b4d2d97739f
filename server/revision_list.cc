#include "server/revision_list.h"

#include <algorithm>
#include <unordered_map>

namespace gapferry::server {
namespace {

using mirror::UpdateType;

bool IsConfiguration(const RevisionFacts& facts) {
  return facts.type == UpdateType::kCategory || facts.type == UpdateType::kDetectoid;
}

/// What the categories and classifications of a filter choose.
class Matcher {
 public:
  Matcher(const CatalogIndex& catalog, const protocol::SyncFilter& filter) : catalog_(catalog) {
    for (const auto& category : filter.categories) Enter(categories_, category);
    for (const auto& classification : filter.classifications) {
      Enter(classifications_, classification);
    }
    has_filter_ = !filter.categories.empty() || !filter.classifications.empty();
    Descend();
  }

  /// Whether nothing but what is newer than the anchor can match.
  bool is_delta() const {
    const auto all_deltas = [](const Selection& selection) {
      return std::ranges::all_of(selection, [](const auto& item) { return item.second; });
    };
    return !has_filter_ || (all_deltas(categories_) && all_deltas(classifications_));
  }

  bool Matches(RevisionOrdinal r, bool is_new) const {
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
    if (u == kNone) return;
    const auto [known, added] = selection.try_emplace(u, item.delta);
    if (!added && !item.delta) known->second = false;  // asked for twice: the fuller one
  }

  /// Updates name products, products their family, families their company.
  void Descend() {
    if (categories_.empty()) return;
    for (bool grown = true; grown;) {
      grown = false;
      for (const RevisionOrdinal r : catalog_.categories()) {
        const UpdateOrdinal child = catalog_.revisions()[r].update;
        for (const ClauseOrdinal clause : catalog_.Clauses(r)) {
          for (const UpdateOrdinal parent : catalog_.Alternatives(clause)) {
            grown = Inherit(parent, child) || grown;
          }
        }
      }
    }
  }
  bool Inherit(UpdateOrdinal parent, UpdateOrdinal child) {
    const auto listed = categories_.find(parent);
    if (listed == categories_.end() || parent == child) return false;
    const bool delta = listed->second;
    const auto [known, added] = categories_.try_emplace(child, delta);
    if (added || delta || !known->second) return added;
    known->second = false;
    return true;
  }
  static void Note(const Selection& selection, UpdateOrdinal u, bool& named, bool& full) {
    const auto found = selection.find(u);
    if (found == selection.end()) return;
    named = true;
    if (!found->second) full = true;
  }

  const CatalogIndex& catalog_;
  Selection categories_;
  Selection classifications_;
  bool has_filter_ = false;
};

/// Four bytes for each revision.
class OrdinalList : public protocol::UpdateIdList {
 public:
  OrdinalList(std::shared_ptr<const CatalogIndex> catalog, std::vector<RevisionOrdinal> revisions)
      : catalog_(std::move(catalog)), revisions_(std::move(revisions)) {}
  std::size_t size() const override { return revisions_.size(); }
  protocol::UpdateId At(std::size_t position) const override {
    return catalog_->NameOf(revisions_[position]);
  }

 private:
  std::shared_ptr<const CatalogIndex> catalog_;
  std::vector<RevisionOrdinal> revisions_;
};

/// Lists revisions that the caller can read, each once.
class Collector {
 public:
  Collector(const CatalogIndex& catalog, std::uint32_t protocol_version)
      : catalog_(catalog),
        protocol_version_(protocol_version),
        listed_(catalog.revisions().size()) {}

  void List(RevisionOrdinal r) {
    if (listed_.Test(r)) return;
    if (catalog_.revisions()[r].protocol_version > protocol_version_) return;
    listed_.Set(r);
    revisions_.push_back(r);
  }
  /// In ascending order, with all that they bundle.
  std::vector<RevisionOrdinal> TakeWithMembers() {
    for (std::size_t i = 0; i < revisions_.size(); ++i) {
      for (const RevisionOrdinal member : catalog_.Members(revisions_[i])) List(member);
    }
    std::ranges::sort(revisions_);
    return std::move(revisions_);
  }

 private:
  const CatalogIndex& catalog_;
  const std::uint32_t protocol_version_;
  Bitmap listed_;
  std::vector<RevisionOrdinal> revisions_;
};

}  // namespace

std::shared_ptr<const protocol::UpdateIdList> ListRevisions(
    std::shared_ptr<const CatalogIndex> catalog, const protocol::SyncFilter& filter,
    mirror::Generation anchor, std::uint32_t protocol_version) {
  const Matcher matcher(*catalog, filter);
  Collector collector(*catalog, protocol_version);
  const auto consider = [&](RevisionOrdinal r) {
    const RevisionFacts& facts = catalog->revisions()[r];
    if (!facts.is_latest || IsConfiguration(facts) != filter.get_config) return;
    const bool is_new = facts.generation > anchor;
    // The configuration ignores the filter.
    if (filter.get_config ? is_new : matcher.Matches(r, is_new)) collector.List(r);
  };
  if (filter.get_config || matcher.is_delta()) {
    for (const RevisionOrdinal r : catalog->NewerThan(anchor)) consider(r);
  } else {
    for (RevisionOrdinal r = 0; r < catalog->revisions().size(); ++r) consider(r);
  }
  return std::make_shared<OrdinalList>(std::move(catalog), collector.TakeWithMembers());
}

}  // namespace gapferry::server
