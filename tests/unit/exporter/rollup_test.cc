#include "exporter/rollup.h"

#include <gtest/gtest.h>

#include "exporter/rollup_data.h"
#include "mirror/activity.h"
#include "mirror/catalog_load.h"
#include "mirror/intent.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/rollup_state.h"
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
    ASSERT_TRUE(Mirror::Init(directory_, config).has_value());
    auto opened = Mirror::Open(directory_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    mirror_.emplace(std::move(*opened));
    activity_ = *mirror_->activity();
    LoadUpdate();
    PutSite();
    for (const char* id : {"pc-1", "pc-2", "pc-3"}) PutComputer(id);
  }
  void TearDown() override {
    mirror_.reset();
    EXPECT_TRUE(RemoveTree(directory_).has_value());
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
  void PutSite() {
    mirror::DownstreamServer site;
    site.id = kSite;
    site.name = "ship";
    site.first_seen = kThen;
    site.last_rollup_time = kThen;
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
    ASSERT_TRUE(activity_->PutInstallActivity(installs).has_value());
  }

  Result<RollupReport> Run(const RollupOptions& options = {}, std::stop_token stop = {}) {
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
  std::int32_t InstallsAtUpstream() const {
    std::int32_t sum = 0;
    for (const auto& server : simulator_.servers) {
      for (const auto& client : server.client_summaries) {
        for (const auto& one : client.activity) sum += one.install_success_count;
      }
    }
    return sum;
  }

  fs::path directory_;
  UpstreamSimulator simulator_;
  std::optional<Mirror> mirror_;
  mirror::Activity* activity_ = nullptr;
};

TEST_F(RollupTest, TellsServersComputersAndStatus) {
  const RollupReport report = MustRun();
  EXPECT_EQ(report.computers, 3u);
  EXPECT_EQ(report.full_statuses, 3u);
  ASSERT_EQ(simulator_.servers.size(), 2u);
  EXPECT_EQ(simulator_.servers[0].server_id, kSite);
  EXPECT_EQ(simulator_.servers[0].parent_server_id, mirror_->identity().guid);
  EXPECT_EQ(simulator_.servers[0].last_rollup_time, kThen);
  EXPECT_EQ(simulator_.servers[1].server_id, mirror_->identity().guid);
  EXPECT_TRUE(simulator_.servers[1].parent_server_id.IsZero());
  ASSERT_EQ(simulator_.computers.size(), 3u);
  const auto& computer = simulator_.computers.at("pc-1");
  EXPECT_EQ(computer.parent_server_id, kSite);
  ASSERT_TRUE(computer.details.has_value());
  EXPECT_EQ(computer.details->computer_model.size(), 64u);
  EXPECT_EQ(computer.details->target_group_ids, (std::vector<Guid>{mirror::kUnassignedComputers}));
  // What was published inside is unknown to the upstream and stays inside.
  EXPECT_EQ(simulator_.states.at("pc-1"), (std::map<Guid, std::int32_t>{{kUpdate, 2}}));
  EXPECT_EQ(simulator_.calls.front(), "GetAuthConfig");  // the record of the sender comes first
}

TEST_F(RollupTest, ASecondOneTellsOnlyWhatChanged) {
  MustRun();
  const RollupReport nothing = MustRun();
  EXPECT_EQ(nothing.computers, 0u);
  EXPECT_EQ(nothing.full_statuses + nothing.delta_statuses, 0u);
  PutStatus("pc-2", UpdateState::kInstalled);
  const RollupReport delta = MustRun();
  EXPECT_EQ(delta.delta_statuses, 1u);
  EXPECT_EQ(delta.full_statuses, 0u);
  EXPECT_EQ(simulator_.states.at("pc-2").at(kUpdate), 4);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-2"), 2);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 1);
}

TEST_F(RollupTest, HealsWhenTheNumbersDisagree) {
  MustRun();
  simulator_.rollup_numbers["pc-1"] = 17;
  const RollupReport report = MustRun();
  EXPECT_EQ(report.full_statuses, 1u);
  EXPECT_EQ(simulator_.rollup_numbers.at("pc-1"), 2);
}

TEST_F(RollupTest, StartsAfreshWhenTheUpstreamAsks) {
  MustRun();
  simulator_.reset_guid = Guid::Random();
  const RollupReport report = MustRun();
  EXPECT_TRUE(report.everything_again);
  EXPECT_EQ(report.computers, 3u);
  EXPECT_EQ(report.full_statuses, 3u);
}

TEST_F(RollupTest, StopsAtSumsWhenTheUpstreamWantsNoDetail) {
  simulator_.detailed = false;
  const RollupReport report = MustRun();
  EXPECT_FALSE(report.detailed);
  EXPECT_EQ(simulator_.Count("RollupDownstreamServers"), 1);
  EXPECT_EQ(simulator_.Count("RollupComputers"), 0);
}

TEST_F(RollupTest, ComputersDeletedAboveStayAwayUntilTheyRegisterAgain) {
  simulator_.deleted_computers = {"pc-3"};
  EXPECT_EQ(MustRun().deleted_upstream, 1u);
  EXPECT_FALSE(simulator_.states.contains("pc-3"));
  simulator_.deleted_computers.clear();
  MustRun();
  EXPECT_FALSE(simulator_.computers.contains("pc-3"));
  mirror::Computer again = *activity_->FindByIdOrName("pc-3");
  again.registered_at = mirror_->clock().Now() + std::chrono::hours(1);
  ASSERT_TRUE(activity_->PutComputer(again).has_value());
  MustRun();
  EXPECT_TRUE(simulator_.computers.contains("pc-3"));
  EXPECT_TRUE(simulator_.states.contains("pc-3"));
}

TEST_F(RollupTest, InstallsAreCountedOnce) {
  PutInstalls(5);
  MustRun();
  EXPECT_EQ(InstallsAtUpstream(), 5);
  MustRun();
  EXPECT_EQ(InstallsAtUpstream(), 5);
  PutInstalls(7);
  MustRun();
  EXPECT_EQ(InstallsAtUpstream(), 7);
}

TEST_F(RollupTest, InstallsOfARefusedRequestAreSentAgain) {
  PutInstalls(5);
  simulator_.faults["RollupDownstreamServers"] = {FaultCode::kInternalServerError};
  EXPECT_FALSE(Run().has_value());
  EXPECT_EQ(InstallsAtUpstream(), 0);
  MustRun();
  EXPECT_EQ(InstallsAtUpstream(), 5);
}

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
  EXPECT_EQ(report.computers, 0u);
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

TEST(SplitServers, KeepsToTheLimitOfClientSummaries) {
  std::vector<protocol::DownstreamServerRollup> servers(3);
  servers[0].client_summaries.resize(2);
  servers[1].client_summaries.resize(5);
  const auto requests = SplitServers(std::move(servers), 3);
  std::vector<std::vector<std::size_t>> sizes;
  for (const auto& request : requests) {
    auto& row = sizes.emplace_back();
    for (const auto& server : request) row.push_back(server.client_summaries.size());
  }
  EXPECT_EQ(sizes, (std::vector<std::vector<std::size_t>>{{2, 1}, {3}, {1, 0}}));
}

TEST(CutText, EndsAtACharacter) {
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("a\xC3\xA4", 2), "a");
}

}  // namespace
}  // namespace gapferry::exporter
