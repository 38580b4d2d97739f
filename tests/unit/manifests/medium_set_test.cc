#include "manifests/medium_set.h"

#include <gmock/gmock.h>

#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

using testing::ElementsAre;

/// A bundle of several volumes, which tests spread over folders `a`, `b`, ...
class MediumSetTest : public BundleTest {
 protected:
  MediumSetTest() {
    std::string large(2'500'000, 'l');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 11 + i / 251);
    provider_.Put(ContentNamed(large, "exe"), large);
    const auto written = Write(kMinVolumeBytes);
    EXPECT_TRUE(written.has_value()) << written.error().message;
    volumes_ = static_cast<std::uint32_t>(written->volumes.size());
    EXPECT_GE(volumes_, 3u);
  }
  fs::path At(const std::string& folder) {
    EXPECT_TRUE(CreateDirectories(root_ / folder).has_value());
    return root_ / folder;
  }
  void Move(const std::string& name, const std::string& folder) {
    fs::rename(Directory() / name, At(folder) / name);
  }
  void MoveVolume(std::uint32_t volume, const std::string& folder) {
    Move(VolumeName(volume), folder);
    Move(BlocksName(volume), folder);
  }
  static std::string Text(Medium& medium, std::string_view name) {
    const auto bytes = ReadMediumFile(medium, name, 1 << 30);
    return bytes ? std::string(AsText(*bytes)) : bytes.error().reason;
  }
  Result<VerifiedBundle> VerifySet(Medium& medium, std::set<std::uint32_t>* missing = nullptr,
                                   ObjectReceiver* receiver = nullptr) {
    TRY_ASSIGN(auto manifest, VerifyManifest(medium, policy_, addressee_));
    TRY_ASSIGN(auto index, VerifyIndex(medium, std::move(manifest)));
    VerifyOptions options;
    options.missing = missing;
    options.receiver = receiver;
    return VerifyVolumes(medium, std::move(index), options);
  }

  std::uint32_t volumes_ = 0;
};

TEST_F(MediumSetTest, SeveralFoldersAreOneBundle) {
  MoveVolume(1, "a");
  MoveVolume(3, "b");
  MediumSet set({At("b"), Directory(), At("a")});
  const auto verified = VerifySet(set);
  EXPECT_TRUE(verified.has_value()) << verified.error().message;
  MediumSet part({At("b"), Directory()});
  EXPECT_EQ(VerifySet(part).error().reason, "file-missing");
}

TEST_F(MediumSetTest, AVolumeWithoutItsBlocksFileWasNotFinishedThere) {
  const std::string whole = Read(VolumeName(2));
  ASSERT_TRUE(
      WriteFileAtomically(At("a") / VolumeName(2), AsBytes(whole.substr(0, 1000))).has_value());
  MediumSet set({At("a"), Directory()});
  EXPECT_EQ(Text(set, VolumeName(2)), whole);
  EXPECT_TRUE(VerifySet(set).has_value());
  // Nowhere else: what there is of it is read, and refused by its size.
  ASSERT_TRUE(RemoveFile(Directory() / VolumeName(2)).has_value());
  EXPECT_EQ(Text(set, VolumeName(2)), whole.substr(0, 1000));
}

TEST_F(MediumSetTest, OfSignatureFilesTheLargestCounts) {
  const std::string ours = Read("manifest.json.sig");
  ASSERT_TRUE(
      WriteFileAtomically(At("a") / "manifest.json.sig", AsBytes(ours + "more\n")).has_value());
  ASSERT_TRUE(WriteFileAtomically(At("b") / "manifest.json.sig", AsBytes("less\n")).has_value());
  MediumSet set({At("b"), At("a"), Directory()});
  EXPECT_EQ(Text(set, "manifest.json.sig"), ours + "more\n");
}

TEST_F(MediumSetTest, LitterIsPassedOverAndOthersAreRefused) {
  for (const char* name : {"._volume-0001.tar", ".DS_Store", "THUMBS.DB", "desktop.ini"}) {
    Replace(name, "x");
  }
  MediumSet set({Directory()});
  EXPECT_TRUE(VerifySet(set).has_value());
  Replace(".hidden", "x");
  EXPECT_EQ(VerifySet(set).error().reason, "file-unlisted");
}

TEST_F(MediumSetTest, WhatIsElsewhereIsNamedAndTheRestChecked) {
  MoveVolume(1, "a");
  MoveVolume(3, "a");
  MediumSet set({Directory()}, Lacking::kElsewhere);
  std::set<std::uint32_t> missing;
  auto verified = VerifySet(set, &missing);
  ASSERT_FALSE(verified.has_value());
  EXPECT_EQ(verified.error().reason, "volumes-missing");
  EXPECT_EQ(verified.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(missing, ElementsAre(1, 3));
  EXPECT_EQ(set.Open(VolumeName(1)).error().reason, "volumes-missing");
  // What is here is judged all the same.
  Flip(VolumeName(2), 600);
  EXPECT_EQ(VerifySet(set).error().code, ErrorCode::kCorrupt);
}

/// Says that it has everything of some volumes.
class Holder : public ObjectReceiver {
 public:
  Result<bool> Has(const IndexLine& line) override { return volumes.contains(line.volume); }
  Result<std::unique_ptr<ObjectSlot>> Begin(const IndexLine&) override {
    return std::unique_ptr<ObjectSlot>();
  }
  std::set<std::uint32_t> volumes;
};

TEST_F(MediumSetTest, WhatTheReceiverHasNeedsNoMedium) {
  MoveVolume(1, "a");
  MoveVolume(2, "a");
  MediumSet set({Directory()}, Lacking::kElsewhere);
  Holder holder;
  holder.volumes = {1};
  std::set<std::uint32_t> missing;
  EXPECT_FALSE(VerifySet(set, &missing, &holder).has_value());
  EXPECT_THAT(missing, ElementsAre(2));
  holder.volumes = {1, 2};
  EXPECT_TRUE(VerifySet(set, &missing, &holder).has_value());
}

TEST_F(MediumSetTest, VolumesMoveToAnotherFolderAndComeBackFromTheJournal) {
  auto layout = LayOut(provider_.Plan(), kMinVolumeBytes);
  ASSERT_TRUE(layout.has_value());
  auto writer = BundleWriter::Create({}, root_ / "journal", std::move(*layout));
  ASSERT_TRUE(writer.has_value());
  for (std::uint32_t volume = 2; volume <= volumes_; ++volume) {
    EXPECT_TRUE(writer->AdoptVolume(volume)) << volume;
  }
  ASSERT_TRUE(writer->MoveTo(At("new")).has_value());
  ASSERT_TRUE(writer->WriteReadme(BundleReadme(Draft(), "abcd-efgh")).has_value());
  ASSERT_TRUE(writer->WriteVolume(1, provider_, {}).has_value());
  ASSERT_TRUE(writer->Finish(Draft(), *origin_).has_value());
  for (const std::string& name : {std::string("manifest.json"), std::string("SHA256SUMS"),
                                  std::string("index.jsonl.zst"), VolumeName(1), BlocksName(1)}) {
    EXPECT_EQ(*ReadTextFile(At("new") / name, 1 << 30), Read(name)) << name;
  }
  // Without the journal nobody knows what lies on the other media.
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  EXPECT_FALSE(writer->AdoptVolume(2));
  Replace("foreign.txt", "x");
  EXPECT_EQ(writer->MoveTo(Directory()).error().reason, "directory-in-use");
}

TEST(VolumeOfFile, KnowsTheFilesOfAVolume) {
  EXPECT_EQ(VolumeOfFile("volume-0001.tar"), 1u);
  EXPECT_EQ(VolumeOfFile("volume-0012.tar.sealed"), 12u);
  EXPECT_EQ(VolumeOfFile("blocks-4096"), 4096u);
  EXPECT_EQ(VolumeOfFile("repair-0003"), 3u);
  for (const char* name : {"repair-0000", "volume-4097.tar", "volume-1.tar", "volume--001.tar",
                           "README.txt", "manifest.json", "index.jsonl.zst", ""}) {
    EXPECT_FALSE(VolumeOfFile(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace gapferry::manifests
