#include "client/evaluation.h"

#include <algorithm>

namespace gapferry::client {

namespace {

// Real bundles nest three deep; deeper ones, and rings, are not applicable.
constexpr int kMaxBundleDepth = 16;

}  // namespace

Evaluator::Evaluator(const RevisionCache& cache, const Facts& facts,
                     const std::set<Guid>& installed)
    : cache_(cache), installed_(installed), rules_(facts) {
  for (const auto& [id, revision] : cache.revisions()) by_identity_[revision.core.id] = id;
}

const Verdict& Evaluator::Of(std::int32_t id) { return OfAt(id, 0); }

const Verdict& Evaluator::OfAt(std::int32_t id, int depth) {
  if (const auto known = verdicts_.find(id); known != verdicts_.end()) return known->second;
  verdicts_[id] = {};  // what a ring of bundles finds
  Verdict verdict = Decide(*cache_.Find(id), depth);
  return verdicts_[id] = std::move(verdict);
}

Verdict Evaluator::Decide(const CachedRevision& revision, int depth) {
  Verdict verdict;
  const CoreFragment& core = revision.core;
  if (installed_.contains(core.id.guid)) {
    verdict.state = Applicability::kInstalled;
    return verdict;
  }
  rules_.ForgetUnknown();
  const auto evaluate = [&](const std::optional<Rule>& rule, Truth otherwise) {
    return rule ? rules_.Evaluate(*rule, core.metadata) : otherwise;
  };
  const bool is_bundle = !core.bundled.empty();
  const bool can_be_installable =
      core.type == protocol::UpdateType::kSoftware || core.type == protocol::UpdateType::kDriver;
  // A bundle's own rules come on top of what its members say.
  const Truth is_installed = evaluate(core.is_installed, is_bundle ? Truth::kTrue : Truth::kFalse);
  const Truth is_superseded = evaluate(core.is_superseded, Truth::kFalse);
  const Truth is_installable = evaluate(core.is_installable, Truth::kTrue);
  const std::set<std::string> unknown = rules_.unknown_operators();
  const Applicability members =
      is_bundle ? BundleState(revision, depth) : Applicability::kInstalled;

  if (is_installed == Truth::kTrue && members == Applicability::kInstalled) {
    verdict.state = Applicability::kInstalled;
    return verdict;
  }
  verdict.is_superseded = is_superseded == Truth::kTrue;
  const bool is_decided = is_installed != Truth::kUnknown && is_superseded != Truth::kUnknown &&
                          is_installable != Truth::kUnknown;
  if (!is_decided) verdict.unknown_operators = unknown;
  if (can_be_installable && is_decided && !verdict.is_superseded &&
      is_installable == Truth::kTrue && members != Applicability::kNotApplicable) {
    verdict.state = Applicability::kInstallable;
  }
  return verdict;
}

Applicability Evaluator::BundleState(const CachedRevision& revision, int depth) {
  if (depth >= kMaxBundleDepth) return Applicability::kNotApplicable;
  Applicability state = Applicability::kInstalled;
  for (const protocol::BundledClause& clause : revision.core.bundled) {
    Applicability best = Applicability::kNotApplicable;
    for (const protocol::UpdateId& id : clause.any_of) {
      const CachedRevision* member = Member(id);
      if (member != nullptr) best = std::max(best, OfAt(member->id, depth + 1).state);
    }
    state = std::min(state, best);
  }
  return state;
}

const CachedRevision* Evaluator::Member(const protocol::UpdateId& id) const {
  const auto it = by_identity_.find(id);
  return it == by_identity_.end() ? nullptr : cache_.Find(it->second);
}

std::vector<std::int32_t> Evaluator::ContentRevisions(std::int32_t id) {
  std::vector<std::int32_t> revisions;
  CollectContent(id, 0, revisions);
  std::ranges::sort(revisions);
  revisions.erase(std::unique(revisions.begin(), revisions.end()), revisions.end());
  return revisions;
}

void Evaluator::CollectContent(std::int32_t id, int depth, std::vector<std::int32_t>& out) {
  if (depth > kMaxBundleDepth) return;
  out.push_back(id);
  for (const protocol::BundledClause& clause : cache_.Find(id)->core.bundled) {
    const CachedRevision* chosen = nullptr;
    bool has_installed = false;
    for (const protocol::UpdateId& member_id : clause.any_of) {
      const CachedRevision* member = Member(member_id);
      if (member == nullptr) continue;
      const Applicability state = Of(member->id).state;
      has_installed = has_installed || state == Applicability::kInstalled;
      if (chosen == nullptr && state == Applicability::kInstallable) chosen = member;
    }
    if (chosen != nullptr && !has_installed) CollectContent(chosen->id, depth + 1, out);
  }
}

}  // namespace gapferry::client
