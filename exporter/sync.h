#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "exporter/content_sync.h"
#include "exporter/replica_intent.h"
#include "exporter/sync_preview.h"
#include "exporter/update_stream.h"
#include "exporter/upstream.h"
#include "mirror/mirror.h"
#include "mirror/removal_guard.h"
#include "mirror/state.h"
#include "protocol/update_id.h"

namespace gapferry::exporter {

struct SyncOptions {
  bool metadata_only = false;
  bool categories_only = false;  ///< categories and detectoids: what a choice of products needs
  bool full = false;             ///< a list without anchor, which shows what disappeared
  bool dry_run = false;          ///< asks and compares, stores nothing
  /// Consent to what the guard of design.md section 4 stops; must be the number it showed.
  std::optional<std::uint64_t> accept_removals;
  ContentChoices content;
};

struct SyncReport {
  bool full_list = false;
  std::uint64_t listed = 0;         ///< identities in the two lists
  std::uint64_t new_revisions = 0;  ///< stored, or with dry_run: would be fetched
  std::uint64_t new_categories = 0;
  std::uint64_t adopted = 0;  ///< of new_revisions: from an interrupted run
  std::uint64_t expired = 0;  ///< with dry_run: of those in `preview`
  std::vector<protocol::UpdateId> withdrawn;
  std::uint64_t lost = 0;  ///< of `adopted`: no longer listed, and marked withdrawn as they come
  mirror::RemovalVerdict removals;  ///< of the guard
  std::uint64_t without_keys = 0;   ///< revisions with encrypted files the upstream has no key for
  std::vector<protocol::UpdateId> gone;  ///< listed, but not delivered
  std::vector<RefusedUpdate> refused;
  std::vector<std::string> dangling;       ///< at most 100 lines
  std::uint64_t intent_changes = 0;        ///< replica: groups, approvals, declines, EULAs
  std::optional<IntentPlan> intent;        ///< replica, dry_run: the same in detail
  std::optional<SyncPreview> preview;      ///< dry_run
  std::string announced_version;           ///< of the protocol, by us
  std::string upstream_version;            ///< by the upstream
  std::string lowered_from;                ///< what it said last time, when that was a higher one
  std::optional<mirror::StateName> state;  ///< of the commit; absent with dry_run
  bool changed = false;                    ///< a generation was published
  ContentReport content;

  /// Nothing refused, nothing waiting.
  bool complete() const { return refused.empty() && content.complete(); }
};

/// One sync of `mirror` with its upstream (MS-WSUSSS 3.2.4): categories, then the updates of the
/// subscription, deployments on a replica, one commit; then the content that approvals need.
/// Anchors become current in the same commit as what they cover, and only when every revision was
/// taken. Holds the job lock, writes the job history and the audit. Whatever point it is
/// interrupted at, the same call ends in the same state. An upstream that is not the one it was
/// (ServerChanged, at any call) is asked for everything once more.
/// Fails with kUsage: no upstream (reasons "no-upstream", "fed-by-bundles"), guard of removals
/// ("removals-need-acceptance"), unknown language; kBusy; kCancelled; or as Upstream says.
/// `fetchers` makes one fetcher for the dialogue, one per connection for documents
/// (sync.parallel_requests) and one per parallel download.
/// Memory: 20 bytes for each identity in a list (twice while it is compared), what LoadUpdates and
/// SyncContent state, and nothing that grows with the length of an answer.
Result<SyncReport> Sync(mirror::Mirror& mirror, const FetcherFactory& fetchers,
                        const SyncOptions& options, Progress& progress, std::stop_token stop);

/// How this mirror presents itself to its upstream.
Result<UpstreamOptions> UpstreamOptionsOf(const mirror::Mirror& mirror, Progress& progress);

}  // namespace gapferry::exporter
