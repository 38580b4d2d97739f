#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "mirror/catalog.h"
#include "mirror/digest_tree.h"
#include "mirror/intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

// Intent: approvals, declines, EULAs by an administrator of this mirror.

namespace gapferry::mirror {

namespace {

constexpr IntentOrigin kLocal = IntentOrigin::kLocal;

Result<void> RefuseReplica(const Mirror& mirror) {
  if (!mirror.config().replica) return {};
  return Fail(ErrorCode::kUsage, "replica",
              "this mirror is a replica: its groups, approvals and declines come from above and "
              "are changed there");
}

/// "user:jane" -> "jane".
std::string AdminName(std::string_view actor) {
  const auto colon = actor.find(':');
  return std::string(colon == std::string_view::npos ? actor : actor.substr(colon + 1));
}

/// A revision with everything it bundles, over all levels.
struct Family {
  std::vector<Guid> eulas;
  bool can_uninstall = false;
  bool has_digest_conflict = false;
};

Result<Family> ReadFamily(Database& db, RevisionId id) {
  TRY_ASSIGN(auto rows,
             db.Prepare("WITH RECURSIVE part(id) AS (VALUES (?1) UNION SELECT j.id FROM part p "
                        "JOIN bundle_member b ON b.revision_id = p.id JOIN revision_identity j "
                        "ON j.guid = b.guid AND j.revision = b.revision) "
                        "SELECT r.eula_id, r.can_uninstall, r.has_digest_conflict FROM part p "
                        "JOIN revision r ON r.id = p.id"));
  rows.BindAll(id);
  Family family;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return family;
    if (!rows.IsNull(0)) family.eulas.push_back(rows.GuidAt(0));
    family.can_uninstall = family.can_uninstall || rows.Bool(1);
    family.has_digest_conflict = family.has_digest_conflict || rows.Bool(2);
  }
}

Result<void> CheckApprovable(Mirror& mirror, const RevisionRow& row, const Family& family,
                             DeploymentAction action) {
  const std::string name = "update " + row.update.ToString();
  if (!row.is_explicitly_deployable) {
    return Fail(ErrorCode::kUsage, "not-deployable",
                fmt::format("{} cannot be approved by itself: it is part of others", name));
  }
  TRY_ASSIGN(const auto latest, mirror.catalog().FindLatest(row.update.guid));
  if (row.is_expired || (latest && latest->is_expired)) {
    return Fail(ErrorCode::kUsage, "expired", fmt::format("{} is expired", name));
  }
  TRY_ASSIGN(const bool declined, mirror.intent().IsDeclined(row.update.guid));
  if (declined) return Fail(ErrorCode::kUsage, "declined", fmt::format("{} is declined", name));
  if (family.has_digest_conflict) {
    return Fail(ErrorCode::kUsage, "digest-conflict",
                fmt::format("{} is withheld: a file of it contradicts what is known under the same "
                            "SHA-1",
                            name));
  }
  if (action == DeploymentAction::kUninstall && !family.can_uninstall) {
    return Fail(ErrorCode::kUsage, "no-uninstall", fmt::format("{} cannot be uninstalled", name));
  }
  return {};
}

Result<void> CheckEulas(CommitTransaction& commit, const RevisionRow& row, const Family& family,
                        bool accept, std::string_view actor) {
  for (const Guid& eula : family.eulas) {
    if (!accept) {
      TRY_ASSIGN(const auto accepted,
                 commit.db().QueryInt("SELECT 1 FROM eula_acceptance WHERE origin = 0 "
                                      "AND guid = ? AND is_dead = 0",
                                      eula));
      if (accepted) continue;
      return Fail(ErrorCode::kUsage, "eula-not-accepted",
                  fmt::format("update {} has the licence {}, which is not accepted",
                              row.update.ToString(), eula.ToString()));
    }
    TRY_ASSIGN(const bool is_new, PutEula(commit, kLocal, eula));
    if (is_new) TRY(commit.Audit({std::string(actor), "eula.accept", eula.ToString()}));
  }
  return {};
}

/// Ends what the new approval replaces; the GUID of one of the same revision is kept.
Result<Guid> ReplaceOthers(CommitTransaction& commit, const Intent::Approval& approval,
                           std::optional<Deployment>& same) {
  TRY_ASSIGN(auto rows, commit.db().Prepare(DeploymentSelect(
                            "WHERE update_guid = ? AND origin = 0 AND target_group = ? "
                            "AND is_dead = 0 ORDER BY id")));
  rows.BindAll(approval.update.guid, approval.group);
  TRY_ASSIGN(const auto old, ReadDeployments(rows));
  for (const auto& deployment : old) {
    if (!same && deployment.update == approval.update && deployment.action == approval.action) {
      same = deployment;
    } else {
      TRY(EndDeployment(commit, deployment));
    }
  }
  return same ? same->guid : Guid::Random();
}

std::string ApprovalDetail(const Intent::Approval& approval) {
  nlohmann::json json = {{"group", approval.group.ToString()},
                         {"action", DeploymentActionName(approval.action)}};
  if (approval.deadline) json["deadline"] = approval.deadline->ToXml();
  return json.dump();
}

Result<Deployment> ApproveOne(CommitTransaction& commit, const Intent::Approval& approval,
                              const RevisionRow& row, std::string_view actor) {
  TRY_ASSIGN(const Family family, ReadFamily(commit.db(), row.id));
  TRY(CheckApprovable(commit.mirror(), row, family, approval.action));
  const bool installs = approval.action == DeploymentAction::kInstall ||
                        approval.action == DeploymentAction::kOptionalInstall;
  // Nobody agrees to anything by taking an update away.
  if (installs) TRY(CheckEulas(commit, row, family, approval.accept_eula, actor));
  std::optional<Deployment> same;
  TRY_ASSIGN(const Guid guid, ReplaceOthers(commit, approval, same));
  IncomingDeployment wanted;
  wanted.guid = guid;
  wanted.update = approval.update;
  wanted.group = approval.group;
  wanted.action = approval.action;
  wanted.deadline = approval.deadline;
  wanted.admin_name = AdminName(actor);
  const bool unchanged = same && same->deadline == approval.deadline;
  // By the clock, which commit times are ahead of after it was corrected.
  wanted.go_live =
      same ? same->go_live
           : std::min(commit.committed_at(), ToWholeMilliseconds(commit.mirror().clock().Now()));
  wanted.last_change = unchanged ? same->last_change : commit.committed_at();
  if (unchanged) wanted.admin_name = same->admin_name;
  TRY_ASSIGN(const bool changed, PutDeployment(commit, kLocal, wanted, approval.deadline));
  if (changed) {
    TRY(commit.Audit({std::string(actor), "update.approve", approval.update.ToString(),
                      ApprovalDetail(approval)}));
  }
  TRY_ASSIGN(auto deployment, FindDeployment(commit.db(), kLocal, guid));
  if (!deployment) return Fail(ErrorCode::kInternal, "the deployment just written is missing");
  return *std::move(deployment);
}

}  // namespace

Result<std::vector<Intent::Approved>> Intent::Approve(const std::vector<Approval>& approvals,
                                                      std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "approve"));
  std::vector<Approved> approved;
  for (const Approval& approval : approvals) {
    TRY_ASSIGN(const auto row, mirror_.catalog().Find(approval.update));
    if (!row) {
      return Fail(ErrorCode::kNotFound, "no-update",
                  fmt::format("update {} is not in the catalogue", approval.update.ToString()));
    }
    TRY(FindGroup(approval.group.ToString()));
    Approved result;
    TRY_ASSIGN(result.deployment, ApproveOne(commit, approval, *row, actor));
    TRY_ASSIGN(const auto payload, mirror_.catalog().PayloadOf(row->id));
    result.missing_files = payload.missing_files;
    result.missing_bytes = payload.missing_bytes;
    approved.push_back(std::move(result));
  }
  TRY(commit.Finish());
  return approved;
}

Result<std::uint64_t> Intent::Unapprove(const std::vector<Guid>& updates, std::optional<Guid> group,
                                        std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "unapprove"));
  std::uint64_t ended = 0;
  for (const Guid& update : updates) {
    TRY_ASSIGN(const auto deployments, DeploymentsOf(update));
    for (const auto& deployment : deployments) {
      if (group && deployment.group != *group) continue;
      TRY(EndDeployment(commit, deployment));
      TRY(commit.Audit({std::string(actor), "update.unapprove", deployment.update.ToString(),
                        fmt::format("{{\"group\":\"{}\"}}", deployment.group.ToString())}));
      ++ended;
    }
  }
  TRY(commit.Finish());
  return ended;
}

Result<std::uint64_t> Intent::Decline(const std::vector<Guid>& updates, std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "decline"));
  std::uint64_t declined = 0;
  for (const Guid& update : updates) {
    TRY_ASSIGN(const auto row, mirror_.catalog().FindLatest(update));
    if (!row) {
      return Fail(ErrorCode::kNotFound, "no-update",
                  fmt::format("update {} is not in the catalogue", update.ToString()));
    }
    if (row->type != UpdateType::kSoftware && row->type != UpdateType::kDriver) {
      return Fail(ErrorCode::kUsage, "not-deployable",
                  fmt::format("{} is a {}: only software and drivers can be declined",
                              update.ToString(), protocol::UpdateTypeName(row->type)));
    }
    TRY_ASSIGN(const auto deployments, DeploymentsOf(update));
    for (const auto& deployment : deployments) TRY(EndDeployment(commit, deployment));
    TRY_ASSIGN(const bool is_new, PutDecline(commit, kLocal, update, /*declined=*/true));
    if (!is_new) continue;
    ++declined;
    TRY(commit.Audit({std::string(actor), "update.decline", update.ToString()}));
  }
  TRY(commit.Finish());
  return declined;
}

Result<void> Intent::AcceptEulas(const std::vector<Guid>& eulas, std::string_view actor) {
  TRY(RefuseReplica(mirror_));
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "eula"));
  for (const Guid& eula : eulas) {
    TRY_ASSIGN(const bool is_new, PutEula(commit, kLocal, eula));
    if (is_new) TRY(commit.Audit({std::string(actor), "eula.accept", eula.ToString()}));
  }
  TRY(commit.Finish());
  return {};
}

}  // namespace gapferry::mirror
