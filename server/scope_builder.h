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

  /// All that is deployed, or, with categories, only what belongs to them and the chain to them.
  std::shared_ptr<const Scope> Build(std::span<const Guid> categories);

 private:
  using Winners = std::unordered_map<UpdateOrdinal, std::uint32_t>;  // update -> deployment

  void FindWinners();
  Winners WinnersOfPath(const Guid& group) const;
  bool IsStronger(std::uint32_t candidate, std::uint32_t other) const;
  RevisionOrdinal RevisionOf(std::uint32_t deployment) const;
  bool IsOffered(UpdateOrdinal u) const;
  void Seed(const std::vector<UpdateOrdinal>& filter, bool filtered);
  bool BelongsTo(RevisionOrdinal r, const std::vector<UpdateOrdinal>& filter) const;
  void Visit(RevisionOrdinal r);
  void Close();
  void KeepOnePerUpdate();
  PlacedRevision Place(RevisionOrdinal r) const;
  protocol::DeploymentAction ActionOf(RevisionOrdinal r, std::uint32_t deployment) const;
  void Arrange(Scope& scope);
  void IndexClauses(Scope& scope) const;
  std::uint64_t Stamp() const;

  const ScanIndex& index_;
  const CatalogIndex& catalog_;
  const std::vector<Guid>& groups_;
  std::vector<Guid> all_groups_;  // with ancestors
  Winners winners_;
  std::unordered_map<UpdateOrdinal, mirror::Generation> ended_;
  Bitmap visited_;
  std::vector<RevisionOrdinal> pending_;
  std::vector<RevisionOrdinal> in_scope_;
};

}  // namespace gapferry::server
