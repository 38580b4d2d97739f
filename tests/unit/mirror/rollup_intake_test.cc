#include "mirror/rollup_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "mirror/activity_rows.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

const Guid kSelf = TestGuid(0xf, 1);
const Guid kServer = TestGuid(0x5, 5);
const Guid kChild = TestGuid(0x6, 6);
const Guid kSite = TestGuid(0x7, 7);
const Guid kUpdate = TestGuid(0xa, 1);

class RollupIntakeTest : public testing::Test {
 protected:
  RollupIntakeTest() : activity_(Open()) {
    EXPECT_TRUE(activity_.ServerContact(kServer, "below"));
    clock_.Set(clock_.Now() + seconds(100));
  }
  Activity Open() {
    auto activity = Activity::Open(dir_.path() / "activity.db", clock_, {});
    EXPECT_TRUE(activity.has_value()) << activity.error().message;
    return std::move(*activity);
  }
  RollupIntake Intake() {
    return {[this](const ActivityWriter::Work& work) -> Result<void> {
              if (works_ == fail_at_) return Fail(ErrorCode::kNoSpace, "disk is full");
              ++works_;
              const auto since = std::chrono::steady_clock::now();
              auto done = InWrite(activity_.db(), [&] { return work(activity_); });
              longest_ = std::max(longest_, std::chrono::steady_clock::now() - since);
              return done;
            },
            kSelf};
  }

  protocol::DownstreamServerRollup Server(const Guid& id, const Guid& parent = {}) {
    protocol::DownstreamServerRollup server;
    server.server_id = id;
    server.parent_server_id = parent;
    server.full_domain_name = "name";
    server.last_rollup_time = clock_.Now();
    return server;
  }
  Result<void> Tell(std::vector<protocol::DownstreamServerRollup> servers) {
    protocol::RollupDownstreamServersRequest request;
    request.client_time = clock_.Now();
    request.servers = std::move(servers);
    return Intake().Servers(request);
  }
  protocol::ComputerRollup Pc(const std::string& id, bool details = true) {
    protocol::ComputerRollup told;
    told.computer_id = id;
    told.parent_server_id = kServer;
    told.last_sync_time = clock_.Now();
    told.last_reported_reboot_time = told.last_reported_status_time = told.last_inventory_time =
        kNever;
    if (details) {
      told.details.emplace();
      told.details->full_domain_name = id + ".example";
      told.details->bios_release_date = kNever;
    }
    return told;
  }
  Result<std::vector<protocol::ChangedComputer>> TellAll(
      std::vector<protocol::ComputerRollup> computers) {
    protocol::RollupComputersRequest request;
    request.client_time = clock_.Now();
    request.computers = std::move(computers);
    return Intake().Computers(request);
  }
  std::vector<protocol::ChangedComputer> MustTell(std::vector<protocol::ComputerRollup> computers) {
    auto changes = TellAll(std::move(computers));
    EXPECT_TRUE(changes.has_value()) << changes.error().message;
    return changes.value_or(std::vector<protocol::ChangedComputer>());
  }
  protocol::RollupComputerStatusRequest Status(const std::string& id, std::int32_t number,
                                               bool full) {
    protocol::RollupComputerStatusRequest request;
    request.client_time = clock_.Now();
    request.parent_server_id = kServer;
    auto& one = request.computers.emplace_back();
    one.computer_id = id;
    one.rollup_number = number;
    one.is_full_rollup = full;
    one.effective_last_detection_time = clock_.Now();
    one.update_status = {{kUpdate, 2, clock_.Now()}};
    return request;
  }
  void Register(const std::string& id) {
    protocol::ComputerInfo info;
    info.bios_release_date = kNever;
    ASSERT_TRUE(activity_.Register(id, info, "10.0.0.1", {}));
  }
  void PutSite() {
    DownstreamServer site;
    site.id = site.site = kSite;
    ASSERT_TRUE(activity_.PutServer(site));
    DownstreamServer below;
    below.id = kChild;
    below.parent = below.site = kSite;
    ASSERT_TRUE(activity_.PutServer(below));
  }

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Activity activity_;
  int works_ = 0;
  int fail_at_ = -1;
  std::chrono::steady_clock::duration longest_{};
};

// ---- Servers -----------------------------------------------------------------------------------

TEST_F(RollupIntakeTest, NobodySpeaksForThisServerOrForNone) {
  EXPECT_EQ(Tell({Server(kSelf)}).error().reason, "bad-rollup");
  EXPECT_EQ(Tell({Server(Guid{})}).error().reason, "bad-rollup");
  EXPECT_EQ(activity_.Servers()->size(), 1U);
  ASSERT_TRUE(Tell({Server(kChild, kSelf)}));  // the same as zero
  EXPECT_TRUE(activity_.FindServer(kChild).value()->parent.IsZero());
}

TEST_F(RollupIntakeTest, ServersAreNotBelowThemselves) {
  EXPECT_EQ(Tell({Server(kChild, kChild)}).error().reason, "bad-rollup");
  EXPECT_EQ(Tell({Server(kServer, kChild), Server(kChild, kServer)}).error().reason,
            "unknown-parent");  // parents come before children
  ASSERT_TRUE(Tell({Server(kChild, kServer)}));
  EXPECT_EQ(Tell({Server(kServer, kChild)}).error().reason, "bad-rollup");
  EXPECT_TRUE(activity_.FindServer(kServer).value()->parent.IsZero());
}

TEST_F(RollupIntakeTest, ALongLineOfServersEnds) {
  std::vector<protocol::DownstreamServerRollup> line = {Server(kServer)};
  for (std::uint8_t i = 0; i < 100; ++i)
    line.push_back(Server(TestGuid(0x8, i), line.back().server_id));
  EXPECT_EQ(Tell(line).error().reason, "bad-rollup");
}

TEST_F(RollupIntakeTest, WhatASiteReturnsIsNotToldOverTheNetwork) {
  PutSite();
  EXPECT_EQ(Tell({Server(kSite)}).error().reason, "bad-rollup");
  EXPECT_EQ(Tell({Server(kChild)}).error().reason, "bad-rollup");
  EXPECT_EQ(Tell({Server(TestGuid(9, 9), kSite)}).error().reason, "unknown-parent");
  auto computer = Pc("pc");
  computer.parent_server_id = kSite;
  EXPECT_EQ(TellAll({computer}).error().reason, "unknown-parent");
  ASSERT_TRUE(activity_.ServerContact(kChild, "mine"));  // anybody can say a GUID
  EXPECT_EQ(activity_.FindServer(kChild).value()->parent, kSite);
}

TEST_F(RollupIntakeTest, AnotherParentIsBelievedWhenItIsLaterNews) {
  ASSERT_TRUE(activity_.ServerContact(kChild, "direct"));
  auto old = Server(kChild, kServer);
  old.last_rollup_time = clock_.Now() - seconds(5);
  ASSERT_TRUE(Tell({old}));
  EXPECT_TRUE(activity_.FindServer(kChild).value()->parent.IsZero());
  clock_.Set(clock_.Now() + seconds(5));
  ASSERT_TRUE(Tell({Server(kChild, kServer)}));
  EXPECT_EQ(activity_.FindServer(kChild).value()->parent, kServer);
}

TEST_F(RollupIntakeTest, TimesOfTheFutureAndOddValuesAreCut) {
  auto server = Server(kServer);
  server.last_rollup_time = clock_.Now() + hours(24 * 365 * 14);
  server.last_sync_time = kEndOfTime;
  server.version = "10.0.x";
  server.full_domain_name = std::string(1000, 'n') + "\n";
  server.summary.emplace().update_count = -5;
  server.client_summaries.resize(1);
  server.client_summaries[0].count = -1;
  server.client_summaries[0].suite_mask = 1 << 20;
  server.client_summaries[0].activity = {{{kUpdate, 1}, -3, INT32_MAX}};
  ASSERT_TRUE(Tell({server}));
  const auto known = *activity_.FindServer(kServer).value();
  EXPECT_EQ(known.last_rollup_time, clock_.Now());
  EXPECT_EQ(known.last_sync_time, clock_.Now());
  EXPECT_EQ(known.version, "0.0.0.0");
  EXPECT_LE(known.name.size(), 260U);
  EXPECT_EQ(known.summary->update_count, 0);
  EXPECT_EQ(known.clients[0].count, 0);
  EXPECT_EQ(known.clients[0].suite_mask, INT16_MAX);
  const auto installs = activity_.InstallActivities().value();
  EXPECT_EQ(installs[0].success_total, 0);
  EXPECT_EQ(installs[0].failure_total, INT32_MAX);
  clock_.Set(clock_.Now() + seconds(1));
  server.full_domain_name = "later";
  server.last_rollup_time = clock_.Now();
  ASSERT_TRUE(Tell({server}));  // nothing of the future keeps it out
  EXPECT_EQ(activity_.FindServer(kServer).value()->name, "later");
}

// Everything up to the last step may fail: activity is there as a whole or not at all.
TEST_F(RollupIntakeTest, ActivityIsAddedAsAWholeOrNotAtAll) {
  std::int64_t expected = 0;
  for (fail_at_ = 0;; ++fail_at_) {
    clock_.Set(clock_.Now() + seconds(60));
    auto server = Server(kServer);
    server.client_summaries.resize(2);
    server.client_summaries[1].os_build_number = 7;
    for (auto& kind : server.client_summaries) {
      for (std::int32_t i = 0; i < 1300; ++i) kind.activity.push_back({{kUpdate, i}, 1, 0});
    }
    works_ = 0;
    const bool taken = Tell({server}).has_value();
    const int last_failure = std::exchange(fail_at_, -1);
    ASSERT_TRUE(Intake().Recover());
    fail_at_ = last_failure;
    const auto activities = activity_.InstallActivities().value();
    std::int64_t sum = 0;
    for (const auto& one : activities) sum += one.success_total;
    ASSERT_TRUE(sum == expected || sum == expected + 2600)
        << "failed at " << fail_at_ << ": " << sum;
    if (taken) {
      EXPECT_EQ(sum, expected + 2600);
      break;
    }
    expected = sum;
  }
  EXPECT_GT(works_, 6);  // in pieces
  EXPECT_EQ(*activity_.db().QueryInt("SELECT count(*) FROM incoming_activity"), 0);
  EXPECT_EQ(*activity_.db().QueryInt("SELECT count(*) FROM incoming_batch"), 0);
}

TEST_F(RollupIntakeTest, ManyKindsOfComputersAreMergedQuicklyAndNotWithoutEnd) {
  auto server = Server(kServer);
  server.client_summaries.resize(5000);
  for (int part = 0; part < 2; ++part) {
    for (int i = 0; i < 5000; ++i) {
      server.client_summaries[static_cast<std::size_t>(i)].os_build_number = part * 5000 + i;
    }
    ASSERT_TRUE(Tell({server}));
  }
  EXPECT_EQ(activity_.FindServer(kServer).value()->clients.size(), 10'000U);
  server.client_summaries[0].os_build_number = 1'000'000;
  EXPECT_EQ(Tell({server}).error().reason, "bad-rollup");
}

// ---- Computers ---------------------------------------------------------------------------------

TEST_F(RollupIntakeTest, OurOwnComputersAreTakenOverOnlyByLaterNews) {
  Register("pc");
  EXPECT_THAT(MustTell({Pc("pc")}), IsEmpty());
  EXPECT_TRUE(activity_.Find("pc").value()->parent_server.IsZero());
  ASSERT_TRUE(Intake().Status(Status("pc", 1, true)));
  EXPECT_THAT(activity_.StatusOf("pc").value(), IsEmpty());  // not the caller's
  clock_.Set(clock_.Now() + seconds(1));
  EXPECT_THAT(MustTell({Pc("pc")}), IsEmpty());
  EXPECT_EQ(activity_.Find("pc").value()->parent_server, kServer);
  ASSERT_TRUE(activity_.Contact("pc", "10.0.0.2"));
  EXPECT_TRUE(activity_.Find("pc").value()->parent_server.IsZero());  // it is back
}

TEST_F(RollupIntakeTest, AParentThatIsNoServerBelowFaultsTheBatch) {
  for (const Guid& parent : {Guid{}, kSelf, kChild}) {
    auto orphan = Pc("orphan");
    orphan.parent_server_id = parent;
    EXPECT_EQ(TellAll({Pc("good"), orphan}).error().reason, "unknown-parent");
  }
  EXPECT_FALSE(activity_.Find("good").value().has_value());
}

TEST_F(RollupIntakeTest, OddComputersAreCutOrRefused) {
  EXPECT_EQ(TellAll({Pc("")}).error().reason, "bad-rollup");
  EXPECT_EQ(TellAll({Pc(std::string(257, 'x'))}).error().reason, "bad-rollup");
  auto odd = Pc("odd");
  odd.last_sync_result = 77;
  odd.last_inventory_time = kEndOfTime;
  odd.details->computer_make = std::string(63, 'm') + "\xF0\x9F\x98\x80";  // two UTF-16 units
  odd.details->old_product_type = 1000;
  odd.details->requested_target_group_names.assign(5000, std::string(300, 'g'));
  odd.details->target_group_ids.assign(5000, kUpdate);
  MustTell({odd});
  const auto known = *activity_.Find("odd").value();
  EXPECT_EQ(known.last_sync_result, 0);
  EXPECT_EQ(known.last_inventory, clock_.Now());
  EXPECT_EQ(known.details.computer_make, std::string(63, 'm'));
  EXPECT_EQ(known.details.old_product_type, 255);
  EXPECT_EQ(known.details.requested_target_group_names.size(), 100U);
  EXPECT_EQ(known.details.requested_target_group_names[0].size(), 256U);
  EXPECT_EQ(known.details.target_group_ids.size(), 100U);
}

TEST_F(RollupIntakeTest, AnAnswerNamesAComputerOnce) {
  const auto changes = MustTell({Pc("pc", false), Pc("PC", false), Pc("other", false)});
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].computer_id, "pc");
  EXPECT_EQ(changes[1].computer_id, "other");
}

TEST_F(RollupIntakeTest, OlderRecordsArePassedOverAndEqualOnesAreTaken) {
  MustTell({Pc("pc")});
  auto again = Pc("pc");
  again.details->full_domain_name = "equal";
  MustTell({again});
  EXPECT_EQ(activity_.Find("pc").value()->details.full_domain_name, "equal");
  again.details->full_domain_name = "older";
  again.last_sync_time = clock_.Now() - seconds(1);
  MustTell({again});
  EXPECT_EQ(activity_.Find("pc").value()->details.full_domain_name, "equal");
}

TEST_F(RollupIntakeTest, WhatWasDeletedIsSaidForAWhile) {
  MustTell({Pc("pc")});
  ASSERT_TRUE(activity_.RemoveComputer("pc"));
  auto changes = MustTell({Pc("pc")});
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].change, protocol::ComputerChange::kDeleted);
  auto stale = Pc("pc");
  clock_.Set(clock_.Now() + kDeletedKept + seconds(1));
  EXPECT_THAT(MustTell({stale}), IsEmpty());
  EXPECT_TRUE(activity_.Find("pc").value().has_value());
}

TEST_F(RollupIntakeTest, AMinuteOfDifferenceIsNoFault) {
  protocol::RollupComputersRequest request;
  request.client_time = clock_.Now() - seconds(60);
  request.computers = {Pc("same"), Pc("early")};
  request.computers[0].last_sync_time = request.client_time;
  request.computers[1].last_inventory_time = UtcTime{kNever.ticks - 5};
  ASSERT_TRUE(Intake().Computers(request));
  EXPECT_EQ(activity_.Find("same").value()->last_sync_time, clock_.Now() - seconds(60));
  EXPECT_EQ(activity_.Find("early").value()->last_inventory, kNever);
  request.client_time = clock_.Now() - seconds(61);
  request.computers = {Pc("off")};
  request.computers[0].last_sync_time = request.client_time - seconds(9);
  request.computers[0].last_reported_status_time = request.client_time - seconds(8);
  ASSERT_TRUE(Intake().Computers(request));
  EXPECT_EQ(activity_.Find("off").value()->last_sync_time, clock_.Now() - seconds(9));
  EXPECT_EQ(activity_.Find("off").value()->last_reported_status, clock_.Now() - seconds(8));
}

// ---- Status ------------------------------------------------------------------------------------

TEST_F(RollupIntakeTest, StatusIsTakenOfTheCallersComputersOnly) {
  ASSERT_TRUE(Tell({Server(kChild, kServer), Server(TestGuid(9, 9))}));
  auto deep = Pc("deep");
  deep.parent_server_id = kChild;
  MustTell({Pc("pc"), deep});
  auto request = Status("deep", 1, true);
  ASSERT_TRUE(Intake().Status(request));
  EXPECT_EQ(activity_.StatusOf("deep")->size(), 1U);
  request = Status("pc", 3, true);
  request.parent_server_id = TestGuid(9, 9);
  ASSERT_TRUE(Intake().Status(request));
  EXPECT_THAT(activity_.StatusOf("pc").value(), IsEmpty());
  protocol::GetOutOfSyncComputersRequest ask;
  ask.parent_server_id = kServer;
  ask.last_rollup_numbers = {{"pc", 0}, {"deep", 0}, {"nobody", 4}};
  EXPECT_THAT(activity_.OutOfSync(ask).value(), ElementsAre("deep"));  // 1 is not 0
  ask.parent_server_id = TestGuid(9, 9);
  EXPECT_THAT(activity_.OutOfSync(ask).value(), IsEmpty());
  ask.parent_server_id = Guid{};
  EXPECT_THAT(activity_.OutOfSync(ask).value(), IsEmpty());
}

TEST_F(RollupIntakeTest, StatesOutOfRangeAreRefused) {
  MustTell({Pc("pc")});
  for (const std::int32_t state : {-1, 7, INT32_MAX}) {
    auto request = Status("pc", 1, true);
    request.computers[0].update_status[0].state = state;
    EXPECT_EQ(Intake().Status(request).error().reason, "bad-rollup");
  }
  EXPECT_EQ(Intake().Status(Status("pc", -1, true)).error().reason, "bad-rollup");
  auto many = Status("pc", 1, true);
  many.computers[0].update_status.resize(50'001);
  EXPECT_EQ(Intake().Status(many).error().reason, "bad-rollup");
  EXPECT_FALSE(activity_.Find("pc").value()->has_status);
}

TEST_F(RollupIntakeTest, AStateThatIsToldAgainTakesItsTime) {
  MustTell({Pc("pc")});
  ASSERT_TRUE(Intake().Status(Status("pc", 1, true)));
  clock_.Set(clock_.Now() + seconds(5));
  ASSERT_TRUE(Intake().Status(Status("pc", 2, false)));
  EXPECT_EQ(activity_.StatusOf("pc").value()[0].last_change, clock_.Now());
  const auto before = activity_.Find("pc").value()->status_seq;
  ASSERT_TRUE(Intake().Status(Status("pc", 3, false)));
  EXPECT_EQ(activity_.Find("pc").value()->status_seq, before);  // nothing new to pass on
  EXPECT_EQ(activity_.Find("pc").value()->rollup_number, 3);
}

// Computers with 400 states each, one with 10,000: long, but never long at a stretch.
TEST_F(RollupIntakeTest, ALargeStatusIsTakenInPieces) {
  std::vector<protocol::ComputerRollup> computers;
  protocol::RollupComputerStatusRequest request = Status("pc0", 1, true);
  for (int i = 0; i < 20; ++i) {
    computers.push_back(Pc("pc" + std::to_string(i)));
    auto& one = i == 0 ? request.computers[0] : request.computers.emplace_back();
    one.computer_id = computers.back().computer_id;
    one.rollup_number = 1;
    one.is_full_rollup = true;
    one.update_status.clear();
    for (int row = 0; row < (i == 7 ? 10'000 : 400); ++row) {
      Guid update = TestGuid(0xb, static_cast<std::uint8_t>(row % 251));
      update.bytes[1] = static_cast<std::uint8_t>(row / 251);
      update.bytes[2] = static_cast<std::uint8_t>(row % 256);
      one.update_status.push_back({update, 2 + row % 3, clock_.Now()});
    }
  }
  MustTell(computers);
  works_ = 0;
  ASSERT_TRUE(Intake().Status(request));
  EXPECT_GT(works_, 10);
  EXPECT_EQ(activity_.StatusOf("pc7")->size(), 10'000U);
  EXPECT_EQ(activity_.StatusOf("pc19")->size(), 400U);
  EXPECT_EQ(activity_.Find("pc7").value()->rollup_number, 1);
  // Rows that vanish, in pieces too; a failure in the middle leaves the number behind.
  request.computers = {request.computers[7]};
  request.computers[0].update_status.resize(10);
  request.computers[0].rollup_number = 2;
  works_ = 0;
  fail_at_ = 3;
  EXPECT_FALSE(Intake().Status(request).has_value());
  EXPECT_EQ(activity_.Find("pc7").value()->rollup_number, 1);
  fail_at_ = -1;
  ASSERT_TRUE(Intake().Status(request));
  EXPECT_EQ(activity_.StatusOf("pc7")->size(), 10U);
  EXPECT_EQ(activity_.Find("pc7").value()->rollup_number, 2);
  RecordProperty("longest_ms", static_cast<int>(longest_ / std::chrono::milliseconds(1)));
}

TEST_F(RollupIntakeTest, ARequestOfTheAnnouncedSizeIsTakenInPieces) {
  std::vector<protocol::ComputerRollup> computers;
  for (int i = 0; i < 1500; ++i) computers.push_back(Pc("pc" + std::to_string(i)));
  works_ = 0;
  MustTell(computers);
  EXPECT_EQ(works_, 31);
  EXPECT_EQ(activity_.Counts()->computers, 1500U);
  EXPECT_EQ(activity_.OwnCounts()->computers, 0U);
}

}  // namespace
}  // namespace gapferry::mirror
