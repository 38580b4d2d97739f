#include "mirror/proposals.h"

#include <gtest/gtest.h>

#include "mirror/deadlines.h"
#include "mirror/deployment_log.h"
#include "mirror/held_intent.h"
#include "mirror/intent_history.h"
#include "mirror/job_lock.h"
#include "mirror/update_block.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

constexpr std::chrono::hours kDay{24};
constexpr std::chrono::hours kFloor{7 * 24};

UtcTime At(std::string_view text) { return *UtcTime::ParseXml(text); }

/// A mirror behind a gap that gets intent from above without bundles around it.
class DecisionsTest : public testing::Test {
 protected:
  Mirror Make(const std::string& name, bool replica) {
    Config config = TestConfig();
    config.name = name;
    config.upstream.gap = true;
    config.replica = replica;
    MirrorOptions options;
    options.clock = &clock_;
    EXPECT_TRUE(Mirror::Init(dir_.path() / name, config, options).has_value());
    Mirror mirror = std::move(*Mirror::Open(dir_.path() / name, options));
    auto lock = *JobLock::Acquire(mirror.path(), "import");
    auto load = *CatalogLoad::Open(mirror, lock, "import", "1");
    for (std::uint8_t i = 1; i <= 3; ++i) {
      TestDocument document;
      document.id = {Update(i), 1};
      EXPECT_TRUE(load.Add(document.Incoming()).has_value());
    }
    EXPECT_TRUE(load.Prepare().has_value());
    auto commit = *load.BeginCommit("import");
    EXPECT_TRUE(commit.Finish().has_value());
    return mirror;
  }
  static Guid Update(std::uint8_t number) { return TestGuid(9, number); }

  IncomingDeployment Approval(std::uint8_t number, const Guid& group,
                              std::optional<UtcTime> deadline = {}) {
    IncomingDeployment one;
    one.guid = TestGuid(7, number);
    one.update = {Update(number), 1};
    one.group = group;
    one.deadline = deadline;
    one.go_live = clock_.Now();
    one.last_change = clock_.Now();
    one.admin_name = "jane";
    return one;
  }

  IntentImported Import(Mirror& mirror, IntentImport import) {
    if (import.hold) {
      auto lock = *JobLock::Acquire(mirror.path(), "import");
      EXPECT_TRUE(PrepareHold(mirror, lock).has_value());
    }
    import.deadline_floor = kFloor;
    auto commit = *CommitTransaction::Begin(mirror, "import");
    if (import.hold) {
      EXPECT_TRUE(BeginHold(commit).has_value());
    }
    auto done = Intent::Import(commit, import);
    EXPECT_TRUE(done.has_value()) << done.error().message;
    EXPECT_TRUE(commit.Finish().has_value());
    return *done;
  }

  static std::size_t Approved(Mirror& mirror) { return mirror.intent().Deployments()->size(); }
  static PublishedState State(Mirror& mirror) { return *mirror.catalog().Published(); }

  TemporaryDirectory dir_;
  FixedClock clock_{At("2026-10-04T16:00:00Z")};
};

using ProposalsTest = DecisionsTest;
using IntentHistoryTest = DecisionsTest;
using DeadlinesTest = DecisionsTest;
using UpdateBlockTest = DecisionsTest;

TEST_F(ProposalsTest, WhatIsHeldIsStoredAndNotFollowed) {
  Mirror held = Make("held", true), plain = Make("plain", true);
  IntentImport first;
  first.deployments = {Approval(1, kAllComputers)};
  Import(held, first);
  Import(plain, first);
  const auto id = held.intent().Deployments()->front().id;
  IntentImport second;
  second.deployments = {Approval(2, kAllComputers), Approval(1, kUnassignedComputers)};
  second.declined = {Update(3)};
  Import(plain, second);
  second.hold = true;
  Import(held, second);
  EXPECT_EQ(State(held).state_digest, State(plain).state_digest);
  EXPECT_NE(State(held).passed_on_digest, State(plain).passed_on_digest);
  ASSERT_EQ(Approved(held), 1U);
  EXPECT_EQ(held.intent().Deployments()->front().group, kAllComputers);
  EXPECT_EQ(held.intent().Deployments()->front().id, id);  // clients know it
  EXPECT_EQ(*CountProposals(held), 3U);

  ApplyOptions options;
  options.actor = "user:test";
  const auto done = ApplyProposals(held, *ReadProposals(held), options);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(done->applied, 3U);
  EXPECT_EQ(*held.intent().Effective(), IntentOrigin::kUpstream);  // nothing is special any more
  EXPECT_EQ(State(held).passed_on_digest, State(plain).passed_on_digest);
  EXPECT_EQ(*CountProposals(held), 0U);
}

TEST_F(ProposalsTest, WhatIsAppliedLaterTravelsOn) {
  Mirror mirror = Make("m", true);
  IntentImport import;
  import.deployments = {Approval(1, kAllComputers)};
  import.hold = true;
  Import(mirror, import);
  const Generation held_at = State(mirror).name.generation;
  ApplyOptions options;
  ASSERT_TRUE(ApplyProposals(mirror, *ReadProposals(mirror), options).has_value());
  const Generation applied_at = State(mirror).name.generation;
  ASSERT_GT(applied_at, held_at);
  const auto log = ReadDeploymentLog(mirror, held_at, applied_at);
  ASSERT_TRUE(log.has_value());
  ASSERT_EQ(log->live.size(), 1U);  // a replica that had followed up to the hold
  EXPECT_EQ(mirror.intent().Changes(held_at, applied_at)->deployments.size(), 1U);
}

TEST_F(ProposalsTest, RejectedUntilTheUpstreamSaysSomethingElse) {
  Mirror mirror = Make("m", false);
  IntentImport import;
  import.deployments = {Approval(1, kAllComputers)};
  Import(mirror, import);
  ASSERT_EQ(*CountProposals(mirror), 1U);
  ASSERT_TRUE(RejectProposals(mirror, *ReadProposals(mirror), "user:test").has_value());
  EXPECT_EQ(*CountProposals(mirror), 0U);
  Import(mirror, import);
  EXPECT_EQ(*CountProposals(mirror), 0U);
  import.deployments = {Approval(1, kAllComputers, At("2030-01-01T00:00:00Z"))};
  Import(mirror, import);
  EXPECT_EQ(*CountProposals(mirror), 1U);
  EXPECT_EQ(Approved(mirror), 0U);
}

TEST_F(ProposalsTest, AnApprovalForAGroupThatIsNotHereWaits) {
  Mirror mirror = Make("m", false);
  IntentImport import;
  import.groups = {{ TestGuid(5, 5), kAllComputers, "Pilots", false }};
  import.deployments = {Approval(1, TestGuid(5, 5), At("2026-10-05T00:00:00Z"))};
  Import(mirror, import);
  ApplyOptions options;
  auto done = ApplyProposals(mirror, *ReadProposals(mirror), options);
  ASSERT_TRUE(done.has_value());
  ASSERT_EQ(done->failures.size(), 1U);
  EXPECT_EQ(done->failures[0].error.reason, "no-local-group");
  EXPECT_EQ(Approved(mirror), 0U);
  options.create_groups = true;
  done = ApplyProposals(mirror, *ReadProposals(mirror), options);
  ASSERT_EQ(done->applied, 1U);
  const auto approved = mirror.intent().Deployments();
  ASSERT_EQ(approved->size(), 1U);
  EXPECT_EQ(approved->front().effective_deadline, clock_.Now() + kFloor);
  // It ended above: what was made of it is proposed to end.
  IntentImport ended;
  ended.dead_deployments = {TestGuid(7, 1)};
  Import(mirror, ended);
  const auto proposals = ReadProposals(mirror);
  ASSERT_EQ(proposals->size(), 1U);
  EXPECT_TRUE(proposals->front().is_removal);
  ASSERT_EQ(ApplyProposals(mirror, *proposals, options)->applied, 1U);
  EXPECT_EQ(Approved(mirror), 0U);
}

TEST_F(IntentHistoryTest, UndoRestoresAndCanBeUndone) {
  Mirror mirror = Make("m", false);
  const auto group = mirror.intent().AddGroup("Pilots", kAllComputers, "user:test");
  Intent::Approval wish{{Update(1), 1}, group->id, DeploymentAction::kInstall, {}, false};
  ASSERT_TRUE(mirror.intent().Approve({wish}, "user:test").has_value());
  const auto before = State(mirror).passed_on_digest;
  ASSERT_TRUE(mirror.intent().RemoveGroup(group->id, "user:test").has_value());
  const Generation removed = State(mirror).name.generation;
  EXPECT_EQ(Approved(mirror), 0U);
  auto undone = UndoGeneration(mirror, removed, "user:test", false);
  ASSERT_TRUE(undone.has_value()) << undone.error().message;
  EXPECT_EQ(undone->steps.size(), 2U);
  ASSERT_EQ(Approved(mirror), 1U);
  EXPECT_EQ(mirror.intent().Groups()->size(), 3U);
  EXPECT_NE(State(mirror).passed_on_digest, before);  // its time of change is another
  ASSERT_TRUE(UndoGeneration(mirror, undone->generation, "user:test", false).has_value());
  EXPECT_EQ(Approved(mirror), 0U);
  EXPECT_EQ(mirror.intent().Groups()->size(), 2U);
}

TEST_F(IntentHistoryTest, RefusesWhatChangedAgainAndWhatIsNoDecision) {
  Mirror mirror = Make("m", false);
  Intent::Approval wish{{Update(1), 1}, kAllComputers, DeploymentAction::kInstall, {}, false};
  ASSERT_TRUE(mirror.intent().Approve({wish}, "user:test").has_value());
  const Generation approved = State(mirror).name.generation;
  wish.action = DeploymentAction::kOptionalInstall;
  ASSERT_TRUE(mirror.intent().Approve({wish}, "user:test").has_value());
  const auto state = State(mirror);
  const auto reason = [&](Generation generation) {
    const auto done = UndoGeneration(mirror, generation, "user:test", false);
    return done ? "done" : done.error().reason;
  };
  EXPECT_EQ(reason(approved), "undo-conflict");
  EXPECT_EQ(reason(1), "not-local");
  EXPECT_EQ(reason(99), "no-generation");
  EXPECT_EQ(reason(0), "no-generation");
  EXPECT_EQ(State(mirror).name, state.name);
  ASSERT_TRUE(UndoGeneration(mirror, state.name.generation, "user:test", true).has_value());
  EXPECT_EQ(State(mirror).name, state.name);  // a dry run
  Mirror replica = Make("replica", true);
  EXPECT_EQ(UndoGeneration(replica, 1, "user:test", false).error().reason, "replica");
}

TEST_F(IntentHistoryTest, ADeadlineThatPassedMeanwhileIsMoved) {
  Mirror mirror = Make("m", false);
  Intent::Approval wish{
      {Update(1), 1}, kAllComputers, DeploymentAction::kInstall, clock_.Now() + kDay, false};
  ASSERT_TRUE(mirror.intent().Approve({wish}, "user:test").has_value());
  ASSERT_TRUE(mirror.intent().Decline({Update(1)}, "user:test").has_value());
  clock_.Set(clock_.Now() + 30 * kDay);
  ASSERT_TRUE(
      UndoGeneration(mirror, State(mirror).name.generation, "user:test", false).has_value());
  EXPECT_EQ(mirror.intent().Deployments()->front().effective_deadline, clock_.Now() + kFloor);
}

TEST_F(DeadlinesTest, TheTableOfClocks) {
  const UtcTime given = At("2026-10-05T00:00:00Z"), now = At("2026-11-01T00:00:00Z");
  const auto settle = [&](UtcTime clock, std::optional<UtcTime> not_before) {
    return SettleDeadline(given, clock, kFloor, not_before).effective;
  };
  EXPECT_EQ(settle(now, {}), now + kFloor);
  EXPECT_EQ(settle(At("2026-01-01T00:00:00Z"), {}), given);
  EXPECT_EQ(settle(At("1970-01-01T00:00:00Z"), now), std::nullopt);
  EXPECT_EQ(settle(now, now), now + kFloor);
  EXPECT_EQ(SettleDeadline({}, now, kFloor, now).effective, std::nullopt);
}

TEST_F(DeadlinesTest, WaitsForTheClockAndFollowsItWhenItIsCorrected) {
  Mirror mirror = Make("m", true);
  const UtcTime real = clock_.Now() + 30 * kDay;
  ASSERT_TRUE(mirror.db().Run("UPDATE mirror SET bundle_created_at = ?", clock_.Now()).has_value());
  IntentImport import;
  import.deployments = {Approval(1, kAllComputers, clock_.Now() + kDay)};
  import.not_before = *ClockNotBefore(mirror);
  clock_.Set(At("1970-01-02T00:00:00Z"));
  const auto told = [&] { return mirror.intent().Deployments()->front().effective_deadline; };
  EXPECT_EQ(Import(mirror, import).moved_deadlines.size(), 1U);
  EXPECT_EQ(told(), std::nullopt);
  EXPECT_EQ(*SettleByClock(mirror, "job:test"), 0U);
  const auto digest = State(mirror).state_digest;
  clock_.Set(At("2040-01-01T00:00:00Z"));  // set, and wrong again
  EXPECT_EQ(*SettleByClock(mirror, "job:test"), 1U);
  EXPECT_EQ(told(), clock_.Now() + kFloor);
  clock_.Set(real);
  EXPECT_EQ(*SettleByClock(mirror, "job:test"), 1U);
  EXPECT_EQ(told(), real + kFloor);
  EXPECT_EQ(*SettleByClock(mirror, "job:test"), 0U);
  EXPECT_EQ(State(mirror).state_digest, digest);
  clock_.Set(At("1970-01-02T00:00:00Z"));
  EXPECT_EQ(*SettleByClock(mirror, "job:test"), 0U);
  EXPECT_EQ(told(), real + kFloor);
}

TEST_F(UpdateBlockTest, IsAGenerationAndNoPartOfTheState) {
  Mirror mirror = Make("m", true);
  const auto before = State(mirror);
  EXPECT_EQ(*BlockUpdates(mirror, {Update(1), Update(2)}, "because", "user:test"), 2U);
  EXPECT_EQ(*BlockUpdates(mirror, {Update(1)}, "again", "user:test"), 0U);
  const auto after = State(mirror);
  EXPECT_EQ(after.name.generation, before.name.generation + 1);
  EXPECT_EQ(after.state_digest, before.state_digest);
  EXPECT_EQ(after.passed_on_digest, before.passed_on_digest);
  const auto blocks = ReadBlocks(mirror);
  ASSERT_EQ(blocks->size(), 2U);
  EXPECT_EQ(blocks->front().reason, "because");
  EXPECT_EQ(*UnblockUpdates(mirror, {Update(1), Update(3)}, "user:test"), 1U);
  EXPECT_EQ(ReadBlocks(mirror)->size(), 1U);
  EXPECT_EQ(BlockUpdates(mirror, {Update(3), TestGuid(1, 1)}, "", "u").error().reason, "no-update");
  EXPECT_EQ(BlockUpdates(mirror, {Update(3)}, "a\nb", "u").error().reason, "bad-reason");
  EXPECT_EQ(ReadBlocks(mirror)->size(), 1U);
}

}  // namespace
}  // namespace gapferry::mirror
