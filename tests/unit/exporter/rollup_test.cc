#include "exporter/rollup.h"

#include <gtest/gtest.h>

#include "base/version.h"
#include "exporter/rollup_calls.h"
#include "exporter/rollup_data.h"
#include "mirror/activity.h"
#include "mirror/catalog_load.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/rollup_state.h"
#include "protocol/reporting_limits.h"
#include "protocol/soap.h"
#include "tests/support/upstream_simulator.h"

namespace gapferry::exporter {
namespace {

using mirror::Mirror;
using mirror::UpdateState;
using protocol::FaultCode;
using testing_support::UpstreamSimulator;

const Guid kUpdate = *Guid::Parse("33333333-0000-4000-8000-000000000001");
const Guid kInsideOnly = *Guid::Parse("33333333-0000-4000-8000-000000000009");
const Guid kSite = *Guid::Parse("66666666-0000-4000-8000-000000000001");
const UtcTime kThen = UtcTime::FromUnixSeconds(1791126194);

class RollupTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        fs::path(testing::TempDir()) /
        (std::string("rollup-") + testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_TRUE(RemoveTree(directory_).has_value());
    mirror::Config config;
    config.name = "connected";
    config.upstream.wsus = "http://wsus:8530";
    ASSERT_TRUE(Mirror::Init(directory_, config, Options()).has_value());
    Open();
    LoadUpdate();
    PutSite();
    for (const char* id : {"pc-1", "pc-2", "pc-3"}) PutComputer(id);
  }
  void TearDown() override {
    mirror_.reset();
    EXPECT_TRUE(RemoveTree(directory_).has_value());
  }

  mirror::MirrorOptions Options() {
    mirror::MirrorOptions options;
    options.clock = &clock_;
    return options;
  }
  void Open() {
    mirror_.reset();
    auto opened = Mirror::Open(directory_, Options());
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    mirror_.emplace(std::move(*opened));
    activity_ = *mirror_->activity();
  }
  // An update that the upstream knows too.
  void LoadUpdate() {
    const Guid category = *Guid::Parse("11111111-0000-4000-8000-000000000001");
    const auto id = simulator_.AddUpdate(kUpdate, 1, "u", category, category, {});
    auto lock = mirror::JobLock::Acquire(directory_, "test");
    auto load = mirror::CatalogLoad::Open(*mirror_, *lock, "sync");
    ASSERT_TRUE(load.has_value());
    const std::string& text = simulator_.revisions[id].document;
    mirror::IncomingRevision incoming;
    incoming.update = id;
    incoming.bytes.assign(text.begin(), text.end());
    const auto added = load->Add(std::move(incoming));
    ASSERT_TRUE(added.has_value()) << added.error().message;
    ASSERT_TRUE(load->Prepare().has_value());
    auto commit = load->BeginCommit("sync");
    ASSERT_TRUE(commit.has_value());
    ASSERT_TRUE(commit->Finish().has_value());
  }
  void PutSite(UtcTime rolled_up = kThen) {
    mirror::DownstreamServer site;
    site.id = kSite;
    site.name = "ship";
    site.site = kSite;
    site.first_seen = kThen;
    site.last_rollup_time = rolled_up;
    site.clients.emplace_back().count = 3;
    ASSERT_TRUE(activity_->PutServer(site).has_value());
  }
  void PutComputer(const std::string& id) {
    mirror::Computer computer;
    computer.id = id;
    computer.parent_server = kSite;
    computer.details.full_domain_name = id + ".ship";
    computer.details.computer_model = std::string(100, 'm');
    computer.registered_at = kThen;
    computer.last_contact = kThen;
    computer.last_sync_time = kThen;
    computer.has_status = true;
    ASSERT_TRUE(activity_->PutComputer(computer).has_value());
    PutStatus(id, UpdateState::kNotInstalled);
  }
  void PutStatus(const std::string& id, UpdateState state) {
    const auto put = activity_->PutStatus(
        id, false, {{kUpdate, state, kThen, 0}, {kInsideOnly, state, kThen, 0}});
    ASSERT_TRUE(put.has_value()) << put.error().message;
  }
  void PutInstalls(std::int64_t successes) {
    mirror::InstallActivity installs;
    installs.server = kSite;
    installs.update = {kUpdate, 1};
    installs.success_total = successes;
    PutSite(clock_.Now());
    ASSERT_TRUE(activity_->PutInstallActivity(installs).has_value());
  }

  Result<RollupReport> Run(RollupOptions options = {}, std::stop_token stop = {}) {
    options.wait = [&](std::chrono::milliseconds time, std::stop_token) {
      waits_.push_back(std::chrono::duration_cast<std::chrono::seconds>(time));
      return true;
    };
    const FetcherFactory fetchers = [&] {
      return Result<std::unique_ptr<Fetcher>>(simulator_.NewFetcher());
    };
    return Rollup(*mirror_, fetchers, options, NoProgress(), stop);
  }
  RollupReport MustRun(const RollupOptions& options = {}) {
    auto report = Run(options);
    EXPECT_TRUE(report.has_value()) << report.error().message;
    return report ? std::move(*report) : RollupReport();
  }
  void Later(std::chrono::seconds by) { clock_.Set(clock_.Now() + by); }

  fs::path directory_;
  FixedClock clock_{kThen + std::chrono::hours(24)};
  std::vector<std::chrono::seconds> waits_;
  UpstreamSimulator simulator_;
  std::optional<Mirror> mirror_;
  mirror::Activity* activity_ = nullptr;
};

// ---- The dialogue ------------------------------------------------------------------------------

TEST_F(RollupTest, TellsServersComputersAndStatus) {
  const RollupReport report = MustRun();
  EXPECT_EQ(report.computers, 3u);
  EXPECT_EQ(report.computers_changed, 3u);
  EXPECT_EQ(report.full_statuses, 3u);
  ASSERT_EQ(simulator_.servers.size(), 2u);
  EXPECT_EQ(simulator_.servers[0].server_id, kSite);
  EXPECT_EQ(simulator_.servers[0].parent_server_id, mirror_->identity().guid);
  EXPECT_EQ(simulator_.servers[0].last_rollup_time, kThen);
  EXPECT_EQ(simulator_.servers[0].version, "0.0.0.0");  // it told none
  EXPECT_EQ(simulator_.servers[0].last_sync_time, kNever);
  EXPECT_EQ(simulator_.servers[1].server_id, mirror_->identity().guid);
  EXPECT_TRUE(simulator_.servers[1].parent_server_id.IsZero());
  EXPECT_EQ(simulator_.servers[1].last_rollup_time, clock_.Now());
  EXPECT_EQ(simulator_.servers[1].version, ProgramVersion());
  EXPECT_EQ(simulator_.servers[1].summary->computer_target_count, 0);  // the site tells of its own
  ASSERT_EQ(simulator_.computers.size(), 3u);
  const auto& computer = simulator_.computers.at("pc-1");
  EXPECT_EQ(computer.parent_server_id, kSite);
  ASSERT_TRUE(computer.details.has_value());
  EXPECT_EQ(computer.details->computer_model.size(), 64u);
  EXPECT_EQ(computer.details->target_group_ids, (std::vector<Guid>{mirror::kUnassignedComputers}));
  // What was published inside is unknown to the upstream and stays inside.
  EXPECT_EQ(simulator_.states.at("pc-1"), (std::map<Guid, std::int32_t>{{kUpdate, 2}}));
  EXPECT_EQ(simulator_.calls.front(), "GetAuthConfig");  // the record of the sender comes first
  for (const auto& request : simulator_.server_requests)
    EXPECT_EQ(request.client_time, clock_.Now());
  for (const auto& request : simulator_.out_of_sync_requests) {
    EXPECT_EQ(request.parent_server_id, mirror_->identity().guid);
  }
}

TEST_F(RollupTest, DetailsGoAlongOnlyWhenTheyChanged) {
  MustRun();
  const RollupReport second = MustRun();
  EXPECT_EQ(second.computers, 3u);  // all of them, each time
  EXPECT_EQ(second.computers_changed, 0u);
  EXPECT_EQ(second.full_statuses + second.delta_statuses, 0u);
  for (const auto& computer : simulator_.computer_requests.back().computers) {
    EXPECT_FALSE(computer.details.has_value());
  }
  auto changed = *activity_->FindByIdOrName("pc-2");
  changed.details.ip_address = "10.1.1.1";
  changed.last_sync_time = clock_.Now();
  ASSERT_TRUE(activity_->PutComputer(changed).has_value());
  EXPECT_EQ(MustRun().computers_changed, 1u);
  EXPECT_EQ(simulator_.computers.at("pc-2").details->ip_address, "10.1.1.1");
  EXPECT_EQ(simulator_.computers.at("pc-2").last_sync_time, clock_.Now());
}

TEST_F(RollupTest, DetailsWhoseAnswerWasLostGoAlongAgain) {
  simulator_.lost_answers["RollupComputers"] = 4;
  EXPECT_FALSE(Run().has_value());
  EXPECT_EQ(waits_.size(), 3u);
  EXPECT_EQ(MustRun().computers_changed, 3u);
}

TEST_F(RollupTest, WhatTheUpstreamLostIsToldInFull) {
  MustRun();
  simulator_.computers.erase("pc-1");
  simulator_.rollup_numbers.erase("pc-1");
  simulator_.states.erase("pc-1");
  const RollupReport report = MustRun();
  EXPECT_EQ(report.computers_again, 1u);
  EXPECT_EQ(report.full_statuses, 1u);
  EXPECT_TRUE(simulator_.computers.at("pc-1").details.has_value());
  EXPECT_EQ(simulator_.states.at("pc-1").at(kUpdate), 2);
}

TEST_F(RollupTest, ASecondOneTellsOnlyWhatChanged) {
  MustRun();
  PutStatus("pc-2", UpdateState::kInstalled);
  const RollupReport delta = MustRun();
  EXPECT_EQ(delta.delta_statuses, 1u);
  EXPECT_EQ(delta.full_statuses, 0u);
  EXPECT_EQ(simulator_.states.at("pc-2").at(kUpdate), 4);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-2"), 2);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 1);
}

TEST_F(RollupTest, RowsThatVanishedAreToldInFull) {
  MustRun();
  PutStatus("pc-2", UpdateState::kNotApplicable);
  const RollupReport report = MustRun();
  EXPECT_EQ(report.full_statuses, 1u);
  EXPECT_TRUE(simulator_.states.at("pc-2").empty());
  EXPECT_EQ(MustRun().full_statuses, 0u);
}

TEST_F(RollupTest, HealsWhenTheNumbersDisagree) {
  MustRun();
  simulator_.rollup_numbers["pc-1"] = 17;
  const RollupReport report = MustRun();
  EXPECT_EQ(report.full_statuses, 1u);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 2);
}

TEST_F(RollupTest, HealsAfterLostAnswersToStatus) {
  simulator_.lost_answers["RollupComputerStatus"] = 4;
  EXPECT_FALSE(Run().has_value());
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 1);  // taken, nobody heard
  const RollupReport report = MustRun();
  EXPECT_EQ(report.full_statuses, 3u);
  EXPECT_EQ(MustRun().full_statuses, 0u);
}

TEST_F(RollupTest, StartsAfreshWhenTheUpstreamAsks) {
  MustRun();
  simulator_.reset_guid = Guid::Random();
  const RollupReport report = MustRun();
  EXPECT_TRUE(report.everything_again);
  EXPECT_EQ(report.computers_changed, 3u);
  EXPECT_EQ(report.full_statuses, 3u);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 2);
  EXPECT_FALSE(MustRun().everything_again);
}

TEST_F(RollupTest, AnotherServerIsToldFromNumberOne) {
  MustRun();
  simulator_.server_id = Guid::Random();
  simulator_.computers.clear();
  simulator_.rollup_numbers.clear();
  const RollupReport report = MustRun();
  EXPECT_TRUE(report.everything_again);
  EXPECT_EQ(report.computers_changed, 3u);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 1);
}

TEST_F(RollupTest, StopsAtSumsUntilTheUpstreamWantsDetail) {
  simulator_.detailed = false;
  const RollupReport report = MustRun();
  EXPECT_FALSE(report.detailed);
  EXPECT_EQ(simulator_.Count("RollupDownstreamServers"), 1);
  EXPECT_EQ(simulator_.Count("RollupComputers"), 0);
  EXPECT_EQ(simulator_.Count("GetOutOfSyncComputers"), 0);
  simulator_.detailed = true;
  EXPECT_EQ(MustRun().full_statuses, 3u);
}

TEST_F(RollupTest, AnUpstreamWithoutRollupsIsNoError) {
  simulator_.protocol_version = "1.2";
  EXPECT_FALSE(MustRun().offered);
  EXPECT_EQ(simulator_.Count("GetRollupConfiguration"), 0);
  simulator_.protocol_version = "1.20";
  simulator_.offers_rollup = false;
  EXPECT_FALSE(MustRun().offered);
  EXPECT_EQ(simulator_.Count("RollupDownstreamServers"), 0);
}

TEST(TakesRollups, ComparesIntegers) {
  EXPECT_FALSE(TakesRollups("1.1"));
  EXPECT_FALSE(TakesRollups("1.2"));
  EXPECT_TRUE(TakesRollups("1.3"));
  EXPECT_TRUE(TakesRollups("1.20"));  // newer than 1.8
  EXPECT_TRUE(TakesRollups("2.0"));
}

TEST_F(RollupTest, ComputersDeletedAboveStayAwayUntilTheyRegisterAgain) {
  simulator_.deleted_computers = {"pc-3"};
  EXPECT_EQ(MustRun().deleted_upstream, 1u);
  EXPECT_FALSE(simulator_.states.contains("pc-3"));
  simulator_.deleted_computers.clear();
  EXPECT_EQ(MustRun().computers, 2u);
  EXPECT_FALSE(simulator_.computers.contains("pc-3"));
  mirror::Computer again = *activity_->FindByIdOrName("pc-3");
  again.registered_at = mirror_->clock().Now() + std::chrono::hours(1);
  ASSERT_TRUE(activity_->PutComputer(again).has_value());
  MustRun();
  EXPECT_TRUE(simulator_.computers.contains("pc-3"));
  EXPECT_TRUE(simulator_.states.contains("pc-3"));
}

TEST_F(RollupTest, ServersBelowAreToldOfDeletions) {
  const Guid server = *Guid::Parse("77777777-0000-4000-8000-000000000001");
  ASSERT_TRUE(activity_->ServerContact(server, "below").has_value());
  auto computer = *activity_->FindByIdOrName("pc-3");
  computer.parent_server = server;
  ASSERT_TRUE(activity_->PutComputer(computer).has_value());
  simulator_.deleted_computers = {"pc-3"};
  EXPECT_EQ(MustRun().deleted_upstream, 1u);
  EXPECT_FALSE(activity_->Find("pc-3")->has_value());
  protocol::RollupComputersRequest told;
  told.client_time = clock_.Now();
  told.computers.resize(1);
  told.computers[0].computer_id = "pc-3";
  told.computers[0].parent_server_id = server;
  told.computers[0].last_sync_time = kThen;
  const auto changes = activity_->RollupComputers(told);
  ASSERT_TRUE(changes.has_value());
  ASSERT_EQ(changes->size(), 1u);
  EXPECT_EQ((*changes)[0].change, protocol::ComputerChange::kDeleted);
}

// ---- Servers and what is below -----------------------------------------------------------------

TEST_F(RollupTest, ParentsComeBeforeChildrenAndTheSenderLast) {
  const auto guid = [](int n) {
    Guid id = kSite;
    id.bytes[15] = static_cast<std::uint8_t>(n);
    return id;
  };
  // 0x20 below 0x30 below the site; 0x40 below nobody known; 0x50 and 0x51 below each other.
  for (const auto& [id, parent] : {std::pair{guid(0x20), guid(0x30)},
                                   {guid(0x30), kSite},
                                   {guid(0x40), guid(0x41)},
                                   {guid(0x50), guid(0x51)},
                                   {guid(0x51), guid(0x50)}}) {
    mirror::DownstreamServer server;
    server.id = id;
    server.parent = parent;
    ASSERT_TRUE(activity_->PutServer(server).has_value());
  }
  auto orphan = *activity_->FindByIdOrName("pc-1");
  orphan.parent_server = guid(0x99);
  ASSERT_TRUE(activity_->PutComputer(orphan).has_value());
  MustRun();
  std::set<Guid> told = {mirror_->identity().guid};  // by authorization
  for (const auto& server : simulator_.servers) {
    EXPECT_TRUE(server.parent_server_id.IsZero() || told.contains(server.parent_server_id));
    told.insert(server.server_id);
  }
  EXPECT_EQ(simulator_.servers.size(), 7u);
  EXPECT_EQ(simulator_.servers.back().server_id, mirror_->identity().guid);
  EXPECT_EQ(simulator_.computers.at("pc-1").parent_server_id, mirror_->identity().guid);
  // One that has told nothing yet must not keep out what it will tell.
  EXPECT_EQ(simulator_.rolled_up.at(guid(0x40)), kNever);
}

TEST_F(RollupTest, GroupsAreToldOnlyByAReplica) {
  auto computer = *activity_->FindByIdOrName("pc-1");
  computer.details.target_group_ids = {kUpdate};
  ASSERT_TRUE(activity_->PutComputer(computer).has_value());
  MustRun();
  EXPECT_EQ(simulator_.computers.at("pc-1").details->target_group_ids,
            (std::vector<Guid>{mirror::kUnassignedComputers}));
}

// ---- Limits ------------------------------------------------------------------------------------

TEST_F(RollupTest, KeepsToWhatTheUpstreamAnnounces) {
  simulator_.computers_limit = 1;
  simulator_.status_limit = 1;
  simulator_.out_of_sync_limit = 2;
  simulator_.servers_limit = 1;
  MustRun();
  EXPECT_EQ(simulator_.computer_requests.size(), 3u);
  EXPECT_EQ(simulator_.status_requests.size(), 3u);
  EXPECT_EQ(simulator_.out_of_sync_requests.size(), 2u);
  EXPECT_EQ(simulator_.server_requests.size(), 2u);
}

TEST_F(RollupTest, LimitsThatMakeNoSenseAreNoReasonToStop) {
  for (const std::int32_t limit : {0, -1, INT32_MIN, INT32_MAX}) {
    simulator_.computers_limit = simulator_.status_limit = limit;
    simulator_.out_of_sync_limit = simulator_.servers_limit = limit;
    simulator_.reset_guid = Guid::Random();
    MustRun();
    EXPECT_EQ(simulator_.computer_requests.back().computers.size(), 3u) << limit;
  }
}

TEST(SplitServers, DividesOnlyWhatIsLargerThanTheLimit) {
  std::vector<protocol::DownstreamServerRollup> servers(4);
  servers[0].client_summaries.resize(2);
  servers[1].client_summaries.resize(2);
  servers[2].client_summaries.resize(7);
  servers[2].last_rollup_time = kThen;
  for (std::size_t i = 0; i < 7; ++i) {
    servers[2].client_summaries[i].os_build_number = static_cast<std::int32_t>(i);
  }
  const auto requests = SplitServers(std::move(servers), 3);
  std::vector<std::vector<std::size_t>> sizes;
  for (const auto& request : requests) {
    auto& row = sizes.emplace_back();
    for (const auto& server : request) row.push_back(server.client_summaries.size());
  }
  EXPECT_EQ(sizes, (std::vector<std::vector<std::size_t>>{{2}, {2}, {3}, {3}, {1, 0}}));
  for (std::size_t i = 2; i < 5; ++i) EXPECT_EQ(requests[i][0].last_rollup_time, kThen);
  EXPECT_EQ(requests[4][0].client_summaries[0].os_build_number, 6);
}

TEST(SplitServers, CountsServersToo) {
  EXPECT_EQ(SplitServers(std::vector<protocol::DownstreamServerRollup>(7), 3).size(), 3u);
}

TEST(SplitServers, TellsManyUpdatesOfOneKindInPieces) {
  std::vector<protocol::DownstreamServerRollup> servers(1);
  servers[0].client_summaries.resize(1);
  servers[0].client_summaries[0].count = 9;
  servers[0].client_summaries[0].activity.resize(12'000);
  const auto requests = SplitServers(std::move(servers), 2);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0][0].client_summaries[1].activity.size(), 5'000u);
  EXPECT_EQ(requests[1][0].client_summaries[0].activity.size(), 2'000u);
  EXPECT_EQ(requests[1][0].client_summaries[0].count, 9);
}

// ---- Busy upstreams ----------------------------------------------------------------------------

TEST_F(RollupTest, WaitsOneToFiveMinutesForABusyUpstream) {
  simulator_.busy = 3;
  const RollupReport report = MustRun();
  EXPECT_FALSE(report.busy);
  ASSERT_EQ(waits_.size(), 3u);
  for (const auto wait : waits_) {
    EXPECT_GE(wait, std::chrono::minutes(1));
    EXPECT_LE(wait, std::chrono::minutes(5) + std::chrono::seconds(1));
  }
  // The same message each time.
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(simulator_.status_requests[i].computers[0].instance_id,
              simulator_.status_requests[0].computers[0].instance_id);
  }
}

TEST_F(RollupTest, LeavesTheRestToTheNextRollupAfterFourAttempts) {
  simulator_.busy = 4;
  EXPECT_TRUE(MustRun().busy);
  EXPECT_EQ(simulator_.status_requests.size(), 4u);
  const RollupReport next = MustRun();
  EXPECT_FALSE(next.busy);
  EXPECT_EQ(next.full_statuses, 3u);
}

TEST_F(RollupTest, ServerBusyIsWaitedForOnEveryCall) {
  PutInstalls(5);
  for (const char* operation : {"RollupDownstreamServers", "RollupComputers",
                                "GetOutOfSyncComputers", "RollupComputerStatus"}) {
    simulator_.faults[operation] = {FaultCode::kServerBusy, FaultCode::kServerBusy};
  }
  MustRun();
  EXPECT_EQ(waits_.size(), 8u);
  EXPECT_EQ(simulator_.installs, 5);
}

TEST_F(RollupTest, EachAttemptTellsItsOwnTime) {
  simulator_.lost_requests["RollupComputers"] = 1;
  simulator_.on_call = [&](std::string_view) { Later(std::chrono::minutes(2)); };
  MustRun();
  std::set<UtcTime> times;
  for (const auto& request : simulator_.computer_requests) times.insert(request.client_time);
  EXPECT_EQ(times.size(), simulator_.computer_requests.size());
}

TEST_F(RollupTest, OtherFaultsEndTheRollup) {
  simulator_.faults["RollupComputers"] = {FaultCode::kInvalidParameters};
  const auto report = Run();
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(protocol::FaultCodeOf(report.error()), FaultCode::kInvalidParameters);
  EXPECT_TRUE(waits_.empty());
}

// ---- Install counts ----------------------------------------------------------------------------

TEST_F(RollupTest, InstallsAreCountedOnce) {
  PutInstalls(5);
  EXPECT_EQ(MustRun().installs, 5u);
  EXPECT_EQ(MustRun().installs, 0u);
  EXPECT_EQ(simulator_.installs, 5);
  Later(std::chrono::hours(1));
  PutInstalls(7);
  MustRun();
  EXPECT_EQ(simulator_.installs, 7);
}

TEST_F(RollupTest, CountersThatBeganAnewAreCountedFromZero) {
  PutInstalls(5);
  MustRun();
  Later(std::chrono::hours(1));
  PutInstalls(2);
  MustRun();
  MustRun();
  EXPECT_EQ(simulator_.installs, 7);
}

TEST_F(RollupTest, InstallsOfARefusedRequestAreSentAgain) {
  PutInstalls(5);
  simulator_.faults["RollupDownstreamServers"] = {FaultCode::kInternalServerError};
  EXPECT_FALSE(Run().has_value());
  EXPECT_EQ(simulator_.installs, 0);
  MustRun();
  EXPECT_EQ(simulator_.installs, 5);
}

// The request arrived or not, nobody knows: what is counted is right in both cases, also over a
// crash, repeated losses and more installs in between.
TEST_F(RollupTest, InstallsOfAnUnansweredRequestAreCountedOnce) {
  for (auto* lost : {&simulator_.lost_answers, &simulator_.lost_requests}) {
    for (int times = 1; times <= 3; ++times) {
      Later(std::chrono::hours(1));
      PutInstalls(simulator_.installs + 5);
      const std::int64_t expected = simulator_.installs + 5;
      (*lost)["RollupDownstreamServers"] = times;
      for (int i = 0; i < times; ++i) EXPECT_FALSE(Run().has_value());
      Open();  // another process
      EXPECT_EQ(MustRun().uncertain_installs, 0u);
      EXPECT_EQ(simulator_.installs, expected) << times;
      Later(std::chrono::hours(1));
      PutInstalls(expected + 2);
      MustRun();
      EXPECT_EQ(simulator_.installs, expected + 2) << times;
    }
  }
}

// A repetition that is certainly not taken costs none of the moments that are left for one.
TEST_F(RollupTest, AnUpstreamThatRefusesARepetitionForLongLosesNothing) {
  PutInstalls(5);
  MustRun();
  Later(std::chrono::hours(1));
  PutInstalls(8);
  simulator_.lost_requests["RollupDownstreamServers"] = 1;
  EXPECT_FALSE(Run().has_value());
  for (int i = 0; i < 8; ++i) {
    Later(std::chrono::hours(1));
    simulator_.faults["RollupDownstreamServers"] = {FaultCode::kInternalServerError};
    EXPECT_FALSE(Run().has_value());
  }
  EXPECT_EQ(MustRun().uncertain_installs, 0u);
  EXPECT_EQ(simulator_.installs, 8);
}

TEST_F(RollupTest, InstallsThatCannotBeSettledAreLostRatherThanCountedTwice) {
  PutInstalls(5);
  MustRun();
  Later(std::chrono::minutes(1));  // too near to tell the two apart
  PutInstalls(8);
  simulator_.lost_answers["RollupDownstreamServers"] = 1;
  EXPECT_FALSE(Run().has_value());
  const RollupReport report = MustRun();
  EXPECT_EQ(report.uncertain_installs, 3u);
  EXPECT_EQ(simulator_.installs, 8);
}

// ---- Interruptions -----------------------------------------------------------------------------

TEST_F(RollupTest, GoesOnAfterAnInterruption) {
  std::stop_source stop;
  simulator_.on_call = [&](std::string_view operation) {
    if (operation == "RollupComputerStatus") stop.request_stop();
  };
  const auto cut = Run({}, stop.get_token());
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(simulator_.states.size(), 2u);
  simulator_.on_call = nullptr;
  const RollupReport report = MustRun();
  EXPECT_EQ(report.computers_changed, 0u);
  EXPECT_EQ(report.full_statuses, 1u);
  EXPECT_EQ(simulator_.states.size(), 3u);
}

TEST_F(RollupTest, DryRunAsksNobody) {
  RollupOptions options;
  options.dry_run = true;
  const RollupReport report = MustRun(options);
  EXPECT_EQ(report.computers, 3u);
  EXPECT_EQ(report.full_statuses, 3u);
  EXPECT_TRUE(simulator_.calls.empty());
  EXPECT_FALSE(mirror_->jobs().Last("rollup")->has_value());
}

// ---- Fields ------------------------------------------------------------------------------------

TEST(Fit, CutsAtCharactersAsWindowsCountsThem) {
  EXPECT_EQ(protocol::CutCharacters("abc", 3), "abc");
  EXPECT_EQ(protocol::CutCharacters("abcd", 3), "abc");
  EXPECT_EQ(protocol::CutCharacters("a\xC3\xA4\xC3\xA4", 2), "a\xC3\xA4");
  EXPECT_EQ(protocol::CutCharacters("a\xF0\x9F\x98\x80", 2), "a");  // two units
  EXPECT_EQ(protocol::CutCharacters("a\xF0\x9F\x98\x80", 3), "a\xF0\x9F\x98\x80");
}

TEST(Fit, LetsVersionsBeNumbers) {
  for (const char* good : {"1", "0.1.0", "10.0.26100.1", "3.0.6000.374"}) {
    EXPECT_EQ(protocol::FitVersion(good), good);
  }
  for (const char* bad : {"", "1.", ".1", "1.2.3.4.5", "v1", "1.x", "-1", "1..2",
                          "0000000000000000000000000000000001"}) {
    EXPECT_EQ(protocol::FitVersion(bad), "0.0.0.0") << bad;
  }
  EXPECT_EQ(protocol::FitVersion(ProgramVersion()), ProgramVersion());
}

TEST(Fit, BringsNumbersAndTimesIntoTheirTypes) {
  protocol::ComputerRollupDetails details;
  details.suite_mask = 70'000;
  details.old_product_type = -1;
  details.os_build_number = -5;
  details.bios_release_date = UtcTime{kNever.ticks - 1};
  details.client_version = std::string(30, '1');
  details.processor_architecture = std::string(60, 'x');
  const auto fit = protocol::Fit(details);
  EXPECT_EQ(fit.suite_mask, 32'767);
  EXPECT_EQ(fit.old_product_type, 0);
  EXPECT_EQ(fit.os_build_number, 0);
  EXPECT_EQ(fit.bios_release_date, kNever);
  EXPECT_EQ(fit.client_version.size(), 20u);
  EXPECT_EQ(fit.processor_architecture.size(), 50u);
}

}  // namespace
}  // namespace gapferry::exporter
