#include <gmock/gmock.h>

#include "base/file.h"
#include "importer/bundle_source.h"
#include "importer/own_side.h"
#include "manifests/medium_set.h"
#include "mirror/job_history.h"
#include "tests/unit/importer/two_mirrors.h"

// What is told of an import: its job record, parts of it that came later, what lies beside it.

namespace gapferry::importer {
namespace {

class ImportOutcomeTest : public TwoMirrors {
 protected:
  mirror::JobRecord LastJob() { return **far_.jobs().Last("import"); }
  static void Damage(const fs::path& file, std::size_t at) {
    std::string text = *ReadTextFile(file, 1 << 30);
    text[at] = static_cast<char>(~text[at]);
    ASSERT_TRUE(WriteFileAtomically(file, AsBytes(text)).has_value());
  }
};

TEST_F(ImportOutcomeTest, ARefusedImportHasItsRecord) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  ASSERT_TRUE(WriteFileAtomically(bundle / "evil.txt", AsBytes("x")).has_value());
  EXPECT_EQ(Import(bundle).error().reason, "file-unlisted");
  EXPECT_EQ(LastJob().result, mirror::JobResult::kFailed);
  EXPECT_NE(LastJob().detail.find("file-unlisted"), std::string::npos);
  ASSERT_TRUE(RemoveFile(bundle / "evil.txt").has_value());
  MustImport(bundle);
  EXPECT_EQ(LastJob().result, mirror::JobResult::kDone);
}

TEST_F(ImportOutcomeTest, AMistypedPathIsNoImportThatFailed) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  MustImport(bundle);
  const std::int64_t last = LastJob().id;
  EXPECT_EQ(Import(bundle.parent_path() / "nowhere").error().reason, "no-bundle");
  EXPECT_EQ(Import(bundle / "manifest.json").error().reason, "no-bundle");
  EXPECT_EQ(LastJob().id, last);
}

TEST_F(ImportOutcomeTest, AMediumIsNotSearchedForEver) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const fs::path stick = bundle.parent_path() / "full stick";
  for (int i = 0; i < 1'001; ++i) {
    ASSERT_TRUE(CreateDirectories(stick / ("gapferry-" + std::to_string(i))).has_value());
  }
  const auto refused = BundleFoldersAt(stick);
  EXPECT_EQ(refused.error().reason, "medium-too-full");
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_EQ(Import(stick).error().reason, "medium-too-full");
  // One less, and it is found.
  for (const char* name : {"gapferry-7", "gapferry-8"}) fs::remove(stick / name);
  fs::rename(bundle, stick / "gapferry-7");
  MustImport(stick);
}

TEST_F(ImportOutcomeTest, ACopyWhoseManifestIsDamagedHelpsAllTheSame) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const fs::path copy = bundle.parent_path() / "copy";
  fs::copy(bundle, copy);
  Damage(copy / "manifest.json", 30);
  Damage(bundle / "volume-0001.tar", 600);
  EXPECT_FALSE(Import(bundle).has_value());
  EXPECT_FALSE(Import(copy).has_value());
  ImportOptions options;
  options.more_media = {bundle};
  const auto imported = Import(far_, copy, options);
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  ASSERT_EQ(imported->mended.volumes.size(), 1u);
  EXPECT_EQ(imported->mended.volumes[0].from_copies, 1u);
}

TEST_F(ImportOutcomeTest, ACopyWhoseManifestIsDamagedSpoilsNothing) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const fs::path copy = bundle.parent_path() / "copy";
  fs::copy(bundle, copy);
  Damage(copy / "manifest.json", 30);
  for (const auto& paths : {std::vector{bundle, copy}, std::vector{copy, bundle}}) {
    const auto both = FindBundle(far_, paths, false);
    ASSERT_TRUE(both.has_value()) << both.error().message;
    EXPECT_EQ(both->folders, (std::vector{bundle, copy}));
    EXPECT_EQ(both->named, bundle);
  }
  // What a repair of the file system leaves, and what is no plain file.
  const auto refuses = [&](const fs::path& stranger) {
    const auto alone = FindBundle(far_, {copy, bundle}, false);
    ASSERT_TRUE(alone.has_value()) << alone.error().message;
    EXPECT_EQ(alone->folders, std::vector{bundle});
    ASSERT_EQ(alone->others.size(), 1u);
    EXPECT_THAT(alone->others[0].why, testing::HasSubstr(stranger.filename().string()));
  };
  ASSERT_TRUE(WriteFileAtomically(copy / "FSCK0000.REC", AsBytes("x")).has_value());
  refuses(copy / "FSCK0000.REC");
  ASSERT_TRUE(RemoveFile(copy / "FSCK0000.REC").has_value());
  ASSERT_TRUE(RemoveFile(copy / "blocks-0001").has_value());
  fs::create_symlink(bundle / "blocks-0001", copy / "blocks-0001");
  refuses(copy / "blocks-0001");
  ImportOptions options;
  options.more_media = {bundle};
  const auto imported = Import(far_, copy, options);
  ASSERT_TRUE(imported.has_value()) << imported.error().message;
  EXPECT_EQ(imported->others.size(), 1u);
}

TEST_F(ImportOutcomeTest, TheSignaturesThatWereRightAreKept) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const fs::path copy = bundle.parent_path() / "copy";
  fs::copy(bundle, copy);
  const std::string right = *ReadTextFile(bundle / "manifest.json.sig", 1 << 20);
  Damage(bundle / "manifest.json.sig", 12);
  manifests::MediumSet medium({bundle, copy});
  const auto own = ReadOwnSide(far_, &medium);
  ASSERT_TRUE(own.has_value()) << own.error().message;
  const auto manifest = manifests::VerifyManifest(medium, own->policy, own->addressee);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  const fs::path kept = dir_.path() / "kept";
  ASSERT_TRUE(KeepSmallFiles(medium, *manifest, kept).has_value());
  EXPECT_EQ(*ReadTextFile(kept / "manifest.json.sig", 1 << 20), right);
}

TEST_F(ImportOutcomeTest, WhatFailsBehindTheCommitIsAWarningAndTriedAgain) {
  Publish({Plain(1)});
  const fs::path bundle = MustExport();
  const fs::path database = far_.path() / "activity.db";
  ASSERT_TRUE(RemoveFile(database).has_value());
  ASSERT_TRUE(WriteFileAtomically(database, AsBytes(std::string(8192, 'x'))).has_value());
  far_ = Reopen("far");
  const auto done = Import(bundle);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_FALSE(done->already_imported);
  ASSERT_FALSE(done->warnings.empty());
  EXPECT_THAT(done->warnings.front(), testing::HasSubstr("activity.db"));
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).passed_on_digest);
  EXPECT_EQ(LastJob().result, mirror::JobResult::kDone);
  ASSERT_TRUE(RemoveFile(database).has_value());
  far_ = Reopen("far");
  const auto again = Import(bundle);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_TRUE(again->already_imported);
  EXPECT_TRUE(again->warnings.empty());
}

TEST_F(ImportOutcomeTest, OfSeveralBundlesTheOneWhoseTurnItIsIsTaken) {
  Publish({Plain(1)});
  const fs::path first = MustExport();
  Publish({Plain(2)});
  const fs::path second = MustExport();
  ASSERT_NE(first, second);
  const fs::path stick = first.parent_path();
  const auto one = Import(stick);
  ASSERT_TRUE(one.has_value()) << one.error().message;
  EXPECT_EQ(one->manifest.sequence, 1u);
  ASSERT_EQ(one->others.size(), 1u);
  EXPECT_EQ(one->others[0].folder, second);
  const auto two = Import(stick);
  ASSERT_TRUE(two.has_value()) << two.error().message;
  EXPECT_EQ(two->manifest.sequence, 2u);
  EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).passed_on_digest);
  // A newer one that is refused beside those: aloud, not "was imported already".
  Publish({Plain(3)});
  const fs::path third = MustExport();
  ASSERT_TRUE(WriteFileAtomically(third / "SHA256SUMS", AsBytes("x")).has_value());
  const auto refused = Import(stick);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().reason, "sums-digest");
  EXPECT_THAT(refused.error().message, testing::HasSubstr(third.filename().string()));
  // Two that are for somebody else: nothing is chosen, and each says why.
  Mirror other = MakeMirror("other", true);
  Introduce(other);
  const auto none = Import(other, stick);
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().reason, "no-bundle-due");
  EXPECT_THAT(none.error().message, testing::HasSubstr(first.filename().string() + ": "));
}

}  // namespace
}  // namespace gapferry::importer
