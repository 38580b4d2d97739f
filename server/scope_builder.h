#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "server/scan_index.h"

namespace gapferry::server {

/// Finds what one set of groups can see: winning deployments, then everything that those depend on.
/// Used once, by ScanIndex.
class ScopeBuilder {
 public:
  ScopeBuilder(const ScanIndex& index, const std::vector<Guid>& groups);

  /// All that is deployed.
  std::shared_ptr<const Scope> Build();
  /// Only what belongs to the categories, and the chain to them. Of updates nothing but what
  /// `whole` (of the same groups) shows: a client never hears of two revisions of one update.
  std::shared_ptr<const Scope> BuildFiltered(std::span<const Guid> categories, const Scope& whole);

 private:
  using Winners = std::unordered_map<UpdateOrdinal, std::uint32_t>;  // update -> deployment

  void FindWinners();
  Winners WinnersOfPath(const Guid& group) const;
  bool IsStronger(std::uint32_t candidate, std::uint32_t other) const;
  RevisionOrdinal RevisionOf(std::uint32_t deployment) const;
  bool IsOffered(UpdateOrdinal u) const;
  /// What `shape` is to be made from.
  void Seed(const std::vector<UpdateOrdinal>& filter, bool filtered, ScopeShape& inputs) const;
  bool BelongsTo(RevisionOrdinal r, const std::vector<UpdateOrdinal>& filter) const;
  bool IsInWhole(RevisionOrdinal r) const;
  void Visit(RevisionOrdinal r);
  void Close();
  void KeepOnePerUpdate();
  void Arrange(ScopeShape& shape);
  void IndexClauses(ScopeShape& shape) const;
  std::shared_ptr<const ScopeShape> MakeShape(ScopeShape inputs);
  std::shared_ptr<const Scope> Finish(ScopeShape inputs);
  PlacedRevision Place(RevisionOrdinal r, Scope& scope) const;
  protocol::DeploymentAction ActionOf(RevisionOrdinal r, std::uint32_t deployment,
                                      bool is_withheld) const;
  std::uint64_t Stamp() const;

  const ScanIndex& index_;
  const CatalogIndex& catalog_;
  const std::vector<Guid>& groups_;
  std::vector<Guid> all_groups_;  // with ancestors
  Winners winners_;
  std::unordered_map<UpdateOrdinal, mirror::Generation> touched_;  // last change of deployments
  Bitmap visited_;
  const Scope* whole_ = nullptr;  // of a filtered one
  std::vector<RevisionOrdinal> pending_;
  std::vector<RevisionOrdinal> in_scope_;
};

}  // namespace gapferry::server
