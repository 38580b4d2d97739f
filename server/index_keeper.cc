#include "server/index_keeper.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/deadlines.h"
#include "mirror/ended_deployments.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/ledger.h"
#include "mirror/update_block.h"

namespace gapferry::server {

namespace {

/// Takes over what changed; `deployments` stay ascending by id.
void TakeChanges(const mirror::DeploymentChanges& changes,
                 std::vector<mirror::Deployment>& deployments,
                 std::map<std::pair<Guid, Guid>, mirror::Generation>& ended) {
  std::set<mirror::DeploymentId> touched;
  for (const auto& one : changes.dead) {
    touched.insert(one.id);
    mirror::Generation& last = ended[{one.update.guid, one.group}];
    last = std::max(last, one.generation);
  }
  for (const auto& one : changes.live) touched.insert(one.id);
  std::vector<mirror::Deployment> merged;
  merged.reserve(deployments.size() + changes.live.size());
  auto next = changes.live.begin();
  for (mirror::Deployment& known : deployments) {
    while (next != changes.live.end() && next->id < known.id) merged.push_back(*next++);
    if (!touched.contains(known.id)) merged.push_back(std::move(known));
  }
  merged.insert(merged.end(), next, changes.live.end());
  deployments = std::move(merged);
}

/// The sets of groups that most computers are in.
std::vector<std::vector<Guid>> BusiestGroups(const Assignments& assignments) {
  constexpr std::size_t kMost = 8;
  std::map<std::vector<Guid>, std::size_t> computers;
  for (const auto& [computer, groups] : assignments) ++computers[groups];
  std::vector<std::pair<std::size_t, std::vector<Guid>>> order;
  for (const auto& [groups, count] : computers) order.emplace_back(count, groups);
  std::ranges::sort(order, std::greater{});
  if (order.size() > kMost) order.resize(kMost);
  std::vector<std::vector<Guid>> busiest;
  for (auto& [count, groups] : order) busiest.push_back(std::move(groups));
  return busiest;
}

}  // namespace

Result<std::unique_ptr<IndexKeeper>> IndexKeeper::Start(mirror::Mirror mirror,
                                                        ScanOptions options) {
  std::unique_ptr<IndexKeeper> keeper(new IndexKeeper(std::move(mirror), options));
  keeper->SettleDeadlines();
  TRY(keeper->HasMoved());
  TRY(keeper->Refresh(), "index");
  keeper->thread_ = std::jthread([raw = keeper.get()](std::stop_token stop) { raw->Run(stop); });
  return keeper;
}

IndexKeeper::~IndexKeeper() {
  thread_.request_stop();
  wake_.notify_all();
}

Result<void> IndexKeeper::ReadCatalog(const mirror::PublishedState& state) {
  bool extended = false;
  if (catalog_ && state.name.epoch == read_epoch_) {
    TRY_ASSIGN(extended, ExtendCatalog());
  }
  if (!extended) TRY(ReadWholeCatalog());
  documents_digest_ = state.documents_digest;
  catalog_generation_ = state.name.generation;
  return {};
}

Result<void> IndexKeeper::ReadWholeCatalog() {
  CatalogIndexBuilder builder;
  mirror::Catalog& catalog = mirror_.catalog();
  std::set<mirror::Generation> generations;
  std::vector<protocol::DriverMetadata> drivers;
  conflicts_.clear();
  TRY(catalog.ForEachRelations(0, [&](mirror::RevisionRelations& relations) -> Result<void> {
    generations.insert(relations.row.generation);
    if (relations.row.has_digest_conflict) conflicts_.push_back(relations.row.id);
    drivers.clear();
    if (relations.row.type == mirror::UpdateType::kDriver) {
      TRY_ASSIGN(drivers, catalog.Drivers(relations.row.id));
    }
    builder.Add(relations, drivers);
    return {};
  }));
  commits_.clear();
  TRY(AddCommits(generations));
  catalog_ = builder.Finish();
  return {};
}

Result<bool> IndexKeeper::ExtendCatalog() {
  CatalogIndexBuilder builder(*catalog_);
  mirror::Catalog& catalog = mirror_.catalog();
  const auto& known = catalog_->revisions();
  const mirror::RevisionId last = known.empty() ? 0 : known.back().id;
  bool in_order = true;
  std::set<mirror::Generation> generations;
  std::vector<protocol::DriverMetadata> drivers;
  TRY(catalog.ForEachRelations(catalog_generation_,
                               [&](mirror::RevisionRelations& relations) -> Result<void> {
                                 // A job that was interrupted long ago may publish ids from before
                                 // the others.
                                 in_order = in_order && relations.row.id > last;
                                 if (!in_order) return {};
                                 generations.insert(relations.row.generation);
                                 drivers.clear();
                                 if (relations.row.type == mirror::UpdateType::kDriver) {
                                   TRY_ASSIGN(drivers, catalog.Drivers(relations.row.id));
                                 }
                                 builder.Add(relations, drivers);
                                 return {};
                               }));
  if (!in_order) return false;
  // What came may contradict what was there.
  TRY_ASSIGN(conflicts_, mirror_.content().DigestConflicts());
  builder.SetDigestConflicts(conflicts_);
  std::shared_ptr<const CatalogIndex> extended = builder.Finish();
  if (extended == nullptr) return false;
  TRY(AddCommits(generations));
  catalog_ = std::move(extended);
  return true;
}

Result<void> IndexKeeper::AddCommits(const std::set<mirror::Generation>& generations) {
  std::vector<std::pair<mirror::Generation, UtcTime>> commits;  // all or none
  for (const mirror::Generation generation : generations) {
    TRY_ASSIGN(const auto commit, mirror_.catalog().StateAt(generation));
    if (commit) commits.emplace_back(generation, commit->committed_at);
  }
  commits_.insert(commits_.end(), commits.begin(), commits.end());
  return {};
}

Result<void> IndexKeeper::ReadHoldings(std::int64_t sequence) {
  std::vector<mirror::ContentFile> files;
  TRY(mirror_.content().ForEach([&files](const mirror::ContentFile& file) -> Result<void> {
    files.push_back(file);
    return {};
  }));
  holdings_ = std::make_shared<ContentHoldings>(std::move(files), sequence);
  return {};
}

/// Files that came may settle which declaration was right.
Result<void> IndexKeeper::ReadConflicts() {
  TRY_ASSIGN(auto conflicts, mirror_.content().DigestConflicts());
  if (conflicts == conflicts_) return {};
  CatalogIndexBuilder builder(*catalog_);
  builder.SetDigestConflicts(conflicts);
  if (auto changed = builder.Finish()) catalog_ = std::move(changed);
  conflicts_ = std::move(conflicts);
  return {};
}

Result<void> IndexKeeper::ReadDeployments(const mirror::PublishedState& state) {
  TRY_ASSIGN(const mirror::IntentOrigin origin, mirror_.intent().Effective());
  // Only rows of our own are never taken over from another origin, nor dropped.
  const bool own = origin == mirror::IntentOrigin::kLocal;
  if (own && deployments_generation_ && state.name.epoch == read_epoch_) {
    TRY_ASSIGN(const auto changes,
               mirror::ReadDeploymentChanges(mirror_, *deployments_generation_));
    TakeChanges(changes, deployments_, ended_);
  } else {
    deployments_generation_.reset();
    TRY_ASSIGN(deployments_, mirror_.intent().Deployments());
    TRY_ASSIGN(const auto ended, mirror::ReadEndedApprovals(mirror_));
    ended_.clear();
    for (const auto& end : ended) ended_[{end.update, end.group}] = end.generation;
  }
  if (own) deployments_generation_ = state.name.generation;
  return {};
}

Result<void> IndexKeeper::ReadAssignments() {
  TRY_ASSIGN(const auto rows, mirror_.intent().Assignments());
  auto assignments = std::make_shared<Assignments>();
  for (const auto& [computer, group] : rows)
    (*assignments)[ToLowerAscii(computer)].push_back(group);
  for (auto& [computer, groups] : *assignments) std::ranges::sort(groups);
  busiest_ = BusiestGroups(*assignments);
  assignments_ = std::move(assignments);
  return {};
}

void IndexKeeper::BuildScopes(const ScanIndex& index) const {
  // What is left over is built by the first who asks; a large catalogue with many groups must not
  // keep an approval from being seen.
  constexpr std::chrono::milliseconds kAtMost{500};
  const auto until = std::chrono::steady_clock::now() + kAtMost;
  index.ScopeOf({mirror::kUnassignedComputers});
  for (const std::vector<Guid>& groups : busiest_) {
    if (std::chrono::steady_clock::now() >= until) return;
    index.ScopeOf(groups);
  }
}

Result<UtcTime> IndexKeeper::ReadSyncTime(mirror::Generation generation) {
  // Behind a gap, what counts is when the connected side had last asked its upstream.
  TRY_ASSIGN(const auto carried, mirror::Ledger(mirror_.db()).UpstreamSyncAt(generation));
  if (carried) return *carried;
  TRY_ASSIGN(const auto sync, mirror_.jobs().LastGood("sync"));
  return sync && sync->ended_at ? *sync->ended_at : kNever;
}

Result<IntentFacts> IndexKeeper::ReadIntent(const mirror::PublishedState& state) {
  IntentFacts facts;
  facts.state = state;
  mirror::Intent& intent = mirror_.intent();
  TRY_ASSIGN(facts.groups, intent.Groups());
  TRY(ReadDeployments(state));
  facts.deployments = deployments_;
  TRY_ASSIGN(facts.declined, intent.Declined());
  // Whoever approved them: they are kept from computers like declined ones.
  TRY_ASSIGN(const auto blocked, mirror::NotOfferedByBlocks(mirror_));
  facts.declined.insert(facts.declined.end(), blocked.begin(), blocked.end());
  TRY_ASSIGN(const auto eulas, intent.EulaAcceptances());
  for (const auto& [eula, generation] : eulas) facts.accepted_eulas.push_back({eula, generation});
  facts.assignments = assignments_;
  for (const auto& [what, generation] : ended_) {
    facts.ended.push_back({what.first, what.second, generation});
  }
  facts.commits = commits_;
  return facts;
}

Result<void> IndexKeeper::Refresh() {
  const auto began = std::chrono::steady_clock::now();
  // One view: state, revisions and intent of the same commit.
  TRY_ASSIGN(auto view, mirror_.catalog().BeginRead());
  TRY_ASSIGN(const mirror::PublishedState state, mirror_.catalog().Published());
  TRY_ASSIGN(const std::int64_t content, mirror_.content().Sequence());
  TRY_ASSIGN(const std::int64_t assignments, mirror_.intent().AssignmentSequence());
  TRY_ASSIGN(const UtcTime synced_at, ReadSyncTime(state.name.generation));
  const UtcTime now = mirror_.clock().Now();
  const bool same_state =
      catalog_ && state.name.generation == read_generation_ && state.name.epoch == read_epoch_;
  const bool same_holdings = holdings_ && read_content_ == content;
  const bool live = next_change_ && *next_change_ <= now;
  if (same_state && same_holdings && assignments == assignment_sequence_ &&
      synced_at == synced_at_ && !live) {
    return {};
  }

  // Equal documents mean equal revisions: only a sync or an import changes them.
  if (!catalog_ || state.documents_digest != documents_digest_ || state.name.epoch != read_epoch_) {
    TRY(ReadCatalog(state));
  }
  if (!same_holdings) {
    TRY(ReadHoldings(content));
    TRY(ReadConflicts());
  }
  if (!assignments_ || assignments != assignment_sequence_) TRY(ReadAssignments());
  TRY_ASSIGN(IntentFacts facts, ReadIntent(state));
  facts.synced_at = synced_at;
  view.Rollback();
  const std::shared_ptr<const ScanIndex> previous = Current();
  auto index =
      ScanIndex::Build(catalog_, holdings_, std::move(facts), options_, now, previous.get());
  BuildScopes(*index);
  next_change_ = index->next_change();
  read_generation_ = state.name.generation;
  read_epoch_ = state.name.epoch;
  assignment_sequence_ = assignments;
  read_content_ = content;
  synced_at_ = synced_at;
  *current_.Lock() = std::move(index);
  Log(LogLevel::kDebug, "index replaced",
      {{"generation", state.name.generation},
       {"revisions", catalog_->revisions().size()},
       {"files", holdings_->size()},
       {"deployments", deployments_.size()},
       {"milliseconds", std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::steady_clock::now() - began)
                            .count()}});
  return {};
}

Result<bool> IndexKeeper::HasMoved() {
  TRY_ASSIGN(const std::int64_t version, mirror_.db().DataVersion());
  const bool moved = version != data_version_;
  data_version_ = version;
  return moved || (next_change_ && *next_change_ <= mirror_.clock().Now());
}

bool IndexKeeper::SettleDeadlines() {
  constexpr std::chrono::seconds kEvery{5};
  const auto now = std::chrono::steady_clock::now();
  if (now < next_settle_) return false;
  next_settle_ = now + kEvery;
  const auto settled = mirror::SettleByClock(mirror_, "job:serve");
  if (!settled.has_value()) {
    Log(LogLevel::kWarning, "deadlines not settled by the corrected clock",
        {{"error", settled.error().message}});
    return false;
  }
  if (*settled == 0) return false;
  Log(LogLevel::kWarning, "the clock was corrected: deadlines were reckoned again",
      {{"approvals", *settled}});
  return true;
}

void IndexKeeper::Run(std::stop_token stop) {
  using std::chrono::milliseconds;
  using std::chrono::steady_clock;
  constexpr milliseconds kPause{250};
  constexpr milliseconds kLongestPause{3000};
  milliseconds pause = kPause;
  bool failed = false;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, pause, [] { return false; });
    }
    if (stop.stop_requested()) return;
    pause = kPause;
    const auto since = steady_clock::now();
    const bool settled = SettleDeadlines();  // own commits do not show in HasMoved
    Result<bool> moved = HasMoved();
    if (moved.has_value() && !*moved && !settled && !failed) continue;
    Result<void> refreshed = moved.has_value() ? Refresh() : std::unexpected(moved.error());
    // The last good picture is served on; a message once, not four times a second.
    if (!refreshed.has_value() && !failed) {
      Log(LogLevel::kError, "cannot read the catalogue", {{"error", refreshed.error().message}});
    }
    failed = !refreshed.has_value();
    // Many commits in a row (content that arrives) must not take a processor from the clients.
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - since);
    pause = std::clamp(3 * took, kPause, kLongestPause);
  }
}

}  // namespace gapferry::server
