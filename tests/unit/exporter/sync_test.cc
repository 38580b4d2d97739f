#include "exporter/sync.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "exporter/content_sync.h"
#include "exporter/sync_filter.h"
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

// Only what a list named must come: nobody promised the members.
TEST_F(SyncTest, MembersThatAreNotDeliveredDoNotStopTheSync) {
  std::vector<UpdateId> members;
  for (int i = 0; i < 3; ++i) members.push_back({Update(300 + i), 1});
  simulator_.AddUpdate(Update(200), 1, "bundle", kProduct, kSecurity, {}, members);
  const SyncReport report = MustRun();
  EXPECT_EQ(report.gone, members);
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 65u);
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

// A complete list is no small thing: the same files are no reason for one in every sync.
TEST_F(SyncTest, FilesThatTheUpstreamDoesNotKnowAreListedForOnce) {
  MustRun();
  Approve(3);
  simulator_.content.clear();
  const auto complete_lists = [&] {
    simulator_.lists.clear();
    simulator_.faults["DownloadFiles"] = {FaultCode::kFileDigestsMissing,
                                          FaultCode::kFileDigestsMissing};
    EXPECT_EQ(MustRun().content.failed.size(), 1u);
    return std::ranges::count_if(simulator_.lists, [](const auto& list) {
      return !list.filter.get_config && !list.filter.anchor.has_value();
    });
  };
  EXPECT_EQ(complete_lists(), 1);
  EXPECT_EQ(complete_lists(), 0);
  EXPECT_EQ(complete_lists(), 0);
}

TEST_F(SyncTest, UsesTheVendorsAddressesWhenTheUpstreamHasNoContent) {
  simulator_.catalog_only = true;
  MustRun();
  Approve(3);
  EXPECT_EQ(MustRun().content.fetched_files, 1u);
}

// Addresses come at the end of an answer: what was loaded without them is asked for them.
TEST_F(SyncTest, TheVendorsAddressesOutliveAnInterruption) {
  simulator_.catalog_only = true;
  simulator_.max_updates_per_answer = 10;
  std::stop_source stop;
  int answers = 0;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData" && ++answers == 5) stop.request_stop();
  };
  ASSERT_FALSE(Run({}, stop.get_token()).has_value());
  simulator_.on_call = nullptr;
  OpenMirror();
  EXPECT_GT(MustRun().adopted, 0u);
  for (int i = 0; i < 60; ++i) Approve(i);
  const SyncReport report = MustRun();
  EXPECT_TRUE(report.content.failed.empty());
  EXPECT_EQ(report.content.fetched_files, 60u);
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

// ---- Changed upstreams --------------------------------------------------------------------------

TEST_F(SyncTest, AnUpstreamThatChangesAtAnyCallIsAskedForEverything) {
  config_.replica = true;
  simulator_.groups = {{Numbered(0x44444444, 1), mirror::kAllComputers, "Ring 0", false}};
  MustRun();
  int number = 100;
  for (const char* operation :
       {"GetConfigData", "GetRevisionIdList", "GetUpdateData", "GetDeployments"}) {
    const UpdateId fresh =
        simulator_.AddUpdate(Update(++number), 1, "fresh", kProduct, kSecurity, {});
    simulator_.faults[operation] = {FaultCode::kServerChanged};
    simulator_.lists.clear();
    simulator_.configs.clear();
    simulator_.deployment_requests.clear();
    const SyncReport report = MustRun();
    EXPECT_TRUE(report.full_list) << operation;
    EXPECT_FALSE(simulator_.configs.back().config_anchor.has_value()) << operation;
    EXPECT_FALSE(simulator_.lists.back().filter.anchor.has_value()) << operation;
    EXPECT_FALSE(simulator_.deployment_requests.back().deployment_anchor.has_value()) << operation;
    EXPECT_TRUE(mirror_->catalog().Find(fresh)->has_value()) << operation;
  }
  simulator_.faults["GetConfigData"] = {FaultCode::kServerChanged, FaultCode::kServerChanged};
  const auto again = Run();  // for ever: not for ever
  ASSERT_FALSE(again.has_value());
  EXPECT_FALSE(again.error().next.empty());
}

TEST_F(SyncTest, AnUpstreamThatChangesBetweenBatchesLosesNothing) {
  simulator_.limit = 10;
  config_.sync.parallel_requests = 1;
  simulator_.fault_at["GetUpdateData"][4] = FaultCode::kServerChanged;
  const SyncReport report = MustRun();
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 64u);
  EXPECT_EQ(simulator_.Count("GetConfigData"), 2);
  EXPECT_TRUE(report.complete());
}

TEST_F(SyncTest, AnUpstreamThatChangesDuringContentIsSynchronisedAgainOnce) {
  MustRun();
  Approve(3);
  const auto saved = simulator_.content;
  for (const FaultCode code : {FaultCode::kServerChanged, FaultCode::kFileDigestsMissing}) {
    simulator_.content.clear();
    simulator_.faults["DownloadFiles"] = {code, code};
    simulator_.lists.clear();
    const SyncReport report = MustRun();
    EXPECT_FALSE(report.content.complete());
    ASSERT_EQ(simulator_.lists.size(), 4u);  // twice two lists, the second time complete
    EXPECT_FALSE(simulator_.lists[3].filter.anchor.has_value());
    simulator_.faults.clear();
  }
  simulator_.content = saved;
  EXPECT_EQ(MustRun().content.fetched_files, 1u);
}

TEST_F(SyncTest, AnchorsArePromotedWithTheCommitOnly) {
  MustRun();
  const auto anchor = [&](const char* kind) {
    const auto value = mirror_->db().QueryInt(
        "SELECT CAST(value AS INTEGER) FROM anchor WHERE kind = ?", std::string_view(kind));
    return value.value().value_or(-1);
  };
  const auto before = std::vector{anchor("config"), anchor("categories"), anchor("updates")};
  EXPECT_EQ(before[0], static_cast<std::int64_t>(simulator_.counter));
  simulator_.AddUpdate(Update(100), 1, "fresh", kProduct, kSecurity, {});
  simulator_.faults["GetUpdateData"].assign(8, FaultCode::kServerBusy);
  std::stop_source stop;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData") stop.request_stop();
  };
  ASSERT_FALSE(Run({}, stop.get_token()).has_value());
  EXPECT_EQ((std::vector{anchor("config"), anchor("categories"), anchor("updates")}), before);
  simulator_.on_call = nullptr;
  simulator_.faults.clear();
  MustRun();
  for (const char* kind : {"config", "categories", "updates"}) {
    EXPECT_EQ(anchor(kind), static_cast<std::int64_t>(simulator_.counter)) << kind;
  }
}

// ---- Configuration of the upstream --------------------------------------------------------------

TEST_F(SyncTest, KeepsTheUpstreamsConfigurationAndMergesLanguages) {
  simulator_.languages.push_back({1031, "de", "German", true});
  MustRun();
  EXPECT_FALSE(simulator_.configs.at(0).config_anchor.has_value());
  simulator_.language_changes = {{1036, "fr", "French", true}, {1031, "de", "Deutsch", false}};
  simulator_.protocol_version = "1.8";
  simulator_.limit = 7;
  const SyncReport report = MustRun();
  EXPECT_TRUE(simulator_.configs.at(1).config_anchor.has_value());
  EXPECT_EQ(report.upstream_version, "1.8");
  EXPECT_EQ(report.lowered_from, "1.20");
  EXPECT_EQ(report.announced_version, "1.20");
  const auto kept = *mirror_->catalog().ReadUpstream().value();
  EXPECT_EQ(kept.config.protocol_version, "1.8");
  EXPECT_EQ(kept.config.max_updates_per_request, 7);
  EXPECT_EQ(kept.announced_version, "1.20");
  EXPECT_EQ(kept.config.languages,
            (std::vector<protocol::SyncLanguage>{{0, "all", "all", false},
                                                 {1031, "de", "Deutsch", false},
                                                 {1033, "en", "English", true},
                                                 {1036, "fr", "French", true}}));
  simulator_.language_changes.clear();
  EXPECT_TRUE(MustRun().lowered_from.empty());  // said once
  EXPECT_EQ(mirror_->catalog().ReadUpstream().value()->config.languages.size(), 4u);
}

TEST(ProtocolVersion, ComparesNumbersNotText) {
  EXPECT_TRUE(IsLowerVersion("1.8", "1.20"));
  EXPECT_FALSE(IsLowerVersion("1.20", "1.8"));
  EXPECT_FALSE(IsLowerVersion("1.20", "1.20"));
  EXPECT_TRUE(IsLowerVersion("1.20", "2.0"));
  EXPECT_TRUE(IsLowerVersion("", "1.0"));
  EXPECT_FALSE(IsLowerVersion("1.20", "x"));
}

// ---- Parallel batches ---------------------------------------------------------------------------

TEST_F(SyncTest, AsksForBatchesInParallelAndStoresThemInOrder) {
  simulator_.limit = 5;
  simulator_.max_updates_per_answer = 3;  // short answers
  simulator_.undeliverable = {{Update(17), 1}, {Update(42), 1}};
  std::vector<std::vector<std::string>> orders;
  for (const std::uint32_t connections : {1u, 4u}) {
    config_.sync.parallel_requests = connections;
    simulator_.dwell = std::chrono::milliseconds(3);
    simulator_.most_at_once = 0;
    mirror_.reset();
    ASSERT_TRUE(RemoveTree(directory_).has_value());
    const SyncReport report = MustRun();
    EXPECT_EQ(report.gone, (std::vector<UpdateId>{{Update(17), 1}, {Update(42), 1}}));
    EXPECT_EQ(simulator_.most_at_once > 1, connections > 1);
    auto& order = orders.emplace_back();
    ASSERT_TRUE(mirror_->catalog()
                    .ForEachRevision([&](const mirror::RevisionRow& row) -> Result<void> {
                      order.push_back(row.update.ToString());
                      return {};
                    })
                    .has_value());
  }
  EXPECT_EQ(orders[0].size(), 62u);
  EXPECT_EQ(orders[0], orders[1]);  // by revision id
}

TEST_F(SyncTest, ParallelConnectionsStopTogether) {
  simulator_.limit = 5;
  config_.sync.parallel_requests = 4;
  simulator_.dwell = std::chrono::milliseconds(2);
  std::stop_source stop;
  int answers = 0;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData" && ++answers == 6) stop.request_stop();
  };
  const auto cut = Run({}, stop.get_token());
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kCancelled);
  simulator_.on_call = nullptr;
  simulator_.faults["GetUpdateData"] = {FaultCode::kIncompatibleProtocolVersion};
  const auto failed = Run();  // one fails: its error is what is said, not that others were stopped
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().reason, "IncompatibleProtocolVersion");
  MustRun();
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 64u);
}

TEST_F(SyncTest, AnUpstreamThatDeliversNothingIsBroken) {
  for (int i = 0; i < 50; ++i) simulator_.undeliverable.insert({Update(i), 1});
  const auto report = Run();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, ErrorCode::kTransient);
  EXPECT_EQ(report.error().reason, "upstream-incomplete");
  EXPECT_FALSE(report.error().next.empty());
}

// ---- Keys of encrypted files --------------------------------------------------------------------

TEST_F(SyncTest, AsksForKeysWithinTheLimitAndKeepsThemSecret) {
  const std::string secret = "THIS-IS-A-SECRET";
  simulator_.decryption_limit = 2;
  for (int i = 0; i < 5; ++i) {
    simulator_.Secure({Update(i), 1});
    if (i > 0) {
      simulator_.file_keys[Sha1("content of " + std::to_string(i))] =
          Bytes(secret.begin(), secret.end());
    }
  }
  const SyncReport report = MustRun();
  EXPECT_EQ(simulator_.decryption_sizes, (std::vector<std::size_t>{2, 2, 1}));
  EXPECT_EQ(report.without_keys, 1u);
  const auto row = mirror_->catalog().Find({Update(3), 1}).value();
  const auto keys = mirror_->catalog().FileKeys(row->id).value();
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_EQ(AsText(keys[0].key), secret);
  EXPECT_EQ(keys[0].sha1, Sha1(std::string_view("content of 3")));
  for (const char* table : {"audit", "job"}) {
    const auto found = mirror_->db().QueryInt(
        std::string("SELECT count(*) FROM ") + table +
            " WHERE instr(detail, ?1) > 0 OR instr(detail, ?2) > 0",
        std::string_view(secret), std::string_view(Base64Encode(AsBytes(secret))));
    EXPECT_EQ(found.value(), 0) << table;
  }
  EXPECT_EQ(MustRun().without_keys, 1u);  // asked for again: that one alone
  EXPECT_EQ(simulator_.decryption_sizes, (std::vector<std::size_t>{2, 2, 1, 1}));
}

TEST_F(SyncTest, AKeyThatComesLaterIsTakenWithoutAnyOtherNews) {
  for (const int n : {3, 4, 5}) simulator_.Secure({Update(n), 1});
  const Sha1Digest late = Sha1(std::string_view("content of 4"));
  for (const int n : {3, 5}) {
    simulator_.file_keys[Sha1("content of " + std::to_string(n))] = Bytes(16, 7);
  }
  EXPECT_EQ(MustRun().without_keys, 1u);
  const auto generation = mirror_->catalog().Published()->name.generation;
  simulator_.file_keys[late] = Bytes(16, 9);
  const SyncReport report = MustRun();
  EXPECT_EQ(report.without_keys, 0u);
  EXPECT_FALSE(report.changed);
  EXPECT_EQ(mirror_->catalog().Published()->name.generation, generation);
  const auto row = mirror_->catalog().Find({Update(4), 1}).value();
  const auto keys = mirror_->catalog().FileKeys(row->id).value();
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_EQ(keys[0].key, Bytes(16, 9));
  simulator_.decryption_sizes.clear();
  MustRun();
  EXPECT_TRUE(simulator_.decryption_sizes.empty());
}

TEST_F(SyncTest, AnUnknownIdAmongThoseThatNeedKeysCostsNoOtherItsKey) {
  for (const int n : {3, 4, 5, 6}) {
    simulator_.Secure({Update(n), 1});
    simulator_.file_keys[Sha1("content of " + std::to_string(n))] = Bytes(16, 7);
  }
  // All four, two of them, one of these.
  simulator_.faults["GetUpdateDecryptionData"].assign(3, FaultCode::kInternalServerError);
  EXPECT_EQ(MustRun().without_keys, 1u);
  EXPECT_EQ(MustRun().without_keys, 0u);
}

// ---- Lists and what they leave out --------------------------------------------------------------

TEST_F(SyncTest, AKeyThatIsNoneStopsNothing) {
  for (const int n : {3, 4}) simulator_.Secure({Update(n), 1});
  const Sha1Digest good = Sha1(std::string_view("content of 3"));
  const Sha1Digest bad = Sha1(std::string_view("content of 4"));
  simulator_.file_keys[good] = Bytes(16, 7);
  simulator_.file_keys[bad] = Bytes(mirror::kMaxFileKeyBytes + 1, 7);
  const SyncReport report = MustRun();
  EXPECT_EQ(report.without_keys, 1u);
  EXPECT_EQ(mirror_->catalog().Counts()->revisions, 64u);
}

TEST_F(SyncTest, ANarrowerChoiceWithdrawsNothingAndAWiderOneFetchesOnlyWhatIsUnknown) {
  for (int i = 100; i < 140; ++i) {
    simulator_.AddUpdate(Update(i), 1, "office", kOtherProduct, kSecurity, {});
  }
  Subscribe({kProduct, kOtherProduct}, {kSecurity});
  EXPECT_EQ(MustRun().new_revisions, 100u);
  Subscribe({kProduct}, {kSecurity});
  const SyncReport narrow = MustRun();
  EXPECT_TRUE(narrow.full_list);
  EXPECT_TRUE(narrow.withdrawn.empty());
  EXPECT_EQ(narrow.new_revisions, 0u);
  simulator_.AddUpdate(Update(140), 1, "office", kOtherProduct, kSecurity, {});
  Subscribe({kProduct, kOtherProduct}, {kSecurity});
  const SyncReport wide = MustRun();
  EXPECT_TRUE(wide.full_list);
  EXPECT_EQ(wide.new_revisions, 1u);
}

TEST_F(SyncTest, DriversAreLeftOutUnlessNamedOrAskedFor) {
  const Guid real = kDriversClassification;
  simulator_.AddCategory(real, "UpdateClassification", "Drivers");
  simulator_.AddUpdate(Update(100), 1, "driver", kOtherProduct, real, {});
  EXPECT_EQ(MustRun().new_revisions, 60u);  // nothing chosen
  Subscribe({kOtherProduct}, {});
  EXPECT_EQ(MustRun().new_revisions, 0u);  // one list chosen
  Subscribe({kOtherProduct}, {real});
  EXPECT_EQ(MustRun().new_revisions, 1u);  // named
  auto commit = mirror::CommitTransaction::Begin(*mirror_, "subscription");
  ASSERT_TRUE(commit->PutSubscription({{}, {}, {"en"}, /*drivers=*/true}).has_value());
  ASSERT_TRUE(commit->Finish().has_value());
  MustRun();
  EXPECT_TRUE(simulator_.lists.back().filter.categories.empty());  // everything
}

TEST_F(SyncTest, AMemberOfWhatIsOfferedIsNotWithdrawn) {
  const UpdateId member =
      simulator_.AddUpdate(Update(200), 7, "member", kOtherProduct, kDrivers, {});
  const UpdateId bundle =
      simulator_.AddUpdate(Update(201), 1, "bundle", kProduct, kSecurity, {}, {member});
  Subscribe({kProduct}, {kSecurity});
  MustRun();
  SyncOptions full;
  full.full = true;
  EXPECT_TRUE(MustRun(full).withdrawn.empty());  // the list does not name the member
  simulator_.revisions.erase(bundle);
  full.accept_removals = 2;
  EXPECT_EQ(MustRun(full).withdrawn, (std::vector<UpdateId>{member, bundle}));
}

TEST_F(SyncTest, WhatAnInterruptedRunLoadedAndTheListLostIsNotOffered) {
  simulator_.limit = 10;
  config_.sync.parallel_requests = 1;
  std::stop_source stop;
  int answers = 0;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "GetUpdateData" && ++answers == 5) stop.request_stop();
  };
  ASSERT_FALSE(Run({}, stop.get_token()).has_value());
  simulator_.on_call = nullptr;
  for (const auto& [id, revision] : std::map(simulator_.revisions)) {
    if (id.guid == Update(0) || id.guid == Update(1)) simulator_.revisions.erase(id);
  }
  const SyncReport report = MustRun();
  EXPECT_GT(report.adopted, 0u);
  EXPECT_EQ(report.lost, 2u);
  EXPECT_TRUE(report.withdrawn.empty());
  EXPECT_TRUE(mirror_->catalog().Find({Update(0), 1}).value()->is_withdrawn);
  EXPECT_EQ(mirror_->catalog().Counts()->live_updates, 58u);
}

TEST_F(SyncTest, ManyExpiredUpdatesNeedConsentAsManyWithdrawnDo) {
  MustRun();
  for (int i = 0; i < 10; ++i) {
    simulator_.AddUpdate(Update(i), 2, "expired", kProduct, kSecurity, {}, {}, /*expired=*/true);
  }
  SyncOptions options;
  options.metadata_only = true;
  const auto stopped = Run(options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().next, "gapferry sync --metadata-only --accept-removals 10");
  options.dry_run = true;
  const SyncReport dry = MustRun(options);
  EXPECT_TRUE(dry.removals.needs_consent);
  EXPECT_EQ(dry.removals.removals, 10u);
  EXPECT_EQ(dry.expired, 10u);
  options.dry_run = false;
  options.accept_removals = 10;
  EXPECT_EQ(MustRun(options).expired, 10u);
}

TEST_F(SyncTest, AWholeProductNeedsConsentHoweverSmall) {
  for (int i = 100; i < 102; ++i) {
    simulator_.AddUpdate(Update(i), 1, "office", kOtherProduct, kSecurity, {});
  }
  for (int i = 200; i < 300; ++i) {
    simulator_.AddUpdate(Update(i), 1, "more", kProduct, kSecurity, {});
  }
  MustRun();
  SyncOptions full;
  full.full = true;
  for (int i = 100; i < 102; ++i) simulator_.revisions.erase({Update(i), 1});
  const auto stopped = Run(full);  // 2 of 162 are fewer than 2 %
  ASSERT_FALSE(stopped.has_value());
  EXPECT_NE(stopped.error().message.find("Office"), std::string::npos) << stopped.error().message;
  simulator_.AddUpdate(Update(103), 1, "office", kOtherProduct, kSecurity, {});
  EXPECT_EQ(MustRun(full).withdrawn.size(), 2u);  // something else is left of it
}

// ---- Replica: the table of the companion, 2.6 ---------------------------------------------------

class ReplicaTest : public SyncTest {
 protected:
  void SetUp() override {
    SyncTest::SetUp();
    config_.replica = true;
    simulator_.groups = {{mirror::kAllComputers, {}, "All Computers", true},
                         {kRing, mirror::kAllComputers, "Ring 0", false},
                         {kLab, mirror::kAllComputers, "Lab", false}};
    simulator_.deployments = {Approval(1, 3, kRing), Approval(2, 4, kLab)};
    MustRun();
  }
  protocol::SyncDeployment Approval(int number, int update, const Guid& group) {
    protocol::SyncDeployment deployment;
    deployment.update = {Update(update), 1};
    deployment.deployment_guid = Numbered(0x55555555, number);
    deployment.target_group_id = group;
    deployment.deadline = kEndOfTime;
    return deployment;
  }
  std::vector<int> Approved() {
    std::vector<int> numbers;
    const auto deployments = mirror_->intent().Deployments().value();
    for (const auto& one : deployments) {
      for (int n = 1; n < 10; ++n) {
        if (one.guid == Numbered(0x55555555, n)) numbers.push_back(n);
      }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }
  std::vector<std::string> Groups() {
    std::vector<std::string> names;
    const auto groups = mirror_->intent().Groups().value();
    for (const auto& group : groups) {
      if (!group.is_builtin) names.push_back(group.name);
    }
    return names;
  }
  const Guid kRing = Numbered(0x44444444, 1);
  const Guid kLab = Numbered(0x44444444, 2);
};

TEST_F(ReplicaTest, GroupsAreTheWholeListAndTakeTheirDeploymentsAlong) {
  EXPECT_EQ(Groups(), (std::vector<std::string>{"Lab", "Ring 0"}));
  simulator_.groups.pop_back();
  simulator_.deployments.clear();
  MustRun();
  EXPECT_EQ(Groups(), (std::vector<std::string>{"Ring 0"}));
  EXPECT_EQ(Approved(), (std::vector<int>{1}));
  simulator_.groups.clear();
  EXPECT_EQ(Run().error().reason, "no-groups");
  EXPECT_EQ(Groups(), (std::vector<std::string>{"Ring 0"}));
}

TEST_F(ReplicaTest, DeploymentsAreChangesAndKeepAllTheyCarry) {
  auto change = Approval(1, 5, kLab);
  change.action = 3;
  change.is_assigned = false;
  change.download_priority = 3;
  change.admin_name = "WUS Server";
  change.go_live_time = UtcTime::FromUnixSeconds(1791126194);
  change.deadline = UtcTime::FromUnixSeconds(1891126194);
  auto undefined = Approval(7, 6, kLab);
  undefined.action = 9;
  simulator_.deployments = {change, undefined};
  MustRun();
  EXPECT_TRUE(simulator_.deployment_requests.back().deployment_anchor.has_value());
  EXPECT_FALSE(simulator_.deployment_requests.back().sync_anchor->empty());
  EXPECT_EQ(Approved(), (std::vector<int>{1, 2}));
  const auto all = *mirror_->intent().Deployments();
  const auto one = *std::find_if(all.begin(), all.end(),
                                 [&](const auto& d) { return d.guid == change.deployment_guid; });
  EXPECT_EQ(one.update, (UpdateId{Update(5), 1}));
  EXPECT_EQ(one.group, kLab);
  EXPECT_EQ(one.action, mirror::DeploymentAction::kBlock);
  EXPECT_FALSE(one.is_assigned);
  EXPECT_EQ(one.download_priority, 3);
  EXPECT_EQ(one.admin_name, "WUS Server");
  EXPECT_EQ(one.go_live, change.go_live_time);
  EXPECT_EQ(one.deadline, change.deadline);
}

TEST_F(ReplicaTest, AnApprovedRevisionThatIsListedNoMoreIsFetched) {
  simulator_.AddUpdate(Update(70), 1, "as approved", kProduct, kSecurity, {});
  simulator_.AddUpdate(Update(70), 2, "revised", kProduct, kSecurity, {});
  simulator_.unlisted.insert({Update(70), 1});  // lists name the newest revision alone
  simulator_.deployments = {Approval(9, 70, kRing)};
  const SyncReport report = MustRun();
  EXPECT_EQ(report.new_revisions, 2u);
  EXPECT_TRUE(mirror_->catalog().Find({Update(70), 1}).value().has_value());
  EXPECT_TRUE(mirror_->catalog().Find({Update(70), 2}).value().has_value());
  EXPECT_TRUE(report.withdrawn.empty());
}

TEST_F(ReplicaTest, DeadDeploymentsEnd) {
  simulator_.deployments.clear();
  simulator_.dead = {Numbered(0x55555555, 2), Numbered(0x55555555, 8)};
  MustRun();
  EXPECT_EQ(Approved(), (std::vector<int>{1}));
}

TEST_F(ReplicaTest, HiddenUpdatesAreReplacedAsAWhole) {
  simulator_.hidden = {Update(10)};
  MustRun();
  EXPECT_TRUE(*mirror_->intent().IsDeclined(Update(10)));
  simulator_.hidden = {Update(11)};
  MustRun();
  EXPECT_FALSE(*mirror_->intent().IsDeclined(Update(10)));
  EXPECT_TRUE(*mirror_->intent().IsDeclined(Update(11)));
}

TEST_F(ReplicaTest, AcceptedLicencesAreNeverTakenBack) {
  const Guid eula = Numbered(0x66666666, 1);
  simulator_.eulas = {eula};
  MustRun();
  simulator_.eulas.clear();
  MustRun();
  EXPECT_EQ(mirror_->intent().AcceptedEulas().value(), std::vector<Guid>{eula});
}

TEST_F(ReplicaTest, WithoutAnAnchorTheDeploymentsAreAllThereAre) {
  simulator_.deployments = {Approval(3, 7, kRing)};
  simulator_.faults["GetDeployments"] = {FaultCode::kServerChanged};
  MustRun();
  EXPECT_FALSE(simulator_.deployment_requests.back().deployment_anchor.has_value());
  EXPECT_EQ(Approved(), (std::vector<int>{3}));
}

TEST_F(ReplicaTest, ADryRunCountsWhatItWouldChange) {
  simulator_.groups.pop_back();
  simulator_.groups.push_back({Numbered(0x44444444, 3), mirror::kAllComputers, "New", false});
  auto changed = Approval(1, 3, kRing);
  changed.action = 1;
  simulator_.deployments = {changed, Approval(3, 8, kRing)};
  simulator_.hidden = {Update(10)};
  simulator_.eulas = {Numbered(0x66666666, 1)};
  SyncOptions options;
  options.dry_run = true;
  const auto plan = *MustRun(options).intent;
  EXPECT_EQ(plan.groups_added, 1u);
  EXPECT_EQ(plan.groups_removed, 1u);
  EXPECT_EQ(plan.approvals_added, 1u);
  EXPECT_EQ(plan.approvals_changed, 1u);
  EXPECT_EQ(plan.approvals_ended, 1u);  // of the group
  EXPECT_EQ(plan.declined.size(), 1u);
  EXPECT_EQ(plan.eulas_accepted, 1u);
  EXPECT_EQ(Groups(), (std::vector<std::string>{"Lab", "Ring 0"}));
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
