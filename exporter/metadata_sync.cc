#include "exporter/metadata_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "exporter/fault_table.h"
#include "exporter/file_keys.h"
#include "mirror/audit.h"
#include "mirror/commit.h"
#include "mirror/load_queries.h"

namespace gapferry::exporter {

using mirror::CatalogLoad;
using mirror::Mirror;
using protocol::UpdateId;

namespace {

constexpr std::string_view kConfigAnchor = "config";
constexpr std::string_view kCategoriesAnchor = "categories";
constexpr std::string_view kUpdatesAnchor = "updates";
constexpr std::string_view kDeploymentsAnchor = "deployments";
constexpr std::string_view kUnknownFilesAnchor = "unknown-files";
constexpr std::string_view kFullListAnchor = "full-list";  // value: when the last one was fetched
constexpr int kMemberRounds = 16;
constexpr std::size_t kMaxDanglingLines = 100;
constexpr std::uint32_t kMaxConnections = 4;  // what a real upstream is asked at once

void SortDistinct(std::vector<UpdateId>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// Of several revisions of one category the highest counts (companion 2.3). `ids` is ascending.
void KeepHighest(std::vector<UpdateId>& ids) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i + 1 < ids.size() && ids[i + 1].guid == ids[i].guid) continue;
    ids[kept++] = ids[i];
  }
  ids.resize(kept);
}

}  // namespace

MetadataSync::MetadataSync(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                           const SyncOptions& options, Progress& progress, std::stop_token stop)
    : mirror_(mirror),
      upstream_(upstream),
      fetchers_(fetchers),
      options_(options),
      progress_(progress),
      stop_(std::move(stop)),
      full_(options.full) {}

// An upstream that has become another (or that does not know our anchor any more) is asked once
// more for everything, whichever call told it (companion 1.5).
Result<void> MetadataSync::Run(const mirror::JobLock* lock) {
  auto done = Once(lock);
  if (done || forget_anchors_) return done;
  const auto fault = protocol::FaultCodeOf(done.error());
  if (!fault) return done;
  const FaultReaction reaction = RuleOf(*fault).reaction;
  const bool start_over = reaction == FaultReaction::kStartOver ||
                          (reaction == FaultReaction::kStartOverAfterAnchor && sent_anchor_);
  if (!start_over) return done;
  progress_.Note("the upstream does not know our place in its history: asking for everything");
  Log(LogLevel::kWarning, "sync starts over", {{"why", done.error().message}});
  report_ = {};
  forget_anchors_ = true;
  return Once(lock);
}

Result<void> MetadataSync::Again(const mirror::JobLock* lock, bool drop_anchors) {
  progress_.Note("the upstream's metadata has changed: asking for complete lists again");
  SyncReport before = std::exchange(report_, {});
  forget_anchors_ = forget_anchors_ || drop_anchors;
  full_ = true;
  TRY(Once(lock));
  report_.new_revisions += before.new_revisions;
  report_.new_categories += before.new_categories;
  report_.adopted += before.adopted;
  report_.expired += before.expired;
  report_.lost += before.lost;
  report_.intent_changes += before.intent_changes;
  report_.withdrawn.insert(report_.withdrawn.end(), before.withdrawn.begin(),
                           before.withdrawn.end());
  report_.changed = report_.changed || before.changed;
  return {};
}

Result<bool> MetadataSync::NoteUnknownFiles() {
  std::vector<Sha1Digest> files;
  for (const auto& failed : report_.content.failed) {
    if (failed.error.reason == "unknown-upstream") files.push_back(failed.sha1);
  }
  std::sort(files.begin(), files.end());
  Sha256Hasher hasher;
  for (const Sha1Digest& sha1 : files) hasher.Update(sha1.View());
  unknown_files_ = hasher.Finish().ToHex();
  TRY_ASSIGN(const auto before, mirror_.catalog().AnchorValue(kUnknownFilesAnchor, ""));
  return before != unknown_files_;
}

void MetadataSync::Reset() {
  load_.reset();
  listed_.clear();
  unknown_updates_.clear();
  unknown_categories_.clear();
  intent_.reset();
  new_declines_.clear();
}

Result<void> MetadataSync::Once(const mirror::JobLock* lock) {
  Reset();
  if (lock != nullptr) {
    TRY_ASSIGN(const std::string key, LoadKey());
    TRY_ASSIGN(auto load, CatalogLoad::Open(mirror_, *lock, "sync", key));
    load_.emplace(std::move(load));
  }
  TRY(upstream_.Authorize(), "authorization");
  TRY(ReadConfig());
  TRY(Addresses());
  TRY(Categories());
  if (!options_.categories_only) {
    TRY_ASSIGN(filter_, FilterOf(mirror_, load_ ? &*load_ : nullptr, config_.languages));
    filter_digest_ = filter_.Digest();
    TRY(Updates());
    TRY(Members());
    TRY(Compare());
    TRY(Deployments());
  }
  if (!load_) {
    TRY_ASSIGN(report_.preview, LookAhead(mirror_, upstream_, unknown_categories_, unknown_updates_,
                                          static_cast<std::size_t>(config_.max_updates_per_request),
                                          progress_, stop_));
    report_.expired = report_.preview->expired.size();
  }
  TRY(Guard());
  if (load_) TRY(Commit());
  return {};
}

// Rows of an interrupted sync are adopted by one that asks the same upstream for the same.
Result<std::string> MetadataSync::LoadKey() {
  TRY_ASSIGN(const mirror::Subscription wanted, mirror_.catalog().ReadSubscription());
  Sha256Hasher hasher;
  hasher.Update(upstream_.url()).Update("\n");
  for (const Guid& guid : wanted.products) hasher.Update("product:" + guid.ToString() + "\n");
  for (const Guid& guid : wanted.classifications) {
    hasher.Update("classification:" + guid.ToString() + "\n");
  }
  for (const std::string& language : wanted.languages) hasher.Update("language:" + language + "\n");
  if (wanted.drivers) hasher.Update("drivers\n");
  return hasher.Finish().ToHex();
}

Result<std::optional<std::string>> MetadataSync::Anchor(std::string_view kind,
                                                        std::string_view filter) {
  if (forget_anchors_) return std::optional<std::string>();
  TRY_ASSIGN(auto value, mirror_.catalog().AnchorValue(kind, filter));
  if (value && value->empty()) value.reset();
  return value;
}

// Limits, versions and languages. With an anchor the languages are changes only (companion 2.2).
Result<void> MetadataSync::ReadConfig() {
  TRY_ASSIGN(const auto record, mirror_.catalog().ReadUpstream());
  if (record && !forget_anchors_) {
    if (record->url != DisplayUrl(upstream_.url())) {
      progress_.Note(fmt::format("the upstream was {} before: asking for everything", record->url));
      forget_anchors_ = true;
    } else if (record->announced_version != upstream_.protocol_version()) {
      // A server leaves out, without a word, what needs more than the version announced.
      progress_.Note(
          fmt::format("the last sync announced protocol {}, this one {}: asking for "
                      "everything",
                      record->announced_version, upstream_.protocol_version()));
      forget_anchors_ = true;
    }
  }
  std::optional<std::string> anchor;
  if (record) {
    TRY_ASSIGN(anchor, Anchor(kConfigAnchor, ""));
  }
  sent_anchor_ = anchor.has_value();
  TRY_ASSIGN(config_, upstream_.GetConfigData(anchor));
  sent_anchor_ = false;
  if (anchor) MergeLanguages(record->config.languages, config_.languages);
  report_.announced_version = upstream_.protocol_version();
  report_.upstream_version = config_.protocol_version;
  if (record && IsLowerVersion(config_.protocol_version, record->config.protocol_version)) {
    report_.lowered_from = record->config.protocol_version;
    progress_.Note(
        fmt::format("the upstream speaks protocol {} now, {} before: it may leave out "
                    "updates that need the newer one",
                    config_.protocol_version, report_.lowered_from));
  }
  return {};
}

Result<std::vector<UpdateId>> MetadataSync::Unknown(const std::vector<UpdateId>& sorted) {
  return load_ ? load_->Unknown(sorted) : mirror_.catalog().Unknown(sorted);
}

// A list, ascending.
Result<std::vector<UpdateId>> MetadataSync::Ask(protocol::SyncFilter filter, std::string& anchor) {
  sent_anchor_ = filter.anchor.has_value();
  TRY_ASSIGN(auto list, upstream_.GetRevisionIdList(std::move(filter)));
  sent_anchor_ = false;
  anchor = std::move(list.anchor);
  SortDistinct(list.new_revisions);
  return std::move(list.new_revisions);
}

Result<LoadOutcome> MetadataSync::Fetch(const std::vector<UpdateId>& ids, std::string_view step,
                                        Named named) {
  const std::uint32_t wanted =
      std::clamp(mirror_.config().sync.parallel_requests, std::uint32_t{1}, kMaxConnections);
  while (connections_.size() < wanted) {
    TRY_ASSIGN(auto fetcher, fetchers_());
    connections_.push_back(std::move(fetcher));
  }
  const LoadUpdatesOptions options{static_cast<std::size_t>(config_.max_updates_per_request),
                                   mirror_.config().import.max_document_bytes,
                                   named == Named::kInList};
  progress_.Begin(step, ids.size(), 0);
  auto outcome = LoadUpdates(upstream_, connections_, *load_, ids, options, progress_, stop_);
  progress_.End();
  return outcome;
}

Result<void> MetadataSync::Load(const std::vector<UpdateId>& ids, std::string_view step,
                                Named named) {
  if (!load_ || ids.empty()) return {};
  TRY_ASSIGN(LoadOutcome outcome, Fetch(ids, step, named));
  report_.gone.insert(report_.gone.end(), outcome.gone.begin(), outcome.gone.end());
  for (RefusedUpdate& refused : outcome.refused) {
    Log(LogLevel::kWarning, "revision refused",
        {{"update", refused.update.ToString()}, {"why", refused.error.message}});
    report_.refused.push_back(std::move(refused));
  }
  return {};
}

// What an interrupted sync has loaded without the addresses of its files is asked for once more:
// no list would bring them again. What does not come now has none.
Result<void> MetadataSync::Addresses() {
  if (!load_) return {};
  TRY_ASSIGN(const std::vector<UpdateId> ids, load_->WithoutFileUrls());
  if (ids.empty()) return {};
  TRY(Fetch(ids, "addresses of files", Named::kElsewhere));
  return {};
}

Result<void> MetadataSync::Categories() {
  protocol::SyncFilter filter;
  filter.get_config = true;
  if (!full_) {
    TRY_ASSIGN(filter.anchor, Anchor(kCategoriesAnchor, ""));
  }
  TRY_ASSIGN(std::vector<UpdateId> listed, Ask(std::move(filter), categories_anchor_));
  KeepHighest(listed);
  report_.listed += listed.size();
  TRY_ASSIGN(unknown_categories_, Unknown(listed));
  report_.new_categories = unknown_categories_.size();
  return Load(unknown_categories_, "categories");
}

Result<bool> MetadataSync::FullListDue() {
  TRY_ASSIGN(const auto last, Anchor(kFullListAnchor, filter_digest_));
  if (!last) return true;
  const auto at = UtcTime::ParseXml(*last);
  if (!at) return true;
  if (*at > mirror_.clock().Now()) return true;  // a clock that was ahead must not put it off
  const auto days = std::chrono::hours(24) * mirror_.config().sync.full_list_days;
  return *at + std::chrono::duration_cast<std::chrono::seconds>(days) <= mirror_.clock().Now();
}

Result<void> MetadataSync::Updates() {
  std::optional<std::string> anchor;
  TRY_ASSIGN(const bool due, FullListDue());
  if (!full_ && !due) {
    TRY_ASSIGN(anchor, Anchor(kUpdatesAnchor, filter_digest_));
  }
  report_.full_list = !anchor.has_value();
  TRY_ASSIGN(listed_, Ask(filter_.ToWire(anchor), updates_anchor_));
  report_.listed += listed_.size();
  TRY_ASSIGN(unknown_updates_, Unknown(listed_));
  report_.new_revisions = unknown_updates_.size();
  return Load(unknown_updates_, "updates");
}

// Exact bundle members that no list named are asked for: what is published must be closed.
Result<void> MetadataSync::Members() {
  if (!load_) return {};
  std::unordered_set<UpdateId> tried;
  for (int round = 0; round < kMemberRounds; ++round) {
    TRY_ASSIGN(std::vector<UpdateId> unknown, mirror::UnknownMembers(mirror_, *load_));
    std::erase_if(unknown, [&](const UpdateId& member) { return !tried.insert(member).second; });
    if (unknown.empty()) return {};
    report_.new_revisions += unknown.size();
    TRY(Load(unknown, "bundle members", Named::kElsewhere));
  }
  return {};
}

// A list never says what disappeared (companion 2.3): it is compared with what is held.
Result<void> MetadataSync::Compare() {
  TRY_ASSIGN(ListDifference difference,
             CompareWithList(mirror_, load_ ? &*load_ : nullptr, filter_, listed_,
                             report_.full_list ? ListKind::kComplete : ListKind::kChanges));
  report_.withdrawn = std::move(difference.withdrawn);
  report_.lost = difference.lost.size();
  if (!load_) return {};
  for (const UpdateId& id : difference.again) load_->ListAgain(id);
  for (const UpdateId& id : report_.withdrawn) load_->Withdraw(id);
  for (const UpdateId& id : difference.lost) load_->Withdraw(id);
  return {};
}

// Replica only: the upstream's groups, approvals, declines and EULAs (companion 2.6).
Result<void> MetadataSync::Deployments() {
  if (!mirror_.config().replica) return {};
  if (updates_anchor_.empty()) {
    return Fail(ErrorCode::kCorrupt, "bad-answer", "GetRevisionIdList: answer without anchor");
  }
  TRY_ASSIGN(const auto anchor, Anchor(kDeploymentsAnchor, ""));
  sent_anchor_ = anchor.has_value();
  TRY_ASSIGN(auto answer, upstream_.GetDeployments(anchor, updates_anchor_));
  sent_anchor_ = false;
  deployments_anchor_ = answer.anchor;
  TRY_ASSIGN(intent_, ToIntent(std::move(answer), /*is_complete=*/!anchor.has_value()));
  TRY(ApprovedRevisions());
  TRY_ASSIGN(IntentPlan plan, PlanIntent(mirror_, *intent_));
  new_declines_ = plan.declined;
  if (!load_) report_.intent = std::move(plan);
  return {};
}

// Lists name the newest revision of an update, and approvals may be of an older one: a replica that
// does not hold it would offer something else than its upstream does.
Result<void> MetadataSync::ApprovedRevisions() {
  if (!load_) return {};
  std::vector<UpdateId> approved;
  for (const auto& deployment : intent_->deployments) approved.push_back(deployment.update);
  SortDistinct(approved);
  TRY_ASSIGN(const std::vector<UpdateId> unknown, Unknown(approved));
  if (unknown.empty()) return {};
  report_.new_revisions += unknown.size();
  TRY(Load(unknown, "approved revisions", Named::kElsewhere));
  return Members();
}

// Never empties a site by itself: an upstream that lost its catalogue must not take ours along.
Result<void> MetadataSync::Guard() {
  mirror::Removals removals;
  removals.withdrawn = report_.withdrawn;
  removals.declined = new_declines_;
  std::set<Guid> arriving;
  if (load_) {
    TRY_ASSIGN(removals.expired, load_->NewlyExpired());
  } else {
    for (const UpdateId& id : report_.preview->expired) removals.expired.push_back(id.guid);
    arriving = report_.preview->names;
  }
  if (removals.withdrawn.empty() && removals.expired.empty() && removals.declined.empty()) {
    return {};
  }
  if (load_) {
    TRY_ASSIGN(arriving, mirror::ArrivingNames(*load_));
  }
  TRY_ASSIGN(report_.removals, mirror::JudgeRemovals(mirror_, removals, arriving));
  const auto& verdict = report_.removals;
  if (!verdict.needs_consent || options_.accept_removals == verdict.removals || !load_) return {};
  return std::unexpected(
      mirror::RemovalsNeedConsent(verdict, "sync",
                                  fmt::format("gapferry sync{}{} --accept-removals {}",
                                              options_.metadata_only ? " --metadata-only" : "",
                                              full_ ? " --full" : "", verdict.removals)));
}

Result<void> MetadataSync::Commit() {
  TRY_ASSIGN(report_.without_keys,
             LoadFileKeys(upstream_, mirror_, *load_,
                          static_cast<std::size_t>(config_.max_updates_per_decryption_request),
                          progress_, stop_));
  TRY_ASSIGN(const CatalogLoad::Summary summary, load_->Summarize());
  report_.adopted = summary.adopted_revisions;
  report_.expired = summary.newly_expired;
  for (const auto& dangling : summary.dangling) {
    if (report_.dangling.size() == kMaxDanglingLines) break;
    report_.dangling.push_back(fmt::format("{}: {}", dangling.update.ToString(), dangling.what));
  }
  TRY(load_->Prepare());
  TRY_ASSIGN(auto commit, load_->BeginCommit("sync"));
  if (intent_) {
    TRY_ASSIGN(const auto imported, mirror::Intent::Import(commit, *intent_));
    report_.intent_changes = imported.changed;
  }
  TRY(PutAnchors(commit));
  report_.changed = commit.changed();
  const nlohmann::json detail = {{"new", report_.new_revisions + report_.new_categories},
                                 {"expired", report_.expired},
                                 {"withdrawn", report_.withdrawn.size()},
                                 {"refused", report_.refused.size()},
                                 {"intent_changes", report_.intent_changes},
                                 {"upstream", DisplayUrl(upstream_.url())},
                                 {"announced_version", report_.announced_version},
                                 {"upstream_version", report_.upstream_version}};
  const std::string text = detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  TRY(commit.Audit({mirror::CurrentActor(), "sync", DisplayUrl(upstream_.url()), text}));
  TRY_ASSIGN(report_.state, commit.Finish());
  return {};
}

// Each becomes current with what it covers and never before (companion 2.3).
Result<void> MetadataSync::PutAnchors(mirror::CommitTransaction& commit) {
  if (forget_anchors_) TRY(commit.DropAnchors(""));
  TRY(commit.PutUpstream(
      {DisplayUrl(upstream_.url()), upstream_.protocol_version(), config_, commit.committed_at()}));
  const auto put = [&](std::string_view kind, std::string_view filter, const std::string& value) {
    return commit.PutAnchor({std::string(kind), std::string(filter), value});
  };
  TRY(put(kConfigAnchor, "", config_.new_config_anchor));
  if (!unknown_files_.empty()) TRY(put(kUnknownFilesAnchor, "", unknown_files_));
  if (!report_.refused.empty()) return {};  // what was refused must be listed again
  TRY(put(kCategoriesAnchor, "", categories_anchor_));
  if (options_.categories_only) return {};
  TRY(commit.DropAnchors(kUpdatesAnchor));
  TRY(put(kUpdatesAnchor, filter_digest_, updates_anchor_));
  if (report_.full_list) {
    TRY(commit.DropAnchors(kFullListAnchor));
    TRY(put(kFullListAnchor, filter_digest_, mirror_.clock().Now().ToXml()));
  }
  return intent_ ? put(kDeploymentsAnchor, "", deployments_anchor_) : Result<void>();
}

}  // namespace gapferry::exporter
