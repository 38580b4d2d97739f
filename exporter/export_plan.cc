#include "exporter/export_plan.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "manifests/card.h"
#include "mirror/catalog.h"
#include "mirror/delta_obstacle.h"
#include "mirror/intent.h"

namespace gapferry::exporter {
namespace {

using mirror::KnownState;
using mirror::Mirror;
using mirror::exchange::RevisionLine;

constexpr int kMaxDangling = 1000;

Result<void> ChooseBase(Mirror& mirror, const ExportRequest& request, ExportPlan& plan,
                        std::vector<SiteBase>& bases) {
  for (const mirror::Site& site : plan.site.recipients) {
    TRY_ASSIGN(auto base, FindSiteBase(mirror, plan.site, site, request));
    bases.push_back(std::move(base));
  }
  const auto oldest = OldestState(bases);
  plan.full = !oldest;
  if (plan.full) {
    plan.base.name.epoch = plan.target.name.epoch;
    return {};
  }
  plan.base = *oldest;
  TRY_ASSIGN(auto obstacle,
             mirror::DeltaObstacle(mirror, plan.base.name.generation, plan.target.name.generation));
  if (obstacle) return std::unexpected(std::move(*obstacle));
  return {};
}

/// Numbers that were given up since some site has acknowledged one are worth mentioning.
Result<std::uint64_t> PassedSequence(mirror::Ledger& ledger, const mirror::Destination& site) {
  TRY_ASSIGN(const auto bundles, ledger.Bundles(site.guid));
  std::uint64_t passed = 0;
  for (const mirror::BundleOut& bundle : bundles) {
    if (bundle.state == mirror::BundleState::kAcknowledged) passed = bundle.sequence;
  }
  return passed;
}

Result<void> CollectRevisions(Mirror& mirror, ExportPlan& plan) {
  // Who asks for a full one does not go by receipts: the site may have been put back to an older
  // day, and lack documents that it had acknowledged. The base of a full one is 0.
  const mirror::Generation held = plan.base.name.generation;
  std::vector<mirror::RevisionId> carried;
  std::vector<mirror::RevisionRow> updates;
  TRY(mirror.catalog().ForEachChanged(
      plan.base.name.generation, plan.target.name.generation,
      [&](const mirror::RevisionRow& row) -> Result<void> {
        if (row.is_unlisted) return {};
        const bool carry = row.generation > held;
        if (carry) carried.push_back(row.id);
        plan.intent.revisions.push_back({row.update, row.document_sha256, row.is_withdrawn, carry});
        if (row.is_latest && row.is_explicitly_deployable) updates.push_back(row);
        return {};
      }));
  for (const mirror::RevisionId id : carried) {
    TRY_ASSIGN(const auto info, mirror.catalog().Document(id));
    plan.document_bytes += info.stored_bytes;
  }
  plan.revisions_listed = plan.intent.revisions.size();
  plan.revisions_carried = carried.size();
  return CountUpdates(mirror, plan.base.name.generation, updates, plan.updates);
}

mirror::IncomingDeployment Outgoing(const mirror::Deployment& one) {
  return {one.guid,
          one.update,
          one.group,
          one.action,
          one.deadline,
          one.is_assigned,
          one.download_priority,
          one.go_live,
          one.last_change,
          one.admin_name};
}

Result<void> CollectIntent(Mirror& mirror, ExportPlan& plan) {
  TRY_ASSIGN(auto changes,
             mirror.intent().Changes(plan.base.name.generation, plan.target.name.generation));
  mirror::IntentImport& intent = plan.intent.intent;
  for (auto& group : changes.groups) {
    if (!group.is_builtin) intent.groups.push_back(std::move(group));
  }
  for (const auto& one : changes.deployments) intent.deployments.push_back(Outgoing(one));
  intent.declined = std::move(changes.declined);
  intent.accepted_eulas = std::move(changes.accepted_eulas);
  if (plan.full) return {};
  intent.dead_groups = std::move(changes.dead_groups);
  intent.dead_deployments = std::move(changes.dead_deployments);
  intent.undeclined = std::move(changes.undeclined);
  intent.dead_eulas = std::move(changes.dead_eulas);
  return {};
}

/// Answers whether some revision of an update, or one exactly, is at the receiver once a delta is
/// imported. By construction it is unless this mirror lacks it itself; this proves it.
class Closure {
 public:
  Closure(Mirror& mirror, const ExportPlan& plan) : mirror_(mirror), plan_(plan) {
    for (const RevisionLine& line : plan.intent.revisions) {
      listed_.insert(line.update);
      arriving_.insert(line.update.guid);
    }
  }

  Result<void> Prove() {
    for (const RevisionLine& line : plan_.intent.revisions) {
      if (!line.carried) continue;
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(line.update));
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      for (const mirror::Clause& clause : relations->prerequisites) {
        TRY(ProveClause(line.update, clause));
      }
      for (const auto& group : relations->bundled) {
        for (const protocol::UpdateId& member : group) TRY(ProveMember(line.update, member));
      }
    }
    return {};
  }

 private:
  /// Prerequisites and categories: what this mirror has of the alternatives, the receiver has.
  Result<void> ProveClause(const protocol::UpdateId& update, const mirror::Clause& clause) {
    for (const Guid& alternative : clause.alternatives) {
      TRY_ASSIGN(const bool lacks, Lacks(alternative));
      if (lacks) return Broken(update, "needs " + alternative.ToString());
    }
    return {};
  }

  Result<bool> Lacks(const Guid& guid) {
    if (arriving_.contains(guid)) return false;
    const auto [known, added] = lacks_.try_emplace(guid, false);
    if (!added) return known->second;
    TRY_ASSIGN(const auto revisions, mirror_.catalog().RevisionsOf(guid));
    bool here = false;
    for (const mirror::RevisionRow& row : revisions) {
      here = here || !row.is_unlisted;
      if (row.generation <= plan_.base.name.generation) return false;
    }
    known->second = here;
    return here;
  }

  Result<void> ProveMember(const protocol::UpdateId& update, const protocol::UpdateId& member) {
    if (listed_.contains(member)) return {};
    TRY_ASSIGN(const auto known, mirror_.catalog().Find(member));
    if (!known || known->is_unlisted || known->generation <= plan_.base.name.generation) return {};
    return Broken(update, "bundles " + member.ToString());
  }

  static Result<void> Broken(const protocol::UpdateId& update, const std::string& how) {
    return Fail(ErrorCode::kCorrupt, "closure",
                "update " + update.ToString() + " " + how + ", which the bundle would not bring");
  }

  Mirror& mirror_;
  const ExportPlan& plan_;
  std::set<protocol::UpdateId> listed_;
  std::unordered_set<Guid> arriving_;
  std::unordered_map<Guid, bool> lacks_;
};

/// What this mirror lacks itself is told to the receiver, not hidden: of what the bundle carries,
/// for the rest was told before.
Result<void> ProveClosure(Mirror& mirror, ExportPlan& plan) {
  TRY_ASSIGN(plan.dangling, mirror.catalog().FindDangling(kMaxDangling, plan.base.name.generation));
  plan.intent.dangling = plan.dangling.size();
  // A full one lists all there is: nothing here could be lacking there.
  return plan.full ? Result<void>() : Closure(mirror, plan).Prove();
}

Result<std::vector<manifests::EncryptionPublicKey>> EncryptionKeys(
    const mirror::Destination& site) {
  std::vector<manifests::EncryptionPublicKey> keys;
  for (const mirror::Site& one : site.recipients) {
    TRY_ASSIGN(const auto card, manifests::DecodeCard(one.card), one.stream);
    keys.push_back(card.encryption_key);
  }
  return keys;
}

}  // namespace

bool SealsFor(const mirror::Config& config, const mirror::Destination& destination) {
  return std::ranges::any_of(destination.recipients, [&](const mirror::Site& site) {
    return site.settings.encrypt.value_or(config.exporting.encrypt);
  });
}

unsigned ParityFor(const mirror::Config& config, const mirror::Destination& destination) {
  unsigned percent = 0;
  for (const mirror::Site& site : destination.recipients) {
    percent = std::max(percent, site.settings.parity.value_or(config.exporting.parity));
  }
  return percent;
}

Result<ExportPlan> PlanExport(Mirror& mirror, const ExportRequest& request) {
  mirror::Ledger ledger(mirror.db());
  ExportPlan plan;
  // Approvals go on beside this job: all parts of the plan must be of the same generation.
  TRY_ASSIGN(const auto view, mirror.catalog().BeginRead());
  TRY_ASSIGN(plan.site, ledger.FindDestination(request.site));
  TRY_ASSIGN(plan.passed_sequence, PassedSequence(ledger, plan.site));
  plan.volume_bytes = request.volume_bytes;
  plan.parity = request.parity.value_or(ParityFor(mirror.config(), plan.site));
  if (request.seal.value_or(SealsFor(mirror.config(), plan.site))) {
    TRY_ASSIGN(plan.seal_for, EncryptionKeys(plan.site));
  }
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  plan.target = {published.name, published.passed_on_digest};
  std::vector<SiteBase> bases;
  TRY(ChooseBase(mirror, request, plan, bases));
  plan.intent.full = plan.full;
  TRY(CollectRevisions(mirror, plan));
  TRY(CollectIntent(mirror, plan));
  TRY(CountApprovals(mirror, plan.intent.intent, plan.approvals));
  TRY_ASSIGN(plan.content, PlanContent(mirror, plan.site, bases));
  TRY(ProveClosure(mirror, plan));
  return plan;
}

}  // namespace gapferry::exporter
