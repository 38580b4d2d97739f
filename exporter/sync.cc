#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "exporter/sync.h"
#include "exporter/sync_filter.h"
#include "mirror/audit.h"
#include "mirror/catalog_load.h"
#include "mirror/intent.h"
#include "mirror/running_job.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using mirror::CatalogLoad;
using mirror::CategoryType;
using mirror::Mirror;
using mirror::RevisionRelations;
using protocol::FaultCode;
using protocol::UpdateId;

namespace {

constexpr std::string_view kCategoriesAnchor = "categories";
constexpr std::string_view kUpdatesAnchor = "updates";
constexpr std::string_view kDeploymentsAnchor = "deployments";
constexpr std::string_view kFullListAnchor = "full-list";  // value: when the last one was fetched
constexpr int kMemberRounds = 16;
constexpr std::size_t kMaxDanglingLines = 100;

// A DNS name made of the mirror's name: GetAuthorizationCookie wants one.
std::string DnsNameOf(std::string_view name) {
  std::string dns;
  for (const char c : name) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || (c == '-' && !dns.empty());
    if (fits) {
      dns += c;
    } else if (!dns.empty() && dns.back() != '-') {
      dns += '-';
    }
  }
  while (!dns.empty() && (dns.back() == '-' || dns.back() == '.')) dns.pop_back();
  return dns.empty() ? "gapferry" : dns.substr(0, 63);
}

// Of several revisions of one category the highest counts (companion 2.3).
std::vector<UpdateId> HighestRevisions(const std::vector<UpdateId>& listed) {
  std::unordered_map<Guid, std::int32_t> highest;
  for (const UpdateId& id : listed) {
    auto [at, inserted] = highest.emplace(id.guid, id.revision);
    if (!inserted) at->second = std::max(at->second, id.revision);
  }
  std::vector<UpdateId> ids;
  for (const auto& [guid, revision] : highest) ids.push_back({guid, revision});
  std::sort(ids.begin(), ids.end());
  return ids;
}

class SyncRun {
 public:
  SyncRun(Mirror& mirror, Upstream& upstream, const SyncOptions& options, Progress& progress,
          std::stop_token stop)
      : mirror_(mirror),
        upstream_(upstream),
        options_(options),
        progress_(progress),
        stop_(std::move(stop)) {}

  // Everything up to the commit. An upstream that has become another (or that does not know our
  // anchor any more) is asked once more for everything (companion 1.5).
  Result<void> Metadata(const mirror::JobLock* lock) {
    Result<void> done = MetadataOnce(lock);
    if (done) return done;
    const auto fault = protocol::FaultCodeOf(done.error());
    const bool start_over = fault == FaultCode::kServerChanged ||
                            (fault == FaultCode::kInvalidParameters && sent_anchor_);
    if (!start_over || forget_anchors_) return done;
    progress_.Note("the upstream does not know our place in its history: asking for everything");
    forget_anchors_ = true;
    report_ = {};
    return MetadataOnce(lock);
  }

  const protocol::GetConfigDataResponse& upstream_config() const { return config_; }
  SyncReport Take() { return std::move(report_); }
  SyncReport& report() { return report_; }

 private:
  Result<void> MetadataOnce(const mirror::JobLock* lock);
  Result<std::string> LoadKey();
  Result<std::optional<std::string>> Anchor(std::string_view kind, std::string_view filter);
  Result<bool> Has(const UpdateId& id);
  Result<std::vector<UpdateId>> Unknown(const std::vector<UpdateId>& listed);
  Result<void> LoadListed(const std::vector<UpdateId>& ids, std::string_view step);
  Result<void> Categories();
  Result<void> BuildFilter();
  Result<bool> FullListDue();
  Result<void> Updates();
  Result<void> Members();
  Result<void> CompareWithList(const std::vector<UpdateId>& listed);
  Result<void> Deployments();
  Result<void> Guard();
  Result<void> Commit();

  std::size_t Batch() const { return static_cast<std::size_t>(config_.max_updates_per_request); }

  Mirror& mirror_;
  Upstream& upstream_;
  const SyncOptions& options_;
  Progress& progress_;
  std::stop_token stop_;

  bool forget_anchors_ = false;
  bool sent_anchor_ = false;
  std::optional<CatalogLoad> load_;
  protocol::GetConfigDataResponse config_;
  UpdateFilter filter_;
  std::string filter_digest_;
  bool full_list_ = false;
  std::string categories_anchor_;
  std::string updates_anchor_;
  std::optional<LiveUpdates> live_;
  std::vector<Guid> emptied_products_;
  std::optional<mirror::IntentImport> intent_;
  std::string deployments_anchor_;
  std::uint64_t new_declines_ = 0;
  SyncReport report_;
};

Result<void> SyncRun::MetadataOnce(const mirror::JobLock* lock) {
  load_.reset();
  live_.reset();
  emptied_products_.clear();
  intent_.reset();
  new_declines_ = 0;
  if (lock != nullptr) {
    TRY_ASSIGN(const std::string key, LoadKey());
    TRY_ASSIGN(auto load, CatalogLoad::Open(mirror_, *lock, "sync", key));
    load_.emplace(std::move(load));
  }
  TRY(upstream_.Authorize(), "authorization");
  TRY_ASSIGN(config_, upstream_.GetConfigData());
  report_.upstream_version = config_.protocol_version;
  TRY(Categories());
  if (!options_.categories_only) {
    TRY(BuildFilter());
    TRY(Updates());
    TRY(Members());
    TRY(Deployments());
  }
  TRY(Guard());
  if (load_) TRY(Commit());
  return {};
}

// Rows of an interrupted sync are adopted by one that asks the same upstream for the same.
Result<std::string> SyncRun::LoadKey() {
  TRY_ASSIGN(const mirror::Subscription wanted, mirror_.catalog().ReadSubscription());
  Sha256Hasher hasher;
  hasher.Update(upstream_.url()).Update("\n");
  for (const Guid& guid : wanted.products) hasher.Update("product:" + guid.ToString() + "\n");
  for (const Guid& guid : wanted.classifications) {
    hasher.Update("classification:" + guid.ToString() + "\n");
  }
  for (const std::string& language : wanted.languages) hasher.Update("language:" + language + "\n");
  return hasher.Finish().ToHex();
}

Result<std::optional<std::string>> SyncRun::Anchor(std::string_view kind, std::string_view filter) {
  if (forget_anchors_) return std::optional<std::string>();
  return mirror_.catalog().AnchorValue(kind, filter);
}

Result<bool> SyncRun::Has(const UpdateId& id) {
  if (load_) return load_->Has(id);
  TRY_ASSIGN(const auto row, mirror_.catalog().Find(id));
  return row.has_value();
}

Result<std::vector<UpdateId>> SyncRun::Unknown(const std::vector<UpdateId>& listed) {
  std::vector<UpdateId> unknown;
  for (const UpdateId& id : listed) {
    TRY_ASSIGN(const bool has, Has(id));
    if (!has) unknown.push_back(id);
  }
  return unknown;
}

Result<void> SyncRun::LoadListed(const std::vector<UpdateId>& ids, std::string_view step) {
  if (!load_ || ids.empty()) return {};
  progress_.Begin(step, ids.size(), 0);
  auto outcome = LoadUpdates(upstream_, *load_, ids, Batch(),
                             mirror_.config().import.max_document_bytes, progress_, stop_);
  progress_.End();
  if (!outcome) return std::unexpected(std::move(outcome.error()));
  report_.gone.insert(report_.gone.end(), outcome->gone.begin(), outcome->gone.end());
  for (RefusedUpdate& refused : outcome->refused) {
    Log(LogLevel::kWarning, "revision refused",
        {{"update", refused.update.ToString()}, {"why", refused.error.message}});
    report_.refused.push_back(std::move(refused));
  }
  return {};
}

Result<void> SyncRun::Categories() {
  protocol::SyncFilter filter;
  filter.get_config = true;
  if (!options_.full) {
    TRY_ASSIGN(filter.anchor, Anchor(kCategoriesAnchor, ""));
  }
  sent_anchor_ = filter.anchor.has_value();
  TRY_ASSIGN(const auto list, upstream_.GetRevisionIdList(std::move(filter)));
  sent_anchor_ = false;
  categories_anchor_ = list.anchor;
  const std::vector<UpdateId> listed = HighestRevisions(list.new_revisions);
  report_.listed += listed.size();
  TRY_ASSIGN(const std::vector<UpdateId> unknown, Unknown(listed));
  report_.new_categories = unknown.size();
  return LoadListed(unknown, "categories");
}

// "All" of one list only has to be spelled out: an upstream answers nothing to half a filter.
Result<void> SyncRun::BuildFilter() {
  TRY_ASSIGN(const mirror::Subscription subscription, mirror_.catalog().ReadSubscription());
  filter_ = {};
  filter_.products = subscription.products;
  filter_.classifications = subscription.classifications;
  CatalogLoad* load = load_ ? &*load_ : nullptr;
  if (filter_.products.empty() != filter_.classifications.empty()) {
    if (filter_.products.empty()) {
      TRY_ASSIGN(filter_.products, KnownCategories(mirror_, load, CategoryType::kProduct));
    } else {
      TRY_ASSIGN(filter_.classifications,
                 KnownCategories(mirror_, load, CategoryType::kClassification));
    }
    if (filter_.products.empty() || filter_.classifications.empty()) {
      return Fail(ErrorCode::kUsage, "no-categories",
                  "subscription: the upstream has listed no products or no classifications");
    }
  }
  std::sort(filter_.products.begin(), filter_.products.end());
  std::sort(filter_.classifications.begin(), filter_.classifications.end());
  TRY_ASSIGN(filter_.languages, LanguageIds(subscription.languages, config_.languages));
  filter_digest_ = filter_.Digest();
  return {};
}

Result<bool> SyncRun::FullListDue() {
  TRY_ASSIGN(const auto last, Anchor(kFullListAnchor, filter_digest_));
  if (!last) return true;
  const auto at = UtcTime::ParseXml(*last);
  if (!at) return true;
  if (*at > mirror_.clock().Now()) return true;  // a clock that was ahead must not put it off
  const auto days = std::chrono::hours(24) * mirror_.config().sync.full_list_days;
  return *at + std::chrono::duration_cast<std::chrono::seconds>(days) <= mirror_.clock().Now();
}

Result<void> SyncRun::Updates() {
  std::optional<std::string> anchor;
  TRY_ASSIGN(const bool due, FullListDue());
  if (!options_.full && !due) {
    TRY_ASSIGN(anchor, Anchor(kUpdatesAnchor, filter_digest_));
  }
  if (anchor && anchor->empty()) anchor.reset();
  full_list_ = !anchor.has_value();
  report_.full_list = full_list_;
  sent_anchor_ = anchor.has_value();
  TRY_ASSIGN(const auto list, upstream_.GetRevisionIdList(filter_.ToWire(anchor)));
  sent_anchor_ = false;
  updates_anchor_ = list.anchor;
  report_.listed += list.new_revisions.size();
  TRY_ASSIGN(const std::vector<UpdateId> unknown, Unknown(list.new_revisions));
  report_.new_revisions = unknown.size();
  TRY(LoadListed(unknown, "updates"));
  return CompareWithList(list.new_revisions);
}

// Exact bundle members that no list named are asked for: what is published must be closed.
Result<void> SyncRun::Members() {
  if (!load_) return {};
  std::unordered_set<UpdateId> tried;
  for (int round = 0; round < kMemberRounds; ++round) {
    std::vector<UpdateId> members;
    TRY(load_->ForEachLoaded([&](RevisionRelations& revision) -> Result<void> {
      for (const auto& group : revision.bundled) {
        for (const UpdateId& member : group) {
          if (tried.insert(member).second) members.push_back(member);
        }
      }
      return {};
    }));
    TRY_ASSIGN(const std::vector<UpdateId> unknown, Unknown(members));
    if (unknown.empty()) return {};
    report_.new_revisions += unknown.size();
    TRY(LoadListed(unknown, "bundle members"));
  }
  return {};
}

// A list never says what disappeared (companion 2.3): a complete one is compared with what is held.
Result<void> SyncRun::CompareWithList(const std::vector<UpdateId>& listed) {
  TRY_ASSIGN(const auto counts, mirror_.catalog().Counts());
  if (counts.withdrawn > 0 && load_) {
    std::unordered_set<Guid> names;
    for (const UpdateId& id : listed) names.insert(id.guid);
    std::vector<UpdateId> again;
    TRY(mirror_.catalog().ForEachRevision([&](const mirror::RevisionRow& row) -> Result<void> {
      if (row.is_withdrawn && names.contains(row.update.guid)) again.push_back(row.update);
      return {};
    }));
    for (const UpdateId& id : again) load_->ListAgain(id);
  }
  if (!full_list_) return {};
  TRY_ASSIGN(live_, LiveUpdates::Read(mirror_.catalog()));
  std::unordered_set<Guid> names;
  for (const UpdateId& id : listed) names.insert(id.guid);
  report_.withdrawn = live_->Missing(filter_, names);
  if (!report_.withdrawn.empty()) {
    CatalogLoad* load = load_ ? &*load_ : nullptr;
    TRY_ASSIGN(const auto products, KnownCategories(mirror_, load, CategoryType::kProduct));
    emptied_products_ = live_->ProductsLeftEmpty(report_.withdrawn, products);
  }
  if (load_) {
    for (const UpdateId& id : report_.withdrawn) load_->Withdraw(id);
  }
  return {};
}

// Replica only: the upstream's groups, approvals, declines and EULAs (companion 2.6).
Result<void> SyncRun::Deployments() {
  if (!mirror_.config().replica) return {};
  if (updates_anchor_.empty()) {
    return Fail(ErrorCode::kCorrupt, "no-anchor", "GetRevisionIdList: answer without anchor");
  }
  TRY_ASSIGN(const auto anchor, Anchor(kDeploymentsAnchor, ""));
  sent_anchor_ = anchor.has_value();
  TRY_ASSIGN(auto answer, upstream_.GetDeployments(anchor, updates_anchor_));
  sent_anchor_ = false;
  deployments_anchor_ = answer.anchor;
  // The list of groups is always whole, and every server has All Computers at least: an upstream
  // that lost its groups must not take our approvals and assignments along.
  if (answer.groups.empty()) {
    return Fail(ErrorCode::kTransient, "no-groups",
                "GetDeployments: the answer lists no group, not even All Computers");
  }
  mirror::IntentImport intent;
  intent.groups_are_full = true;
  intent.declined_are_full = true;
  intent.deployments_are_full = !anchor.has_value();
  for (const auto& group : answer.groups) {
    intent.groups.push_back({group.id, group.parent_id, group.name, group.is_builtin});
  }
  for (const auto& deployment : answer.deployments) {
    if (deployment.action < 0 || deployment.action > 3) continue;  // not defined
    mirror::IncomingDeployment incoming;
    incoming.guid = deployment.deployment_guid;
    incoming.update = deployment.update;
    incoming.group = deployment.target_group_id;
    incoming.action = static_cast<mirror::DeploymentAction>(deployment.action);
    // "None" is the end of time, which other writers round.
    if (deployment.deadline < kEndOfTime - std::chrono::hours(24) && deployment.deadline > kNever) {
      incoming.deadline = deployment.deadline;
    }
    incoming.is_assigned = deployment.is_assigned;
    incoming.download_priority =
        static_cast<std::uint8_t>(std::clamp(deployment.download_priority, 1, 3));
    incoming.go_live = deployment.go_live_time;
    incoming.last_change = deployment.go_live_time;  // the protocol carries no other time
    incoming.admin_name = deployment.admin_name;
    intent.deployments.push_back(std::move(incoming));
  }
  intent.dead_deployments = std::move(answer.dead_deployments);
  intent.declined = std::move(answer.hidden_updates);
  intent.accepted_eulas = std::move(answer.accepted_eulas);
  TRY_ASSIGN(const auto declined_now, mirror_.intent().Declined());
  const std::unordered_set<Guid> known(declined_now.begin(), declined_now.end());
  new_declines_ = 0;  // of what is offered here today; declines of what just arrives take nothing
  for (const Guid& id : intent.declined) {
    if (known.contains(id)) continue;
    if (!live_) {
      TRY_ASSIGN(live_, LiveUpdates::Read(mirror_.catalog()));
    }
    if (live_->Contains(id)) ++new_declines_;
  }
  intent_ = std::move(intent);
  return {};
}

// Never empties a site by itself: an upstream that lost its catalogue must not take ours along.
Result<void> SyncRun::Guard() {
  const std::uint64_t removals = report_.withdrawn.size() + new_declines_;
  if (removals == 0 || !live_) return {};
  const std::uint64_t percent = mirror_.config().limits.withdraw_percent;
  const bool many = removals * 100 > live_->count() * percent;
  if ((!many && emptied_products_.empty()) || options_.accept_removals == removals) return {};
  std::string text = fmt::format("sync would withdraw {} and decline {} of {} live updates",
                                 report_.withdrawn.size(), new_declines_, live_->count());
  if (!emptied_products_.empty()) {
    text += fmt::format("; {} product(s) would be left without any, such as {}",
                        emptied_products_.size(), emptied_products_.front().ToString());
  }
  std::size_t shown = 0;
  for (const UpdateId& id : report_.withdrawn) {
    if (++shown > 20) break;
    TRY_ASSIGN(const auto row, mirror_.catalog().Find(id));
    std::string title;
    if (row) {
      TRY_ASSIGN(const auto name, mirror_.catalog().Text(row->id));
      title = name.title;
    }
    text += fmt::format("\n  {} {}", id.ToString(), EscapeForDisplay(title, 100));
  }
  if (report_.withdrawn.size() > 20) {
    text += fmt::format("\n  and {} more", report_.withdrawn.size() - 20);
  }
  return std::unexpected(Error{ErrorCode::kUsage, text, "removals-need-acceptance",
                               fmt::format("gapferry sync{} --accept-removals {}",
                                           options_.full ? " --full" : "", removals)});
}

Result<void> SyncRun::Commit() {
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
  if (forget_anchors_) TRY(commit.DropAnchors(""));
  if (report_.refused.empty()) {  // what was refused must be listed again
    TRY(commit.PutAnchor({std::string(kCategoriesAnchor), "", categories_anchor_}));
    if (!options_.categories_only) {
      TRY(commit.DropAnchors(kUpdatesAnchor));
      TRY(commit.PutAnchor({std::string(kUpdatesAnchor), filter_digest_, updates_anchor_}));
      if (full_list_) {
        TRY(commit.DropAnchors(kFullListAnchor));
        TRY(commit.PutAnchor(
            {std::string(kFullListAnchor), filter_digest_, mirror_.clock().Now().ToXml()}));
      }
      if (intent_)
        TRY(commit.PutAnchor({std::string(kDeploymentsAnchor), "", deployments_anchor_}));
    }
  }
  report_.changed = commit.changed();
  const nlohmann::json detail = {{"new", report_.new_revisions + report_.new_categories},
                                 {"expired", report_.expired},
                                 {"withdrawn", report_.withdrawn.size()},
                                 {"refused", report_.refused.size()},
                                 {"intent_changes", report_.intent_changes},
                                 {"upstream", DisplayUrl(upstream_.url())},
                                 {"upstream_version", report_.upstream_version}};
  TRY(commit.Audit({mirror::CurrentActor(), "sync", DisplayUrl(upstream_.url()), detail.dump()}));
  TRY_ASSIGN(report_.state, commit.Finish());
  return {};
}

std::string DetailJson(const SyncReport& report) {
  return nlohmann::json({{"listed", report.listed},
                         {"new_revisions", report.new_revisions},
                         {"new_categories", report.new_categories},
                         {"expired", report.expired},
                         {"withdrawn", report.withdrawn.size()},
                         {"refused", report.refused.size()},
                         {"full_list", report.full_list},
                         {"content_fetched", report.content.fetched_files},
                         {"content_bytes", report.content.fetched_bytes},
                         {"content_waiting", report.content.waiting_files},
                         {"content_failed", report.content.failed.size()}})
      .dump();
}

Result<void> ContentPhase(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                          bool catalog_only, SyncReport& report, Progress& progress,
                          std::stop_token stop) {
  const mirror::Config& config = mirror.config();
  ContentSyncOptions options;
  options.content_root = config.upstream.content_url.empty() ? ContentRootOf(config.upstream.wsus)
                                                             : config.upstream.content_url;
  options.use_vendor_urls = catalog_only;
  options.parallel = std::max<std::uint32_t>(1, config.sync.parallel_downloads);
  options.max_file_bytes = config.import.max_file_bytes;
  TRY_ASSIGN(report.content,
             SyncContent(mirror, upstream, fetchers, options, progress, std::move(stop)));
  return {};
}

Result<SyncReport> SyncLocked(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                              const SyncOptions& options, Progress& progress,
                              const mirror::JobLock& lock, std::stop_token stop) {
  TRY(mirror.content().Recover());
  SyncRun run(mirror, upstream, options, progress, stop);
  TRY(run.Metadata(&lock));
  if (!options.metadata_only && !options.categories_only) {
    TRY(ContentPhase(mirror, upstream, fetchers, run.upstream_config().catalog_only_sync,
                     run.report(), progress, stop));
  }
  return run.Take();
}

}  // namespace

Result<UpstreamOptions> UpstreamOptionsOf(const Mirror& mirror, Progress& progress) {
  if (mirror.config().upstream.wsus.empty()) {
    return Fail(ErrorCode::kUsage, "no-upstream",
                mirror.config().upstream.gap
                    ? "this mirror is fed by bundles and has no upstream to sync with"
                    : "this mirror has no upstream");
  }
  UpstreamOptions options;
  options.url = mirror.config().upstream.wsus;
  options.account_name = DnsNameOf(mirror.identity().name);
  options.account_guid = mirror.identity().guid;
  options.note = [&progress](const std::string& line) { progress.Note(line); };
  return options;
}

Result<SyncReport> Sync(Mirror& mirror, const FetcherFactory& fetchers, const SyncOptions& options,
                        Progress& progress, std::stop_token stop) {
  TRY_ASSIGN(UpstreamOptions upstream_options, UpstreamOptionsOf(mirror, progress));
  TRY_ASSIGN(const std::unique_ptr<Fetcher> fetcher, fetchers());
  Upstream upstream(*fetcher, mirror.clock(), std::move(upstream_options), stop);
  if (options.dry_run) {
    SyncRun run(mirror, upstream, options, progress, stop);
    TRY(run.Metadata(nullptr));
    TRY_ASSIGN(const auto needed, FindNeededFiles(mirror));
    run.report().content.needed_files = needed.size();
    for (const NeededFile& file : needed) {
      run.report().content.needed_bytes += file.expected.size_bytes;
    }
    return run.Take();
  }
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "sync", progress));
  auto report = SyncLocked(mirror, upstream, fetchers, options, job.progress(), job.lock(), stop);
  if (!report) {
    job.Fail(report.error());
    return report;
  }
  std::optional<mirror::Generation> generation;
  if (report->changed && report->state) generation = report->state->generation;
  TRY(job.End(report->complete() ? mirror::JobResult::kDone : mirror::JobResult::kPartly,
              generation, DetailJson(*report)));
  return report;
}

}  // namespace gapferry::exporter
