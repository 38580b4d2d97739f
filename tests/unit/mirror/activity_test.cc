#include "mirror/activity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/text.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using protocol::ReportingEvent;

const Guid kUpdateA = TestGuid(0xa, 1);
const Guid kUpdateB = TestGuid(0xb, 2);
const Guid kServer = TestGuid(0x5, 5);
const Guid kChild = TestGuid(0x6, 6);

class ActivityTest : public testing::Test {
 protected:
  ActivityTest() : activity_(Open()) {}
  Activity Open() {
    auto activity = Activity::Open(dir_.path() / "activity.db", clock_, {});
    EXPECT_TRUE(activity.has_value()) << activity.error().message;
    return std::move(*activity);
  }
  void Register(const std::string& id, const std::string& name) {
    protocol::ComputerInfo info;
    info.dns_name = name;
    info.os_major_version = 10;
    info.os_build_number = 26200;
    info.bios_release_date = kNever;
    ASSERT_TRUE(activity_.Register(id, info, "10.0.0.1", {"Servers"}));
  }
  ReportingEvent Event(const std::string& computer, std::int32_t id,
                       std::vector<std::string> misc = {}, Guid update = {}) {
    ReportingEvent event;
    event.target_sid = computer;
    event.event_instance_id = Guid::Random();
    event.event_id = id;
    event.time_at_target = clock_.Now();
    event.misc_data = std::move(misc);
    event.update = {update, update.IsZero() ? 0 : 200};
    return event;
  }
  UpdateState StateOf(const std::string& computer, const Guid& update) {
    const auto states = activity_.StatusOf(computer).value();
    for (const auto& status : states) {
      if (status.update == update) return status.state;
    }
    return UpdateState::kNotApplicable;
  }
  protocol::ComputerRollup Foreign(const std::string& id, bool details) {
    protocol::ComputerRollup told;
    told.computer_id = id;
    told.parent_server_id = kServer;
    told.last_sync_time = clock_.Now();
    told.last_reported_reboot_time = kNever;
    told.last_reported_status_time = kNever;
    told.last_inventory_time = kNever;
    if (details) {
      told.details.emplace();
      told.details->full_domain_name = id + ".example";
      told.details->bios_release_date = kNever;
    }
    return told;
  }
  std::vector<protocol::ChangedComputer> Rollup(std::vector<protocol::ComputerRollup> computers) {
    protocol::RollupComputersRequest request;
    request.client_time = clock_.Now();
    request.computers = std::move(computers);
    auto changes = activity_.RollupComputers(request);
    EXPECT_TRUE(changes.has_value()) << changes.error().message;
    return changes.value_or(std::vector<protocol::ChangedComputer>());
  }
  Result<void> RollupServer(protocol::DownstreamServerRollup server) {
    protocol::RollupDownstreamServersRequest request;
    request.client_time = clock_.Now();
    request.servers = {std::move(server)};
    return activity_.RollupServers(request);
  }

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Activity activity_;
};

TEST_F(ActivityTest, RegistersComputersAndFindsThemWithoutCase) {
  Register("ABC-1", "pc1.example");
  const auto computer = activity_.Find("abc-1").value();
  ASSERT_TRUE(computer.has_value());
  EXPECT_EQ(computer->details.full_domain_name, "pc1.example");
  EXPECT_EQ(computer->details.os_build_number, 26200);
  EXPECT_THAT(computer->details.requested_target_group_names, testing::ElementsAre("Servers"));
  EXPECT_EQ(activity_.FindByIdOrName("PC1.EXAMPLE")->id, "ABC-1");
  EXPECT_EQ(activity_.FindByIdOrName("other").error().code, ErrorCode::kNotFound);
}

TEST_F(ActivityTest, StatusComesFromTheInventoryEvent) {
  Register("pc", "pc");
  EXPECT_FALSE(activity_.Find("pc").value()->has_status);
  ASSERT_TRUE(activity_.Report("pc", {Event("pc", 156,
                                            {"U=" + ToUpperAscii(kUpdateA.ToString()),
                                             "V=" + kUpdateB.ToString(), "c=1"})}));
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kNotInstalled);
  EXPECT_EQ(StateOf("pc", kUpdateB), UpdateState::kInstalled);
  EXPECT_TRUE(activity_.Find("pc").value()->has_status);
  const auto before = activity_.Find("pc").value()->full_seq;
  ASSERT_TRUE(activity_.Report("pc", {Event("pc", 156, {"V=" + kUpdateB.ToString()})}));
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kNotApplicable);
  EXPECT_GT(activity_.Find("pc").value()->full_seq, before);  // a delta cannot say "gone"
}

TEST_F(ActivityTest, FailureIsSetAtOnceAndSuccessOnlyCounts) {
  Register("pc", "pc");
  ASSERT_TRUE(
      activity_.Report("pc", {Event("pc", 156, {"U=" + kUpdateA.ToString()}),
                              Event("pc", 182, {}, kUpdateA), Event("pc", 183, {}, kUpdateA)}));
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kFailed);
  const auto totals = activity_.InstallActivities().value();
  ASSERT_EQ(totals.size(), 1U);
  EXPECT_EQ(totals[0].success_total, 1);
  EXPECT_EQ(totals[0].failure_total, 1);
  const auto kinds = activity_.ClientSummaries({}).value();
  ASSERT_EQ(kinds.size(), 1U);
  EXPECT_EQ(kinds[0].count, 1);
  EXPECT_EQ(kinds[0].activity.size(), 1U);
}

TEST_F(ActivityTest, RepeatedEventsCountOnce) {
  Register("pc", "pc");
  const auto event = Event("pc", 183, {}, kUpdateA);
  EXPECT_EQ(activity_.Report("pc", {event, event}).value(), 1U);
  EXPECT_EQ(activity_.Report("pc", {event}).value(), 0U);
  EXPECT_EQ(activity_.InstallActivities().value()[0].success_total, 1);
  EXPECT_EQ(activity_.Events("pc", 10)->size(), 1U);
}

TEST_F(ActivityTest, EventsOfAnotherComputerAreRefusedAsAWhole) {
  Register("pc", "pc");
  const auto refused = activity_.Report("pc", {Event("pc", 147), Event("other", 147)});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUntrusted);
  EXPECT_THAT(activity_.Events("pc", 10).value(), testing::IsEmpty());
}

TEST_F(ActivityTest, MalformedInventoryIsKeptButNotBelieved) {
  Register("pc", "pc");
  ASSERT_TRUE(activity_.Report("pc", {Event("pc", 156, {"U=" + kUpdateA.ToString()})}));
  ASSERT_TRUE(activity_.Report("pc", {Event("pc", 156, {"U=nonsense"})}));
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kNotInstalled);
  EXPECT_EQ(activity_.Events("pc", 10)->size(), 2U);
}

TEST_F(ActivityTest, TimesOfTheFutureAreCut) {
  Register("pc", "pc");
  auto event = Event("pc", 156, {"U=" + kUpdateA.ToString()});
  event.time_at_target = clock_.Now() + std::chrono::hours(24 * 365 * 20);
  ASSERT_TRUE(activity_.Report("pc", {event}));
  EXPECT_EQ(activity_.StatusOf("pc").value()[0].last_change, clock_.Now());
}

TEST_F(ActivityTest, ChangeSequencesSelectDeltas) {
  Register("a", "a");
  Register("b", "b");
  const auto sequence = activity_.Sequence().value();
  ASSERT_TRUE(activity_.Report("b", {Event("b", 156, {"U=" + kUpdateA.ToString()})}));
  std::vector<std::string> changed;
  ASSERT_TRUE(activity_.ForEachComputer(sequence, [&](const Computer& c) -> Result<void> {
    changed.push_back(c.id);
    return {};
  }));
  EXPECT_THAT(changed, testing::ElementsAre("b"));
  EXPECT_EQ(activity_.StatusOf("b", sequence)->size(), 1U);
  EXPECT_THAT(activity_.StatusOf("b", activity_.Sequence().value()).value(), testing::IsEmpty());
}

TEST_F(ActivityTest, StatesAreCountedForAllComputersAtOnce) {
  Register("a", "a");
  Register("b", "b");
  Register("c", "c");
  const std::string both = "U=" + kUpdateA.ToString() + ";" + kUpdateB.ToString();
  ASSERT_TRUE(activity_.Report("a", {Event("a", 156, {both})}));
  ASSERT_TRUE(activity_.Report("b", {Event("b", 156, {"V=" + kUpdateA.ToString()})}));
  using Counts = std::map<std::string, Activity::StateCounts>;
  EXPECT_EQ(
      activity_.StateCountsByComputer().value(),
      (Counts{{"a", {{UpdateState::kNotInstalled, 2U}}}, {"b", {{UpdateState::kInstalled, 1U}}}}));
}

TEST_F(ActivityTest, RemovedComputersAreRememberedUntilTheyRegister) {
  Register("pc", "pc");
  ASSERT_TRUE(activity_.RemoveComputer("pc"));
  EXPECT_FALSE(activity_.Find("pc").value().has_value());
  EXPECT_EQ(activity_.DeletedComputers()->size(), 1U);
  EXPECT_EQ(activity_.RemoveComputer("pc").error().code, ErrorCode::kNotFound);
  Register("pc", "pc");
  EXPECT_THAT(activity_.DeletedComputers().value(), testing::IsEmpty());
}

TEST_F(ActivityTest, AScanDoesNotBringBackARemovedComputer) {
  Register("pc", "pc");
  ASSERT_TRUE(activity_.ScanCompleted("pc", 7, clock_.Now()));
  EXPECT_EQ(activity_.Find("pc").value()->scanned_generation, 7);
  ASSERT_TRUE(activity_.RemoveComputer("pc"));
  EXPECT_TRUE(activity_.ScanCompleted("pc", 8, clock_.Now()));
  EXPECT_FALSE(activity_.Find("pc").value().has_value());
  EXPECT_EQ(activity_.DeletedComputers()->size(), 1U);
}

TEST_F(ActivityTest, CountsComputersAndUpdates) {
  Register("a", "a");
  Register("b", "b");
  ASSERT_TRUE(activity_.Report("a", {Event("a", 156, {"U=" + kUpdateA.ToString()})}));
  ASSERT_TRUE(activity_.Report("b", {Event("b", 156, {"V=" + kUpdateA.ToString()})}));
  const auto counts = activity_.Counts().value();
  EXPECT_EQ(counts.computers, 2U);
  EXPECT_EQ(counts.computers_needing_updates, 1U);
  EXPECT_EQ(counts.computers_up_to_date, 1U);
  EXPECT_EQ(activity_.CountsOf(kUpdateA)->needed, 1U);
  EXPECT_EQ(activity_.CountsOf(kUpdateA)->installed, 1U);
  EXPECT_EQ(activity_.CountsByUpdate()->size(), 1U);
  EXPECT_EQ(activity_.ComputersOf(kUpdateA)->size(), 2U);
}

TEST_F(ActivityTest, SurvivesReopening) {
  Register("pc", "pc");
  const auto guid = activity_.RollupResetGuid().value();
  activity_ = Open();
  EXPECT_TRUE(activity_.Find("pc").value().has_value());
  EXPECT_EQ(activity_.RollupResetGuid().value(), guid);
}

// ---- Rollup ------------------------------------------------------------------------------------

TEST_F(ActivityTest, ServersNeedKnownParentsAndTheBatchIsAllOrNothing) {
  protocol::RollupDownstreamServersRequest request;
  request.client_time = clock_.Now();
  request.servers.resize(2);
  request.servers[0].server_id = kServer;
  request.servers[1].server_id = kChild;
  request.servers[1].parent_server_id = TestGuid(9, 9);
  EXPECT_EQ(activity_.RollupServers(request).error().reason, "unknown-parent");
  EXPECT_THAT(activity_.Servers().value(), testing::IsEmpty());
  request.servers[1].parent_server_id = kServer;
  EXPECT_TRUE(activity_.RollupServers(request));
  EXPECT_EQ(activity_.Servers()->size(), 2U);
}

TEST_F(ActivityTest, OlderServerRecordsAreIgnoredAndActivityIsAdded) {
  protocol::DownstreamServerRollup server;
  server.server_id = kServer;
  server.full_domain_name = "new";
  server.last_rollup_time = clock_.Now();
  server.client_summaries.resize(1);
  server.client_summaries[0].count = 5;
  server.client_summaries[0].activity = {{{kUpdateA, 1}, 3, 1}};
  ASSERT_TRUE(RollupServer(server));
  ASSERT_TRUE(RollupServer(server));  // nothing in the protocol detects a repetition
  EXPECT_EQ(activity_.InstallActivities().value()[0].success_total, 6);
  EXPECT_EQ(activity_.FindServer(kServer).value()->clients.size(), 1U);
  server.full_domain_name = "old";
  server.last_rollup_time = clock_.Now() - std::chrono::seconds(30);
  ASSERT_TRUE(RollupServer(server));
  EXPECT_EQ(activity_.FindServer(kServer).value()->name, "new");
  EXPECT_EQ(activity_.InstallActivities().value()[0].success_total, 6);
}

TEST_F(ActivityTest, PartsOfOneServerRecordAreTakenTogether) {
  protocol::DownstreamServerRollup server;
  server.server_id = kServer;
  server.last_rollup_time = clock_.Now();
  server.client_summaries.resize(1);
  server.client_summaries[0].os_build_number = 1;
  ASSERT_TRUE(RollupServer(server));
  server.client_summaries[0].os_build_number = 2;
  ASSERT_TRUE(RollupServer(server));
  EXPECT_EQ(activity_.FindServer(kServer).value()->clients.size(), 2U);
}

TEST_F(ActivityTest, NewComputersNeedDetails) {
  ASSERT_TRUE(activity_.ServerContact(kServer, "site"));
  auto changes = Rollup({Foreign("pc", /*details=*/false)});
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].change, protocol::ComputerChange::kNewParent);
  EXPECT_THAT(Rollup({Foreign("pc", /*details=*/true)}), testing::IsEmpty());
  EXPECT_THAT(Rollup({Foreign("pc", /*details=*/false)}), testing::IsEmpty());
  EXPECT_EQ(activity_.Find("pc").value()->details.full_domain_name, "pc.example");
  auto orphan = Foreign("orphan", true);
  orphan.parent_server_id = kChild;
  protocol::RollupComputersRequest request;
  request.client_time = clock_.Now();
  request.computers = {orphan};
  EXPECT_EQ(activity_.RollupComputers(request).error().reason, "unknown-parent");
}

TEST_F(ActivityTest, DeletedComputersAreSaidToBeDeleted) {
  ASSERT_TRUE(activity_.ServerContact(kServer, "site"));
  Rollup({Foreign("pc", true)});
  ASSERT_TRUE(activity_.RemoveComputer("pc"));
  const auto changes = Rollup({Foreign("pc", true)});
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].change, protocol::ComputerChange::kDeleted);
  clock_.Set(clock_.Now() + std::chrono::hours(1));
  EXPECT_THAT(Rollup({Foreign("pc", true)}), testing::IsEmpty());  // it has scanned since
}

TEST_F(ActivityTest, RollupNumbersFindWhatIsOutOfSync) {
  ASSERT_TRUE(activity_.ServerContact(kServer, "site"));
  Rollup({Foreign("pc", true)});
  protocol::GetOutOfSyncComputersRequest ask;
  ask.parent_server_id = kServer;
  ask.last_rollup_numbers = {{"pc", 1}, {"unknown", 1}};
  EXPECT_THAT(activity_.OutOfSync(ask).value(), testing::ElementsAre("pc"));
  protocol::RollupComputerStatusRequest status;
  status.client_time = clock_.Now();
  status.parent_server_id = kServer;
  status.computers.resize(1);
  status.computers[0].computer_id = "pc";
  status.computers[0].rollup_number = 1;
  status.computers[0].is_full_rollup = true;
  status.computers[0].update_status = {{kUpdateA, 2, clock_.Now()}, {kUpdateB, 1, clock_.Now()}};
  ASSERT_TRUE(activity_.RollupStatus(status));
  EXPECT_THAT(activity_.OutOfSync(ask).value(), testing::IsEmpty());
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kNotInstalled);
  EXPECT_EQ(activity_.StatusOf("pc")->size(), 1U);
  // A delta row older than what is stored is passed over.
  status.computers[0].rollup_number = 2;
  status.computers[0].is_full_rollup = false;
  status.computers[0].update_status = {{kUpdateA, 4, clock_.Now() - std::chrono::seconds(30)}};
  ASSERT_TRUE(activity_.RollupStatus(status));
  EXPECT_EQ(StateOf("pc", kUpdateA), UpdateState::kNotInstalled);
  ask.parent_server_id = kChild;
  EXPECT_THAT(activity_.OutOfSync(ask).value(), testing::IsEmpty());
}

TEST_F(ActivityTest, TheSendersClockIsCorrected) {
  ASSERT_TRUE(activity_.ServerContact(kServer, "site"));
  protocol::RollupComputersRequest request;
  request.client_time = clock_.Now() - std::chrono::hours(5);
  request.computers = {Foreign("pc", true)};
  request.computers[0].last_sync_time = request.client_time - std::chrono::seconds(10);
  ASSERT_TRUE(activity_.RollupComputers(request));
  const auto computer = activity_.Find("pc").value();
  EXPECT_EQ(computer->last_sync_time, clock_.Now() - std::chrono::seconds(10));
  EXPECT_EQ(computer->last_inventory, kNever);  // "never" is no time
}

// ---- Returns -----------------------------------------------------------------------------------

TEST_F(ActivityTest, TheSameReturnTwiceChangesNothing) {
  Register("pc", "pc");
  Computer computer = *activity_.Find("pc").value();
  computer.id = "far";
  computer.parent_server = kServer;
  DownstreamServer server;
  server.id = kServer;
  server.name = "site";
  InstallActivity totals;
  totals.server = kServer;
  totals.update = {kUpdateA, 1};
  totals.success_total = 4;
  const std::vector<UpdateStatus> states = {{kUpdateA, UpdateState::kInstalled, clock_.Now(), 0}};
  const auto apply = [&] {
    ASSERT_TRUE(activity_.PutServer(server));
    ASSERT_TRUE(activity_.PutComputer(computer));
    ASSERT_TRUE(activity_.PutStatus("far", true, states));
    ASSERT_TRUE(activity_.PutInstallActivity(totals));
  };
  apply();
  const auto first = *activity_.Find("far").value();
  const auto seq = activity_.InstallActivities().value()[0].change_seq;
  apply();
  const auto second = *activity_.Find("far").value();
  EXPECT_EQ(first.change_seq, second.change_seq);
  EXPECT_EQ(first.status_seq, second.status_seq);
  EXPECT_EQ(activity_.InstallActivities().value()[0].change_seq, seq);
  EXPECT_EQ(activity_.InstallActivities().value()[0].success_total, 4);
}

// ---- Writer ------------------------------------------------------------------------------------

TEST_F(ActivityTest, WriterCommitsBeforeItTells) {
  auto writer = ActivityWriter::Start(dir_.path() / "activity.db", clock_, {});
  ASSERT_TRUE(writer.has_value());
  const auto done = (*writer)->Run([](Activity& a) { return a.Contact("pc", "10.0.0.2"); });
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(activity_.Find("pc").value().has_value());
}

TEST_F(ActivityTest, WorkThatFailsIsUndoneAlone) {
  auto writer = ActivityWriter::Start(dir_.path() / "activity.db", clock_, {});
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  for (int i = 0; i < 50; ++i) {
    const bool fail = i % 5 == 0;
    ASSERT_TRUE((*writer)->Post(
        [i, fail](Activity& a) -> Result<void> {
          TRY(a.Contact("pc" + std::to_string(i), ""));
          if (fail) return Fail(ErrorCode::kUsage, "no");
          return {};
        },
        [&](Result<void> result) { ++(result ? good : bad); }));
  }
  writer->reset();  // finishes what was posted
  EXPECT_EQ(good, 40);
  EXPECT_EQ(bad, 10);
  EXPECT_EQ(activity_.Counts()->computers, 40U);
}

}  // namespace
}  // namespace gapferry::mirror
