// Judge and Explain: what the cache means for the computer, without a call.
#include <algorithm>

#include "client/scan_parts.h"

namespace gapferry::client {

using protocol::DeploymentAction;
using protocol::UpdateType;

History HistoryOf(const ClientState& state, const Facts& facts) {
  History history = state.history();
  history.installed.insert(facts.installed_updates.begin(), facts.installed_updates.end());
  for (const Guid& guid : history.removed) history.installed.erase(guid);
  return history;
}

// What is deployed for its own sake, not as a dependency or a member.
bool IsTopLevel(const CachedRevision& revision) {
  const DeploymentAction action = revision.deployment.action;
  const bool is_update =
      revision.core.type == UpdateType::kSoftware || revision.core.type == UpdateType::kDriver;
  return is_update && action != DeploymentAction::kEvaluate && action != DeploymentAction::kBundle;
}

namespace {

bool IsApproved(DeploymentAction action) {
  return action == DeploymentAction::kInstall || action == DeploymentAction::kOptionalInstall;
}

// Updates that an applicable, approved update replaces, with the one that does.
std::unordered_map<Guid, Guid> Superseded(const RevisionCache& cache, Evaluator& evaluator) {
  std::unordered_map<Guid, Guid> superseded;
  for (const auto& [id, revision] : cache.revisions()) {
    if (revision.core.superseded.empty() || !IsTopLevel(revision)) continue;
    const Applicability state = evaluator.Of(id).state;
    const bool hides =
        state == Applicability::kInstalled ||
        (state == Applicability::kInstallable && IsApproved(revision.deployment.action));
    if (!hides) continue;
    for (const Guid& guid : revision.core.superseded)
      superseded.emplace(guid, revision.core.id.guid);
  }
  return superseded;
}

std::string Join(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Why a deployed update is not offered; empty reason: it is.
NotOffered Reason(const CachedRevision& revision, const Verdict& verdict,
                  const std::unordered_map<Guid, Guid>& superseded) {
  NotOffered other{revision.core.id, revision.extended.title, {}, {}};
  const bool is_installed = verdict.state == Applicability::kInstalled;
  const DeploymentAction action = revision.deployment.action;
  if (action == DeploymentAction::kUninstall) {
    if (!is_installed) other.reason = "not-installed";
  } else if (action == DeploymentAction::kBlock) {
    other.reason = "blocked";
  } else if (is_installed) {
    other.reason = "installed";
  } else if (verdict.is_restart_pending) {
    other.reason = "restart-pending";
    other.detail = "installed when the computer has restarted";
  } else if (!verdict.unknown_operators.empty()) {
    other.reason = "unknown-rule";
    other.detail = "rules this client does not know: " + Join(verdict.unknown_operators);
  } else if (verdict.is_superseded) {
    other.reason = "superseded";
    other.detail = "something newer is installed";
  } else if (verdict.state == Applicability::kNotApplicable) {
    other.reason = "not-applicable";
  } else if (!IsApproved(action)) {
    other.reason = "not-approved";
  } else if (const auto by = superseded.find(revision.core.id.guid); by != superseded.end()) {
    other.reason = "superseded";
    other.detail = "by " + by->second.ToString();
  }
  return other;
}

// The lists of event 156.
void AddToInventory(const Guid& guid, const Verdict& verdict, const History& history,
                    ScanResult& result) {
  if (verdict.is_restart_pending) result.restart_pending.push_back(guid);
  if (verdict.state == Applicability::kInstalled) result.installed.push_back(guid);
  if (history.failed.contains(guid)) result.failed.push_back(guid);
  if (verdict.state != Applicability::kInstallable) return;
  result.needed.push_back(guid);
  if (history.downloaded.contains(guid)) result.downloaded.push_back(guid);
}

}  // namespace

ScanResult Judge(const ClientState& state, const Facts& facts) {
  ScanResult result;
  const RevisionCache& cache = state.cache();
  const History history = HistoryOf(state, facts);
  Evaluator evaluator(cache, facts, history);
  const auto superseded = Superseded(cache, evaluator);
  for (const auto& [id, revision] : cache.revisions()) {
    const Verdict& verdict = evaluator.Of(id);
    result.unknown_operators.insert(verdict.unknown_operators.begin(),
                                    verdict.unknown_operators.end());
    if (!IsTopLevel(revision)) continue;
    if (revision.is_leaf && revision.core.type == UpdateType::kSoftware) {
      AddToInventory(revision.core.id.guid, verdict, history, result);
    }
    NotOffered other = Reason(revision, verdict, superseded);
    if (!other.reason.empty()) {
      result.not_offered.push_back(std::move(other));
      continue;
    }
    OfferedUpdate update;
    update.revision_id = id;
    update.id = revision.core.id;
    update.title = revision.extended.title;
    update.action = revision.deployment.action;
    update.deadline = revision.deployment.deadline;
    update.is_bundle = !revision.core.bundled.empty();
    update.has_eula = revision.core.has_eula;
    AddFiles(update, cache, evaluator, {});
    result.offered.push_back(std::move(update));
  }
  // Ids differ from server to server; identities give one order everywhere.
  std::ranges::sort(result.offered, {}, &OfferedUpdate::id);
  std::ranges::sort(result.not_offered, {}, &NotOffered::id);
  for (auto* list : {&result.needed, &result.installed, &result.restart_pending, &result.failed,
                     &result.downloaded}) {
    std::ranges::sort(*list);
  }
  result.revisions_cached = cache.revisions().size();
  return result;
}

std::vector<Explanation> Explain(const ClientState& state, const Facts& facts, const Guid& update) {
  const RevisionCache& cache = state.cache();
  const History history = HistoryOf(state, facts);
  Evaluator evaluator(cache, facts, history);
  const auto superseded = Superseded(cache, evaluator);
  std::vector<Explanation> explanations;
  for (const auto& [id, revision] : cache.revisions()) {
    if (revision.core.id.guid != update) continue;
    Explanation explanation{
        revision.core.id,     revision.extended.title, revision.deployment.action, {}, {},
        evaluator.Explain(id)};
    if (IsTopLevel(revision)) {
      NotOffered other = Reason(revision, evaluator.Of(id), superseded);
      explanation.reason = std::move(other.reason);
      explanation.detail = std::move(other.detail);
    }
    explanations.push_back(std::move(explanation));
  }
  return explanations;
}

}  // namespace gapferry::client
