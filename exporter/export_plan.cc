#include "exporter/export_plan.h"

#include <algorithm>
#include <set>

#include "manifests/card.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/rollup_state.h"
#include "mirror/witness.h"

namespace gapferry::exporter {
namespace {

using mirror::KnownState;
using mirror::Mirror;
using mirror::exchange::RevisionLine;

constexpr int kMaxDangling = 1000;

KnownState PassedOn(const mirror::PublishedState& state) {
  return {state.name, state.passed_on_digest};
}

/// Whether a delta may start at `base`, which the site acknowledged or a bundle led to.
Result<void> CheckBase(Mirror& mirror, const mirror::Site& site, const KnownState& base,
                       const std::string& what) {
  if (!site.diverged.empty()) {
    return Fail(ErrorCode::kUsage, "diverged",
                "site '" + site.name + "' has diverged: " + site.diverged);
  }
  TRY_ASSIGN(const auto knowledge, mirror.catalog().Knows(base.name));
  if (knowledge != mirror::StateKnowledge::kOtherHistory) return {};
  return Fail(ErrorCode::kUsage, "history-changed",
              what + " is not in this mirror's history: it was restored or made anew");
}

Result<KnownState> SinceBase(Mirror& mirror, const mirror::Site& site, std::uint64_t sequence) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto bundle, ledger.FindBundle(site.guid, sequence));
  if (!bundle) {
    return Fail(ErrorCode::kNotFound,
                "stream '" + site.stream + "' has no bundle " + std::to_string(sequence));
  }
  if (bundle->state == mirror::BundleState::kVoid) {
    return Fail(ErrorCode::kUsage, "since-void",
                "bundle " + std::to_string(sequence) + " of stream '" + site.stream + "' is void");
  }
  return bundle->target;
}

Result<void> ChooseBase(Mirror& mirror, const ExportRequest& request, ExportPlan& plan) {
  plan.full = request.full || (!request.since && !plan.site.acknowledged);
  if (plan.full) {
    plan.base.name.epoch = plan.target.name.epoch;
    return {};
  }
  if (request.since) {
    TRY_ASSIGN(plan.base, SinceBase(mirror, plan.site, *request.since));
    return CheckBase(mirror, plan.site, plan.base,
                     "where bundle " + std::to_string(*request.since) + " of stream '" +
                         plan.site.stream + "' led");
  }
  plan.base = *plan.site.acknowledged;
  return CheckBase(mirror, plan.site, plan.base, "what site '" + plan.site.name + "' acknowledged");
}

/// Documents up to here need not be carried: the site has said that it holds this state.
Result<mirror::Generation> HeldGeneration(Mirror& mirror, const ExportPlan& plan) {
  if (!plan.full) return plan.base.name.generation;
  if (!plan.site.acknowledged || !plan.site.diverged.empty()) return 0;
  TRY_ASSIGN(const auto knowledge, mirror.catalog().Knows(plan.site.acknowledged->name));
  if (knowledge == mirror::StateKnowledge::kOtherHistory) return 0;
  return plan.site.acknowledged->name.generation;
}

Result<void> CollectRevisions(Mirror& mirror, ExportPlan& plan) {
  TRY_ASSIGN(const mirror::Generation held, HeldGeneration(mirror, plan));
  std::vector<mirror::RevisionId> carried;
  TRY(mirror.catalog().ForEachChanged(
      plan.base.name.generation, plan.target.name.generation,
      [&](const mirror::RevisionRow& row) -> Result<void> {
        const bool carry = row.generation > held;
        if (carry) carried.push_back(row.id);
        plan.intent.revisions.push_back({row.update, row.document_sha256, row.is_withdrawn, carry});
        return {};
      }));
  for (const mirror::RevisionId id : carried) {
    TRY_ASSIGN(const auto info, mirror.catalog().Document(id));
    plan.document_bytes += info.stored_bytes;
  }
  plan.revisions_listed = plan.intent.revisions.size();
  plan.revisions_carried = carried.size();
  return {};
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

/// What the site holds by its receipts, and by the word of whoever says that bundle `since` has
/// arrived; never what the site itself asks for.
Result<std::set<Sha1Digest>> BelievedFiles(mirror::Ledger& ledger, const mirror::Site& site,
                                           std::optional<std::uint64_t> since,
                                           const std::vector<Sha1Digest>& requested) {
  TRY_ASSIGN(auto believed, ledger.Believed(site.guid));
  if (!since) return believed;
  TRY_ASSIGN(const auto pins, ledger.Pins(site.guid, *since));
  for (const mirror::PinnedFile& file : pins) believed.insert(file.sha1);
  for (const Sha1Digest& sha1 : requested) believed.erase(sha1);
  return believed;
}

Result<void> CollectContent(Mirror& mirror, const ExportRequest& request, ExportPlan& plan) {
  mirror::Ledger ledger(mirror.db());
  const bool all = mirror.config().content.download == mirror::ContentPolicy::kAll;
  TRY_ASSIGN(const auto needed, mirror::exchange::NeededFiles(mirror, all));
  TRY_ASSIGN(const auto requested, ledger.Requested(plan.site.guid));
  TRY_ASSIGN(const auto believed, BelievedFiles(ledger, plan.site, request.since, requested));
  std::set<Sha1Digest> wanted;
  for (const auto& file : needed) wanted.insert(file.sha1);
  for (const Sha1Digest& sha1 : requested) {
    // A site refuses a file that no update declares.
    TRY_ASSIGN(const auto declared, mirror::exchange::DeclarationsOf(mirror, sha1));
    if (!declared.empty()) wanted.insert(sha1);
  }
  for (const Sha1Digest& sha1 : wanted) {
    if (believed.contains(sha1)) {
      ++plan.believed_files;
      continue;
    }
    TRY_ASSIGN(const auto file, mirror.content().Find(sha1));
    if (!file) {
      ++plan.missing_files;
      continue;
    }
    plan.content.push_back({file->sha1, file->sha256, file->size_bytes, file->extension});
    plan.content_bytes += file->size_bytes;
  }
  return {};
}

/// Every exact revision that a carried one bundles must be listed or at the base. By construction
/// it is, unless this mirror lacks it itself: that is told to the receiver, not hidden.
Result<void> ProveClosure(Mirror& mirror, ExportPlan& plan) {
  TRY_ASSIGN(plan.dangling, mirror.catalog().FindDangling(kMaxDangling));
  plan.intent.dangling = plan.dangling.size();
  std::set<protocol::UpdateId> listed;
  for (const RevisionLine& line : plan.intent.revisions) listed.insert(line.update);
  for (const RevisionLine& line : plan.intent.revisions) {
    if (!line.carried) continue;
    TRY_ASSIGN(const auto row, mirror.catalog().Find(line.update));
    TRY_ASSIGN(const auto relations, mirror.catalog().Relations(row->id));
    for (const auto& group : relations->bundled) {
      for (const protocol::UpdateId& member : group) {
        if (listed.contains(member)) continue;
        TRY_ASSIGN(const auto known, mirror.catalog().Find(member));
        if (!known || known->generation <= plan.base.name.generation) continue;
        return Fail(ErrorCode::kCorrupt, "closure",
                    "update " + line.update.ToString() + " bundles " + member.ToString() +
                        ", which the bundle would not bring");
      }
    }
  }
  return {};
}

}  // namespace

Result<ExportPlan> PlanExport(Mirror& mirror, const ExportRequest& request) {
  mirror::Ledger ledger(mirror.db());
  ExportPlan plan;
  // Approvals go on beside this job: all parts of the plan must be of the same generation.
  TRY_ASSIGN(const auto view, mirror.catalog().BeginRead());
  TRY_ASSIGN(plan.site, ledger.FindSite(request.site));
  plan.volume_bytes = request.volume_bytes;
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  plan.target = PassedOn(published);
  TRY(ChooseBase(mirror, request, plan));
  plan.intent.full = plan.full;
  TRY(CollectRevisions(mirror, plan));
  TRY(CollectIntent(mirror, plan));
  TRY(CollectContent(mirror, request, plan));
  TRY(ProveClosure(mirror, plan));
  return plan;
}

Result<manifests::UpstreamSync> LastUpstreamSync(Mirror& mirror, mirror::Generation generation) {
  using Outcome = manifests::UpstreamSync::Outcome;
  manifests::UpstreamSync sync;
  TRY_ASSIGN(auto job, mirror.jobs().Last("sync"));
  if (job && !job->ended_at) {  // killed, or in this moment: what counts is the one before
    TRY_ASSIGN(job, mirror.jobs().LastGood("sync"));
  }
  if (job && job->ended_at) {
    const bool good =
        job->result == mirror::JobResult::kDone || job->result == mirror::JobResult::kPartly;
    sync.outcome = good ? Outcome::kSucceeded : Outcome::kFailed;
    sync.at = *job->ended_at;
    return sync;
  }
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto at, ledger.UpstreamSyncAt(generation));
  if (at) sync = {Outcome::kSucceeded, *at};
  return sync;
}

namespace {

Result<std::set<Guid>> ServersBelow(mirror::Activity& activity, const Guid& site) {
  TRY_ASSIGN(const auto servers, activity.Servers());
  std::set<Guid> below = {site};
  for (std::size_t before = 0; before != below.size();) {
    before = below.size();
    for (const auto& server : servers) {
      if (below.contains(server.parent)) below.insert(server.id);
    }
  }
  return below;
}

/// What the site is told about its returns: how much the upstream wants, and which of its computers
/// the upstream has deleted.
Result<manifests::Acknowledgement> AcknowledgementFor(Mirror& mirror, const mirror::Site& site) {
  manifests::Acknowledgement out;
  out.site = site.guid;
  out.applied_return = site.applied_return;
  out.detailed = true;
  TRY_ASSIGN(const auto seen,
             mirror::LastWitnessed(mirror.db(), site.guid, mirror.identity().guid));
  out.seen_records = static_cast<std::uint64_t>(seen.id);
  out.seen_head = seen.hash;
  TRY_ASSIGN(mirror::Activity * activity, mirror.activity());
  mirror::RollupState told(*activity);
  TRY_ASSIGN(const auto upstream, told.ReadUpstream());
  if (upstream) out.detailed = upstream->detailed;
  TRY_ASSIGN(const auto deleted, told.DeletedUpstream());
  TRY_ASSIGN(const auto below, ServersBelow(*activity, site.guid));
  std::set<Guid> computers;
  for (const std::string& id : deleted) {
    const auto guid = Guid::Parse(id);
    if (!guid || computers.size() == manifests::kMaxDeletedComputers) continue;
    TRY_ASSIGN(const auto computer, activity->Find(id));
    if (computer && below.contains(computer->parent_server)) computers.insert(*guid);
  }
  out.deleted_computers.assign(computers.begin(), computers.end());
  return out;
}

}  // namespace

Result<manifests::Manifest> DraftManifest(Mirror& mirror, const ExportPlan& plan) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const manifests::Card card, manifests::DecodeCard(plan.site.card));
  TRY_ASSIGN(const auto key, manifests::LoadSigningPublicKey(mirror.keys().signing));
  TRY_ASSIGN(const auto head, mirror::ReadAuditHead(mirror.db()));
  const auto reference = [](const KnownState& state) {
    return manifests::StateReference{state.name.epoch,
                                     static_cast<std::uint64_t>(state.name.generation),
                                     state.name.chain, state.state_digest};
  };
  manifests::Manifest draft;
  draft.stream = plan.site.stream;
  draft.sequence = plan.site.last_sequence + 1;
  TRY_ASSIGN(draft.void_sequences,
             ledger.VoidSince(plan.site.guid, plan.site.acknowledged_sequence));
  if (draft.void_sequences.size() > manifests::kMaxVoidSequences) {
    draft.void_sequences.erase(
        draft.void_sequences.begin(),
        draft.void_sequences.end() - static_cast<std::ptrdiff_t>(manifests::kMaxVoidSequences));
  }
  draft.previous_manifest = plan.site.last_manifest;
  draft.sender = {mirror.identity().guid, key.Id(), mirror.identity().name};
  draft.recipients = {{plan.site.guid, card.encryption_key.Id(), plan.site.name}};
  draft.base = reference(plan.base);
  draft.target = reference(plan.target);
  draft.scope = plan.full ? manifests::Scope::kFull : manifests::Scope::kDelta;
  draft.created = mirror.clock().Now();
  TRY_ASSIGN(draft.upstream_sync, LastUpstreamSync(mirror, plan.target.name.generation));
  TRY_ASSIGN(auto acknowledgement, AcknowledgementFor(mirror, plan.site));
  draft.acknowledgements.push_back(std::move(acknowledgement));
  draft.audit_head = head.hash;
  draft.audit_records = static_cast<std::uint64_t>(head.id);
  draft.totals = {plan.revisions_carried, plan.content.size(), plan.content_bytes};
  return draft;
}

}  // namespace gapferry::exporter
