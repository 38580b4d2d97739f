#include "mirror/intent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mirror/catalog_load.h"
#include "mirror/digest_tree.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using protocol::UpdateId;

constexpr const char* kActor = "user:test";
const Guid kEula = TestGuid(0xe, 0xe1);

class IntentTest : public testing::Test {
 protected:
  IntentTest() : mirror_(MakeMirror("a", TestConfig())) { LoadDocuments(mirror_); }

  Mirror MakeMirror(const std::string& name, const Config& config) {
    MirrorOptions options;
    options.clock = &clock_;
    const auto done = Mirror::Init(dir_.path() / name, config, options);
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return std::move(*Mirror::Open(dir_.path() / name, options));
  }
  Mirror MakeReplica() {
    Config config = TestConfig();
    config.upstream.gap = true;
    config.replica = true;
    return MakeMirror("replica", config);
  }

  static void LoadDocuments(Mirror& mirror) {
    TestDocument leaf;
    leaf.id = kLeaf;
    leaf.properties = "";
    leaf.files = {{"content of the leaf"}};
    TestDocument bundle;
    bundle.id = kBundle;
    bundle.bundled = {kLeaf};
    bundle.property_children = "<upd:UninstallationBehavior RebootBehavior=\"CanRequestReboot\" />";
    TestDocument expired;
    expired.id = kExpired;
    expired.properties = " ExplicitlyDeployable=\"true\" PublicationState=\"Expired\"";
    TestDocument licensed;
    licensed.id = kLicensed;
    licensed.properties = " ExplicitlyDeployable=\"true\" EulaID=\"" + kEula.ToString() + "\"";
    const auto lock = JobLock::Acquire(mirror.path(), "sync");
    auto load = CatalogLoad::Open(mirror, *lock, "sync");
    for (const auto& document : {leaf, bundle, expired, licensed}) {
      const auto added = load->Add(document.Incoming());
      ASSERT_TRUE(added.has_value()) << added.error().message;
    }
    ASSERT_TRUE(load->Prepare());
    auto commit = load->BeginCommit("sync");
    ASSERT_TRUE(commit->Finish());
  }

  static Intent::Approval Approval(const UpdateId& update, const Guid& group = kAllComputers) {
    Intent::Approval approval;
    approval.update = update;
    approval.group = group;
    return approval;
  }
  std::string Reason(const Intent::Approval& approval) {
    const auto before = mirror_.catalog().Published().value();
    const auto refused = mirror_.intent().Approve({approval}, kActor);
    EXPECT_FALSE(refused.has_value());
    EXPECT_EQ(mirror_.catalog().Published()->name, before.name);  // nothing changed
    return refused.has_value() ? "" : refused.error().reason;
  }

  inline static const UpdateId kLeaf{TestGuid(2, 2), 200};
  inline static const UpdateId kBundle{TestGuid(3, 3), 200};
  inline static const UpdateId kExpired{TestGuid(4, 4), 300};
  inline static const UpdateId kLicensed{TestGuid(5, 5), 1};

  TemporaryDirectory dir_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  Mirror mirror_;
};

TEST_F(IntentTest, ApprovalPublishesOneGenerationWithAuditAndSaysWhatIsMissing) {
  const auto before = mirror_.catalog().Published().value();
  auto approval = Approval(kBundle);
  approval.deadline = clock_.Now() + std::chrono::hours(48);
  const auto approved = mirror_.intent().Approve({approval}, kActor);
  ASSERT_TRUE(approved.has_value()) << approved.error().message;
  EXPECT_EQ((*approved)[0].missing_files, 1U);
  EXPECT_EQ((*approved)[0].deployment.deadline, approval.deadline);
  EXPECT_EQ((*approved)[0].deployment.admin_name, "test");
  const auto after = mirror_.catalog().Published().value();
  EXPECT_EQ(after.name.generation, before.name.generation + 1);
  EXPECT_NE(after.state_digest, before.state_digest);
  EXPECT_EQ(after.documents_digest, before.documents_digest);
  const auto audit = ReadAudit(mirror_.db(), 0, 1).value();
  EXPECT_EQ(audit[0].entry.action, "update.approve");
  EXPECT_EQ(audit[0].entry.object, kBundle.ToString());
}

TEST_F(IntentTest, SameApprovalAgainChangesNothing) {
  const auto first = mirror_.intent().Approve({Approval(kBundle)}, kActor).value();
  const auto state = mirror_.catalog().Published()->name;
  clock_.Set(clock_.Now() + std::chrono::seconds(60));
  const auto second = mirror_.intent().Approve({Approval(kBundle)}, kActor).value();
  EXPECT_EQ(first[0].deployment.id, second[0].deployment.id);
  EXPECT_EQ(mirror_.catalog().Published()->name, state);
}

TEST_F(IntentTest, AnotherActionReplacesTheApproval) {
  const auto first = mirror_.intent().Approve({Approval(kBundle)}, kActor).value();
  auto uninstall = Approval(kBundle);
  uninstall.action = DeploymentAction::kUninstall;
  const auto second = mirror_.intent().Approve({uninstall}, kActor);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  const auto live = mirror_.intent().DeploymentsOf(kBundle.guid).value();
  ASSERT_EQ(live.size(), 1U);
  EXPECT_EQ(live[0].action, DeploymentAction::kUninstall);
  EXPECT_NE(live[0].id, first[0].deployment.id);
}

TEST_F(IntentTest, RefusesWhatCannotBeApproved) {
  EXPECT_EQ(Reason(Approval(kLeaf)), "not-deployable");
  EXPECT_EQ(Reason(Approval(kExpired)), "expired");
  EXPECT_EQ(Reason(Approval(kLicensed)), "eula-not-accepted");
  EXPECT_EQ(Reason(Approval({TestGuid(77, 7), 1})), "no-update");
  EXPECT_EQ(Reason(Approval(kBundle, TestGuid(77, 7))), "no-group");
  auto uninstall = Approval(kLicensed);
  uninstall.action = DeploymentAction::kUninstall;
  EXPECT_EQ(Reason(uninstall), "no-uninstall");
  ASSERT_TRUE(mirror_.intent().Decline({kBundle.guid}, kActor));
  EXPECT_EQ(Reason(Approval(kBundle)), "declined");
}

TEST_F(IntentTest, UninstallingAsksForNoLicence) {
  auto install = Approval(kLicensed);
  ASSERT_EQ(Reason(install), "eula-not-accepted");
  ASSERT_TRUE(mirror_.db().Run("UPDATE revision SET can_uninstall = 1 WHERE eula_id IS NOT NULL"));
  install.action = DeploymentAction::kUninstall;
  const auto done = mirror_.intent().Approve({install}, kActor);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_TRUE(mirror_.intent().AcceptedEulas()->empty());
  install.action = DeploymentAction::kOptionalInstall;
  EXPECT_EQ(Reason(install), "eula-not-accepted");
}

TEST_F(IntentTest, OneBadApprovalRefusesAll) {
  const auto before = mirror_.catalog().Published()->name;
  EXPECT_FALSE(mirror_.intent().Approve({Approval(kBundle), Approval(kExpired)}, kActor));
  EXPECT_EQ(mirror_.catalog().Published()->name, before);
  EXPECT_THAT(mirror_.intent().Deployments().value(), testing::IsEmpty());
}

TEST_F(IntentTest, AcceptingTheLicenceWithTheApproval) {
  auto approval = Approval(kLicensed);
  approval.accept_eula = true;
  ASSERT_TRUE(mirror_.intent().Approve({approval}, kActor));
  EXPECT_THAT(mirror_.intent().AcceptedEulas().value(), testing::ElementsAre(kEula));
}

TEST_F(IntentTest, DecliningEndsApprovals) {
  ASSERT_TRUE(mirror_.intent().Approve({Approval(kBundle)}, kActor));
  EXPECT_EQ(mirror_.intent().Decline({kBundle.guid}, kActor).value(), 1U);
  EXPECT_THAT(mirror_.intent().DeploymentsOf(kBundle.guid).value(), testing::IsEmpty());
  EXPECT_TRUE(mirror_.intent().IsDeclined(kBundle.guid).value());
  EXPECT_EQ(mirror_.intent().Decline({kBundle.guid}, kActor).value(), 0U);
}

TEST_F(IntentTest, UnapproveAndUndeclineLeadBackToTheStart) {
  const auto start = mirror_.catalog().Published()->state_digest;
  ASSERT_TRUE(mirror_.intent().Decline({kBundle.guid}, kActor));
  EXPECT_EQ(mirror_.intent().Undecline({kBundle.guid}, kActor).value(), 1U);
  EXPECT_FALSE(mirror_.intent().IsDeclined(kBundle.guid).value());
  ASSERT_TRUE(mirror_.intent().Approve({Approval(kBundle)}, kActor));
  EXPECT_EQ(mirror_.intent().Unapprove({kBundle.guid}, std::nullopt, kActor).value(), 1U);
  EXPECT_EQ(mirror_.catalog().Published()->state_digest, start);
}

TEST_F(IntentTest, GroupsAndComputers) {
  auto& intent = mirror_.intent();
  const auto servers = intent.AddGroup("Servers", kAllComputers, kActor).value();
  const auto web = intent.AddGroup("Web", servers.id, kActor).value();
  EXPECT_EQ(intent.AddGroup("servers", kAllComputers, kActor).error().reason, "group-exists");
  EXPECT_EQ(intent.FindGroup("WEB")->id, web.id);
  EXPECT_EQ(intent.FindGroup("all computers")->id, kAllComputers);
  EXPECT_EQ(intent.FindGroup("Desktops").error().message,
            "group 'Desktops' does not exist; the groups are 'All Computers', 'Unassigned "
            "Computers', 'Servers', 'Web'");
  const auto sequence = intent.AssignmentSequence().value();
  ASSERT_TRUE(intent.AssignComputer("PC-1", {web.id}, kActor));
  EXPECT_GT(intent.AssignmentSequence().value(), sequence);
  EXPECT_THAT(intent.GroupsOfComputer("pc-1").value(),
              testing::UnorderedElementsAre(kAllComputers, servers.id, web.id));
  EXPECT_THAT(intent.GroupsOfComputer("other").value(),
              testing::UnorderedElementsAre(kAllComputers, kUnassignedComputers));
  EXPECT_EQ(intent.RemoveGroup(servers.id, kActor).error().reason, "group-has-children");
  ASSERT_TRUE(intent.RemoveGroup(web.id, kActor));
  EXPECT_THAT(intent.AssignedGroups("PC-1").value(), testing::IsEmpty());
  EXPECT_EQ(intent.RemoveGroup(kAllComputers, kActor).error().reason, "builtin-group");
}

TEST_F(IntentTest, RemovingAGroupEndsItsApprovals) {
  const auto group = mirror_.intent().AddGroup("Servers", kAllComputers, kActor).value();
  ASSERT_TRUE(mirror_.intent().Approve({Approval(kBundle, group.id)}, kActor));
  const auto base = mirror_.catalog().Published()->name.generation;
  ASSERT_TRUE(mirror_.intent().RemoveGroup(group.id, kActor));
  const auto changes = mirror_.intent().Changes(base, base + 1).value();
  EXPECT_THAT(changes.dead_groups, testing::ElementsAre(group.id));
  EXPECT_EQ(changes.dead_deployments.size(), 1U);
}

TEST_F(IntentTest, ChangesAreExactlyThoseSince) {
  auto& intent = mirror_.intent();
  ASSERT_TRUE(intent.Approve({Approval(kBundle)}, kActor));
  const auto base = mirror_.catalog().Published()->name.generation;
  const auto group = intent.AddGroup("Servers", kAllComputers, kActor).value();
  ASSERT_TRUE(intent.Decline({kExpired.guid}, kActor));
  const auto target = mirror_.catalog().Published()->name.generation;
  const auto delta = intent.Changes(base, target).value();
  EXPECT_EQ(delta.groups.size(), 1U);
  EXPECT_THAT(delta.deployments, testing::IsEmpty());
  EXPECT_THAT(delta.declined, testing::ElementsAre(kExpired.guid));
  const auto full = intent.Changes(0, target).value();
  EXPECT_EQ(full.deployments.size(), 1U);
  EXPECT_EQ(full.groups.size(), 1U);
  // A deployment that came and went inside the interval appears only among the dead.
  ASSERT_TRUE(intent.Approve({Approval(kBundle, group.id)}, kActor));
  ASSERT_TRUE(intent.Unapprove({kBundle.guid}, group.id, kActor));
  const auto now = mirror_.catalog().Published()->name.generation;
  const auto interval = intent.Changes(target, now).value();
  EXPECT_THAT(interval.deployments, testing::IsEmpty());
  EXPECT_EQ(interval.dead_deployments.size(), 1U);
}

/// What one mirror passes on, as another takes it over.
IntentImport Carried(const IntentChanges& changes, bool full) {
  IntentImport import;
  import.groups_are_full = import.deployments_are_full = import.declined_are_full = full;
  import.groups = changes.groups;
  import.dead_groups = changes.dead_groups;
  for (const auto& d : changes.deployments) {
    import.deployments.push_back({d.guid, d.update, d.group, d.action, d.deadline, d.is_assigned,
                                  d.download_priority, d.go_live, d.last_change, d.admin_name});
  }
  import.dead_deployments = changes.dead_deployments;
  import.declined = changes.declined;
  import.undeclined = changes.undeclined;
  import.accepted_eulas = changes.accepted_eulas;
  import.deadline_floor = std::chrono::hours(7 * 24);
  return import;
}

StateName TakeOver(Mirror& to, const IntentImport& import, IntentImported* imported = nullptr) {
  auto commit = CommitTransaction::Begin(to, "import");
  auto done = Intent::Import(*commit, import);
  EXPECT_TRUE(done.has_value()) << done.error().message;
  if (imported) *imported = *done;
  return commit->Finish().value();
}

TEST_F(IntentTest, AReplicaEndsWithTheSameStateDigestByFullAndByDelta) {
  Mirror replica = MakeReplica();
  LoadDocuments(replica);
  auto& intent = mirror_.intent();
  const auto group = intent.AddGroup("Servers", kAllComputers, kActor).value();
  auto approval = Approval(kBundle, group.id);
  approval.deadline = clock_.Now() + std::chrono::hours(1);
  approval.accept_eula = true;
  ASSERT_TRUE(intent.Approve({approval}, kActor));
  const auto base = mirror_.catalog().Published()->name.generation;
  IntentImported imported;
  const auto state = TakeOver(replica, Carried(intent.Changes(0, base).value(), true), &imported);
  EXPECT_EQ(replica.catalog().Published()->state_digest,
            mirror_.catalog().Published()->passed_on_digest);
  // The deadline would be in the past soon: clients are told a later one, the digest is of what
  // was received.
  ASSERT_EQ(imported.moved_deadlines.size(), 1U);
  const auto deployment = replica.intent().Deployments().value()[0];
  EXPECT_EQ(deployment.deadline, approval.deadline);
  EXPECT_EQ(deployment.effective_deadline,
            replica.catalog().Published()->committed_at + std::chrono::hours(7 * 24));
  // Twice changes nothing, later neither: the deadline does not move again.
  clock_.Set(clock_.Now() + std::chrono::hours(24));
  EXPECT_EQ(TakeOver(replica, Carried(intent.Changes(0, base).value(), true)), state);
  EXPECT_EQ(replica.intent().Deployments().value()[0].effective_deadline,
            deployment.effective_deadline);
  // Delta.
  ASSERT_TRUE(intent.Unapprove({kBundle.guid}, std::nullopt, kActor));
  ASSERT_TRUE(intent.Decline({kExpired.guid}, kActor));
  ASSERT_TRUE(intent.RemoveGroup(group.id, kActor));
  const auto target = mirror_.catalog().Published()->name.generation;
  TakeOver(replica, Carried(intent.Changes(base, target).value(), false));
  EXPECT_EQ(replica.catalog().Published()->state_digest,
            mirror_.catalog().Published()->passed_on_digest);
  EXPECT_THAT(replica.intent().Deployments().value(), testing::IsEmpty());
}

TEST_F(IntentTest, AnOldDeadlineIsANewOneForAnotherGroup) {
  Mirror replica = MakeReplica();
  LoadDocuments(replica);
  auto approval = Approval(kBundle);
  approval.deadline = clock_.Now() + std::chrono::hours(1);
  ASSERT_TRUE(mirror_.intent().Approve({approval}, kActor));
  IntentImport import = Carried(mirror_.intent().Changes(0, 100).value(), true);
  TakeOver(replica, import);
  clock_.Set(clock_.Now() + std::chrono::hours(30 * 24));
  import.deployments[0].group = kUnassignedComputers;
  IntentImported imported;
  TakeOver(replica, import, &imported);
  EXPECT_EQ(imported.moved_deadlines.size(), 1U);
  EXPECT_GE(*replica.intent().Deployments().value()[0].effective_deadline,
            clock_.Now() + std::chrono::hours(7 * 24));
}

TEST_F(IntentTest, FullListsEndWhatIsNotListed) {
  Mirror replica = MakeReplica();
  LoadDocuments(replica);
  auto& intent = mirror_.intent();
  ASSERT_TRUE(intent.AddGroup("Servers", kAllComputers, kActor));
  ASSERT_TRUE(intent.Approve({Approval(kBundle)}, kActor));
  ASSERT_TRUE(intent.Decline({kExpired.guid}, kActor));
  TakeOver(replica, Carried(intent.Changes(0, 100).value(), true));
  IntentImport empty;
  empty.groups_are_full = empty.deployments_are_full = empty.declined_are_full = true;
  EXPECT_EQ(Intent::Preview(replica, empty)->changed, 3U);
  EXPECT_EQ(replica.intent().Deployments()->size(), 1U);  // a preview writes nothing
  TakeOver(replica, empty);
  EXPECT_THAT(replica.intent().Deployments().value(), testing::IsEmpty());
  EXPECT_THAT(replica.intent().Declined().value(), testing::IsEmpty());
  EXPECT_EQ(replica.intent().Groups()->size(), 2U);
}

TEST_F(IntentTest, AReplicaIsNotChangedByItsAdministrator) {
  Mirror replica = MakeReplica();
  LoadDocuments(replica);
  EXPECT_EQ(replica.intent().Approve({Approval(kBundle)}, kActor).error().reason, "replica");
  EXPECT_EQ(replica.intent().Decline({kBundle.guid}, kActor).error().reason, "replica");
  EXPECT_EQ(replica.intent().AddGroup("x", kAllComputers, kActor).error().reason, "replica");
  EXPECT_TRUE(replica.intent().AssignComputer("PC", {}, kActor));
}

TEST_F(IntentTest, DeploymentIdsStayWithTheirGuid) {
  Mirror replica = MakeReplica();
  LoadDocuments(replica);
  ASSERT_TRUE(mirror_.intent().Approve({Approval(kBundle)}, kActor));
  const auto carried = Carried(mirror_.intent().Changes(0, 100).value(), true);
  TakeOver(replica, carried);
  const auto id = replica.intent().Deployments().value()[0].id;
  IntentImport end;
  end.dead_deployments = {carried.deployments[0].guid};
  TakeOver(replica, end);
  TakeOver(replica, carried);
  EXPECT_EQ(replica.intent().Deployments().value()[0].id, id);
}

TEST_F(IntentTest, BucketsBelongToTheFirstTwelveBits) {
  EXPECT_EQ(BucketOf(TestGuid(0xab, 0xcd)), 0xabcU);
  EXPECT_EQ(FirstKeyOf(0xabc).bytes[0], 0xab);
  EXPECT_EQ(FirstKeyOf(0xabc).bytes[1], 0xc0);
}

}  // namespace
}  // namespace gapferry::mirror
