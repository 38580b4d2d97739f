#include "mirror/deployment_log.h"

#include <gtest/gtest.h>

#include <set>

#include "mirror/catalog_load.h"
#include "mirror/job_lock.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using protocol::UpdateId;

const UpdateId kFirst{TestGuid(2, 2), 200};
const UpdateId kSecond{TestGuid(3, 3), 200};

class DeploymentLogTest : public testing::Test {
 protected:
  DeploymentLogTest() : mirror_(Make("autonomous", TestConfig())) { Load(mirror_, kFirst); }

  Mirror Make(const std::string& name, const Config& config) {
    MirrorOptions options;
    options.clock = &clock_;
    EXPECT_TRUE(Mirror::Init(dir_.path() / name, config, options).has_value());
    return std::move(*Mirror::Open(dir_.path() / name, options));
  }
  static void Load(Mirror& mirror, const UpdateId& id) {
    TestDocument document;
    document.id = id;
    const auto lock = JobLock::Acquire(mirror.path(), "sync");
    auto load = CatalogLoad::Open(mirror, *lock, "sync");
    ASSERT_TRUE(load->Add(document.Incoming()).has_value());
    ASSERT_TRUE(load->Prepare());
    ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  }
  Generation Now() { return mirror_.catalog().Published()->name.generation; }
  Guid Approve(const UpdateId& update, const Guid& group = kAllComputers) {
    Intent::Approval approval;
    approval.update = update;
    approval.group = group;
    const auto approved = mirror_.intent().Approve({approval}, "test");
    EXPECT_TRUE(approved.has_value()) << approved.error().message;
    return approved->at(0).deployment.guid;
  }
  void Unapprove(const UpdateId& update) {
    ASSERT_TRUE(mirror_.intent().Unapprove({update.guid}, std::nullopt, "test").has_value());
  }
  static std::set<Guid> Live(Mirror& mirror, Generation base, Generation target) {
    const auto log = ReadDeploymentLog(mirror, base, target);
    EXPECT_TRUE(log.has_value()) << log.error().message;
    std::set<Guid> guids;
    for (const auto& deployment : log->live) EXPECT_TRUE(guids.insert(deployment.guid).second);
    return guids;
  }
  std::set<Guid> Live(Generation base, Generation target) { return Live(mirror_, base, target); }
  std::vector<Guid> Dead(Generation base, Generation target) {
    return ReadDeploymentLog(mirror_, base, target)->dead;
  }

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Mirror mirror_;
};

using Guids = std::set<Guid>;

TEST_F(DeploymentLogTest, TellsBeginningsAndEndsWithinTheInterval) {
  const Generation start = Now();
  const Guid first = Approve(kFirst);
  const Generation approved = Now();
  EXPECT_EQ(Live(0, approved), Guids{first});
  EXPECT_EQ(Live(start, approved), Guids{first});
  EXPECT_TRUE(Live(approved, approved).empty());
  EXPECT_TRUE(Live(0, start).empty()) << "of later ones an earlier anchor knows nothing";

  Unapprove(kFirst);
  const Generation ended = Now();
  EXPECT_EQ(Dead(approved, ended), std::vector<Guid>{first});
  EXPECT_TRUE(Live(approved, ended).empty());
  EXPECT_TRUE(Dead(ended, ended).empty());
}

TEST_F(DeploymentLogTest, WhatCameAndWentIsOnlyAmongTheDead) {
  const Generation start = Now();
  const Guid first = Approve(kFirst);
  Unapprove(kFirst);
  EXPECT_EQ(Dead(start, Now()), std::vector<Guid>{first});
  EXPECT_TRUE(Live(start, Now()).empty());
  EXPECT_TRUE(Dead(0, Now()).empty()) << "the whole set has no dead";
  EXPECT_TRUE(Live(0, Now()).empty());
}

TEST_F(DeploymentLogTest, AnEndAfterTheTargetIsToldLater) {
  const Generation start = Now();
  const Guid first = Approve(kFirst);
  const Generation approved = Now();
  Unapprove(kFirst);
  EXPECT_EQ(Live(start, approved), Guids{first});
  EXPECT_EQ(Live(0, approved), Guids{first});
  EXPECT_TRUE(Dead(start, approved).empty());
  EXPECT_EQ(Dead(approved, Now()), std::vector<Guid>{first});
}

TEST_F(DeploymentLogTest, AReplacedApprovalIsToldOnce) {
  Approve(kFirst);
  const Generation approved = Now();
  Intent::Approval approval;
  approval.update = kFirst;
  approval.group = kAllComputers;
  approval.action = DeploymentAction::kPreDeploymentCheck;
  ASSERT_TRUE(mirror_.intent().Approve({approval}, "test").has_value());
  const auto log = ReadDeploymentLog(mirror_, approved, Now());
  ASSERT_EQ(log->live.size(), 1u);
  EXPECT_EQ(log->live[0].action, DeploymentAction::kPreDeploymentCheck);
}

TEST_F(DeploymentLogTest, ADeploymentWaitsForItsRevision) {
  Config config = TestConfig();
  config.upstream.wsus = "http://above.example";
  config.replica = true;
  Mirror replica = Make("replica", config);
  Load(replica, kFirst);
  const auto now = [&] { return replica.catalog().Published()->name.generation; };
  const Generation before = now();
  IntentImport import;
  import.deployments.resize(1);
  import.deployments[0].guid = TestGuid(9, 9);
  import.deployments[0].update = kSecond;  // not listed by the filter of this replica
  import.deployments[0].group = kAllComputers;
  auto commit = CommitTransaction::Begin(replica, "sync");
  ASSERT_TRUE(commit.has_value());
  ASSERT_TRUE(Intent::Import(*commit, import).has_value());
  ASSERT_TRUE(commit->Finish().has_value());
  const Generation unknown = now();
  EXPECT_TRUE(Live(replica, 0, unknown).empty());
  EXPECT_TRUE(Live(replica, before, unknown).empty());

  Load(replica, kSecond);
  EXPECT_EQ(Live(replica, unknown, now()), Guids{TestGuid(9, 9)})
      << "a follower that has passed the approval hears of it with the revision";
  EXPECT_EQ(Live(replica, 0, now()), Guids{TestGuid(9, 9)}) << "once";
  EXPECT_EQ(Live(replica, before, now()), Guids{TestGuid(9, 9)});
  EXPECT_TRUE(Live(replica, now(), now()).empty());
}

}  // namespace
}  // namespace gapferry::mirror
