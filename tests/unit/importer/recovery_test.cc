#include <gmock/gmock.h>

#include "mirror/job_history.h"
#include "mirror/rollup_state.h"
#include "tests/unit/importer/two_mirrors.h"

// What interruptions, restored mirrors and late couriers leave behind.

namespace gapferry::importer {
namespace {

class RecoveryTest : public TwoMirrors {
 protected:
  /// `name` comes back from a backup: another epoch.
  void Restore(Mirror& mirror, const std::string& name) {
    const Guid epoch = Guid::Random();
    Exec(mirror, "UPDATE mirror SET epoch = ?", epoch);
    Exec(mirror,
         "UPDATE generation_log SET epoch = ? WHERE generation = (SELECT published FROM mirror)",
         epoch);
    mirror = Reopen(name);
  }
  template <class... Args>
  static void Exec(Mirror& mirror, std::string_view sql, const Args&... args) {
    const auto done = mirror.db().Run(sql, args...);
    ASSERT_TRUE(done.has_value()) << done.error().message;
  }
  mirror::Site Far() { return *mirror::Ledger(near_.db()).FindSite("far"); }
};

// ---- Import ------------------------------------------------------------------------------------

TEST_F(RecoveryTest, ARefusedStatePublishesNoContent) {
  Publish(Family());
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  Exec(far_, "UPDATE digest_bucket SET digest = zeroblob(32) WHERE tree = 1");
  Publish({Plain(2)});
  Approve({TestGuid(9, 2), 1}, "Office");
  ExpectRefused(far_, MustExport(), "state-digest");
  EXPECT_FALSE(far_.content().Holds(Sha1("file 2/1")));
}

TEST_F(RecoveryTest, TheCommitOfAnImportIsAlsoItsJobRecord) {
  Publish({Plain(1)});
  MustImport(MustExport());
  const auto job = far_.jobs().Last("import");
  ASSERT_TRUE(job.has_value() && job->has_value());
  EXPECT_EQ((*job)->result, mirror::JobResult::kDone);
  EXPECT_EQ((*job)->generation, StateOf(far_).name.generation);
  EXPECT_TRUE((*job)->ended_at.has_value());
}

TEST_F(RecoveryTest, ARunThatEndedRightAfterItsCommitIsTidiedByTheNext) {
  Publish({Plain(1)});
  const auto bundle = Export();
  MustImport(bundle->path);
  const fs::path folder =
      far_.staging() / ("import-" + bundle->manifest_sha256.ToHex().substr(0, 32));
  ASSERT_TRUE(CreateDirectories(folder).has_value());
  ASSERT_TRUE(Import(bundle->path)->already_imported);
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(RecoveryTest, ABundleWithoutIntentIsRefused) {
  Publish({Plain(1)});
  exporter::ExportRequest request;
  request.site = "far";
  const auto draft = *exporter::DraftManifest(near_, *exporter::PlanExport(near_, request));
  auto writer = manifests::BundleWriter::Create(dir_.path() / "empty", dir_.path() / "journal", {});
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  class None : public manifests::ObjectProvider {
   public:
    Result<std::unique_ptr<Source>> Open(const manifests::ObjectName&, std::uint64_t) override {
      return Fail(ErrorCode::kNotFound, "no object");
    }
  } none;
  ASSERT_TRUE(writer->WriteVolumes("readme", none, {}).has_value());
  ASSERT_TRUE(writer->Finish(draft, IdentityOf(near_).key).has_value());
  ExpectRefused(far_, dir_.path() / "empty", "intent-malformed");
}

TEST_F(RecoveryTest, AFailedSyncOfTheSenderBringsNoNewTime) {
  const auto good = *near_.jobs().Start("sync");
  ASSERT_TRUE(near_.jobs().End(good, mirror::JobResult::kDone, std::nullopt, "{}").has_value());
  const UtcTime synced = clock_.Now();
  Publish({Plain(1)});
  MustImport(MustExport());
  EXPECT_EQ(mirror::Ledger(far_.db()).LastImport()->value().upstream_sync_at, synced);
  clock_.Set(clock_.Now() + std::chrono::hours(24));
  const auto bad = *near_.jobs().Start("sync");
  ASSERT_TRUE(near_.jobs().End(bad, mirror::JobResult::kFailed, std::nullopt, "{}").has_value());
  Publish({Plain(2)});
  MustImport(MustExport());
  EXPECT_EQ(mirror::Ledger(far_.db()).LastImport()->value().upstream_sync_at, synced);
}

TEST_F(RecoveryTest, AnInterruptedSyncHidesNoGoodOne) {
  const auto good = *near_.jobs().Start("sync");
  ASSERT_TRUE(near_.jobs().End(good, mirror::JobResult::kDone, std::nullopt, "{}").has_value());
  ASSERT_TRUE(near_.jobs().Start("sync").has_value());  // killed
  const auto sync = exporter::LastUpstreamSync(near_, StateOf(near_).name.generation);
  ASSERT_TRUE(sync.has_value());
  EXPECT_EQ(sync->outcome, manifests::UpstreamSync::Outcome::kSucceeded);
}

// ---- Export ------------------------------------------------------------------------------------

TEST_F(RecoveryTest, AVolumeSizeThatCannotWorkDoesNotBlockTheSite) {
  Publish({Plain(1)});
  exporter::ExportRequest request;
  request.volume_bytes = 4096;
  const auto refused = Export(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "volume-too-small");
  const auto done = Export();
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(done->manifest.sequence, 2u);
  EXPECT_EQ(done->manifest.void_sequences, std::vector<std::uint64_t>{1});
  MustImport(done->path);
}

TEST_F(RecoveryTest, AnExportThatWasSignedAndNotRecordedEndsInTheSameBundle) {
  Publish({Plain(1)});
  Approve({TestGuid(9, 1), 1}, "Office");
  // The last write of the ledger fails; the bundle is complete by then.
  Exec(near_,
       "CREATE TRIGGER stop BEFORE UPDATE OF state ON bundle_out WHEN NEW.state = 3 "
       "BEGIN SELECT RAISE(ABORT, 'power loss'); END");
  ASSERT_FALSE(Export().has_value());
  const fs::path path = dir_.path() / "stick" / "gapferry-far-000001";
  const std::string manifest = *ReadTextFile(path / "manifest.json", 1 << 20);
  const auto written = fs::last_write_time(path / "volume-0001.tar");
  Exec(near_, "DROP TRIGGER stop");
  Publish({Plain(2)});
  const auto done = Export();
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_TRUE(done->resumed);
  EXPECT_EQ(*ReadTextFile(path / "manifest.json", 1 << 20), manifest);
  EXPECT_EQ(fs::last_write_time(path / "volume-0001.tar"), written);  // read back, not rewritten
  EXPECT_FALSE(fs::exists(near_.staging() / "export-gapferry-far-000001/objects"));
}

TEST_F(RecoveryTest, SinceIsHeldToTheSameRulesAsReceipts) {
  Publish({Plain(1)});
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  exporter::ExportRequest request;
  request.site = "far";
  request.since = 1;
  EXPECT_TRUE(exporter::PlanExport(near_, request).has_value());
  Exec(near_, "UPDATE site SET diverged = 'why'");
  EXPECT_EQ(exporter::PlanExport(near_, request).error().reason, "diverged");
  Exec(near_, "UPDATE site SET diverged = ''");
  Exec(near_, "UPDATE generation_log SET chain = zeroblob(32)");
  EXPECT_EQ(exporter::PlanExport(near_, request).error().reason, "history-changed");
}

TEST_F(RecoveryTest, ARestoredSenderCanGoOnWithALowerNumber) {
  Publish({Plain(1)});
  MustImport(MustExport());
  Publish({Plain(2)});
  MustImport(MustExport());
  Publish({Plain(3)});
  MustImport(MustExport());
  // The sender's backup knew bundle 1 only.
  for (const char* table :
       {"bundle_volume", "bundle_medium", "bundle_pin", "bundle_recipient", "bundle_plan_part"}) {
    Exec(near_, "DELETE FROM " + std::string(table) + " WHERE sequence > 1");
  }
  Exec(near_, "DELETE FROM bundle_out WHERE sequence > 1");
  Exec(near_, "UPDATE site SET last_sequence = 1");
  Restore(near_, "near");
  ASSERT_TRUE(RemoveTree(dir_.path() / "stick").has_value());
  const fs::path again = MustExport();
  ExpectRefused(far_, again, "bundle-replayed");
  ImportOptions options;
  options.new_history = true;
  const auto accepted = Import(far_, again, options);
  ASSERT_TRUE(accepted.has_value()) << accepted.error().message;
  const auto applied = Apply(MustReturn());
  ASSERT_TRUE(applied.has_value()) << applied.error().message;
  EXPECT_EQ(applied->applied.diverged, "");
  EXPECT_EQ(applied->applied.sequence, 2u);
  Publish({Plain(4)});
  const auto delta = Export();
  ASSERT_TRUE(delta.has_value()) << delta.error().message;
  EXPECT_EQ(delta->manifest.scope, manifests::Scope::kDelta);
  EXPECT_EQ(delta->manifest.sequence, 3u);
  MustImport(delta->path);
}

TEST_F(RecoveryTest, TheManifestTellsASiteWhatTheUpstreamWantsAndDeleted) {
  mirror::Activity* activity = *near_.activity();
  mirror::RollupState told(*activity);
  ASSERT_TRUE(told.Begin(TestGuid(7, 1), TestGuid(7, 2), /*detailed=*/false).has_value());
  mirror::Computer of_site;
  of_site.id = TestGuid(8, 1).ToString();
  of_site.parent_server = far_.identity().guid;
  mirror::Computer own;
  own.id = TestGuid(8, 2).ToString();
  ASSERT_TRUE(activity->PutComputer(of_site).has_value());
  ASSERT_TRUE(activity->PutComputer(own).has_value());
  ASSERT_TRUE(told.MarkDeleted({of_site.id, own.id}, clock_.Now()).has_value());
  Publish({Plain(1)});
  const auto bundle = Export();
  ASSERT_TRUE(bundle.has_value()) << bundle.error().message;
  ASSERT_EQ(bundle->manifest.acknowledgements.size(), 1u);
  EXPECT_FALSE(bundle->manifest.acknowledgements[0].detailed);
  EXPECT_EQ(bundle->manifest.acknowledgements[0].deleted_computers,
            std::vector<Guid>{TestGuid(8, 1)});
}

// ---- Returns -----------------------------------------------------------------------------------

TEST_F(RecoveryTest, AReturnOfAnEpochThatTheSiteHasLeftIsLate) {
  Publish({Plain(1)});
  Approve({TestGuid(9, 1), 1}, "Office");
  MustImport(MustExport());
  ASSERT_EQ(Apply(MustReturn())->outcome, ReturnOutcome::kApplied);
  Publish({Plain(2)});
  MustImport(MustExport());
  const fs::path late = MustReturn();
  Restore(far_, "far");
  const auto restored = Apply(MustReturn());
  ASSERT_TRUE(restored.has_value()) << restored.error().message;
  EXPECT_TRUE(restored->applied.restored);
  EXPECT_EQ(restored->applied.believed, 0u);
  const auto epoch = Far().site_epoch;
  EXPECT_EQ(Apply(late)->outcome, ReturnOutcome::kLate);
  EXPECT_EQ(Far().site_epoch, epoch);
}

TEST_F(RecoveryTest, TheOrderOfAReturnSaysNothing) {
  Publish({Plain(1), Plain(2)}, /*with_content=*/false);
  Approve({TestGuid(9, 1), 1}, "Office");
  Approve({TestGuid(9, 2), 1}, "Office");
  MustImport(MustExport());
  const std::string text = *ReadTextFile(MustReturn(), 1 << 20);
  ASSERT_TRUE(mirror::exchange::DecodeReturn(text).has_value());
  const auto first = text.find("{\"asked\":false,\"record\":\"request\"");
  const auto second = text.find("{\"asked\":false,\"record\":\"request\"", first + 1);
  const auto end = text.find('\n', second) + 1;
  ASSERT_NE(second, std::string::npos);
  const std::string swapped = text.substr(0, first) + text.substr(second, end - second) +
                              text.substr(first, second - first) + text.substr(end);
  const auto refused = mirror::exchange::DecodeReturn(swapped);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "return-malformed");
  EXPECT_THAT(refused.error().message, testing::HasSubstr("return line 3"));
}

TEST_F(RecoveryTest, ARequestForWhatNoUpdateDeclaresStopsNoBundle) {
  Publish({Plain(1)});
  MustImport(MustExport());
  ASSERT_TRUE(Apply(MustReturn()).has_value());
  Hold(near_, "stray");
  Exec(near_, "INSERT INTO site_request (site, sha1, asked) VALUES (?, ?, 1)", Far().guid,
       Sha1("stray"));
  Publish({Plain(2)});
  MustImport(MustExport());
}

TEST_F(RecoveryTest, WhatMayNotLeaveAnyMoreIsGivenUp) {
  Publish({Plain(1)});
  MustImport(MustExport());
  mirror::Computer computer;
  computer.id = "c0ffee00-0000-4000-8000-000000000001";
  computer.details.full_domain_name = "secret.plant.example";
  computer.registered_at = computer.last_contact = clock_.Now();
  ASSERT_TRUE((*far_.activity())->PutComputer(computer).has_value());
  {  // reserved with names, interrupted
    const auto lock = *mirror::JobLock::Acquire(far_.path(), "export-return");
    const auto prepared = exporter::PrepareReturn(far_, lock, {.names = true});
    ASSERT_TRUE(prepared.has_value()) << prepared.error().message;
    ASSERT_THAT(prepared->text, testing::HasSubstr("secret"));
    ASSERT_TRUE(WriteFileAtomically(far_.staging() / "return-1.jsonl", AsBytes(prepared->text))
                    .has_value());
    mirror::ReturnOut out;
    out.recipient = prepared->header.recipient;
    out.number = 1;
    out.level = "detailed";
    out.sha256 = Sha256(prepared->text);
    ASSERT_TRUE(mirror::Ledger(far_.db()).ReserveReturn(out).has_value());
  }
  const fs::path file = MustReturn();
  EXPECT_THAT(file.filename().string(), testing::HasSubstr("000002"));
  EXPECT_THAT(*ReadTextFile(file, 1 << 20), testing::Not(testing::HasSubstr("secret")));
}

}  // namespace
}  // namespace gapferry::importer
