#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/facts.h"
#include "client/history.h"
#include "client/revision_cache.h"
#include "client/rules.h"

namespace gapferry::client {

enum class Applicability { kNotApplicable, kInstallable, kInstalled };

/// What an update is to a computer.
struct Verdict {
  Applicability state = Applicability::kNotApplicable;
  bool is_superseded = false;       ///< by its own IsSuperseded rule: something newer is there
  bool is_restart_pending = false;  ///< installed when the computer has restarted
  std::set<std::string> unknown_operators;  ///< why it could not be decided, empty otherwise
};

/// Decides about every cached revision (MS-WUSP 3.2.5.5). A revision whose installed rule is
/// unknown is not applicable; without an installable rule, what is not installed can be. A bundle
/// is installed when each of its groups has an installed member, and installable when each has an
/// installed or installable one; members are exact revisions, and one that the server has not sent
/// counts as not applicable. Answers are remembered; make a new evaluator when the cache changes.
/// Thread-compatible; everything passed must outlive it.
class Evaluator {
 public:
  Evaluator(const RevisionCache& cache, const Facts& facts, const History& history);

  /// Why it is so, one line per rule and bundle group, indented; for people. `id` must be in the
  /// cache.
  std::vector<std::string> Explain(std::int32_t id);

  /// `id` must be in the cache.
  const Verdict& Of(std::int32_t id);

  /// The revisions that must be downloaded to install `id`: itself and, per group of a bundle that
  /// has no installed member, the first installable member, all the way down.
  std::vector<std::int32_t> ContentRevisions(std::int32_t id);

 private:
  Verdict Decide(const CachedRevision& revision, int depth);
  const Verdict& OfAt(std::int32_t id, int depth);
  Applicability BundleState(const CachedRevision& revision, int depth);
  const CachedRevision* Member(const protocol::UpdateId& id) const;
  void ExplainRule(const Rule& rule, const RuleMetadata& metadata, std::size_t indent,
                   std::vector<std::string>& lines);
  void CollectContent(std::int32_t id, int depth, std::vector<std::int32_t>& out);

  const RevisionCache& cache_;
  const History& history_;
  RuleEvaluator rules_;
  std::unordered_map<std::int32_t, Verdict> verdicts_;
  std::unordered_map<protocol::UpdateId, std::int32_t> by_identity_;
};

}  // namespace gapferry::client
