#include "server/scan_index.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/scope_builder.h"

namespace gapferry::server {
namespace {

constexpr std::size_t kCachedScopes = 64;
/// Ids of deployments that nobody made lie above those that are given (mirror/intent.h).
constexpr std::int32_t kImpliedDeploymentBase = 0x40000000;
constexpr int kMaxGroupDepth = 64;

/// Bits of what a client says it has; ids we do not know are collected apart.
struct CachedRevisions {
  std::vector<RevisionOrdinal> known;
  std::vector<std::int32_t> unknown;
};

CachedRevisions Resolve(const CatalogIndex& catalog, std::vector<std::int32_t> ids) {
  std::ranges::sort(ids);
  const auto rest = std::ranges::unique(ids);
  ids.erase(rest.begin(), rest.end());
  CachedRevisions cached;
  for (const std::int32_t id : ids) {
    const RevisionOrdinal r = catalog.FindId(id);
    if (r == kNone) {
      cached.unknown.push_back(id);
    } else {
      cached.known.push_back(r);
    }
  }
  return cached;
}

std::vector<std::int32_t> Union(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  std::vector<std::int32_t> all(a.begin(), a.end());
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

Bitmap Deliverable(const Scope& scope, const Bitmap& satisfied) {
  Bitmap deliverable(scope.placed.size());
  if (deliverable.size() == 0) return deliverable;
  deliverable.SetAll();
  for (std::size_t clause = 0; clause < scope.clause_postings.size(); ++clause) {
    if (satisfied.Test(clause)) continue;
    for (const std::uint32_t position : scope.clause_postings[clause]) deliverable.Clear(position);
  }
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

std::shared_ptr<const ScanIndex> ScanIndex::Build(std::shared_ptr<const CatalogIndex> catalog,
                                                  std::shared_ptr<const ContentHoldings> holdings,
                                                  IntentFacts intent, ScanOptions options,
                                                  UtcTime now) {
  std::shared_ptr<ScanIndex> index(new ScanIndex());
  index->catalog_ = std::move(catalog);
  index->holdings_ = std::move(holdings);
  index->intent_ = std::move(intent);
  index->options_ = options;
  index->unassigned_ = {mirror::kUnassignedComputers};
  const IntentFacts& facts = index->intent_;

  for (const mirror::TargetGroup& group : facts.groups) {
    index->parents_[group.id] = group.parent;
  }
  for (std::uint32_t i = 0; i < facts.deployments.size(); ++i) {
    const mirror::Deployment& deployment = facts.deployments[i];
    if (deployment.go_live > now) {
      if (!index->next_change_ || deployment.go_live < *index->next_change_) {
        index->next_change_ = deployment.go_live;
      }
      continue;
    }
    index->by_group_[deployment.group].push_back(i);
  }
  for (std::uint32_t i = 0; i < facts.ended.size(); ++i) {
    index->ended_[facts.ended[i].group].push_back(i);
  }
  index->declined_ = Bitmap(index->catalog_->updates().size());
  for (const Guid& guid : facts.declined) {
    const UpdateOrdinal u = index->catalog_->FindUpdate(guid);
    if (u != kNone) index->declined_.Set(u);
  }
  const std::vector<Guid>& eulas = index->catalog_->eulas();
  index->accepted_ = Bitmap(eulas.size());
  for (std::size_t i = 0; i < eulas.size(); ++i) {
    if (std::ranges::find(facts.accepted_eulas, eulas[i]) != facts.accepted_eulas.end()) {
      index->accepted_.Set(i);
    }
  }
  for (const auto& [computer, group] : facts.assignments) {
    index->assigned_[ToLowerAscii(computer)].push_back(group);
  }
  for (auto& [computer, groups] : index->assigned_) std::ranges::sort(groups);
  return index;
}

const std::vector<Guid>& ScanIndex::GroupsOf(std::string_view computer_id) const {
  const auto found = assigned_.find(ToLowerAscii(computer_id));
  return found == assigned_.end() ? unassigned_ : found->second;
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
    auto scopes = scopes_.Lock();
    const auto found = scopes->find(key);
    if (found != scopes->end()) return found->second;
  }
  // Built without the lock: two clients may do it twice, none waits for another one's groups.
  std::shared_ptr<const Scope> scope =
      ScopeBuilder(*this, groups).Build(filtered ? categories : std::span<const Guid>());
  auto scopes = scopes_.Lock();
  if (scopes->size() >= kCachedScopes) scopes->erase(scopes->begin());
  return scopes->try_emplace(key, std::move(scope)).first->second;
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

bool ScanIndex::IsComplete(RevisionOrdinal r) const {
  std::vector<RevisionOrdinal> pending = {r};
  std::vector<RevisionOrdinal> seen = pending;
  while (!pending.empty()) {
    const RevisionOrdinal at = pending.back();
    pending.pop_back();
    if (catalog_->revisions()[at].lacks_member) return false;
    for (const FileOrdinal f : catalog_->Payloads(at)) {
      const FileFacts256& file = catalog_->files()[f];
      if (file.is_express && !options_.express) continue;
      if (!holdings_->Satisfies(file)) return false;
    }
    for (const RevisionOrdinal member : catalog_->Members(at)) {
      if (std::ranges::find(seen, member) != seen.end()) continue;
      seen.push_back(member);
      pending.push_back(member);
    }
  }
  return true;
}

bool ScanIndex::MayInstall(RevisionOrdinal r) const {
  std::vector<RevisionOrdinal> all = {r};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const RevisionFacts& facts = catalog_->revisions()[all[i]];
    if (facts.has_digest_conflict) return false;
    if (facts.eula != kNone && !accepted_.Test(facts.eula)) return false;
    for (const RevisionOrdinal member : catalog_->Members(all[i])) {
      if (std::ranges::find(all, member) == all.end()) all.push_back(member);
    }
  }
  return IsComplete(r);
}

Bitmap ScanIndex::Satisfied(const Scope& scope, std::span<const std::int32_t> installed) const {
  Bitmap satisfied(scope.clause_postings.size());
  for (const std::int32_t id : installed) {
    const RevisionOrdinal r = catalog_->FindId(id);
    if (r == kNone) continue;
    // Any revision of the update counts (wusp.md 7.4).
    const UpdateOrdinal u = catalog_->revisions()[r].update;
    const auto at = std::ranges::lower_bound(scope.alternatives, u);
    if (at == scope.alternatives.end() || *at != u) continue;
    const auto position = static_cast<std::size_t>(at - scope.alternatives.begin());
    for (const std::uint32_t clause : scope.alternative_clauses[position]) satisfied.Set(clause);
  }
  return satisfied;
}

bool ScanIndex::HasChanged(const Scope& scope, const PlacedRevision& placed,
                           const std::optional<ScanAnchor>& anchor) const {
  if (!anchor || anchor->scope_stamp != scope.stamp) return true;
  if (placed.changed > anchor->generation) return true;
  if (placed.depends_on_content && anchor->content_sequence != holdings_->sequence()) return true;
  if (placed.depends_on_eula && intent_.state.name.generation != anchor->generation) return true;
  return placed.deployment != kNone && intent_.deployments[placed.deployment].go_live > anchor->at;
}

SoftwareScanAnswer ScanIndex::ScanSoftware(const std::vector<Guid>& groups,
                                           const SoftwareScan& scan) const {
  SoftwareScanAnswer answer;
  const std::shared_ptr<const Scope> whole = ScopeOf(groups);
  const bool filtered = !scan.filter_categories.empty();
  answer.scope = filtered ? FilteredScope(groups, scan.filter_categories) : whole;
  const Scope& scope = *answer.scope;
  Bitmap deliverable = Deliverable(scope, Satisfied(scope, scan.installed));

  CachedRevisions cached = Resolve(*catalog_, Union(scan.installed, scan.other));
  answer.out_of_scope = std::move(cached.unknown);
  Bitmap elsewhere;
  if (filtered && scan.two_groups_out_of_scope) {
    elsewhere = Deliverable(*whole, Satisfied(*whole, scan.installed));
  }
  for (const RevisionOrdinal r : cached.known) {
    const std::int32_t id = catalog_->revisions()[r].id;
    const std::uint32_t position = scope.PositionOf(r);
    if (position != kNone && deliverable.Test(position)) {
      deliverable.Clear(position);  // what is left afterwards is new
      // A category scan leaves the anchor to the next ordinary scan; without one it would tell
      // every client that all it was just given has changed.
      const bool tells_changes = !filtered || scan.anchor.has_value();
      if (tells_changes && HasChanged(scope, scope.placed[position], scan.anchor)) {
        answer.changed.push_back(position);
      }
      continue;
    }
    const std::uint32_t in_whole = elsewhere.size() == 0 ? kNone : whole->PositionOf(r);
    const bool deployed = in_whole != kNone && elsewhere.Test(in_whole);
    (deployed ? answer.deployed_out_of_scope : answer.out_of_scope).push_back(id);
  }
  std::ranges::sort(answer.out_of_scope);
  deliverable.ForEach([&](std::size_t position) {
    if (answer.fresh.size() == scan.page_updates) {
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
  if (placed.action != protocol::DeploymentAction::kPreDeploymentCheck) {
    out.deadline = deployment.effective_deadline;
  }
  return out;
}

}  // namespace gapferry::server
