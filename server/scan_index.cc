#include "server/scan_index.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/scope_builder.h"

namespace gapferry::server {
namespace {

constexpr std::size_t kCachedScopes = 64;
constexpr std::size_t kCachedShapes = 8;
/// Ids of deployments that nobody made lie above those that are given (mirror/intent.h).
constexpr std::int32_t kImpliedDeploymentBase = 0x40000000;
constexpr int kMaxGroupDepth = 64;

void SortOnce(std::vector<std::int32_t>& ids) {
  std::ranges::sort(ids);
  const auto rest = std::ranges::unique(ids);
  ids.erase(rest.begin(), rest.end());
}

/// Positions all of whose clauses are satisfied. Costs what the satisfied clauses name, not what
/// the catalogue holds.
Bitmap Deliverable(const ScopeShape& shape, const Bitmap& satisfied) {
  Bitmap deliverable = shape.unconditional;
  std::vector<std::uint32_t> met(shape.placed.size());
  satisfied.ForEach([&](std::size_t clause) {
    for (const std::uint32_t position : shape.clause_postings[clause]) {
      if (++met[position] == shape.clause_counts[position]) deliverable.Set(position);
    }
    return true;
  });
  return deliverable;
}

}  // namespace

ContentHoldings::ContentHoldings(std::vector<mirror::ContentFile> files, std::int64_t sequence)
    : files_(std::move(files)), sequence_(sequence) {
  std::ranges::sort(files_, {}, &mirror::ContentFile::sha1);
}

const mirror::ContentFile* ContentHoldings::Find(const Sha1Digest& sha1) const {
  const auto found = std::ranges::lower_bound(files_, sha1, {}, &mirror::ContentFile::sha1);
  if (found == files_.end() || found->sha1 != sha1) return nullptr;
  return &*found;
}

bool ContentHoldings::Satisfies(const FileFacts256& declared) const {
  const mirror::ContentFile* held = Find(declared.sha1);
  if (held == nullptr || held->size_bytes != declared.size_bytes) return false;
  return !declared.sha256 || *declared.sha256 == held->sha256;
}

std::uint32_t Scope::DriverPositionOf(RevisionOrdinal r) const {
  const auto found = std::ranges::lower_bound(drivers, r, {}, &PlacedRevision::revision);
  const bool there = found != drivers.end() && found->revision == r;
  return there ? static_cast<std::uint32_t>(found - drivers.begin()) : kNone;
}

std::shared_ptr<const ScanIndex> ScanIndex::Build(std::shared_ptr<const CatalogIndex> catalog,
                                                  std::shared_ptr<const ContentHoldings> holdings,
                                                  IntentFacts intent, ScanOptions options,
                                                  UtcTime now, const ScanIndex* previous) {
  std::shared_ptr<ScanIndex> index(new ScanIndex());
  index->catalog_ = std::move(catalog);
  index->holdings_ = std::move(holdings);
  index->intent_ = std::move(intent);
  index->options_ = options;
  index->unassigned_ = {mirror::kUnassignedComputers};
  index->AddIntent(now);
  const bool same_holdings = previous != nullptr && previous->catalog_ == index->catalog_ &&
                             previous->holdings_ == index->holdings_ &&
                             previous->accepted_ == index->accepted_ &&
                             previous->options_.express == options.express;
  if (same_holdings) {
    index->availability_ = previous->availability_;
  } else {
    const std::size_t revisions = index->catalog_->revisions().size();
    index->availability_ = std::make_shared<Guarded<AvailabilityMemo>>(
        AvailabilityMemo{std::vector<Availability>(revisions), Bitmap(revisions)});
  }
  if (previous != nullptr && previous->catalog_ == index->catalog_) {
    index->cache_.Lock()->shapes = previous->cache_.Lock()->shapes;
  }
  return index;
}

void ScanIndex::AddIntent(UtcTime now) {
  for (const mirror::TargetGroup& group : intent_.groups) parents_[group.id] = group.parent;
  for (std::uint32_t i = 0; i < intent_.deployments.size(); ++i) {
    const mirror::Deployment& deployment = intent_.deployments[i];
    if (deployment.go_live > now) {
      if (!next_change_ || deployment.go_live < *next_change_) next_change_ = deployment.go_live;
      continue;
    }
    by_group_[deployment.group].push_back(i);
  }
  for (std::uint32_t i = 0; i < intent_.ended.size(); ++i) {
    ended_[intent_.ended[i].group].push_back(i);
  }
  declined_ = Bitmap(catalog_->updates().size());
  for (const Guid& guid : intent_.declined) {
    const UpdateOrdinal u = catalog_->FindUpdate(guid);
    if (u != kNone) declined_.Set(u);
  }
  std::unordered_map<Guid, mirror::Generation> accepted;
  for (const AcceptedEula& eula : intent_.accepted_eulas) accepted[eula.id] = eula.generation;
  for (const Guid& guid : catalog_->eulas()) {
    const auto found = accepted.find(guid);
    accepted_.push_back(found == accepted.end() ? -1 : found->second);
  }
}

const std::vector<Guid>& ScanIndex::GroupsOf(std::string_view computer_id) const {
  if (intent_.assignments == nullptr) return unassigned_;
  const auto found = intent_.assignments->find(ToLowerAscii(computer_id));
  return found == intent_.assignments->end() ? unassigned_ : found->second;
}

std::vector<Guid> ScanIndex::GroupsNamed(const std::vector<std::string>& names) const {
  std::vector<Guid> groups;
  for (const mirror::TargetGroup& group : intent_.groups) {
    // Every computer is in All Computers, and in Unassigned Computers only without another one.
    if (group.id == mirror::kAllComputers || group.id == mirror::kUnassignedComputers) continue;
    const bool named = std::ranges::any_of(
        names, [&](const std::string& name) { return EqualsIgnoreCase(name, group.name); });
    if (named) groups.push_back(group.id);
  }
  std::ranges::sort(groups);
  return groups.empty() ? unassigned_ : groups;
}

std::vector<Guid> ScanIndex::WithAncestors(const std::vector<Guid>& groups) const {
  std::vector<Guid> all;
  const auto add = [&all](const Guid& guid) {
    if (std::ranges::find(all, guid) != all.end()) return false;
    all.push_back(guid);
    return true;
  };
  for (Guid group : groups) {
    for (int depth = 0; depth < kMaxGroupDepth && !group.IsZero(); ++depth) {
      if (group == mirror::kAllComputers || !add(group)) break;
      const auto parent = parents_.find(group);
      if (parent == parents_.end()) break;
      group = parent->second;
    }
  }
  add(mirror::kAllComputers);
  return all;
}

std::shared_ptr<const Scope> ScanIndex::Cached(const std::vector<Guid>& key, bool filtered,
                                               const std::vector<Guid>& groups,
                                               std::span<const Guid> categories) const {
  {
    auto cache = cache_.Lock();
    while (true) {
      const auto found = cache->scopes.find(key);
      if (found != cache->scopes.end()) {
        found->second.used = ++cache->clock;
        return found->second.scope;
      }
      if (cache->in_work.insert(key).second) break;
      scope_built_.wait(cache.lock());
    }
  }
  // Built without the lock, by one call: others of these groups wait for it, none for another's.
  const auto done = [this](const std::vector<Guid>* built) {
    cache_.Lock()->in_work.erase(*built);
    scope_built_.notify_all();
  };
  const std::unique_ptr<const std::vector<Guid>, decltype(done)> in_work(&key, done);
  ScopeBuilder builder(*this, groups);
  std::shared_ptr<const Scope> scope =
      filtered ? builder.BuildFiltered(categories, *ScopeOf(groups)) : builder.Build();
  auto cache = cache_.Lock();  // let go of before `in_work` is: declared after it
  if (cache->scopes.size() >= kCachedScopes) {
    cache->scopes.erase(std::ranges::min_element(
        cache->scopes, {}, [](const auto& entry) { return entry.second.used; }));
  }
  CachedScope cached{std::move(scope), ++cache->clock};
  return cache->scopes.try_emplace(key, std::move(cached)).first->second.scope;
}

std::shared_ptr<const ScopeShape> ScanIndex::FindShape(const ScopeShape& inputs) const {
  // Compared without the lock: the inputs of a large catalogue are some kilobytes each.
  const std::vector<std::shared_ptr<const ScopeShape>> shapes = cache_.Lock()->shapes;
  for (auto shape = shapes.rbegin(); shape != shapes.rend(); ++shape) {
    if ((*shape)->IsMadeFrom(inputs)) return *shape;
  }
  return nullptr;
}

void ScanIndex::KeepShape(std::shared_ptr<const ScopeShape> shape) const {
  auto cache = cache_.Lock();
  std::erase(cache->shapes, shape);
  if (cache->shapes.size() >= kCachedShapes) cache->shapes.erase(cache->shapes.begin());
  cache->shapes.push_back(std::move(shape));
}

std::shared_ptr<const Scope> ScanIndex::ScopeOf(const std::vector<Guid>& groups) const {
  return Cached(groups, /*filtered=*/false, groups, {});
}

std::shared_ptr<const Scope> ScanIndex::FilteredScope(const std::vector<Guid>& groups,
                                                      std::span<const Guid> categories) const {
  std::vector<Guid> sorted(categories.begin(), categories.end());
  std::ranges::sort(sorted);
  std::vector<Guid> key = groups;
  key.push_back(Guid{});  // groups and categories cannot be taken for each other
  key.insert(key.end(), sorted.begin(), sorted.end());
  return Cached(key, /*filtered=*/true, groups, sorted);
}

Availability ScanIndex::AvailabilityOf(RevisionOrdinal r) const {
  {
    auto memo = availability_->Lock();
    if (memo->known.Test(r)) return memo->found[r];
  }
  const Availability availability = FindAvailability(r);
  auto memo = availability_->Lock();
  memo->found[r] = availability;
  memo->known.Set(r);
  return availability;
}

Availability ScanIndex::FindAvailability(RevisionOrdinal r) const {
  Availability availability;
  std::vector<RevisionOrdinal> all = {r};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const RevisionFacts& facts = catalog_->revisions()[all[i]];
    availability.generation = std::max(availability.generation, facts.generation);
    if (facts.has_digest_conflict || facts.lacks_member) availability.is_withheld = true;
    if (facts.eula != kNone) {
      const mirror::Generation accepted = accepted_[facts.eula];
      if (accepted < 0) availability.is_withheld = true;
      availability.generation = std::max(availability.generation, accepted);
    }
    for (const FileOrdinal f : catalog_->Payloads(all[i])) {
      const FileFacts256& file = catalog_->files()[f];
      if (file.is_express && !options_.express) continue;
      const mirror::ContentFile* held = holdings_->Find(file.sha1);
      if (held == nullptr || !holdings_->Satisfies(file)) {
        availability.is_withheld = true;
      } else {
        availability.content_sequence = std::max(availability.content_sequence, held->sequence);
      }
    }
    for (const RevisionOrdinal member : catalog_->Members(all[i])) {
      if (std::ranges::find(all, member) == all.end()) all.push_back(member);
    }
  }
  return availability;
}

Bitmap ScanIndex::Satisfied(const ScopeShape& shape,
                            std::span<const std::int32_t> installed) const {
  Bitmap satisfied(shape.clause_postings.size());
  for (const std::int32_t id : installed) {
    const RevisionOrdinal r = catalog_->FindId(id);
    if (r == kNone) continue;
    // Any revision of the update counts (wusp.md 7.4).
    const std::uint32_t at = shape.alternative_of_update[catalog_->revisions()[r].update];
    if (at == kNone) continue;
    for (const std::uint32_t clause : shape.alternative_clauses[at]) satisfied.Set(clause);
  }
  return satisfied;
}

std::shared_ptr<const Bitmap> ScanIndex::DeliverableTo(
    const ScopeShape& shape, std::span<const std::int32_t> installed) const {
  Bitmap satisfied = Satisfied(shape, installed);
  // Clients choose the categories: what is kept of them would have no bound but that of the scopes.
  if (shape.whole != nullptr) {
    return std::make_shared<const Bitmap>(Deliverable(shape, satisfied));
  }
  const std::uint64_t hash = HashOf(satisfied);
  std::shared_ptr<const Bitmap> deliverable = shape.deliverable->Find(satisfied, hash);
  if (deliverable != nullptr) return deliverable;
  deliverable = std::make_shared<const Bitmap>(Deliverable(shape, satisfied));
  const std::size_t bytes = satisfied.words().size_bytes();
  shape.deliverable->Keep(std::move(satisfied), hash, bytes, deliverable);
  return deliverable;
}

bool ScanIndex::HasChanged(const Scope& scope, const PlacedRevision& placed,
                           const std::optional<ScanAnchor>& anchor) const {
  if (!anchor || anchor->scope_stamp != scope.stamp) return true;
  if (placed.changed > anchor->generation) return true;
  if (placed.availability != kNone) {
    const Availability& availability = scope.availabilities[placed.availability];
    if (availability.generation > anchor->generation) return true;
    if (availability.content_sequence > anchor->content_sequence) return true;
    // What is missing now may have been there: nothing tells when it went.
    const bool moved = anchor->content_sequence != holdings_->sequence() ||
                       anchor->generation != intent_.state.name.generation;
    if (availability.is_withheld && moved) return true;
  }
  return placed.deployment != kNone && intent_.deployments[placed.deployment].go_live > anchor->at;
}

/// HasChanged for the many revisions of one scan.
class ScanIndex::ChangeTest {
 public:
  /// `count`: about how many will be asked about.
  ChangeTest(const ScanIndex& index, const Scope& scope, const std::optional<ScanAnchor>& anchor,
             std::size_t count)
      : index_(index), scope_(scope), anchor_(anchor) {
    if (!anchor || anchor->scope_stamp != scope.stamp) return;
    if (scope.last_go_live > anchor->at) return;
    const bool moved = anchor->content_sequence != index.holdings_->sequence() ||
                       anchor->generation != index.intent_.state.name.generation;
    nothing_ = scope.last_changed <= anchor->generation &&
               scope.last_content_sequence <= anchor->content_sequence &&
               !(scope.withholds && moved);
    // For few revisions one by one is less work than a set of all.
    if (!nothing_ && count > scope.placed.size() / 16) changed_ = Changed();
  }

  bool HasChanged(std::uint32_t position) const {
    if (nothing_) return false;
    if (changed_ != nullptr) return changed_->Test(position);
    return index_.HasChanged(scope_, scope_.placed[position], anchor_);
  }

 private:
  std::shared_ptr<const Bitmap> Changed() const {
    const ToldUpTo told{anchor_->generation, anchor_->content_sequence};
    const std::uint64_t hash = MixHash(static_cast<std::uint64_t>(told.generation),
                                       static_cast<std::uint64_t>(told.content_sequence));
    if (auto known = scope_.changes->Find(told, hash)) return known;
    auto changed = std::make_shared<Bitmap>(scope_.placed.size());
    for (std::size_t position = 0; position < scope_.placed.size(); ++position) {
      if (index_.HasChanged(scope_, scope_.placed[position], anchor_)) changed->Set(position);
    }
    scope_.changes->Keep(told, hash, 0, changed);
    return changed;
  }

  const ScanIndex& index_;
  const Scope& scope_;
  const std::optional<ScanAnchor>& anchor_;
  bool nothing_ = false;
  std::shared_ptr<const Bitmap> changed_;
};

SoftwareScanAnswer ScanIndex::ScanSoftware(const std::vector<Guid>& groups,
                                           const SoftwareScan& scan) const {
  SoftwareScanAnswer answer;
  const std::shared_ptr<const Scope> whole = ScopeOf(groups);
  const bool filtered = !scan.filter_categories.empty();
  answer.scope = filtered ? FilteredScope(groups, scan.filter_categories) : whole;
  const Scope& scope = *answer.scope;
  Bitmap deliverable = *DeliverableTo(*scope.shape, scan.installed);
  std::shared_ptr<const Bitmap> elsewhere;
  if (filtered && scan.two_groups_out_of_scope) {
    elsewhere = DeliverableTo(*whole->shape, scan.installed);
  }
  const ChangeTest changes(*this, scope, scan.anchor, scan.installed.size() + scan.other.size());
  // A category scan leaves the anchor to the next ordinary scan; without one it would tell every
  // client that all it was just given has changed.
  const bool tells_changes = !filtered || scan.anchor.has_value();
  Bitmap seen(catalog_->revisions().size());
  const auto compare = [&](std::int32_t id) {
    const RevisionOrdinal r = catalog_->FindId(id);
    if (r == kNone) {
      answer.out_of_scope.push_back(id);
      return;
    }
    if (seen.Test(r)) return;
    seen.Set(r);
    const std::uint32_t position = scope.PositionOf(r);
    if (position != kNone && deliverable.Test(position)) {
      deliverable.Clear(position);  // what is left afterwards is new
      if (tells_changes && changes.HasChanged(position)) answer.changed.push_back(position);
      return;
    }
    const std::uint32_t in_whole = elsewhere == nullptr ? kNone : whole->PositionOf(r);
    const bool deployed = in_whole != kNone && elsewhere->Test(in_whole);
    (deployed ? answer.deployed_out_of_scope : answer.out_of_scope).push_back(id);
  };
  for (const std::int32_t id : scan.installed) compare(id);
  for (const std::int32_t id : scan.other) compare(id);
  SortOnce(answer.out_of_scope);
  SortOnce(answer.deployed_out_of_scope);
  std::ranges::sort(answer.changed, {},
                    [&scope](std::uint32_t position) { return scope.placed[position].revision; });
  const std::size_t part = std::min(deliverable.Count() / 16, SoftwareScan::kMaxPage);
  const std::size_t page = std::max(scan.page_updates, part);
  deliverable.ForEach([&](std::size_t position) {
    if (answer.fresh.size() == page) {
      answer.more = true;
      return false;
    }
    answer.fresh.push_back(static_cast<std::uint32_t>(position));
    return true;
  });
  return answer;
}

ScanAnchor ScanIndex::AnchorOf(const Scope& scope, UtcTime now) const {
  return {intent_.state.name.generation, holdings_->sequence(), scope.stamp, now};
}

UtcTime ScanIndex::CommittedAt(mirror::Generation generation) const {
  const auto found = std::ranges::lower_bound(intent_.commits, generation, {},
                                              &std::pair<mirror::Generation, UtcTime>::first);
  return found == intent_.commits.end() ? intent_.state.committed_at : found->second;
}

protocol::Deployment ScanIndex::Present(const PlacedRevision& placed, bool with_auto_fields) const {
  protocol::Deployment out;
  out.action = placed.action;
  out.with_auto_fields = with_auto_fields;
  const RevisionFacts& facts = catalog_->revisions()[placed.revision];
  if (placed.deployment == kNone) {
    out.id = kImpliedDeploymentBase + facts.id;
    out.last_change_time = CommittedAt(facts.generation);
    return out;
  }
  const mirror::Deployment& deployment = intent_.deployments[placed.deployment];
  out.id = deployment.id;
  out.is_assigned = deployment.is_assigned;
  out.last_change_time = deployment.last_change;
  using Action = protocol::DeploymentAction;
  const bool acts = placed.action == Action::kInstall || placed.action == Action::kUninstall ||
                    placed.action == Action::kOptionalInstall;
  if (acts) out.deadline = deployment.effective_deadline;
  return out;
}

}  // namespace gapferry::server
