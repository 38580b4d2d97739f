#include "exporter/sync.h"

#include <gtest/gtest.h>

#include "exporter/content_sync.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "protocol/soap.h"
#include "tests/support/upstream_simulator.h"

namespace gapferry::exporter {
namespace {

using mirror::CategoryType;
using mirror::Mirror;
using protocol::FaultCode;
using protocol::UpdateId;
using testing_support::UpstreamSimulator;

Guid Numbered(std::uint64_t family, int n) {
  char text[40];
  std::snprintf(text, sizeof(text), "%08llx-0000-4000-8000-%012d",
                static_cast<unsigned long long>(family), n);
  return *Guid::Parse(text);
}

const Guid kProduct = Numbered(0x11111111, 1);
const Guid kOtherProduct = Numbered(0x11111111, 2);
const Guid kSecurity = Numbered(0x22222222, 1);
const Guid kDrivers = Numbered(0x22222222, 2);
Guid Update(int n) { return Numbered(0x33333333, n); }

class SyncTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        fs::path(testing::TempDir()) /
        (std::string("sync-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_TRUE(RemoveTree(directory_).has_value());
    config_.name = "connected";
    config_.upstream.wsus = "http://wsus:8530";
    simulator_.AddCategory(kProduct, "Product", "Windows 11");
    simulator_.AddCategory(kOtherProduct, "Product", "Office");
    simulator_.AddCategory(kSecurity, "UpdateClassification", "Security Updates");
    simulator_.AddCategory(kDrivers, "UpdateClassification", "Drivers");
    for (int i = 0; i < 60; ++i) {
      simulator_.AddUpdate(Update(i), 1, "update " + std::to_string(i), kProduct, kSecurity,
                           {"content of " + std::to_string(i)});
    }
  }
  void TearDown() override {
    mirror_.reset();
    EXPECT_TRUE(RemoveTree(directory_).has_value());
  }

  void OpenMirror() {
    if (!fs::exists(directory_ / "gapferry.yaml")) {
      const auto made = Mirror::Init(directory_, config_);
      ASSERT_TRUE(made.has_value()) << made.error().message;
    }
    mirror_.reset();
    auto opened = Mirror::Open(directory_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    mirror_.emplace(std::move(*opened));
  }
  Result<SyncReport> Run(const SyncOptions& options = {}, std::stop_token stop = {}) {
    if (!mirror_) OpenMirror();
    const FetcherFactory fetchers = [&] {
      return Result<std::unique_ptr<Fetcher>>(simulator_.NewFetcher());
    };
    return Sync(*mirror_, fetchers, options, NoProgress(), stop);
  }
  SyncReport MustRun(const SyncOptions& options = {}) {
    auto report = Run(options);
    EXPECT_TRUE(report.has_value()) << report.error().message;
    return report ? std::move(*report) : SyncReport();
  }
  void Subscribe(std::vector<Guid> products, std::vector<Guid> classifications) {
    if (!mirror_) OpenMirror();
    auto commit = mirror::CommitTransaction::Begin(*mirror_, "subscription");
    ASSERT_TRUE(commit.has_value());
    ASSERT_TRUE(commit->PutSubscription({products, classifications, {"en"}}).has_value());
    ASSERT_TRUE(commit->Finish().has_value());
  }
  mirror::PublishedState State() { return *mirror_->catalog().Published(); }
  void Approve(int n) {
    const auto approved = mirror_->intent().Approve({{UpdateId{Update(n), 1},
                                                      mirror::kAllComputers,
                                                      mirror::DeploymentAction::kInstall,
                                                      {},
                                                      {}}},
                                                    "test");
    ASSERT_TRUE(approved.has_value()) << approved.error().message;
  }

  fs::path directory_;
  mirror::Config config_;
  UpstreamSimulator simulator_;
  std::optional<Mirror> mirror_;
};

TEST_F(SyncTest, WithoutUpstreamIsRefused) {
  config_.upstream.wsus.clear();
  const auto report = Run();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().reason, "no-upstream");
  EXPECT_TRUE(simulator_.calls.empty());
}

TEST_F(SyncTest, FetchesEverythingOnceAndThenOnlyWhatIsNew) {
  const SyncReport first = MustRun();
  EXPECT_EQ(first.new_categories, 4u);
  EXPECT_EQ(first.new_revisions, 60u);
  EXPECT_TRUE(first.changed);
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 64u);
  EXPECT_FALSE(simulator_.lists.at(1).filter.anchor.has_value());

  const auto state = State();
  const SyncReport second = MustRun();
  EXPECT_EQ(second.new_revisions, 0u);
  EXPECT_FALSE(second.changed);
  EXPECT_EQ(State().name, state.name);
  EXPECT_TRUE(simulator_.lists.at(3).filter.anchor.has_value());

  simulator_.AddUpdate(Update(0), 2, "newer", kProduct, kSecurity, {"x"});
  simulator_.AddUpdate(Update(1), 2, "expired", kProduct, kSecurity, {}, {}, /*expired=*/true);
  const SyncReport third = MustRun();
  EXPECT_EQ(third.new_revisions, 2u);
  EXPECT_EQ(third.expired, 1u);
  EXPECT_EQ(State().name.generation, state.name.generation + 1);
  EXPECT_EQ(mirror_->jobs().Last("sync")->value().result, mirror::JobResult::kDone);
}

TEST_F(SyncTest, DryRunAsksButChangesNothing) {
  SyncOptions options;
  options.dry_run = true;
  OpenMirror();
  const auto state = State();
  const SyncReport report = MustRun(options);
  EXPECT_EQ(report.new_revisions, 60u);
  EXPECT_EQ(report.preview->looked_at, 60u);
  EXPECT_EQ(report.preview->updates.front().title, "update 0");
  ASSERT_EQ(report.preview->products.size(), 1u);
  EXPECT_EQ(report.preview->products[0].title, "Windows 11");
  EXPECT_EQ(report.preview->products[0].updates, 60u);
  EXPECT_EQ(State().name, state.name);
  EXPECT_EQ(*mirror_->db().QueryInt("SELECT count(*) FROM revision"), 0);
  EXPECT_FALSE(mirror_->jobs().Last("sync")->has_value());
}

TEST_F(SyncTest, AsksForTheSubscriptionAndSpellsOutAllOfOneList) {
  simulator_.AddUpdate(Update(100), 1, "driver", kOtherProduct, kDrivers, {});
  Subscribe({kOtherProduct}, {});
  EXPECT_EQ(MustRun().new_revisions, 1u);
  const auto& filter = simulator_.lists.at(1).filter;
  ASSERT_EQ(filter.categories.size(), 1u);
  EXPECT_EQ(filter.classifications.size(), 2u);
  ASSERT_EQ(filter.languages.size(), 1u);
  EXPECT_EQ(filter.languages[0].id, 1033);
  Subscribe({kOtherProduct, kProduct}, {});
  EXPECT_EQ(MustRun().new_revisions, 60u);  // another filter: another anchor, nothing withdrawn
  EXPECT_FALSE(simulator_.lists.at(3).filter.anchor.has_value());
}

TEST_F(SyncTest, BundleMembersOutsideTheListAreFetchedToo) {
  const UpdateId member =
      simulator_.AddUpdate(Update(200), 7, "member", kOtherProduct, kDrivers, {});
  simulator_.AddUpdate(Update(201), 1, "bundle", kProduct, kSecurity, {}, {member});
  Subscribe({kProduct}, {kSecurity});
  MustRun();
  EXPECT_TRUE(mirror_->catalog().Find(member)->has_value());
}

TEST_F(SyncTest, StartsOverWhenTheUpstreamHasChanged) {
  MustRun();
  for (const FaultCode code : {FaultCode::kServerChanged, FaultCode::kInvalidParameters}) {
    simulator_.faults["GetRevisionIdList"] = {code};
    simulator_.lists.clear();
    MustRun();
    EXPECT_FALSE(simulator_.lists.back().filter.anchor.has_value());
  }
  MustRun();
  EXPECT_TRUE(simulator_.lists.back().filter.anchor.has_value());
}

TEST_F(SyncTest, StopsBeforeWithdrawingMoreThanTwoPercent) {
  MustRun();
  const auto state = State();
  for (int i = 0; i < 30; ++i) simulator_.revisions.erase({Update(i), 1});
  SyncOptions full;
  full.full = true;
  const auto stopped = Run(full);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().reason, "removals-need-acceptance");
  EXPECT_EQ(stopped.error().next, "gapferry sync --full --accept-removals 30");
  EXPECT_EQ(State().name, state.name);
  full.accept_removals = 29;
  EXPECT_FALSE(Run(full).has_value());
  full.accept_removals = 30;
  EXPECT_EQ(MustRun(full).withdrawn.size(), 30u);
  EXPECT_EQ(mirror_->catalog().Counts()->withdrawn, 30u);
  EXPECT_TRUE(mirror_->catalog().Find({Update(3), 1})->has_value());  // marked, not removed
}

TEST_F(SyncTest, OneWithdrawalPassesAndIsTakenBackWhenListedAgain) {
  MustRun();
  const auto taken = simulator_.revisions.extract({Update(5), 1});
  SyncOptions full;
  full.full = true;
  EXPECT_EQ(MustRun(full).withdrawn.size(), 1u);
  EXPECT_TRUE(mirror_->catalog().Find({Update(5), 1})->value().is_withdrawn);
  simulator_.revisions[{Update(5), 1}] = taken.mapped();
  MustRun(full);
  EXPECT_FALSE(mirror_->catalog().Find({Update(5), 1})->value().is_withdrawn);
}

TEST_F(SyncTest, AnEmptyListNeverEmptiesTheMirror) {
  MustRun();
  const auto state = State();
  simulator_.revisions.clear();
  SyncOptions full;
  full.full = true;
  EXPECT_EQ(Run(full).error().reason, "removals-need-acceptance");
  EXPECT_EQ(State().name, state.name);
}

TEST_F(SyncTest, RefusesWhatIsNoDocumentKeepsTheRestAndAsksAgain) {
  simulator_.revisions[{Update(7), 1}].document = "<upd:Update";
  const SyncReport report = MustRun();
  ASSERT_EQ(report.refused.size(), 1u);
  EXPECT_EQ(report.refused[0].update, (UpdateId{Update(7), 1}));
  EXPECT_FALSE(report.complete());
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 63u);
  EXPECT_EQ(mirror_->jobs().Last("sync")->value().result, mirror::JobResult::kPartly);
  MustRun();
  EXPECT_FALSE(simulator_.lists.back().filter.anchor.has_value());
}

TEST_F(SyncTest, AnInterruptedRunGoesOnAndEndsTheSame) {
  simulator_.limit = 10;
  std::stop_source stop;
  int answers = 0;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData" && ++answers == 4) stop.request_stop();
  };
  const auto cut = Run({}, stop.get_token());
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 0u);  // nothing of it is visible
  simulator_.on_call = nullptr;
  simulator_.batch_sizes.clear();
  OpenMirror();
  const SyncReport report = MustRun();
  EXPECT_GT(report.adopted, 0u);
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 64u);

  // Another mirror in one go has the same documents.
  const auto digest = State().documents_digest;
  mirror_.reset();
  directory_ += "-whole";
  EXPECT_TRUE(RemoveTree(directory_).has_value());
  MustRun();
  EXPECT_EQ(State().documents_digest, digest);
  mirror_.reset();
  EXPECT_TRUE(RemoveTree(directory_).has_value());
}

TEST_F(SyncTest, DownloadsWhatApprovalsNeed) {
  MustRun();
  Approve(3);
  const SyncReport report = MustRun();
  EXPECT_EQ(report.content.needed_files, 1u);
  EXPECT_EQ(report.content.fetched_files, 1u);
  EXPECT_TRUE(mirror_->content().Holds(Sha1(std::string_view("content of 3"))));
  EXPECT_EQ(MustRun().content.needed_files, 0u);
}

TEST_F(SyncTest, ResumesADownloadWhereItBroke) {
  MustRun();
  Approve(3);
  simulator_.cut_content_after = 4;
  const SyncReport report = MustRun();
  EXPECT_TRUE(report.complete());
  EXPECT_TRUE(mirror_->content().Holds(Sha1(std::string_view("content of 3"))));
  const std::string hex = Sha1(std::string_view("content of 3")).ToHex(HexCase::kUpper);
  EXPECT_EQ(simulator_.Count("/Content/" + hex.substr(38) + "/" + hex + ".cab 4-"), 1);
}

TEST_F(SyncTest, NeverKeepsContentWithWrongBytes) {
  MustRun();
  Approve(3);
  const std::string hex = Sha1(std::string_view("content of 3")).ToHex(HexCase::kUpper);
  simulator_.content["/Content/" + hex.substr(38) + "/" + hex + ".cab"] = "Content of 3";
  const SyncReport report = MustRun();
  ASSERT_EQ(report.content.failed.size(), 1u);
  EXPECT_EQ(report.content.failed[0].error.code, ErrorCode::kCorrupt);
  EXPECT_FALSE(mirror_->content().Holds(Sha1(std::string_view("content of 3"))));
  EXPECT_EQ(mirror_->content().Count()->files, 0u);
}

TEST_F(SyncTest, AsksTheUpstreamForFilesItDoesNotHave) {
  MustRun();
  Approve(3);
  simulator_.content.clear();
  const SyncReport report = MustRun();
  EXPECT_EQ(report.content.waiting_files, 1u);
  EXPECT_EQ(simulator_.asked_to_download,
            (std::vector<Sha1Digest>{Sha1(std::string_view("content of 3"))}));
}

TEST_F(SyncTest, UsesTheVendorsAddressesWhenTheUpstreamHasNoContent) {
  simulator_.catalog_only = true;
  MustRun();
  Approve(3);
  EXPECT_EQ(MustRun().content.fetched_files, 1u);
}

TEST_F(SyncTest, AReplicaFollowsGroupsApprovalsAndDeclines) {
  config_.replica = true;
  const Guid ring = Numbered(0x44444444, 1);
  simulator_.groups = {{ring, mirror::kAllComputers, "Ring 0", false}};
  protocol::SyncDeployment deployment;
  deployment.update = {Update(3), 1};
  deployment.deployment_guid = Numbered(0x55555555, 1);
  deployment.target_group_id = ring;
  deployment.deadline = kEndOfTime;
  simulator_.deployments = {deployment};
  simulator_.hidden = {Update(4)};
  const SyncReport report = MustRun();
  EXPECT_GT(report.intent_changes, 0u);
  EXPECT_EQ(report.content.fetched_files, 1u);
  const auto deployments = *mirror_->intent().Deployments();
  ASSERT_EQ(deployments.size(), 1u);
  EXPECT_FALSE(deployments[0].deadline.has_value());
  EXPECT_TRUE(*mirror_->intent().IsDeclined(Update(4)));

  simulator_.hidden.clear();  // a full list: what is missing is not hidden any more
  simulator_.deployments.clear();
  MustRun();
  EXPECT_FALSE(*mirror_->intent().IsDeclined(Update(4)));
  EXPECT_EQ(mirror_->intent().Deployments()->size(), 1u);  // a delta says nothing of it
}

TEST_F(SyncTest, ASecondJobIsTold) {
  OpenMirror();
  const auto lock = mirror::JobLock::Acquire(directory_, "export");
  ASSERT_TRUE(lock.has_value());
  const auto report = Run();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, ErrorCode::kBusy);
  EXPECT_TRUE(simulator_.calls.empty());
}

}  // namespace
}  // namespace gapferry::exporter
