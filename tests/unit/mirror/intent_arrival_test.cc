#include "mirror/intent_arrival.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

Guid NumberedGuid(int first, int number) {
  Guid guid = TestGuid(static_cast<std::uint8_t>(first), 0x33);
  for (std::size_t i = 0; i < 4; ++i) {
    guid.bytes[12 + i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return guid;
}

/// Two replicas that are told the same: one enters it in the plain way, one by what was prepared.
class IntentArrivalTest : public testing::Test {
 protected:
  static constexpr int kMany = 1100;

  IntentArrivalTest() : plain_(MakeReplica("plain")), mirror_(MakeReplica("prepared")) {}

  Mirror MakeReplica(const std::string& name) {
    Config config = TestConfig();
    config.upstream.gap = true;
    config.replica = true;
    MirrorOptions options;
    options.clock = &clock_;
    const auto done = Mirror::Init(dir_.path() / name, config, options);
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return std::move(*Mirror::Open(dir_.path() / name, options));
  }

  /// Many approvals (more than are left to the commit) for two groups, some with a deadline that is
  /// past and some with a later one.
  IntentImport Many() const {
    IntentImport import;
    import.deadline_floor = std::chrono::hours(7 * 24);
    import.groups = {{ kServers, kAllComputers, "Servers", false }};
    for (int i = 0; i < kMany; ++i) {
      IncomingDeployment one;
      one.guid = NumberedGuid(i % 251, 1000 + i);
      one.update = {NumberedGuid(i % 253, i), 100 + i % 3};
      one.group = i % 2 == 0 ? kServers : kAllComputers;
      if (i % 5 == 0) one.deadline = clock_.Now() - std::chrono::hours(1);
      if (i % 7 == 0) one.deadline = clock_.Now() + std::chrono::hours(24 * 30);
      one.admin_name = "admin " + std::to_string(i % 4);
      import.deployments.push_back(one);
    }
    import.declined = {TestGuid(9, 9), TestGuid(0xff, 7)};
    import.accepted_eulas = {TestGuid(0xe, 1)};
    return import;
  }

  std::optional<JobLock> Lock() { return std::move(*JobLock::Acquire(mirror_.path(), "import")); }

  IntentArrival Prepare(const IntentImport& import) {
    const auto lock = Lock();
    auto prepared = IntentArrival::Prepare(mirror_, *lock, import);
    EXPECT_TRUE(prepared.has_value()) << prepared.error().message;
    return std::move(*prepared);
  }

  IntentImported Enter(const IntentArrival& arrival, bool rehearse) {
    auto commit = CommitTransaction::Begin(mirror_, "import");
    auto done = arrival.Enter(*commit);
    EXPECT_TRUE(done.has_value()) << done.error().message;
    if (rehearse) {
      EXPECT_TRUE(commit->Rehearse());
    } else {
      EXPECT_TRUE(commit->Finish());
    }
    return std::move(*done);
  }

  /// Both take `import`; afterwards nothing tells them apart.
  void TakeOver(const IntentImport& import) {
    auto commit = CommitTransaction::Begin(plain_, "import");
    const auto expected = Intent::Import(*commit, import);
    ASSERT_TRUE(expected.has_value()) << expected.error().message;
    ASSERT_TRUE(commit->Finish());
    const auto arrival = Prepare(import);
    Enter(arrival, /*rehearse=*/true);
    const auto got = Enter(arrival, /*rehearse=*/false);
    EXPECT_EQ(got.changed, expected->changed);
    EXPECT_EQ(got.moved_deadlines.size(), expected->moved_deadlines.size());
    ExpectEqual();
  }

  void ExpectEqual() {
    const auto plain = plain_.catalog().Published().value();
    const auto here = mirror_.catalog().Published().value();
    EXPECT_EQ(here.state_digest, plain.state_digest);
    EXPECT_EQ(here.name.generation, plain.name.generation);
    EXPECT_EQ(Describe(mirror_), Describe(plain_));
    EXPECT_EQ(mirror_.intent().Declined().value(), plain_.intent().Declined().value());
  }

  static std::map<Guid, std::string> Describe(Mirror& mirror) {
    std::map<Guid, std::string> all;
    const auto deployments = mirror.intent().Deployments().value();
    for (const auto& d : deployments) {
      all[d.guid] = d.update.ToString() + " " + d.group.ToString() + " " +
                    (d.deadline ? d.deadline->ToXml() : "-") + " " +
                    (d.effective_deadline ? d.effective_deadline->ToXml() : "-") + " " +
                    d.admin_name + " " + std::to_string(d.created_generation) + " " +
                    std::to_string(d.generation);
    }
    return all;
  }

  std::int64_t Rows() { return *mirror_.db().QueryInt("SELECT count(*) FROM deployment").value(); }

  inline static const Guid kServers = TestGuid(0x51, 0x51);
  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Mirror plain_;
  Mirror mirror_;
};

TEST_F(IntentArrivalTest, ManyApprovalsComeOutAsWhenEnteredOneByOne) {
  TakeOver(Many());
  EXPECT_EQ(Describe(mirror_).size(), std::size_t{kMany});
}

TEST_F(IntentArrivalTest, NobodySeesThemBeforeTheCommit) {
  const auto before = mirror_.catalog().Published().value();
  const auto arrival = Prepare(Many());
  EXPECT_EQ(Rows(), kMany);
  EXPECT_THAT(mirror_.intent().Deployments().value(), testing::IsEmpty());
  const auto changes = mirror_.intent().Changes(0, before.name.generation).value();
  EXPECT_THAT(changes.deployments, testing::IsEmpty());
  EXPECT_THAT(changes.dead_deployments, testing::IsEmpty());
  EXPECT_EQ(mirror_.catalog().Published()->name, before.name);
}

TEST_F(IntentArrivalTest, WhatAnEndedRunLeftIsReplaced) {
  Prepare(Many());  // and killed
  IntentImport import = Many();
  import.deployments.resize(550);
  TakeOver(import);
  EXPECT_EQ(Rows(), 550);
  Prepare(Many());
  ASSERT_TRUE(IntentArrival::Discard(mirror_));
  EXPECT_EQ(Rows(), 550);
  ExpectEqual();
}

TEST_F(IntentArrivalTest, ChangesEndsAndGroupsComeOutTheSame) {
  TakeOver(Many());
  IntentImport delta;
  delta.deadline_floor = std::chrono::hours(7 * 24);
  delta.groups = {{TestGuid(0x77, 1), kAllComputers, "Desktops", false}};
  delta.dead_groups = {kServers};
  const IntentImport before = Many();
  for (int i = 1; i < 400; i += 2) {
    IncomingDeployment one = before.deployments[static_cast<std::size_t>(i)];
    if (i % 3 == 0) one.update.guid = NumberedGuid(0x42, i);  // its line moves to another bucket
    if (i % 3 == 1) one.deadline = clock_.Now() + std::chrono::hours(2);
    delta.deployments.push_back(one);  // some as they are
  }
  for (int i = 401; i < 600; i += 2) {
    delta.dead_deployments.push_back(before.deployments[static_cast<std::size_t>(i)].guid);
  }
  delta.dead_deployments.push_back(NumberedGuid(1, 0x123456));  // never heard of
  delta.undeclined = {TestGuid(9, 9), TestGuid(9, 10)};
  delta.declined = {TestGuid(0xff, 7), TestGuid(0x10, 0x10)};
  delta.dead_eulas = {TestGuid(0xe, 1)};
  TakeOver(delta);
}

TEST_F(IntentArrivalTest, AFullListEndsWhatItDoesNotName) {
  TakeOver(Many());
  IntentImport full = Many();
  full.groups_are_full = full.deployments_are_full = true;
  full.declined_are_full = full.eulas_are_full = true;
  full.deployments.erase(full.deployments.begin(), full.deployments.begin() + 100);
  full.declined.pop_back();
  full.accepted_eulas.clear();
  TakeOver(full);
  TakeOver(full);  // changes nothing
}

TEST_F(IntentArrivalTest, DigestsThatWereForgottenAreComputedByTheCommit) {
  auto commit = CommitTransaction::Begin(plain_, "import");
  ASSERT_TRUE(Intent::Import(*commit, Many()));
  ASSERT_TRUE(commit->Finish());
  auto arrival = Prepare(Many());
  arrival.ForgetDigests();
  Enter(arrival, /*rehearse=*/false);
  ExpectEqual();
}

}  // namespace
}  // namespace gapferry::mirror
