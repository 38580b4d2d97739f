#include <gmock/gmock.h>

#include "tests/unit/importer/two_mirrors.h"

namespace gapferry::importer {
namespace {

TEST_F(TwoMirrors, AFullBundleMakesTheSiteEqual) {
  Publish(Family());
  Approve({TestGuid(3, 3), 200}, "Office");
  const auto bundle = Export();
  ASSERT_TRUE(bundle.has_value()) << bundle.error().message;
  EXPECT_EQ(bundle->manifest.scope, manifests::Scope::kFull);
  const auto done = Import(bundle->path);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(done->documents, 3u);
  EXPECT_EQ(done->content_files, 1u);
  EXPECT_EQ(done->missing_files, 0u);
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).state_digest);
  EXPECT_TRUE(far_.content().Holds(Sha1("leaf content")));
  EXPECT_EQ(far_.intent().Deployments()->size(), 1u);
  EXPECT_EQ(far_.intent().FindGroup("Office")->name, "Office");
}

TEST_F(TwoMirrors, ImportedTwiceNothingChanges) {
  Publish(Family());
  const fs::path bundle = MustExport();
  MustImport(bundle);
  const std::string before = Visible(far_);
  const auto records = AuditRecords(far_);
  const auto again = Import(bundle);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->already_imported);
  EXPECT_EQ(Visible(far_), before);
  EXPECT_EQ(AuditRecords(far_), records);
}

TEST_F(TwoMirrors, ReceiptsDecideTheBase) {
  Publish(Family());
  const fs::path first = MustExport();
  // Without a receipt nothing is assumed: everything travels again.
  Publish({Plain(1)});
  auto second = Export();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->manifest.scope, manifests::Scope::kFull);
  EXPECT_EQ(second->manifest.totals.revisions, 4u);

  MustImport(second->path);
  const auto applied = Apply(MustReturn());
  ASSERT_TRUE(applied.has_value()) << applied.error().message;
  ASSERT_TRUE(applied->applied.acknowledged.has_value());
  EXPECT_EQ(applied->applied.acknowledged->name, StateOf(near_).name);

  Publish({Plain(2)});
  const auto third = Export();
  ASSERT_TRUE(third.has_value()) << third.error().message;
  EXPECT_EQ(third->manifest.scope, manifests::Scope::kDelta);
  EXPECT_EQ(third->manifest.totals.revisions, 1u);
  MustImport(third->path);
}

TEST_F(TwoMirrors, AcknowledgedContentIsNotSentAgainUntilItIsMissed) {
  Publish({Plain(1)});
  Approve({TestGuid(9, 1), 1}, "Office");
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  const auto second = Export();
  EXPECT_EQ(second->manifest.totals.content_files, 0u);
  MustImport(second->path);

  ASSERT_TRUE(far_.content().Drop(Sha1("file 1/1")).has_value());
  const auto asked = Apply(MustReturn());
  ASSERT_TRUE(asked.has_value()) << asked.error().message;
  EXPECT_EQ(asked->applied.requested, 1u);
  const auto third = Export();
  EXPECT_EQ(third->manifest.totals.content_files, 1u);
  MustImport(third->path);
  EXPECT_TRUE(far_.content().Holds(Sha1("file 1/1")));
}

TEST_F(TwoMirrors, ChangesOfIntentTravelAsDeltas) {
  Publish({Plain(1), Plain(2)});
  Approve({TestGuid(9, 1), 1}, "Office");
  Approve({TestGuid(9, 2), 1}, "Office");
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  ASSERT_TRUE(near_.intent().Unapprove({TestGuid(9, 1)}, std::nullopt, "user:test").has_value());
  ASSERT_TRUE(near_.intent().Decline({TestGuid(9, 2)}, "user:test").has_value());
  ImportOptions options;
  options.accept_removals = 1;
  const auto done = Import(far_, MustExport(), options);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).state_digest);
  EXPECT_TRUE(far_.intent().Deployments()->empty());
  EXPECT_TRUE(far_.intent().IsDeclined(TestGuid(9, 2)).value());
}

TEST_F(TwoMirrors, MissingContentIsNoRefusalAndIsAskedFor) {
  Publish({Plain(1)}, /*with_content=*/false);
  Approve({TestGuid(9, 1), 1}, "Office");
  const auto bundle = Export();
  EXPECT_EQ(bundle->missing_files, 1u);
  const auto done = Import(bundle->path);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(done->missing_files, 1u);
  EXPECT_EQ(Apply(MustReturn())->applied.requested, 1u);
}

TEST_F(TwoMirrors, DeadlinesNeverArriveInThePast) {
  Publish({Plain(1)});
  const auto group = near_.intent().AddGroup("Office", mirror::kAllComputers, "user:test");
  mirror::Intent::Approval approval;
  approval.update = {TestGuid(9, 1), 1};
  approval.group = group->id;
  approval.deadline = clock_.Now() + std::chrono::hours(1);
  ASSERT_TRUE(near_.intent().Approve({approval}, "user:test").has_value());
  const fs::path bundle = MustExport();
  clock_.Set(clock_.Now() + std::chrono::hours(48));
  ImportOptions options;
  const auto dry = PlanImport(far_, bundle, options);
  ASSERT_TRUE(dry.has_value()) << dry.error().message;
  EXPECT_EQ(dry->plan.moved_deadlines.size(), 1u);
  const auto done = Import(bundle);
  ASSERT_EQ(done->intent.moved_deadlines.size(), 1u);
  const auto deployments = far_.intent().Deployments();
  EXPECT_EQ(deployments->front().deadline, approval.deadline);
  EXPECT_GE(*deployments->front().effective_deadline, clock_.Now() + std::chrono::hours(7 * 24));
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).state_digest);
}

TEST_F(TwoMirrors, ThePlanTellsAndChangesNothing) {
  Publish(Family());
  Approve({TestGuid(3, 3), 200}, "Office");
  const fs::path bundle = MustExport();
  const std::string before = Visible(far_);
  const auto records = AuditRecords(far_);
  const auto dry = PlanImport(far_, bundle, {});
  ASSERT_TRUE(dry.has_value()) << dry.error().message;
  EXPECT_EQ(dry->plan.documents, 3u);
  EXPECT_EQ(dry->plan.updates_added, 1u);
  EXPECT_EQ(dry->plan.content_files, 1u);
  EXPECT_EQ(dry->plan.content_bytes, 12u);
  ASSERT_EQ(dry->plan.approvals.size(), 1u);
  EXPECT_EQ(dry->plan.approvals[0].group, "Office");
  EXPECT_EQ(dry->plan.approvals[0].added, 1u);
  EXPECT_TRUE(dry->plan.new_handlers.empty());  // these documents name none
  EXPECT_EQ(Visible(far_), before);
  EXPECT_EQ(AuditRecords(far_), records);
}

TEST_F(TwoMirrors, ManyRemovalsNeedADecision) {
  std::vector<TestDocument> documents;
  for (std::uint8_t number = 1; number <= 20; ++number) documents.push_back(Plain(number));
  Publish(documents);
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  std::vector<Guid> half;
  for (std::uint8_t number = 1; number <= 10; ++number) half.push_back(TestGuid(9, number));
  ASSERT_TRUE(near_.intent().Decline(half, "user:test").has_value());
  const fs::path bundle = MustExport();
  const std::string before = Visible(far_);
  const auto stopped = Import(bundle);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().reason, "removals-need-acceptance");
  EXPECT_EQ(stopped.error().next, "gapferry import " + bundle.string() + " --accept-removals 10");
  EXPECT_EQ(Visible(far_), before);
  ImportOptions options;
  options.accept_removals = 9;
  EXPECT_FALSE(Import(far_, bundle, options).has_value());
  options.accept_removals = 10;
  const auto done = Import(far_, bundle, options);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).state_digest);
}

// Attacks by name.

TEST_F(TwoMirrors, RefusesAReplay) {
  Publish({Plain(1)});
  const fs::path first = MustExport();
  Publish({Plain(2)});
  const fs::path second = MustExport();
  MustImport(second);
  ExpectRefused(far_, first, "bundle-replayed");
}

TEST_F(TwoMirrors, RefusesARollbackToAnOlderState) {
  Publish({Plain(1)});
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  Publish({Plain(2)});
  MustImport(MustExport());
  // The same history, a newer number, an older target: what a thief of an old plan would sign.
  mirror::Ledger ledger(near_.db());
  const auto site = *ledger.FindSite("far");
  auto bundle = *ledger.FindBundle(site.guid, 1);
  exporter::ExportRequest request;
  request.site = "far";
  auto plan = *exporter::PlanExport(near_, request);
  auto draft = *exporter::DraftManifest(near_, plan);
  draft.target.generation -= 1;
  draft.base = {draft.target.epoch, 0, {}, {}};
  draft.scope = manifests::Scope::kFull;
  const auto own = IdentityOf(near_);
  manifests::PlannedObject intent{manifests::ObjectName::Intent(), 0, Sha256("")};
  class Empty : public manifests::ObjectProvider {
   public:
    Result<std::unique_ptr<Source>> Open(const manifests::ObjectName&, std::uint64_t) override {
      return std::unique_ptr<Source>(std::make_unique<MemorySource>(ByteView{}));
    }
  } empty;
  auto writer = manifests::BundleWriter::Create(dir_.path() / "old", dir_.path() / "journal",
                                                *manifests::LayOut({&intent, 1}, 0));
  ASSERT_TRUE(writer->WriteVolumes("readme", empty, {}).has_value());
  ASSERT_TRUE(writer->Finish(draft, own.key).has_value());
  ExpectRefused(far_, dir_.path() / "old", "bundle-older");
}

TEST_F(TwoMirrors, RefusesABundleWhoseBaseIsMissing) {
  Publish({Plain(1)});
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  Publish({Plain(2)});
  const fs::path delta = MustExport();
  Mirror late = MakeMirror("late", true);
  Introduce(late);
  ExpectRefused(late, delta, "recipient-foreign");
  Publish({Plain(3)});
  exporter::ExportRequest request;
  request.since = 2;
  const fs::path later = MustExport(request);
  ExpectRefused(far_, later, "base-missing");
}

TEST_F(TwoMirrors, RefusesAnUnknownSender) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  Mirror stranger = MakeMirror("stranger", true);
  ExpectRefused(stranger, bundle, "no-trust");
}

TEST_F(TwoMirrors, RefusesDamageAndTakesAGoodCopyAfterwards) {
  Publish(Family());
  Approve({TestGuid(3, 3), 200}, "Office");
  const fs::path bundle = MustExport();
  const fs::path volume = bundle / "volume-0001.tar";
  const std::string good = *ReadTextFile(volume, 1 << 30);
  const std::size_t step = good.size() / 23;
  for (std::size_t at = 100; at < good.size(); at += step) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    ASSERT_TRUE(WriteFileAtomically(volume, AsBytes(bad)).has_value());
    const std::string before = Visible(far_);
    const auto done = Import(bundle);
    ASSERT_FALSE(done.has_value()) << at;
    EXPECT_EQ(done.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(Visible(far_), before);
  }
  ASSERT_TRUE(WriteFileAtomically(volume, AsBytes(good)).has_value());
  MustImport(bundle);
}

TEST_F(TwoMirrors, RefusesAStateThatIsNotTheTarget) {
  Publish(Family());
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  // Somebody edits the site behind the back of this program: it is not what it says it is.
  ASSERT_TRUE(
      far_.db().Run("UPDATE digest_bucket SET digest = zeroblob(32) WHERE tree = 1").has_value());
  Publish({Plain(2)});
  ExpectRefused(far_, MustExport(), "state-digest");
}

// Returns.

TEST_F(TwoMirrors, TheSameAndLateReturnsChangeNothing) {
  Publish({Plain(1)});
  MustImport(MustExport());
  const fs::path first = MustReturn();
  Publish({Plain(2)});
  MustImport(MustExport());
  const fs::path second = MustReturn();
  ASSERT_EQ(Apply(second)->outcome, ReturnOutcome::kApplied);
  const auto records = AuditRecords(near_);
  EXPECT_EQ(Apply(second)->outcome, ReturnOutcome::kAlreadyApplied);
  EXPECT_EQ(Apply(first)->outcome, ReturnOutcome::kLate);
  EXPECT_EQ(AuditRecords(near_), records);
  mirror::Ledger ledger(near_.db());
  EXPECT_EQ(ledger.FindSite("far")->acknowledged_sequence, 2u);
}

TEST_F(TwoMirrors, ADamagedOrForeignReturnIsRefused) {
  Publish({Plain(1)});
  MustImport(MustExport());
  const fs::path file = MustReturn();
  std::string text = *ReadTextFile(file, 1 << 20);
  text[text.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(file, AsBytes(text)).has_value());
  const auto records = AuditRecords(near_);
  const auto done = Apply(file);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().reason, "signature-bad");
  EXPECT_EQ(AuditRecords(near_), records + 1);
  mirror::Ledger ledger(near_.db());
  EXPECT_EQ(ledger.FindSite("far")->applied_return, 0u);
}

TEST_F(TwoMirrors, AManifestIsNoReturn) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const auto done = Apply(bundle / "manifest.json");
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().reason, "document-type");
}

TEST_F(TwoMirrors, ComputersComeBackWithoutWhatWasNotAllowed) {
  Publish({Plain(1)});
  MustImport(MustExport());
  mirror::Activity* activity = *far_.activity();
  mirror::Computer computer;
  computer.id = "c0ffee00-0000-4000-8000-000000000001";
  computer.details.full_domain_name = "secret.plant.example";
  computer.details.ip_address = "10.1.2.3";
  computer.details.computer_make = "Contoso";
  computer.details.os_major_version = 10;
  computer.registered_at = computer.last_contact = clock_.Now();
  computer.has_status = true;
  ASSERT_TRUE(activity->PutComputer(computer).has_value());
  mirror::UpdateStatus status{TestGuid(9, 1), mirror::UpdateState::kInstalled, clock_.Now()};
  ASSERT_TRUE(activity->PutStatus(computer.id, true, {status}).has_value());
  const fs::path file = MustReturn();
  const std::string text = *ReadTextFile(file, 1 << 20);
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("secret")));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("10.1.2.3")));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("Contoso")));
  const auto applied = Apply(file);
  ASSERT_TRUE(applied.has_value()) << applied.error().message;
  EXPECT_EQ(applied->computers, 1u);
  mirror::Activity* near_activity = *near_.activity();
  const auto found = near_activity->Find(computer.id);
  ASSERT_TRUE(found.has_value() && found->has_value());
  EXPECT_EQ((*found)->parent_server, far_.identity().guid);
  EXPECT_EQ((*found)->details.full_domain_name, "computer-000001");
  EXPECT_EQ(near_activity->StatusOf(computer.id)->front().state, mirror::UpdateState::kInstalled);
}

TEST_F(TwoMirrors, AnInterruptedExportIsFinishedAsItWasPlanned) {
  Publish({Plain(1)});
  Approve({TestGuid(9, 1), 1}, "Office");
  // The content vanishes under the first run: the number stays reserved.
  const auto held = *near_.content().Find(Sha1("file 1/1"));
  const fs::path path = near_.content().PathOf(*held);
  const std::string bytes = *ReadTextFile(path, 1 << 20);
  ASSERT_TRUE(RemoveFile(path).has_value());
  ASSERT_FALSE(Export().has_value());
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes(bytes)).has_value());
  const auto target = StateOf(near_).name.generation;
  Publish({Plain(2)});
  const auto done = Export();
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_TRUE(done->resumed);
  EXPECT_EQ(done->manifest.sequence, 1u);
  EXPECT_EQ(done->manifest.target.generation, static_cast<std::uint64_t>(target));
  const auto imported = Import(done->path);
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
}

TEST_F(TwoMirrors, ARepeatedExportNamesTheSameBundle) {
  Publish({Plain(1)});
  const auto first = Export();
  clock_.Set(clock_.Now() + std::chrono::minutes(5));
  const auto again = Export();
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_TRUE(again->repeated);
  EXPECT_EQ(again->path, first->path);
}

}  // namespace
}  // namespace gapferry::importer
