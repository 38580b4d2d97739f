#include "client/evaluation.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace gapferry::client {

namespace {

// Real bundles nest three deep; deeper ones, and rings, are not applicable.
constexpr int kMaxBundleDepth = 16;
constexpr std::size_t kMaxExplanation = 400;  // lines

std::string_view WordOf(Truth truth) {
  if (truth == Truth::kUnknown) return "cannot tell";
  return truth == Truth::kTrue ? "true" : "false";
}

std::string_view WordOf(Applicability state) {
  if (state == Applicability::kInstalled) return "installed";
  return state == Applicability::kInstallable ? "can be installed" : "not applicable";
}

}  // namespace

Evaluator::Evaluator(const RevisionCache& cache, const Facts& facts, const History& history)
    : cache_(cache), history_(history), rules_(facts) {
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
  const Guid& guid = core.id.guid;
  if (history_.restart_pending.contains(guid)) {
    verdict.is_restart_pending = true;
    return verdict;
  }
  if (history_.installed.contains(guid)) {
    verdict.state = Applicability::kInstalled;
    return verdict;
  }
  rules_.ForgetUnknown();
  rules_.SetInstalledOnce(history_.installed_once.contains(guid));
  const auto evaluate = [&](const std::optional<Rule>& rule, Truth otherwise) {
    return rule ? rules_.Evaluate(*rule, core.metadata) : otherwise;
  };
  const bool is_bundle = !core.bundled.empty();
  const bool can_be_installable =
      core.type == protocol::UpdateType::kSoftware || core.type == protocol::UpdateType::kDriver;
  // A bundle's own rules come on top of what its members say.
  const bool is_removed = history_.removed.contains(guid);
  const Truth is_installed =
      is_removed ? Truth::kFalse
                 : evaluate(core.is_installed, is_bundle ? Truth::kTrue : Truth::kFalse);
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

std::vector<std::string> Evaluator::Explain(std::int32_t id) {
  const CachedRevision& revision = *cache_.Find(id);
  const CoreFragment& core = revision.core;
  std::vector<std::string> lines = {std::string(WordOf(Of(id).state))};
  const std::pair<const std::set<Guid>*, std::string_view> records[] = {
      {&history_.restart_pending, "installed here, the computer has not restarted"},
      {&history_.installed, "installed here, whatever its rules say"},
      {&history_.removed, "removed here, whatever its rules say"}};
  for (const auto& [guids, text] : records) {
    if (guids->contains(core.id.guid)) lines.emplace_back(text);
  }
  rules_.SetInstalledOnce(history_.installed_once.contains(core.id.guid));
  const std::pair<std::string_view, const std::optional<Rule>*> rules[] = {
      {"IsInstalled", &core.is_installed},
      {"IsSuperseded", &core.is_superseded},
      {"IsInstallable", &core.is_installable}};
  for (const auto& [name, rule] : rules) {
    if (!*rule) {
      lines.push_back(fmt::format("{}: no rule", name));
      continue;
    }
    lines.push_back(fmt::format("{}:", name));
    ExplainRule(**rule, core.metadata, 1, lines);
  }
  std::size_t number = 0;
  for (const protocol::BundledClause& clause : core.bundled) {
    lines.push_back(fmt::format("one of these members (group {}):", ++number));
    for (const protocol::UpdateId& member_id : clause.any_of) {
      const CachedRevision* member = Member(member_id);
      lines.push_back(fmt::format(
          "  {}: {}", member_id.ToString(),
          member == nullptr ? "the server has not told of it" : WordOf(Of(member->id).state)));
    }
  }
  if (lines.size() > kMaxExplanation) {
    lines.resize(kMaxExplanation);
    lines.emplace_back("... and more");
  }
  return lines;
}

void Evaluator::ExplainRule(const Rule& rule, const RuleMetadata& metadata, std::size_t indent,
                            std::vector<std::string>& lines) {
  if (lines.size() > kMaxExplanation) return;
  std::string line(2 * indent, ' ');
  line += EscapeForDisplay(rule.name, 80);
  for (const auto& [name, value] : rule.attributes) {
    if (name == "xmlns") continue;
    line += fmt::format(" {}=\"{}\"", EscapeForDisplay(name, 40), EscapeForDisplay(value, 200));
  }
  line += fmt::format(": {}", WordOf(rules_.Evaluate(rule, metadata)));
  lines.push_back(std::move(line));
  const bool is_logical = rule.name == "And" || rule.name == "Or" || rule.name == "Not";
  if (!is_logical) return;
  for (const Rule& operand : rule.operands) ExplainRule(operand, metadata, indent + 1, lines);
}

}  // namespace gapferry::client
