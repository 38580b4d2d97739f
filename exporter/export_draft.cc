// The manifest of a plan, as far as it is known before the volumes are written.
#include <algorithm>
#include <set>

#include "exporter/export_plan.h"
#include "manifests/card.h"
#include "manifests/keys.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/job_history.h"
#include "mirror/rollup_state.h"
#include "mirror/witness.h"

namespace gapferry::exporter {

using mirror::KnownState;
using mirror::Mirror;

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
  TRY_ASSIGN(draft.void_sequences, ledger.VoidSince(plan.site.guid, plan.passed_sequence));
  if (draft.void_sequences.size() > manifests::kMaxVoidSequences) {
    draft.void_sequences.erase(
        draft.void_sequences.begin(),
        draft.void_sequences.end() - static_cast<std::ptrdiff_t>(manifests::kMaxVoidSequences));
  }
  draft.previous_manifest = plan.site.last_manifest;
  draft.sender = {mirror.identity().guid, key.Id(), mirror.identity().name};
  for (const mirror::Site& site : plan.site.recipients) {
    TRY_ASSIGN(const manifests::Card card, manifests::DecodeCard(site.card), site.stream);
    draft.recipients.push_back({site.guid, card.encryption_key.Id(), site.name, {}});
    TRY_ASSIGN(auto acknowledgement, AcknowledgementFor(mirror, site));
    draft.acknowledgements.push_back(std::move(acknowledgement));
  }
  draft.base = reference(plan.base);
  draft.target = reference(plan.target);
  draft.scope = plan.full ? manifests::Scope::kFull : manifests::Scope::kDelta;
  draft.created = mirror.clock().Now();
  draft.parity = plan.parity;
  TRY_ASSIGN(draft.upstream_sync, LastUpstreamSync(mirror, plan.target.name.generation));
  draft.audit_head = head.hash;
  draft.audit_records = static_cast<std::uint64_t>(head.id);
  draft.totals = {plan.revisions_carried, plan.content.files.size(), plan.content.bytes};
  return draft;
}

}  // namespace gapferry::exporter
