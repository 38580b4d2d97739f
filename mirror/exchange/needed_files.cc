#include "mirror/exchange/needed_files.h"

#include <map>
#include <set>

#include "mirror/intent.h"

namespace gapferry::mirror::exchange {
namespace {

bool NeedsPayload(DeploymentAction action) {
  return action == DeploymentAction::kInstall || action == DeploymentAction::kUninstall ||
         action == DeploymentAction::kOptionalInstall;
}

class Collector {
 public:
  explicit Collector(Mirror& mirror) : mirror_(mirror) {}

  void AddFiles(const RevisionRelations& relations, bool payload) {
    for (const DeclaredFile& file : relations.files) {
      if (payload || file.kind == FileKind::kEula) files_.emplace(file.sha1, file);
    }
  }

  /// The revision and what it bundles, each once.
  Result<void> AddDeployed(const protocol::UpdateId& update) {
    std::vector<protocol::UpdateId> waiting = {update};
    while (!waiting.empty()) {
      const protocol::UpdateId next = waiting.back();
      waiting.pop_back();
      if (!seen_.insert(next).second) continue;
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(next));
      if (!row) continue;
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      if (!relations) continue;
      AddFiles(*relations, /*payload=*/true);
      for (const auto& group : relations->bundled) {
        waiting.insert(waiting.end(), group.begin(), group.end());
      }
    }
    return {};
  }

  std::vector<DeclaredFile> Take() {
    std::vector<DeclaredFile> out;
    for (auto& [sha1, file] : files_) out.push_back(std::move(file));
    return out;
  }

 private:
  Mirror& mirror_;
  std::set<protocol::UpdateId> seen_;
  std::map<Sha1Digest, DeclaredFile> files_;
};

}  // namespace

Result<std::vector<DeclaredFile>> NeededFiles(Mirror& mirror, bool all) {
  Collector collector(mirror);
  TRY(mirror.catalog().ForEachRelations(0, [&](RevisionRelations& relations) -> Result<void> {
    const bool offered = relations.row.is_latest && !relations.row.is_expired;
    if (all || offered) collector.AddFiles(relations, /*payload=*/all);
    return {};
  }));
  if (!all) {
    TRY_ASSIGN(const auto deployments, mirror.intent().Deployments());
    for (const Deployment& deployment : deployments) {
      if (NeedsPayload(deployment.action)) TRY(collector.AddDeployed(deployment.update));
    }
  }
  return collector.Take();
}

Result<std::vector<Declaration>> DeclarationsOf(Mirror& mirror, const Sha1Digest& sha1) {
  TRY_ASSIGN(
      auto rows,
      mirror.db().Prepare("SELECT DISTINCT sha256, size_bytes FROM revision_file WHERE sha1 = ?"));
  rows.BindAll(sha1);
  std::vector<Declaration> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back({rows.OptionalDigest<Sha256Digest>(0), static_cast<std::uint64_t>(rows.Int(1))});
  }
  TRY(rows.Check());
  return out;
}

}  // namespace gapferry::mirror::exchange
