#include <gmock/gmock.h>

#include "importer/acknowledgement.h"
#include "mirror/job_history.h"
#include "mirror/rollup_state.h"
#include "tests/unit/importer/two_mirrors.h"

// What a return may say of servers and computers, and what comes back of it.

namespace gapferry::importer {
namespace {

using std::chrono::hours;
using testing::IsEmpty;

class ReturnIntakeTest : public TwoMirrors {
 protected:
  ReturnIntakeTest() {
    const auto sync = *near_.jobs().Start("sync");
    EXPECT_TRUE(near_.jobs().End(sync, mirror::JobResult::kDone, std::nullopt, "{}").has_value());
    synced_ = clock_.Now();
    clock_.Set(clock_.Now() + hours(1));
    Publish({Plain(1)});
    MustImport(MustExport());
  }
  mirror::Activity& Near() { return **near_.activity(); }
  mirror::Activity& Far() { return **far_.activity(); }
  std::string PutComputer(mirror::Activity& activity, std::uint8_t number,
                          const Guid& parent = {}) {
    mirror::Computer computer;
    computer.id = TestGuid(8, number).ToString();
    computer.parent_server = parent;
    computer.details.bios_release_date = kNever;
    computer.registered_at = computer.last_contact = computer.last_sync_time = clock_.Now();
    computer.has_status = true;
    EXPECT_TRUE(activity.PutComputer(computer).has_value());
    return computer.id;
  }
  Guid ParentOf(const std::string& computer) {
    const auto found = Near().Find(computer);
    return found && *found ? (*found)->parent_server : TestGuid(0xd, 0xd);
  }
  const Guid server_ = TestGuid(5, 5);
  UtcTime synced_;
};

TEST_F(ReturnIntakeTest, ServersOfOthersAreRefused) {
  ASSERT_TRUE(Near().ServerContact(server_, "over the network").has_value());
  ASSERT_TRUE(Far().ServerContact(server_, "claimed").has_value());
  const auto refused = Apply(MustReturn());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "return-foreign-server");
  EXPECT_EQ(Near().FindServer(server_).value()->name, "over the network");
}

TEST_F(ReturnIntakeTest, ServersOfTheSiteComeAgainAndAgain) {
  ASSERT_TRUE(Far().ServerContact(server_, "inside").has_value());
  for (int i = 0; i < 2; ++i) {
    clock_.Set(clock_.Now() + hours(1));
    const auto applied = Apply(MustReturn());
    ASSERT_TRUE(applied.has_value()) << applied.error().message;
    EXPECT_EQ(Near().FindServer(server_).value()->site, far_.identity().guid);
    EXPECT_EQ(Near().FindServer(server_).value()->parent, far_.identity().guid);
  }
}

TEST_F(ReturnIntakeTest, ComputersSeenElsewhereLaterStayThere) {
  const std::string ours = PutComputer(Far(), 1);
  const std::string of_server = PutComputer(Far(), 2);
  const std::string moved = PutComputer(Near(), 3);
  const fs::path file = MustReturn();
  clock_.Set(clock_.Now() + hours(1));
  ASSERT_TRUE(Near().ServerContact(server_, "over the network").has_value());
  PutComputer(Near(), 1);
  PutComputer(Near(), 2, server_);
  const auto applied = Apply(file);
  ASSERT_TRUE(applied.has_value()) << applied.error().message;
  EXPECT_EQ(applied->left_alone, 2u);
  EXPECT_TRUE(ParentOf(ours).IsZero());
  EXPECT_EQ(ParentOf(of_server), server_);
  // Later at the site: it has moved there.
  clock_.Set(clock_.Now() + hours(1));
  PutComputer(Far(), 3);
  ASSERT_EQ(Apply(MustReturn())->left_alone, 2u);
  EXPECT_EQ(ParentOf(moved), far_.identity().guid);
}

TEST_F(ReturnIntakeTest, TimesOfAClockThatIsFarAheadAreOvertaken) {
  const UtcTime now = clock_.Now();
  clock_.Set(now + hours(24 * 365 * 14));
  const std::string computer = PutComputer(Far(), 1);
  mirror::UpdateStatus status{TestGuid(9, 1), mirror::UpdateState::kInstalled, clock_.Now(), 0};
  ASSERT_TRUE(Far().PutStatus(computer, true, {status}).has_value());
  const fs::path file = MustReturn();
  clock_.Set(now + hours(1));
  ASSERT_TRUE(Apply(file).has_value());
  const auto known = *Near().Find(computer).value();
  EXPECT_EQ(known.last_sync_time, clock_.Now());
  EXPECT_EQ(known.registered_at, clock_.Now());
  EXPECT_EQ(Near().StatusOf(computer)->front().last_change, clock_.Now());
  EXPECT_LE(Near().FindServer(far_.identity().guid).value()->last_rollup_time, clock_.Now());
}

TEST_F(ReturnIntakeTest, AClockOfOursThatFellBackCutsNothing) {
  clock_.Set(clock_.Now() + hours(2));
  const UtcTime then = clock_.Now();
  const std::string computer = PutComputer(Far(), 1);
  const fs::path file = MustReturn();
  clock_.Set(UtcTime::FromUnixSeconds(1000));
  ASSERT_TRUE(Apply(file).has_value());
  EXPECT_EQ(Near().Find(computer).value()->last_sync_time, then);
}

// ---- The way back ------------------------------------------------------------------------------

TEST_F(ReturnIntakeTest, ComputersDeletedUpstreamLeaveTheReturnsUntilTheyRegister) {
  const std::string own = PutComputer(Far(), 1);
  ASSERT_TRUE(Far().ServerContact(server_, "inside").has_value());
  const std::string below = PutComputer(Far(), 2, server_);
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  mirror::RollupState told(Near());
  ASSERT_TRUE(told.MarkDeleted({own, below}, clock_.Now()).has_value());
  clock_.Set(clock_.Now() + hours(1));
  Publish({Plain(2)});
  MustImport(MustExport());
  EXPECT_TRUE(Far().Find(own)->has_value());     // served as before
  EXPECT_FALSE(Far().Find(below)->has_value());  // its server is told
  EXPECT_EQ(Far().DeletedComputers()->size(), 1u);
  EXPECT_EQ(Apply(MustReturn())->computers, 0u);
  // Registered again; the next bundle, which has not heard of it, does not undo that.
  clock_.Set(clock_.Now() + hours(1));
  protocol::ComputerInfo info;
  info.bios_release_date = kNever;
  ASSERT_TRUE(Far().Register(own, info, "10.0.0.1", {}).has_value());
  clock_.Set(clock_.Now() + hours(1));
  Publish({Plain(3)});
  MustImport(MustExport());
  EXPECT_EQ(Apply(MustReturn())->computers, 1u);
}

TEST_F(ReturnIntakeTest, WhatIsNotSaidAnyMoreIsOver) {
  const std::string own = PutComputer(Far(), 1);
  manifests::Acknowledgement said;
  said.site = far_.identity().guid;
  said.applied_return = 1;
  said.detailed = true;
  said.deleted_computers = {TestGuid(8, 1)};
  ASSERT_TRUE(ApplyAcknowledgement(far_, near_.identity().guid, said).has_value());
  EXPECT_EQ(Apply(MustReturn())->computers, 0u);
  said.deleted_computers.clear();
  ASSERT_TRUE(ApplyAcknowledgement(far_, near_.identity().guid, said).has_value());
  clock_.Set(clock_.Now() + hours(1));
  EXPECT_EQ(Apply(MustReturn())->computers, 1u);
}

// A server below tells when it had synced with the site; upstream counts what the connected side
// had fetched by then.
TEST_F(ReturnIntakeTest, DetectionTimesOfServersBelowAreTranslated) {
  ASSERT_TRUE(Far().ServerContact(server_, "inside").has_value());
  auto early = *Far().Find(PutComputer(Far(), 1, server_)).value();
  early.effective_last_detection = kNever;
  ASSERT_TRUE(Far().PutComputer(early).has_value());
  auto later = *Far().Find(PutComputer(Far(), 2, server_)).value();
  later.effective_last_detection = clock_.Now() + hours(1);
  ASSERT_TRUE(Far().PutComputer(later).has_value());
  clock_.Set(clock_.Now() + hours(2));
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  EXPECT_EQ(Near().Find(early.id).value()->effective_last_detection, kNever);
  EXPECT_EQ(Near().Find(later.id).value()->effective_last_detection, synced_);
}

}  // namespace
}  // namespace gapferry::importer
