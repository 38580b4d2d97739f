#include "server/scan_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace gapferry::server {
namespace {

using mirror::UpdateType;
using protocol::UpdateId;
using Shown = protocol::DeploymentAction;
using Action = mirror::DeploymentAction;

Guid Id(int n) {
  Guid guid;
  guid.bytes[0] = static_cast<std::uint8_t>(n >> 8);
  guid.bytes[1] = static_cast<std::uint8_t>(n);
  guid.bytes[15] = 1;
  return guid;
}

Sha1Digest Sha(int n) { return Sha1(std::to_string(n)); }

/// A catalogue with its intent, as plain lists.
struct World {
  std::vector<mirror::RevisionRelations> revisions;
  IntentFacts intent;
  std::vector<mirror::ContentFile> held;
  ScanOptions options;

  mirror::RevisionRelations& Add(int update, int number, UpdateType type) {
    mirror::RevisionRelations relations;
    relations.row.id = static_cast<mirror::RevisionId>(100 + revisions.size());
    relations.row.update = {Id(update), number};
    relations.row.type = type;
    relations.row.generation = 1;
    relations.row.is_explicitly_deployable = type == UpdateType::kSoftware;
    revisions.push_back(relations);
    return revisions.back();
  }
  mirror::Deployment& Deploy(UpdateId update, const Guid& group, Action action) {
    mirror::Deployment deployment;
    deployment.id = static_cast<mirror::DeploymentId>(1 + intent.deployments.size());
    deployment.update = update;
    deployment.group = group;
    deployment.action = action;
    deployment.generation = 2;
    deployment.last_change = UtcTime::FromUnixSeconds(1'790'000'000);
    intent.deployments.push_back(deployment);
    return intent.deployments.back();
  }
  void AddGroup(const Guid& id, const Guid& parent) {
    intent.groups.push_back({id, parent, "g", false});
  }
  std::shared_ptr<const ScanIndex> Build(UtcTime now = UtcTime::FromUnixSeconds(1'800'000'000)) {
    CatalogIndexBuilder builder;
    for (const auto& relations : revisions) builder.Add(relations);
    intent.state.name.generation = 5;
    return ScanIndex::Build(builder.Finish(), std::make_shared<ContentHoldings>(held, 7), intent,
                            options, now);
  }
};

mirror::Clause ClauseOf(std::vector<int> updates) {
  mirror::Clause clause;
  for (const int u : updates) clause.alternatives.push_back(Id(u));
  return clause;
}

// Not by copying mirror::kUnassignedComputers: which of the two is made first is not defined.
const std::vector<Guid> kUnassigned = {*Guid::Parse("b73ca6ed-5727-47f3-84de-015e03f6a88a")};

/// What an agent would end up with: id -> action, asking until nothing comes any more, every
/// non-leaf being installed.
std::map<std::int32_t, Shown> FullScan(const ScanIndex& index, const std::vector<Guid>& groups) {
  std::vector<std::int32_t> installed;
  std::vector<std::int32_t> other;
  std::map<std::int32_t, Shown> seen;
  for (int round = 0; round < 100; ++round) {
    SoftwareScan scan;
    scan.installed = installed;
    scan.other = other;
    const SoftwareScanAnswer answer = index.ScanSoftware(groups, scan);
    EXPECT_TRUE(answer.out_of_scope.empty());
    for (const std::uint32_t position : answer.fresh) {
      const PlacedRevision& placed = answer.scope->placed[position];
      const std::int32_t id = index.catalog().revisions()[placed.revision].id;
      EXPECT_TRUE(seen.emplace(id, placed.action).second) << "sent twice";
      (index.catalog().IsLeaf(placed.revision) ? other : installed).push_back(id);
    }
    if (answer.fresh.empty()) break;
  }
  return seen;
}

TEST(ScanIndex, DeliversOneLevelPerRoundNonLeavesFirst) {
  World world;
  world.Add(1, 1, UpdateType::kCategory);
  auto& family = world.Add(2, 1, UpdateType::kCategory);
  family.prerequisites = {ClauseOf({1})};
  auto& leaf = world.Add(3, 1, UpdateType::kSoftware);
  leaf.prerequisites = {ClauseOf({2})};
  world.Deploy({Id(3), 1}, mirror::kAllComputers, Action::kInstall);
  const auto index = world.Build();
  SoftwareScan scan;
  SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
  ASSERT_EQ(answer.fresh.size(), 1U);
  EXPECT_EQ(index->catalog().revisions()[answer.scope->placed[answer.fresh[0]].revision].id, 100);
  EXPECT_FALSE(answer.more);
  const auto all = FullScan(*index, kUnassigned);
  EXPECT_EQ(all, (std::map<std::int32_t, Shown>{
                     {100, Shown::kEvaluate}, {101, Shown::kEvaluate}, {102, Shown::kInstall}}));
}

TEST(ScanIndex, NamesWhatLeftScope) {
  World world;
  world.Add(1, 1, UpdateType::kCategory);
  auto& leaf = world.Add(2, 1, UpdateType::kSoftware);
  leaf.prerequisites = {ClauseOf({1})};
  const auto index = world.Build();
  const std::vector<std::int32_t> other = {101, 4711, 4711};
  SoftwareScan scan;
  scan.other = other;
  const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
  EXPECT_EQ(answer.out_of_scope, (std::vector<std::int32_t>{101, 4711}));
}

TEST(ScanIndex, PagesAndSaysThatThereIsMore) {
  World world;
  for (int i = 0; i < 7; ++i) world.Add(i, 1, UpdateType::kSoftware);
  const auto index = world.Build();
  SoftwareScan scan;
  scan.page_updates = 7;
  EXPECT_FALSE(index->ScanSoftware(kUnassigned, scan).more);
  scan.page_updates = 6;
  const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
  EXPECT_EQ(answer.fresh.size(), 6U);
  EXPECT_TRUE(answer.more);
}

TEST(ScanIndex, PagesGrowWithWhatIsLeft) {
  World world;
  for (int i = 0; i < 500; ++i) world.Add(i, 1, UpdateType::kSoftware);
  const auto index = world.Build();
  SoftwareScan scan;
  scan.page_updates = 5;
  std::vector<std::int32_t> other;
  std::vector<std::size_t> pages;
  for (bool more = true; more;) {
    scan.other = other;
    const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
    for (const std::uint32_t position : answer.fresh) {
      other.push_back(index->catalog().revisions()[answer.scope->placed[position].revision].id);
    }
    pages.push_back(answer.fresh.size());
    more = answer.more;
  }
  EXPECT_EQ(other.size(), 500U);
  EXPECT_EQ(pages.front(), 31U);
  EXPECT_TRUE(std::ranges::is_sorted(pages, std::greater<>()));
  EXPECT_LT(pages.size(), 55U);  // of 5 each they would be 100
}

TEST(ScanIndex, NeverOffersDeclinedOrExpired) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.Add(2, 1, UpdateType::kSoftware).row.is_expired = true;
  world.Add(3, 1, UpdateType::kSoftware);
  world.Add(3, 2, UpdateType::kSoftware).row.is_expired = true;
  for (int i = 1; i <= 3; ++i) {
    world.Deploy({Id(i), 1}, mirror::kAllComputers, Action::kInstall);
  }
  world.intent.declined = {Id(1)};
  EXPECT_TRUE(FullScan(*world.Build(), kUnassigned).empty());
}

TEST(ScanIndex, WithholdsInstallUntilEverythingIsThere) {
  World world;
  auto& member = world.Add(1, 1, UpdateType::kSoftware);
  member.row.is_explicitly_deployable = false;
  mirror::DeclaredFile file;
  file.sha1 = Sha(1);
  file.sha256 = Sha256(std::string_view("1"));
  file.size_bytes = 10;
  file.extension = "cab";
  member.files = {file};
  auto& bundle = world.Add(2, 1, UpdateType::kSoftware);
  bundle.bundled = {{{Id(1), 1}}};
  bundle.row.eula_id = Id(900);
  world.Deploy({Id(2), 1}, mirror::kAllComputers, Action::kInstall);
  const auto action = [&world] { return FullScan(*world.Build(), kUnassigned).at(101); };

  EXPECT_EQ(action(), Shown::kPreDeploymentCheck) << "neither file nor licence";
  world.held = {{Sha(1), *file.sha256, 10, "cab"}};
  EXPECT_EQ(action(), Shown::kPreDeploymentCheck) << "licence not accepted";
  world.intent.accepted_eulas = {{Id(900), 3}};
  EXPECT_EQ(action(), Shown::kInstall);
  EXPECT_EQ(FullScan(*world.Build(), kUnassigned).at(100), Shown::kBundle);
  world.held = {{Sha(1), Sha256(std::string_view("2")), 10, "cab"}};
  EXPECT_EQ(action(), Shown::kPreDeploymentCheck) << "another file under that SHA-1";
  world.held = {{Sha(1), *file.sha256, 10, "cab"}};
  world.revisions[1].row.has_digest_conflict = true;
  EXPECT_EQ(action(), Shown::kPreDeploymentCheck) << "digest conflict";
}

TEST(ScanIndex, ExpressPayloadsCountOnlyWhereTheyAreKept) {
  World world;
  auto& update = world.Add(1, 1, UpdateType::kSoftware);
  mirror::DeclaredFile file;
  file.sha1 = Sha(1);
  file.patching_type = "Express";
  update.files = {file};
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kInstall);
  EXPECT_EQ(FullScan(*world.Build(), kUnassigned).at(100), Shown::kInstall);
  world.options.express = true;
  EXPECT_EQ(FullScan(*world.Build(), kUnassigned).at(100), Shown::kPreDeploymentCheck);
}

TEST(ScanIndex, NearestGroupDecidesAndPathsCompare) {
  const Guid parent = Id(501);
  const Guid child = Id(502);
  const Guid aside = Id(503);
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.AddGroup(parent, mirror::kAllComputers);
  world.AddGroup(child, parent);
  world.AddGroup(aside, mirror::kAllComputers);
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kUninstall);
  world.Deploy({Id(1), 1}, parent, Action::kBlock);
  world.Deploy({Id(1), 1}, child, Action::kInstall);
  const auto index = world.Build();
  const auto action = [&index](std::vector<Guid> groups) {
    return FullScan(*index, groups).at(100);
  };
  EXPECT_EQ(action({mirror::kUnassignedComputers}), Shown::kUninstall);
  EXPECT_EQ(action({aside}), Shown::kUninstall);
  EXPECT_EQ(action({parent}), Shown::kPreDeploymentCheck) << "Block is presented so";
  EXPECT_EQ(action({child}), Shown::kInstall) << "nearer than the block of its parent";
  EXPECT_EQ(action({child, aside}), Shown::kUninstall) << "stronger on the other path";
  EXPECT_EQ(action({child, parent}), Shown::kPreDeploymentCheck) << "block wins between paths";
}

TEST(ScanIndex, ApprovalOfAnOlderRevisionKeepsIt) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.Add(1, 2, UpdateType::kSoftware);
  EXPECT_EQ(FullScan(*world.Build(), kUnassigned),
            (std::map<std::int32_t, Shown>{{101, Shown::kPreDeploymentCheck}}));
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kInstall);
  EXPECT_EQ(FullScan(*world.Build(), kUnassigned),
            (std::map<std::int32_t, Shown>{{100, Shown::kInstall}}));
}

TEST(ScanIndex, UnapprovedStaysOutWhenAskedTo) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.options.evaluate_unapproved = false;
  EXPECT_TRUE(FullScan(*world.Build(), kUnassigned).empty());
}

TEST(ScanIndex, DeploymentsGoLiveAtTheirTime) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  const UtcTime live = UtcTime::FromUnixSeconds(1'800'000'000);
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kInstall).go_live = live;
  const auto before = world.Build(live - std::chrono::seconds(1));
  EXPECT_EQ(before->next_change(), live);
  EXPECT_EQ(FullScan(*before, kUnassigned).at(100), Shown::kPreDeploymentCheck);
  const auto after = world.Build(live);
  EXPECT_FALSE(after->next_change().has_value());
  EXPECT_EQ(FullScan(*after, kUnassigned).at(100), Shown::kInstall);
}

TEST(ScanIndex, TellsChangesSinceTheAnchor) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.Add(2, 1, UpdateType::kSoftware);
  world.Add(3, 1, UpdateType::kSoftware);
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kInstall).generation = 4;
  world.intent.ended = {{Id(2), mirror::kAllComputers, 5}};
  const auto index = world.Build();
  const std::vector<std::int32_t> other = {100, 101, 102};
  SoftwareScan scan;
  scan.other = other;
  const auto changed = [&](std::optional<ScanAnchor> anchor) {
    scan.anchor = anchor;
    std::vector<std::int32_t> ids;
    const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
    for (const std::uint32_t position : answer.changed) {
      ids.push_back(index->catalog().revisions()[answer.scope->placed[position].revision].id);
    }
    return ids;
  };
  const ScanAnchor now =
      index->AnchorOf(*index->ScopeOf(kUnassigned), UtcTime::FromUnixSeconds(1'800'000'001));
  ScanAnchor anchor = now;
  EXPECT_EQ(changed(std::nullopt), (std::vector<std::int32_t>{100, 101, 102}));
  EXPECT_EQ(changed(now), (std::vector<std::int32_t>{}));
  anchor.generation = 4;
  EXPECT_EQ(changed(anchor), (std::vector<std::int32_t>{101}));
  anchor.generation = 3;
  EXPECT_EQ(changed(anchor), (std::vector<std::int32_t>{100, 101}));
  anchor = now;
  anchor.content_sequence = 6;
  EXPECT_EQ(changed(anchor), (std::vector<std::int32_t>{})) << "other files have come";
  anchor = now;
  anchor.scope_stamp ^= 1;
  EXPECT_EQ(changed(anchor), (std::vector<std::int32_t>{100, 101, 102})) << "other groups";
}

// What ScanSoftware calls changed for a client of generation 4 that is in these groups.
std::vector<std::int32_t> ChangedSinceFour(World& world, const std::vector<Guid>& groups,
                                           std::vector<std::int32_t> other) {
  const auto index = world.Build();
  SoftwareScan scan;
  scan.other = other;
  scan.anchor = index->AnchorOf(*index->ScopeOf(groups), UtcTime::FromUnixSeconds(1'800'000'001));
  scan.anchor->generation = 4;
  std::vector<std::int32_t> ids;
  const SoftwareScanAnswer answer = index->ScanSoftware(groups, scan);
  for (const std::uint32_t position : answer.changed) {
    ids.push_back(index->catalog().revisions()[answer.scope->placed[position].revision].id);
  }
  return ids;
}

TEST(ScanIndex, TellsWhenAnotherApprovalWinsBecauseTheStrongerOneWasChanged) {
  World world;
  world.AddGroup(Id(200), mirror::kAllComputers);
  world.AddGroup(Id(201), mirror::kAllComputers);
  world.Add(1, 1, UpdateType::kSoftware);
  world.Add(2, 1, UpdateType::kSoftware);
  world.Deploy({Id(1), 1}, Id(200), Action::kInstall);
  world.Deploy({Id(2), 1}, Id(200), Action::kInstall);
  // It was to be removed until generation 5.
  world.Deploy({Id(1), 1}, Id(201), Action::kOptionalInstall).generation = 5;
  EXPECT_EQ(ChangedSinceFour(world, {Id(200), Id(201)}, {100, 101}),
            (std::vector<std::int32_t>{100}));
}

TEST(ScanIndex, TellsWhenAnExpiryEndsTheApprovalOfABundledRevision) {
  World world;
  world.Add(1, 1, UpdateType::kSoftware);
  world.Add(2, 1, UpdateType::kSoftware).bundled = {{{Id(1), 1}}};
  world.Deploy({Id(1), 1}, mirror::kAllComputers, Action::kInstall);
  mirror::RevisionRelations& expired = world.Add(1, 2, UpdateType::kSoftware);
  expired.row.is_expired = true;
  expired.row.generation = 5;
  EXPECT_EQ(ChangedSinceFour(world, kUnassigned, {100, 101}), (std::vector<std::int32_t>{100}));
}

TEST(ScanIndex, TellsWhenFilesAndLicencesOfAnApprovedBundleCame) {
  World world;
  auto& member = world.Add(1, 1, UpdateType::kSoftware);
  member.row.is_explicitly_deployable = false;
  member.row.eula_id = Id(900);
  mirror::DeclaredFile file;
  file.sha1 = Sha(1);
  member.files = {file};
  world.Add(2, 1, UpdateType::kSoftware).bundled = {{{Id(1), 1}}};
  world.Deploy({Id(2), 1}, mirror::kAllComputers, Action::kInstall);
  const std::vector<std::int32_t> other = {100, 101};
  // The actions that a client with this anchor is told of anew.
  const auto told = [&](ScanAnchor anchor) {
    const auto index = world.Build();
    anchor.scope_stamp = index->ScopeOf(kUnassigned)->stamp;
    SoftwareScan scan;
    scan.other = other;
    scan.anchor = anchor;
    const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
    std::vector<Shown> actions;
    for (const std::uint32_t at : answer.changed)
      actions.push_back(answer.scope->placed[at].action);
    return actions;
  };
  const std::vector<Shown> nothing;
  const UtcTime at = UtcTime::FromUnixSeconds(1'800'000'000);
  EXPECT_EQ(told({5, 7, 0, at}), nothing);
  EXPECT_EQ(told({5, 6, 0, at}), std::vector{Shown::kPreDeploymentCheck}) << "a file may have gone";
  world.intent.accepted_eulas = {{Id(900), 5}};
  world.held = {{Sha(1), {}, 0, "cab", 7}};
  EXPECT_EQ(told({5, 7, 0, at}), nothing);
  EXPECT_EQ(told({4, 7, 0, at}), std::vector{Shown::kInstall}) << "the licence of its member";
  EXPECT_EQ(told({5, 6, 0, at}), std::vector{Shown::kInstall}) << "the file of its member";
  world.held.push_back({Sha(2), {}, 0, "cab", 8});
  EXPECT_EQ(told({5, 7, 0, at}), nothing) << "a file of something else";
}

TEST(ScanIndex, AnApprovalKeepsTheShapeOfTheScope) {
  World world;
  world.Add(1, 1, UpdateType::kCategory);
  world.Add(2, 1, UpdateType::kSoftware).prerequisites = {ClauseOf({1})};
  world.Add(2, 2, UpdateType::kSoftware).prerequisites = {ClauseOf({1})};
  const auto before = world.Build();
  const auto shape = before->ScopeOf(kUnassigned)->shape;
  const auto next = [&](const ScanIndex& previous) {
    return ScanIndex::Build(previous.shared_catalog(), previous.shared_holdings(), world.intent,
                            world.options, UtcTime::FromUnixSeconds(1'800'000'000), &previous);
  };
  world.Deploy({Id(2), 2}, mirror::kAllComputers, Action::kInstall);
  const auto approved = next(*before);
  EXPECT_EQ(approved->ScopeOf(kUnassigned)->shape, shape);
  EXPECT_EQ(approved->ScopeOf({Id(77)})->shape, shape) << "shared by other groups too";
  EXPECT_EQ(FullScan(*approved, kUnassigned).at(102), Shown::kInstall);

  world.intent.deployments[0].update.revision = 1;
  const auto older = next(*approved);
  EXPECT_NE(older->ScopeOf(kUnassigned)->shape, shape);
  EXPECT_EQ(FullScan(*older, kUnassigned),
            (std::map<std::int32_t, Shown>{{100, Shown::kEvaluate}, {101, Shown::kInstall}}));
  world.intent.deployments.clear();
  world.intent.declined = {Id(2)};
  EXPECT_TRUE(FullScan(*next(*older), kUnassigned).empty());
  world.intent.declined.clear();
  EXPECT_EQ(next(*next(*older))->ScopeOf(kUnassigned)->shape, shape) << "kept for the way back";
}

TEST(ScanIndex, FindsGroupsByTheNamesThatComputersSend) {
  World world;
  world.intent.groups = {{mirror::kAllComputers, {}, "All Computers", true},
                         {Id(502), mirror::kAllComputers, "Pilot", false},
                         {Id(501), mirror::kAllComputers, "Servers", false}};
  const auto index = world.Build();
  EXPECT_EQ(index->GroupsNamed({"servers", "PILOT", "Nobody"}),
            (std::vector<Guid>{Id(501), Id(502)}));
  EXPECT_EQ(index->GroupsNamed({"Nobody", "All Computers"}), kUnassigned);
  EXPECT_EQ(index->GroupsNamed({}), kUnassigned);
}

TEST(ScanIndex, PresentsEachActionAsClientsKnowIt) {
  World world;
  const std::pair<Action, Shown> actions[] = {
      {Action::kInstall, Shown::kInstall},
      {Action::kUninstall, Shown::kUninstall},
      {Action::kOptionalInstall, Shown::kOptionalInstall},
      {Action::kPreDeploymentCheck, Shown::kPreDeploymentCheck},
      {Action::kBlock, Shown::kPreDeploymentCheck},
      {Action::kEvaluate, Shown::kEvaluate},
      {Action::kBundle, Shown::kBundle}};
  int update = 0;
  for (const auto& [action, shown] : actions) {
    world.Add(++update, 1, UpdateType::kSoftware);
    auto& deployment = world.Deploy({Id(update), 1}, mirror::kAllComputers, action);
    deployment.effective_deadline = UtcTime::FromUnixSeconds(1'900'000'000);
  }
  const auto index = world.Build();
  const auto scope = index->ScopeOf(kUnassigned);
  for (std::uint32_t i = 0; i < std::size(actions); ++i) {
    const auto shown = index->Present(scope->placed[scope->PositionOf(i)], true);
    EXPECT_EQ(shown.action, actions[i].second) << i;
    const bool acts = shown.action == Shown::kInstall || shown.action == Shown::kUninstall ||
                      shown.action == Shown::kOptionalInstall;
    EXPECT_EQ(shown.deadline.has_value(), acts) << "a deadline is for doing something: " << i;
  }
}

TEST(ScanIndex, CategoryFilterGivesTheChainAndWhatBelongsToIt) {
  World world;
  world.Add(1, 1, UpdateType::kCategory);
  world.Add(2, 1, UpdateType::kCategory).prerequisites = {ClauseOf({1})};
  world.Add(3, 1, UpdateType::kCategory).prerequisites = {ClauseOf({1})};
  world.Add(4, 1, UpdateType::kSoftware).prerequisites = {ClauseOf({2})};
  world.Add(5, 1, UpdateType::kSoftware).prerequisites = {ClauseOf({3})};
  const auto index = world.Build();
  const std::vector<Guid> filter = {Id(2)};
  const std::vector<std::int32_t> installed = {100, 101, 102};
  const std::vector<std::int32_t> other = {104, 999};
  SoftwareScan scan;
  scan.installed = installed;
  scan.other = other;
  scan.filter_categories = filter;
  scan.two_groups_out_of_scope = true;
  const SoftwareScanAnswer answer = index->ScanSoftware(kUnassigned, scan);
  ASSERT_EQ(answer.fresh.size(), 1U);
  EXPECT_EQ(index->catalog().revisions()[answer.scope->placed[answer.fresh[0]].revision].id, 103);
  EXPECT_EQ(answer.deployed_out_of_scope, (std::vector<std::int32_t>{102, 104}));
  EXPECT_EQ(answer.out_of_scope, (std::vector<std::int32_t>{999}));
  EXPECT_TRUE(answer.changed.empty()) << "without an anchor a category scan tells no changes";

  // What can be delivered is kept for whole scopes only.
  const auto keeps = [&](const ScopeShape& shape) {
    SoftwareScan first = scan;
    first.installed = {};
    if (shape.whole == nullptr) first.filter_categories = {};
    index->ScanSoftware(kUnassigned, first);
    const Bitmap none(shape.clause_postings.size());
    return shape.deliverable->Find(none, HashOf(none)) != nullptr;
  };
  EXPECT_FALSE(keeps(*answer.scope->shape));
  EXPECT_TRUE(keeps(*index->ScopeOf(kUnassigned)->shape));
}

TEST(PositionsMemo, HoldsSoManyEntriesAndDropsTheLeastRecentlyUsed) {
  PositionsMemo<int> memo;
  const auto positions = std::make_shared<const Bitmap>(8);
  constexpr int kMost = static_cast<int>(PositionsMemo<int>::kLimitEntries);
  for (int i = 0; i < kMost; ++i) memo.Keep(i, 0, sizeof(int), positions);
  EXPECT_NE(memo.Find(0, 0), nullptr);
  memo.Keep(kMost, 0, sizeof(int), positions);
  EXPECT_NE(memo.Find(0, 0), nullptr);
  EXPECT_EQ(memo.Find(1, 0), nullptr);
  EXPECT_NE(memo.Find(kMost, 0), nullptr);
}

TEST(ScanIndex, PresentsDatesDeadlinesAndImpliedIds) {
  World world;
  world.Add(1, 1, UpdateType::kCategory);
  world.Add(2, 1, UpdateType::kSoftware).prerequisites = {ClauseOf({1})};
  auto& deployment = world.Deploy({Id(2), 1}, mirror::kAllComputers, Action::kInstall);
  deployment.deadline = UtcTime::FromUnixSeconds(1);
  deployment.effective_deadline = UtcTime::FromUnixSeconds(1'900'000'000);
  world.intent.commits = {{1, UtcTime::FromUnixSeconds(1'700'000'000)}};
  const auto index = world.Build();
  const auto scope = index->ScopeOf(kUnassigned);
  const auto implied = index->Present(scope->placed[scope->PositionOf(0)], true);
  EXPECT_EQ(implied.id, 0x40000000 + 100);
  EXPECT_EQ(implied.last_change_time, UtcTime::FromUnixSeconds(1'700'000'000));
  const auto given = index->Present(scope->placed[scope->PositionOf(1)], false);
  EXPECT_EQ(given.id, 1);
  EXPECT_EQ(given.deadline, UtcTime::FromUnixSeconds(1'900'000'000));
  EXPECT_FALSE(given.with_auto_fields);
}

// ---- Against a slow and obvious evaluation ------------------------------------------------------

/// Evaluates by the words of the rules, with sets of names.
class Oracle {
 public:
  explicit Oracle(const World& world) : world_(world) {
    for (const auto& relations : world.revisions) by_name_[relations.row.update] = &relations;
  }

  std::map<UpdateId, Shown> Scope(const std::vector<Guid>& groups) const {
    std::map<Guid, const mirror::Deployment*> winners = Winners(groups);
    std::set<UpdateId> scope;
    for (const auto& [guid, deployment] : winners) scope.insert(deployment->update);
    if (world_.options.evaluate_unapproved) {
      for (const auto& [name, relations] : by_name_) {
        if (Latest(name.guid) == name && relations->row.type == UpdateType::kSoftware &&
            relations->row.is_explicitly_deployable && Offered(name.guid) &&
            !winners.contains(name.guid)) {
          scope.insert(name);
        }
      }
    }
    for (std::size_t before = 0; before != scope.size();) {
      before = scope.size();
      for (const UpdateId& name : std::set<UpdateId>(scope)) {
        for (const auto& clause : by_name_.at(name)->prerequisites) {
          for (const Guid& guid : clause.alternatives) {
            if (winners.contains(guid)) {
              TryAdd(scope, winners.at(guid)->update);
            } else if (const auto latest = Latest(guid)) {
              TryAdd(scope, *latest);
            }
          }
        }
        for (const auto& group : by_name_.at(name)->bundled) {
          for (const UpdateId& member : group) TryAdd(scope, member);
        }
      }
    }
    std::map<Guid, UpdateId> newest;
    for (const UpdateId& name : scope) newest[name.guid] = name;  // ascending: the last one stays
    for (const auto& [guid, deployment] : winners) newest[guid] = deployment->update;
    std::map<UpdateId, Shown> shown;
    for (const auto& [guid, name] : newest) {
      const auto winner = winners.find(guid);
      shown[name] = ActionOf(name, winner == winners.end() ? nullptr : winner->second);
    }
    return shown;
  }

  bool PrerequisitesMet(const UpdateId& name, const std::set<Guid>& installed) const {
    for (const auto& clause : by_name_.at(name)->prerequisites) {
      bool met = false;
      for (const Guid& guid : clause.alternatives) met = met || installed.contains(guid);
      if (!met) return false;
    }
    return true;
  }

 private:
  void TryAdd(std::set<UpdateId>& scope, const UpdateId& name) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    const auto& row = found->second->row;
    if (row.type == UpdateType::kSoftware && (row.is_expired || Declined(name.guid))) return;
    scope.insert(name);
  }
  bool Declined(const Guid& guid) const {
    return std::ranges::find(world_.intent.declined, guid) != world_.intent.declined.end();
  }
  std::optional<UpdateId> Latest(const Guid& guid) const {
    std::optional<UpdateId> latest;
    for (const auto& [name, relations] : by_name_) {
      if (name.guid == guid) latest = name;
    }
    return latest;
  }
  bool Offered(const Guid& guid) const {
    const auto latest = Latest(guid);
    return latest && !by_name_.at(*latest)->row.is_expired && !Declined(guid);
  }
  static int Strength(Action action) {
    return action == Action::kBlock ? 3 : action == Action::kUninstall ? 2 : 1;
  }
  std::map<Guid, const mirror::Deployment*> Winners(const std::vector<Guid>& groups) const {
    std::map<Guid, const mirror::Deployment*> winners;
    for (const Guid& start : groups) {
      std::map<Guid, const mirror::Deployment*> path;
      for (std::optional<Guid> group = start; group; group = Parent(*group)) {
        std::map<Guid, const mirror::Deployment*> here;
        for (const auto& deployment : world_.intent.deployments) {
          if (deployment.group != *group || !by_name_.contains(deployment.update)) continue;
          auto& best = here[deployment.update.guid];
          if (best == nullptr || Wins(deployment, *best)) best = &deployment;
        }
        for (const auto& [guid, deployment] : here) path.emplace(guid, deployment);
      }
      for (const auto& [guid, deployment] : path) {
        auto& best = winners[guid];
        if (best == nullptr || Wins(*deployment, *best)) best = deployment;
      }
    }
    std::erase_if(winners, [&](const auto& entry) {
      const auto& row = by_name_.at(entry.second->update)->row;
      return !Offered(entry.first) || row.is_expired;
    });
    return winners;
  }
  static bool Wins(const mirror::Deployment& a, const mirror::Deployment& b) {
    if (Strength(a.action) != Strength(b.action)) return Strength(a.action) > Strength(b.action);
    if (a.update.revision != b.update.revision) return a.update.revision > b.update.revision;
    return a.id < b.id;
  }
  std::optional<Guid> Parent(const Guid& group) const {
    if (group == mirror::kAllComputers) return std::nullopt;
    for (const auto& candidate : world_.intent.groups) {
      if (candidate.id == group) return candidate.parent;
    }
    return mirror::kAllComputers;
  }
  bool Complete(const UpdateId& name) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return false;
    for (const auto& file : found->second->files) {
      bool held = false;
      for (const auto& content : world_.held) held = held || content.sha1 == file.sha1;
      if (!held) return false;
    }
    for (const auto& group : found->second->bundled) {
      for (const UpdateId& member : group) {
        if (!Complete(member)) return false;
      }
    }
    return true;
  }
  Shown ActionOf(const UpdateId& name, const mirror::Deployment* deployment) const {
    const auto& row = by_name_.at(name)->row;
    if (row.type != UpdateType::kSoftware) return Shown::kEvaluate;
    if (deployment != nullptr && deployment->update == name) {
      if (deployment->action == Action::kUninstall) return Shown::kUninstall;
      if (deployment->action == Action::kBlock) return Shown::kPreDeploymentCheck;
      return Complete(name) ? Shown::kInstall : Shown::kPreDeploymentCheck;
    }
    for (const auto& relations : world_.revisions) {
      for (const auto& group : relations.bundled) {
        if (std::ranges::find(group, name) != group.end()) return Shown::kBundle;
      }
    }
    return world_.options.evaluate_unapproved && row.is_explicitly_deployable
               ? Shown::kPreDeploymentCheck
               : Shown::kEvaluate;
  }

  const World& world_;
  std::map<UpdateId, const mirror::RevisionRelations*> by_name_;
};

class RandomWorld {
 public:
  explicit RandomWorld(unsigned seed) : random_(seed) {}
  int Below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  bool Chance(int percent) { return Below(100) < percent; }

  World Make() {
    World world;
    world.options.evaluate_unapproved = Chance(50);
    const int updates = 5 + Below(40);
    for (int u = 1; u <= updates; ++u) {
      const UpdateType type = u <= updates / 3 ? UpdateType::kCategory : UpdateType::kSoftware;
      const int revisions = Chance(25) ? 2 : 1;
      for (int number = 1; number <= revisions; ++number) AddRevision(world, u, number, type);
    }
    for (int f = 0; f < 6; ++f) {
      if (Chance(70)) world.held.push_back({Sha(f), {}, 0, "cab"});
    }
    for (int g = 0; g < 4; ++g) {
      world.AddGroup(Group(g), g == 0 || Chance(40) ? mirror::kAllComputers : Group(Below(g)));
    }
    const int deployments = Below(20);
    for (int d = 0; d < deployments; ++d) Deploy(world, updates);
    for (int u = 1; u <= updates; ++u) {
      if (Chance(5)) world.intent.declined.push_back(Id(u));
    }
    return world;
  }
  static Guid Group(int g) { return Id(500 + g); }

 private:
  void AddRevision(World& world, int u, int number, UpdateType type) {
    auto& relations = world.Add(u, number, type);
    const bool software = type == UpdateType::kSoftware;
    relations.row.is_explicitly_deployable = software && Chance(60);
    relations.row.is_expired = software && Chance(8);
    const int clauses = u == 1 ? 0 : Below(4);
    for (int c = 0; c < clauses; ++c) {
      std::vector<int> alternatives;
      // Sometimes an update that nobody has; cycles do not occur in catalogues.
      for (int a = 0; a <= Below(3); ++a)
        alternatives.push_back(Chance(4) ? 999 : 1 + Below(u - 1));
      relations.prerequisites.push_back(ClauseOf(alternatives));
    }
    if (software && Chance(25)) {
      const int member = 1 + Below(u - 1);
      relations.bundled.push_back({{Id(member), 1}});
    }
    if (software && Chance(40)) {
      mirror::DeclaredFile file;
      file.sha1 = Sha(Below(6));
      relations.files.push_back(file);
    }
  }
  void Deploy(World& world, int updates) {
    const UpdateId update{Id(1 + updates / 3 + Below(updates - updates / 3)), 1 + Below(2)};
    const Action actions[] = {Action::kInstall, Action::kInstall, Action::kUninstall,
                              Action::kBlock};
    const Guid group = Chance(25) ? mirror::kAllComputers : Group(Below(4));
    world.Deploy(update, group, actions[Below(4)]);
  }

  std::mt19937 random_;
};

TEST(ScanIndex, AgreesWithTheObviousEvaluation) {
  int delivered = 0;
  int installs = 0;
  for (unsigned seed = 1; seed <= 400; ++seed) {
    RandomWorld random(seed);
    World world = random.Make();
    const auto index = world.Build();
    const Oracle oracle(world);
    for (int client = 0; client < 5; ++client) {
      std::vector<Guid> groups;
      for (int g = 0; g < 4; ++g) {
        if (random.Chance(40)) groups.push_back(RandomWorld::Group(g));
      }
      if (groups.empty()) groups = kUnassigned;
      std::vector<std::int32_t> installed;
      std::vector<std::int32_t> other;
      std::set<Guid> installed_updates;
      for (const auto& relations : world.revisions) {
        if (random.Chance(50)) {
          installed.push_back(relations.row.id);
          installed_updates.insert(relations.row.update.guid);
        } else if (random.Chance(30)) {
          other.push_back(relations.row.id);
        }
      }
      std::map<std::int32_t, Shown> fresh;
      std::map<std::int32_t, Shown> changed;
      std::set<std::int32_t> out_of_scope;
      std::set<std::int32_t> cached(installed.begin(), installed.end());
      cached.insert(other.begin(), other.end());
      const auto shown = oracle.Scope(groups);
      for (const auto& relations : world.revisions) {
        const auto found = shown.find(relations.row.update);
        const bool needed = found != shown.end() &&
                            oracle.PrerequisitesMet(relations.row.update, installed_updates);
        const bool has = cached.contains(relations.row.id);
        if (needed) (has ? changed : fresh)[relations.row.id] = found->second;
        if (!needed && has) out_of_scope.insert(relations.row.id);
      }
      SoftwareScan scan;
      scan.installed = installed;
      scan.other = other;
      scan.page_updates = 10'000;
      const SoftwareScanAnswer answer = index->ScanSoftware(groups, scan);
      const auto collect = [&](const std::vector<std::uint32_t>& positions) {
        std::map<std::int32_t, Shown> found;
        for (const std::uint32_t position : positions) {
          const PlacedRevision& placed = answer.scope->placed[position];
          found[index->catalog().revisions()[placed.revision].id] = placed.action;
        }
        return found;
      };
      ASSERT_EQ(collect(answer.fresh), fresh) << "seed " << seed;
      ASSERT_EQ(collect(answer.changed), changed) << "seed " << seed;
      ASSERT_EQ(std::set<std::int32_t>(answer.out_of_scope.begin(), answer.out_of_scope.end()),
                out_of_scope)
          << "seed " << seed;
      for (const auto& [id, action] : fresh) {
        ++delivered;
        if (action == Shown::kInstall) ++installs;
      }
    }
  }
  EXPECT_GT(delivered, 1000);
  EXPECT_GT(installs, 100);
}

}  // namespace
}  // namespace gapferry::server
