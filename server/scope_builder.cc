#include "server/scope_builder.h"

#include <algorithm>
#include <tuple>

#include "base/hash.h"

namespace gapferry::server {
namespace {

using mirror::UpdateType;
using Action = mirror::DeploymentAction;

int Strength(Action action) {
  switch (action) {
    case Action::kBlock:
      return 5;
    case Action::kUninstall:
      return 4;
    case Action::kInstall:
      return 3;
    case Action::kOptionalInstall:
      return 2;
    case Action::kPreDeploymentCheck:
      return 1;
    case Action::kEvaluate:
    case Action::kBundle:
      return 0;
  }
  return 0;
}

}  // namespace

ScopeBuilder::ScopeBuilder(const ScanIndex& index, const std::vector<Guid>& groups)
    : index_(index),
      catalog_(index.catalog()),
      groups_(groups),
      all_groups_(index.WithAncestors(groups)),
      visited_(index.catalog().revisions().size()) {}

RevisionOrdinal ScopeBuilder::RevisionOf(std::uint32_t deployment) const {
  return catalog_.Find(index_.intent_.deployments[deployment].update);
}

bool ScopeBuilder::IsStronger(std::uint32_t candidate, std::uint32_t other) const {
  const auto& a = index_.intent_.deployments[candidate];
  const auto& b = index_.intent_.deployments[other];
  const auto rank = [](const mirror::Deployment& d) {
    return std::tuple(-Strength(d.action), -std::int64_t{d.update.revision},
                      d.effective_deadline.value_or(kEndOfTime), d.id);
  };
  return rank(a) < rank(b);
}

ScopeBuilder::Winners ScopeBuilder::WinnersOfPath(const Guid& group) const {
  std::vector<Guid> path = index_.WithAncestors({group});
  Winners winners;
  // From the root towards the group: what is nearer overwrites.
  for (auto at = path.rbegin(); at != path.rend(); ++at) {
    const auto found = index_.by_group_.find(*at);
    if (found == index_.by_group_.end()) continue;
    Winners here;
    for (const std::uint32_t deployment : found->second) {
      const RevisionOrdinal r = RevisionOf(deployment);
      if (r == kNone) continue;
      const auto [entry, added] = here.try_emplace(catalog_.revisions()[r].update, deployment);
      if (!added && IsStronger(deployment, entry->second)) entry->second = deployment;
    }
    for (const auto& [update, deployment] : here) winners[update] = deployment;
  }
  return winners;
}

void ScopeBuilder::FindWinners() {
  for (const Guid& group : groups_) {
    for (const auto& [update, deployment] : WinnersOfPath(group)) {
      const auto [entry, added] = winners_.try_emplace(update, deployment);
      if (!added && IsStronger(deployment, entry->second)) entry->second = deployment;
    }
  }
  // An approval of what is declined or expired is void.
  std::erase_if(winners_, [this](const auto& entry) {
    return !IsOffered(entry.first) || catalog_.revisions()[RevisionOf(entry.second)].is_expired;
  });
  // A change of any deployment that could count may have made another one win.
  const auto touch = [this](const Guid& update, mirror::Generation generation) {
    const UpdateOrdinal u = catalog_.FindUpdate(update);
    if (u == kNone) return;
    mirror::Generation& last = touched_[u];
    last = std::max(last, generation);
  };
  for (const Guid& group : all_groups_) {
    if (const auto found = index_.ended_.find(group); found != index_.ended_.end()) {
      for (const std::uint32_t i : found->second) {
        const EndedDeployment& ended = index_.intent_.ended[i];
        touch(ended.update, ended.generation);
      }
    }
    if (const auto found = index_.by_group_.find(group); found != index_.by_group_.end()) {
      for (const std::uint32_t i : found->second) {
        const mirror::Deployment& deployment = index_.intent_.deployments[i];
        touch(deployment.update.guid, deployment.generation);
      }
    }
  }
}

bool ScopeBuilder::IsOffered(UpdateOrdinal u) const {
  const RevisionOrdinal latest = catalog_.updates()[u].latest;
  if (latest == kNone || index_.IsDeclined(u)) return false;
  return !catalog_.revisions()[latest].is_expired;
}

bool ScopeBuilder::BelongsTo(RevisionOrdinal r, const std::vector<UpdateOrdinal>& filter) const {
  return std::ranges::any_of(filter, [&](UpdateOrdinal u) { return catalog_.Names(r, u); });
}

bool ScopeBuilder::IsInWhole(RevisionOrdinal r) const {
  return whole_->PositionOf(r) != kNone || whole_->DriverPositionOf(r) != kNone;
}

void ScopeBuilder::Visit(RevisionOrdinal r) {
  if (visited_.Test(r)) return;
  const RevisionFacts& facts = catalog_.revisions()[r];
  const bool software = facts.type == UpdateType::kSoftware || facts.type == UpdateType::kDriver;
  if (software && (facts.is_expired || index_.IsDeclined(facts.update))) return;
  if (software && whole_ != nullptr && !IsInWhole(r)) return;
  visited_.Set(r);
  pending_.push_back(r);
}

void ScopeBuilder::Seed(const std::vector<UpdateOrdinal>& filter, bool filtered,
                        ScopeShape& inputs) const {
  inputs.seeds = Bitmap(catalog_.revisions().size());
  inputs.declined = index_.declined_;
  for (const auto& [update, deployment] : winners_) {
    const RevisionOrdinal r = RevisionOf(deployment);
    if (r != catalog_.updates()[update].latest) inputs.pinned.push_back(r);
    if (!filtered || BelongsTo(r, filter)) inputs.seeds.Set(r);
  }
  std::ranges::sort(inputs.pinned);
  for (const UpdateOrdinal u : filter) {
    if (catalog_.updates()[u].latest != kNone) inputs.seeds.Set(catalog_.updates()[u].latest);
  }
  if (!index_.options_.evaluate_unapproved) return;
  for (UpdateOrdinal u = 0; u < catalog_.updates().size(); ++u) {
    if (!IsOffered(u) || winners_.contains(u)) continue;
    const RevisionOrdinal r = catalog_.updates()[u].latest;
    const RevisionFacts& facts = catalog_.revisions()[r];
    const bool software = facts.type == UpdateType::kSoftware || facts.type == UpdateType::kDriver;
    if (!software || !facts.is_deployable) continue;
    if (!filtered || BelongsTo(r, filter)) inputs.seeds.Set(r);
  }
}

void ScopeBuilder::Close() {
  while (!pending_.empty()) {
    const RevisionOrdinal r = pending_.back();
    pending_.pop_back();
    in_scope_.push_back(r);
    for (const ClauseOrdinal clause : catalog_.Clauses(r)) {
      for (const UpdateOrdinal u : catalog_.Alternatives(clause)) {
        // A prerequisite means the newest revision; where one was approved, that one.
        const auto winner = winners_.find(u);
        const RevisionOrdinal wanted =
            winner != winners_.end() ? RevisionOf(winner->second) : catalog_.updates()[u].latest;
        if (wanted != kNone) Visit(wanted);
      }
    }
    for (const RevisionOrdinal member : catalog_.Members(r)) Visit(member);
  }
}

void ScopeBuilder::KeepOnePerUpdate() {
  const auto better = [this](RevisionOrdinal a, RevisionOrdinal b) {
    const RevisionFacts& left = catalog_.revisions()[a];
    const RevisionFacts& right = catalog_.revisions()[b];
    if (left.update != right.update) return left.update < right.update;
    const auto winner = winners_.find(left.update);
    if (winner != winners_.end()) {
      const RevisionOrdinal approved = RevisionOf(winner->second);
      if ((a == approved) != (b == approved)) return a == approved;
    }
    return left.number > right.number;
  };
  std::ranges::sort(in_scope_, better);
  const auto rest = std::ranges::unique(
      in_scope_, {}, [this](RevisionOrdinal r) { return catalog_.revisions()[r].update; });
  in_scope_.erase(rest.begin(), rest.end());
}

protocol::DeploymentAction ScopeBuilder::ActionOf(RevisionOrdinal r, std::uint32_t deployment,
                                                  bool is_withheld) const {
  using Shown = protocol::DeploymentAction;
  const RevisionFacts& facts = catalog_.revisions()[r];
  if (facts.type == UpdateType::kCategory || facts.type == UpdateType::kDetectoid) {
    return Shown::kEvaluate;
  }
  if (deployment != kNone) {
    switch (index_.intent_.deployments[deployment].action) {
      case Action::kInstall:
        return is_withheld ? Shown::kPreDeploymentCheck : Shown::kInstall;
      case Action::kOptionalInstall:
        return is_withheld ? Shown::kPreDeploymentCheck : Shown::kOptionalInstall;
      case Action::kUninstall:
        return Shown::kUninstall;
      case Action::kPreDeploymentCheck:
      case Action::kBlock:
        return Shown::kPreDeploymentCheck;  // MS-WUSP 2.2.2.2.4: Block is presented so
      case Action::kEvaluate:
        return Shown::kEvaluate;
      case Action::kBundle:
        return Shown::kBundle;
    }
  }
  if (facts.bundled_since != 0) return Shown::kBundle;
  const bool checked = index_.options_.evaluate_unapproved && facts.is_deployable;
  return checked ? Shown::kPreDeploymentCheck : Shown::kEvaluate;
}

PlacedRevision ScopeBuilder::Place(RevisionOrdinal r, Scope& scope) const {
  const RevisionFacts& facts = catalog_.revisions()[r];
  PlacedRevision placed;
  placed.revision = r;
  placed.changed = std::max(catalog_.updates()[facts.update].named_since, facts.bundled_since);
  bool is_withheld = false;
  if (const auto winner = winners_.find(facts.update);
      winner != winners_.end() && RevisionOf(winner->second) == r) {
    placed.deployment = winner->second;
    const mirror::Deployment& deployment = index_.intent_.deployments[winner->second];
    placed.changed = std::max(placed.changed, deployment.generation);
    if (deployment.action == Action::kInstall || deployment.action == Action::kOptionalInstall) {
      const Availability availability = index_.AvailabilityOf(r);
      is_withheld = availability.is_withheld;
      placed.availability = static_cast<std::uint32_t>(scope.availabilities.size());
      scope.availabilities.push_back(availability);
    }
  }
  if (const auto touched = touched_.find(facts.update); touched != touched_.end()) {
    placed.changed = std::max(placed.changed, touched->second);
  }
  // An older revision that is still somebody's member: the expiry has ended its own approvals.
  const RevisionFacts& latest = catalog_.revisions()[catalog_.updates()[facts.update].latest];
  if (latest.is_expired) placed.changed = std::max(placed.changed, latest.generation);
  placed.action = ActionOf(r, placed.deployment, is_withheld);
  return placed;
}

void ScopeBuilder::Arrange(ScopeShape& shape) {
  std::ranges::sort(in_scope_, {},
                    [this](RevisionOrdinal r) { return std::pair(catalog_.IsLeaf(r), r); });
  Bitmap members(catalog_.revisions().size());
  for (const RevisionOrdinal r : in_scope_) {
    const bool driver = catalog_.revisions()[r].type == UpdateType::kDriver;
    (driver ? shape.drivers : shape.placed).push_back(r);
    if (!driver) members.Set(r);
  }
  std::ranges::sort(shape.drivers);
  shape.members = RankedSet(std::move(members));
  shape.position_of_rank.resize(shape.placed.size());
  for (std::uint32_t p = 0; p < shape.placed.size(); ++p) {
    shape.position_of_rank[shape.members.Rank(shape.placed[p])] = p;
  }
}

void ScopeBuilder::IndexClauses(ScopeShape& shape) const {
  std::vector<std::pair<ClauseOrdinal, std::uint32_t>> carried;
  shape.unconditional = Bitmap(shape.placed.size());
  for (std::uint32_t p = 0; p < shape.placed.size(); ++p) {
    const auto clauses = catalog_.Clauses(shape.placed[p]);
    for (const ClauseOrdinal clause : clauses) carried.emplace_back(clause, p);
    shape.clause_counts.push_back(static_cast<std::uint32_t>(clauses.size()));
    if (clauses.empty()) shape.unconditional.Set(p);
  }
  std::ranges::sort(carried);
  std::vector<std::pair<UpdateOrdinal, std::uint32_t>> satisfied_by;
  std::vector<std::uint32_t> positions;
  for (std::size_t i = 0; i < carried.size();) {
    const ClauseOrdinal clause = carried[i].first;
    positions.clear();
    for (; i < carried.size() && carried[i].first == clause; ++i) {
      positions.push_back(carried[i].second);
    }
    const auto local = static_cast<std::uint32_t>(shape.clause_postings.size());
    shape.clause_postings.Append(positions);
    for (const UpdateOrdinal u : catalog_.Alternatives(clause)) satisfied_by.emplace_back(u, local);
  }
  std::ranges::sort(satisfied_by);
  shape.alternative_of_update.assign(catalog_.updates().size(), kNone);
  std::vector<std::uint32_t> clauses;
  for (std::size_t i = 0; i < satisfied_by.size();) {
    const UpdateOrdinal u = satisfied_by[i].first;
    clauses.clear();
    for (; i < satisfied_by.size() && satisfied_by[i].first == u; ++i) {
      clauses.push_back(satisfied_by[i].second);
    }
    shape.alternative_of_update[u] = static_cast<std::uint32_t>(shape.alternative_clauses.size());
    shape.alternative_clauses.Append(clauses);
  }
}

std::uint64_t ScopeBuilder::Stamp() const {
  Sha256Hasher hasher;
  for (const Guid& group : groups_) {
    for (const Guid& step : index_.WithAncestors({group})) hasher.Update(step.View());
    hasher.Update("|");
  }
  hasher.Update(index_.options_.evaluate_unapproved ? "1" : "0");
  const Sha256Digest digest = hasher.Finish();
  return LoadLe64(digest.bytes.data());
}

std::shared_ptr<const ScopeShape> ScopeBuilder::MakeShape(ScopeShape inputs) {
  std::shared_ptr<const ScopeShape> kept = index_.FindShape(inputs);
  if (kept == nullptr) {
    inputs.seeds.ForEach([this](std::size_t r) {
      Visit(static_cast<RevisionOrdinal>(r));
      return true;
    });
    Close();
    KeepOnePerUpdate();
    auto shape = std::make_shared<ScopeShape>(std::move(inputs));
    Arrange(*shape);
    IndexClauses(*shape);
    kept = std::move(shape);
  }
  index_.KeepShape(kept);
  return kept;
}

std::shared_ptr<const Scope> ScopeBuilder::Build() {
  FindWinners();
  ScopeShape inputs;
  Seed({}, /*filtered=*/false, inputs);
  return Finish(std::move(inputs));
}

std::shared_ptr<const Scope> ScopeBuilder::BuildFiltered(std::span<const Guid> categories,
                                                         const Scope& whole) {
  std::vector<UpdateOrdinal> filter;
  for (const Guid& category : categories) {
    const UpdateOrdinal u = catalog_.FindUpdate(category);
    if (u != kNone) filter.push_back(u);
  }
  whole_ = &whole;
  FindWinners();
  ScopeShape inputs;
  inputs.whole = whole.shape;
  Seed(filter, /*filtered=*/true, inputs);
  return Finish(std::move(inputs));
}

std::shared_ptr<const Scope> ScopeBuilder::Finish(ScopeShape inputs) {
  auto scope = std::make_shared<Scope>();
  scope->shape = MakeShape(std::move(inputs));
  for (const RevisionOrdinal r : scope->shape->placed) scope->placed.push_back(Place(r, *scope));
  for (const RevisionOrdinal r : scope->shape->drivers) scope->drivers.push_back(Place(r, *scope));
  for (const PlacedRevision& placed : scope->placed) {
    scope->last_changed = std::max(scope->last_changed, placed.changed);
    if (placed.deployment == kNone) continue;
    const UtcTime go_live = index_.intent_.deployments[placed.deployment].go_live;
    scope->last_go_live = std::max(scope->last_go_live, go_live);
  }
  for (const Availability& availability : scope->availabilities) {
    scope->last_changed = std::max(scope->last_changed, availability.generation);
    scope->last_content_sequence =
        std::max(scope->last_content_sequence, availability.content_sequence);
    scope->withholds = scope->withholds || availability.is_withheld;
  }
  scope->stamp = Stamp();
  return scope;
}

}  // namespace gapferry::server
