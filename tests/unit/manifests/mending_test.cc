#include "manifests/mending.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "manifests/medium_set.h"
#include "manifests/repair_file.h"
#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kBlock = kBlockBytes;

/// Gives errors instead of some blocks of one file, as a scratched disc does.
class ScratchedMedium : public Medium {
 public:
  ScratchedMedium(Medium& inner, std::string name, std::uint64_t from, std::uint64_t to)
      : inner_(inner), name_(std::move(name)), from_(from), to_(to) {}
  std::string Describe() const override { return inner_.Describe(); }
  Result<std::vector<std::string>> List() override { return inner_.List(); }
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override {
    auto file = inner_.Open(name);
    if (!file || name != name_) return file;
    return std::unique_ptr<MediumFile>(std::make_unique<Scratched>(std::move(*file), from_, to_));
  }

 private:
  class Scratched : public MediumFile {
   public:
    Scratched(std::unique_ptr<MediumFile> file, std::uint64_t from, std::uint64_t to)
        : file_(std::move(file)), from_(from), to_(to) {}
    std::uint64_t size() const override { return file_->size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
      if (offset < to_ && offset + out.size() > from_) {
        return Fail(ErrorCode::kInternal, "medium-unreadable", "Input/output error");
      }
      return file_->ReadAt(offset, out);
    }

   private:
    std::unique_ptr<MediumFile> file_;
    std::uint64_t from_, to_;
  };
  Medium& inner_;
  std::string name_;
  std::uint64_t from_, to_;
};

class MendingTest : public BundleTest {
 protected:
  void SetUp() override { WriteWith(5, 7'000'000); }

  void WriteWith(unsigned percent, std::size_t bytes) {
    ASSERT_TRUE(RemoveTree(Directory()).has_value());
    ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
    provider_.objects().clear();
    provider_.Put(ObjectName::Intent(), std::string(700, 'i'));
    std::mt19937_64 random(7);
    for (std::size_t made = 0; made < bytes;) {
      std::string text(std::min<std::size_t>(bytes - made, 100'000 + random() % 1'000'000), '\0');
      for (std::size_t at = 0; at + 8 <= text.size(); at += 8) {
        const std::uint64_t value = random();
        std::memcpy(text.data() + at, &value, 8);
      }
      made += text.size();
      provider_.Put(ContentNamed(text), text);
    }
    auto writer =
        BundleWriter::Create(Directory(), root_ / "journal", *LayOut(provider_.Plan(), 0), percent);
    ASSERT_TRUE(writer.has_value());
    ASSERT_TRUE(
        writer->WriteVolumes(BundleReadme(Draft(), "abcd-efgh"), provider_, {}).has_value());
    const auto written = writer->Finish(Draft(), *origin_);
    ASSERT_TRUE(written.has_value()) << written.error().message;
    volume_bytes_ = written->volumes[0].size;
    good_ = Read(kVolume);
  }

  Result<VerifiedBundle> Check(Medium& medium, MendOptions options = {}) {
    damage_.clear();
    MendingMedium mending(medium, std::move(options));
    auto result = [&]() -> Result<VerifiedBundle> {
      TRY_ASSIGN(auto manifest, VerifyManifest(mending, policy_, addressee_));
      TRY_ASSIGN(auto index, VerifyIndex(mending, std::move(manifest)));
      VerifyOptions verify;
      verify.damaged = &objects_;
      return VerifyVolumes(mending, std::move(index), verify);
    }();
    damage_ = mending.Damage();
    mended_ = mending.MendedFiles();
    return result;
  }
  Result<VerifiedBundle> CheckFolder(MendOptions options = {}) {
    DirectoryMedium medium(Directory());
    return Check(medium, std::move(options));
  }
  void ExpectMended(const std::string& what) {
    const auto result = CheckFolder();
    EXPECT_TRUE(result.has_value()) << what << ": " << result.error().message;
  }

  void Overwrite(std::size_t from, std::size_t count) {
    std::string bytes = good_;
    for (std::size_t i = from; i < from + count; ++i) bytes[i] = static_cast<char>(~bytes[i]);
    Replace(kVolume, bytes);
  }
  ParityLayout Layout(unsigned percent = 5) const {
    return ParityLayout::Of(volume_bytes_, percent);
  }

  static constexpr const char* kVolume = "volume-0001.tar";
  std::uint64_t volume_bytes_ = 0;
  std::string good_;
  std::vector<VolumeDamage> damage_;
  std::vector<std::string> mended_;
  DamagedObjects objects_;
};

TEST_F(MendingTest, ASoundBundlePassesWithoutRepair) {
  ExpectMended("sound");
  EXPECT_THAT(damage_, IsEmpty());
  EXPECT_THAT(mended_, IsEmpty());
  EXPECT_EQ(Read("repair-0001").size(), RepairFileBytes(volume_bytes_, 5));
  EXPECT_EQ(Read("blocks-0001").size(), BlocksFileBytes(volume_bytes_, 5));
  // Plain tools agree, and so does a reader that mends nothing.
  EXPECT_EQ(Reason(), "");
  const std::string check =
      "cd '" + Directory().string() + "' && sha256sum --quiet -c --strict SHA256SUMS";
  EXPECT_EQ(std::system(check.c_str()), 0);
}

TEST_F(MendingTest, AnyDamagedByteIsMendedAndItsBlockNamed) {
  for (std::size_t at = 0; at < volume_bytes_; at += 811'111) {
    Overwrite(at, 1);
    ExpectMended("byte " + std::to_string(at));
    ASSERT_EQ(damage_.size(), 1u);
    EXPECT_THAT(damage_[0].bad, ElementsAre(at / kBlock));
    EXPECT_EQ(damage_[0].from_parity, 1u);
    EXPECT_THAT(damage_[0].lost, IsEmpty());
  }
}

TEST_F(MendingTest, OneRunOfFourPercentIsMendedWhereverItBegins) {
  const std::size_t run = volume_bytes_ * 4 / 100;
  for (std::size_t from = 0; from + run <= volume_bytes_; from += 477'777) {
    Overwrite(from, run);
    ExpectMended("run at " + std::to_string(from));
    ASSERT_EQ(damage_.size(), 1u);
    EXPECT_EQ(damage_[0].bad.front(), from / kBlock);
    EXPECT_EQ(damage_[0].bad.back(), (from + run - 1) / kBlock);
    EXPECT_EQ(damage_[0].bad.size(), (from + run - 1) / kBlock - from / kBlock + 1);
  }
}

TEST_F(MendingTest, AVolumeThatEndsEarlyIsMended) {
  Replace(kVolume, std::string_view(good_).substr(0, good_.size() - volume_bytes_ * 4 / 100));
  ExpectMended("cut");
  ASSERT_EQ(damage_.size(), 1u);
  EXPECT_EQ(damage_[0].bad.back(), Layout().blocks - 1);
}

/// A folder with the same bundle, on another medium.
class CopiesTest : public MendingTest {
 protected:
  void SetUp() override {
    WriteWith(0, 3'000'000);
    fs::copy(Directory(), root_ / "copy");
  }
  void Damage(const fs::path& path, std::size_t from, std::size_t count) {
    std::string bytes = *ReadTextFile(path, 1 << 30);
    for (std::size_t i = from; i < from + count; ++i) bytes[i] = static_cast<char>(~bytes[i]);
    ASSERT_TRUE(WriteFileAtomically(path, AsBytes(bytes)).has_value());
  }
  void ExpectGood(const std::string& what) {
    for (const bool swapped : {false, true}) {
      std::vector<fs::path> folders = {Directory(), root_ / "copy"};
      if (swapped) std::ranges::reverse(folders);
      for (const auto lacking : {Lacking::kRefused, Lacking::kElsewhere}) {
        MediumSet set(folders, lacking);
        const auto result = Check(set);
        EXPECT_TRUE(result.has_value()) << what << ": " << result.error().message;
      }
    }
  }
};

TEST_F(CopiesTest, ABlockThatIsBadInOneCopyIsTakenFromAnother) {
  Overwrite(5 * kBlock, 2 * kBlock);
  Damage(root_ / "copy" / kVolume, 9 * kBlock + 7, 1);
  MediumSet set({Directory(), root_ / "copy"});
  const auto result = Check(set);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_EQ(damage_.size(), 1u);
  EXPECT_THAT(damage_[0].bad, ElementsAre(5, 6));
  EXPECT_EQ(damage_[0].from_copies, 2u);
  EXPECT_THAT(damage_[0].lost, IsEmpty());
  ExpectGood("both");
}

TEST_F(CopiesTest, ACopyThatEndsEarlyOrIsMissingOrUnfinishedIsNotTheOnlyOne) {
  Replace(kVolume, std::string_view(good_).substr(0, good_.size() / 2));
  ExpectGood("cut");
  ASSERT_TRUE(RemoveFile(Directory() / "blocks-0001").has_value());
  ExpectGood("unfinished");
  ASSERT_TRUE(RemoveFile(Directory() / kVolume).has_value());
  ExpectGood("missing");
}

TEST_F(CopiesTest, SmallFilesAreTakenFromWhereTheyAreRight) {
  for (const char* name : {"blocks-0001", "SHA256SUMS", "manifest.json.sig"}) {
    Damage(Directory() / name, 12, 3);
  }
  for (const char* name : {"README.txt", "index.jsonl.zst"}) {
    Damage(root_ / "copy" / name, 20, 2);
  }
  Overwrite(2 * kBlock, 1);
  ExpectGood("small files");
}

TEST_F(CopiesTest, ASignatureFileCountsOnlyWithTheReleasesThatAreAskedFor) {
  const SigningKey reviewer = TestKey(root_, 9);
  policy_.keys.push_back(
      {reviewer.public_key(), SignerRole::kRelease, addressee_.guid, "Reviewer"});
  policy_.rule.release_persons = 1;
  const std::string text = Read("manifest.json");
  const auto origin = *SignDocument(AsBytes(text), *origin_, SignerRole::kOrigin);
  auto release = *SignDocument(AsBytes(text), reviewer, SignerRole::kRelease);
  const std::string good = EncodeSignatures({origin, release});
  release.key_id = *KeyId::FromHex("ff0102030405060708090a0b0c0d0e0f");
  const std::string unknown = EncodeSignatures({origin, release});
  ASSERT_EQ(good.size(), unknown.size());
  Replace("manifest.json.sig", unknown);
  ASSERT_TRUE(WriteFileAtomically(root_ / "copy" / "manifest.json.sig", AsBytes(good)).has_value());
  ExpectGood("release");
  MediumSet set({Directory(), root_ / "copy"});
  const auto manifest = VerifyManifest(set, policy_, addressee_);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_EQ(AsText(manifest->signature_bytes()), good);
  EXPECT_EQ(manifest->signatures().released.size(), 1u);
  MediumSet damaged({Directory()});
  EXPECT_EQ(VerifyManifest(damaged, policy_, addressee_).error().reason, "signature-threshold");
}

TEST_F(CopiesTest, ASignatureFileThatCannotBeReadIsNotTheOnlyOne) {
  const std::string right = Read("manifest.json.sig");
  /// Two folders, of which the first gives no signatures but errors.
  class ScratchedSet : public ScratchedMedium {
   public:
    ScratchedSet(Medium& first, Medium& second)
        : ScratchedMedium(first, "manifest.json.sig", 0, 1), second_(second) {}
    Result<std::vector<std::unique_ptr<MediumFile>>> OpenCopies(std::string_view name) override {
      std::vector<std::unique_ptr<MediumFile>> copies;
      TRY_ASSIGN(copies.emplace_back(), Open(name));
      TRY_ASSIGN(copies.emplace_back(), second_.Open(name));
      return copies;
    }
    bool MayHaveCopies() const override { return true; }

   private:
    Medium& second_;
  };
  DirectoryMedium first(Directory()), second(root_ / "copy");
  ScratchedSet set(first, second);
  const auto manifest = VerifyManifest(set, policy_, addressee_);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_EQ(AsText(manifest->signature_bytes()), right);
  Replace("manifest.json.sig", std::string(kMaxSignatureFileBytes + 1, 'x'));
  ExpectGood("too large");
  // Alone each is refused for what it is.
  ScratchedMedium alone(first, "manifest.json.sig", 0, 1);
  EXPECT_EQ(VerifyManifest(first, policy_, addressee_).error().reason, "file-too-large");
  Replace("manifest.json.sig", right);
  EXPECT_EQ(VerifyManifest(alone, policy_, addressee_).error().reason, "medium-unreadable");
  ASSERT_TRUE(RemoveFile(Directory() / "manifest.json.sig").has_value());
  EXPECT_EQ(VerifyManifest(first, policy_, addressee_).error().reason, "bundle-unfinished");
}

TEST_F(CopiesTest, ABlockThatIsBadInAllCopiesIsRefusedByItsName) {
  Overwrite(5 * kBlock, 1);
  Damage(root_ / "copy" / kVolume, 5 * kBlock + 9, 1);
  MediumSet set({Directory(), root_ / "copy"});
  const auto result = Check(set);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("block 5 of volume-0001.tar"));
  EXPECT_THAT(damage_[0].lost, ElementsAre(5));
}

TEST_F(CopiesTest, CopiesAndRepairBlocksAreUsedTogether) {
  WriteWith(5, 3'000'000);
  ASSERT_TRUE(RemoveTree(root_ / "copy").has_value());
  fs::copy(Directory(), root_ / "copy");
  // The first copy has lost more than its repair blocks give back; one of these is bad in both.
  Overwrite(3 * kBlock, 8 * kBlock);
  Damage(root_ / "copy" / kVolume, 10 * kBlock, 1);
  ExpectGood("copies and parity");
}

TEST_F(MendingTest, AnUnreadableStretchIsMended) {
  DirectoryMedium folder(Directory());
  ScratchedMedium medium(folder, kVolume, 3 * kBlock + 100, 6 * kBlock);
  const auto result = Check(medium);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  ASSERT_EQ(damage_.size(), 1u);
  EXPECT_THAT(damage_[0].bad, ElementsAre(3, 4, 5));
}

TEST_F(MendingTest, AMissingVolumeIsMendedWhenThereIsAsMuchParity) {
  WriteWith(100, 3'000'000);
  ASSERT_TRUE(RemoveFile(Directory() / kVolume).has_value());
  ExpectMended("missing");
  ASSERT_EQ(damage_.size(), 1u);
  EXPECT_TRUE(damage_[0].is_missing);
  EXPECT_EQ(damage_[0].from_parity, damage_[0].blocks);
}

TEST_F(MendingTest, ATooLargeLossIsRefusedBeforeAnythingIsRead) {
  ASSERT_TRUE(RemoveFile(Directory() / kVolume).has_value());
  EXPECT_EQ(CheckFolder().error().reason, "file-missing");
  Replace(kVolume, std::string_view(good_).substr(0, good_.size() / 2));
  EXPECT_EQ(CheckFolder().error().reason, "file-size");
  Replace(kVolume, good_ + "x");
  EXPECT_EQ(CheckFolder().error().reason, "file-size");
}

TEST_F(MendingTest, TooMuchDamageIsRefusedWithObjectVolumeOffsetAndNumbers) {
  Overwrite(10 * kBlock, 40 * kBlock);
  const auto result = CheckFolder();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(result.error().reason, "object-damaged");
  EXPECT_THAT(result.error().message, HasSubstr("object 'content/"));
  EXPECT_THAT(result.error().message, HasSubstr("in volume-0001.tar at offset"));
  EXPECT_THAT(result.error().message,
              HasSubstr("40 blocks of its stripe are lost and " + std::to_string(Layout().parity) +
                        " of " + std::to_string(Layout().parity) + " repair blocks are left"));
  ASSERT_EQ(damage_.size(), 1u);
  std::vector<std::uint64_t> expected;
  for (std::uint64_t block = 10; block < 50; ++block) expected.push_back(block);
  EXPECT_EQ(damage_[0].bad, expected);
  EXPECT_EQ(damage_[0].lost, expected);
}

TEST_F(MendingTest, ReadingOnFindsEveryDamagedBlockOfAVolumeThatIsBeyondRepair) {
  std::string bytes = good_.substr(0, 100 * kBlock + 5);
  bytes[3 * kBlock] = static_cast<char>(~bytes[3 * kBlock]);
  Replace(kVolume, bytes);
  MendOptions options;
  options.reads_on = true;
  EXPECT_FALSE(CheckFolder(std::move(options)).has_value());
  std::vector<std::uint64_t> expected = {3};
  for (std::uint64_t block = 100; block < Layout().blocks; ++block) expected.push_back(block);
  ASSERT_EQ(damage_.size(), 1u);
  EXPECT_EQ(damage_[0].bad, expected);
  EXPECT_GT(objects_.count, 1u);
}

TEST_F(MendingTest, DamagedRepairFilesAreToleratedAsFarAsTheRestSuffices) {
  const unsigned parity = Layout().parity;
  ASSERT_EQ(Layout().stripes, 1u);
  std::string repair = Read("repair-0001");
  for (unsigned row = 0; row + 2 < parity; ++row) repair[row * kBlock + 9] ^= 1;
  Replace("repair-0001", repair);
  Overwrite(kBlock, kBlock + 1);
  ExpectMended("two blocks, two repair blocks left");
  EXPECT_EQ(damage_[0].bad_repair_blocks, parity - 2);
  Overwrite(kBlock, 2 * kBlock + 1);
  EXPECT_EQ(CheckFolder().error().reason, "object-damaged");
  ASSERT_TRUE(RemoveFile(Directory() / "repair-0001").has_value());
  EXPECT_EQ(CheckFolder().error().reason, "object-damaged");
  Replace(kVolume, good_);
  ExpectMended("repair files are not needed to read what is sound");
}

TEST_F(MendingTest, EverySmallFileIsGivenRightFromItsCopy) {
  for (const char* name : {"README.txt", "index.jsonl.zst", "blocks-0001", "SHA256SUMS"}) {
    const std::string good = Read(name);
    Overwrite(5 * kBlock, 3);
    for (const std::string& bad : {std::string(), good.substr(1), std::string(good.size(), 'x')}) {
      Replace(name, bad);
      ExpectMended(name);
      EXPECT_THAT(mended_, ElementsAre(name));
    }
    ASSERT_TRUE(RemoveFile(Directory() / name).has_value());
    ExpectMended(std::string(name) + " missing");
    Replace(name, good);
  }
}

TEST_F(MendingTest, SumsFollowFromSoundFilesWhenTheCopiesAreGone) {
  Flip("SHA256SUMS", 3);
  Flip("repair-0000", 3);
  EXPECT_EQ(CheckFolder().error().reason, "sums-digest");
  WriteWith(5, 1'000'000);
  ASSERT_TRUE(RemoveFile(Directory() / "SHA256SUMS").has_value());
  Flip("repair-0000", Read("repair-0000").size() - 1);
  EXPECT_FALSE(CheckFolder().has_value());  // the list names a digest that nothing has
}

TEST_F(MendingTest, HugeFilesAreNotReadToFindTheSums) {
  ASSERT_TRUE(RemoveFile(Directory() / "SHA256SUMS").has_value());
  ASSERT_TRUE(RemoveFile(Directory() / "repair-0000").has_value());
  Replace("trust.jsonl", "x");
  fs::resize_file(Directory() / "trust.jsonl", 1ULL << 36);  // sparse: more than a minute to read
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(CheckFolder().has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_F(MendingTest, ASmallFileAndItsCopyDamagedAreRefused) {
  Flip("index.jsonl.zst", 30);
  std::string copies = Read("repair-0000");
  for (auto& c : copies) c = static_cast<char>(c ^ 1);
  Replace("repair-0000", copies);
  EXPECT_EQ(CheckFolder().error().reason, "index-digest");
}

TEST_F(MendingTest, WithoutParityDamageIsRefusedAsEver) {
  WriteWith(0, 2'000'000);
  EXPECT_FALSE(fs::exists(Directory() / "repair-0000"));
  Overwrite(700'000, 1);
  EXPECT_EQ(CheckFolder().error().reason, "object-damaged");
  Replace(kVolume, good_);
  Flip("SHA256SUMS", 3);
  EXPECT_EQ(CheckFolder().error().reason, "sums-digest");
}

TEST_F(MendingTest, TheManifestIsNotMended) {
  Flip("manifest.json", 40);
  EXPECT_EQ(CheckFolder().error().reason, "signature-bad");
}

TEST_F(MendingTest, TheSameRepairFilesComeFromLittleMemory) {
  WriteWith(5, 33'000'000);
  ASSERT_EQ(Layout().stripes, 3u);
  const std::string expected = Read("repair-0001");
  const std::string blocks = Read("blocks-0001");
  for (const std::uint64_t memory : {std::uint64_t{1}, 2 * Layout().parity * kBlock}) {
    RepairWriter writer(Layout(), memory);
    EXPECT_EQ(writer.stream(), nullptr);
    ReadBack mode = ReadBack::kDirect;
    const auto written = writer.Write(Directory() / kVolume, root_ / "repair",
                                      AsBytes(blocks).first(Layout().blocks * kBlockDigestBytes),
                                      /*streamed=*/false, mode, {});
    ASSERT_TRUE(written.has_value()) << written.error().message;
    EXPECT_EQ(*ReadTextFile(root_ / "repair", 1 << 30), expected);
    EXPECT_EQ(AsText(written->blocks), blocks);
  }
}

TEST_F(MendingTest, AnInterruptedExportMakesTheSameRepairFiles) {
  const std::string expected = Read("repair-0001");
  ASSERT_TRUE(RemoveFile(Directory() / "repair-0001").has_value());
  auto writer =
      BundleWriter::Create(Directory(), root_ / "journal", *LayOut(provider_.Plan(), 0), 5);
  ASSERT_TRUE(writer->WriteVolumes(BundleReadme(Draft(), "abcd-efgh"), provider_, {}).has_value());
  EXPECT_EQ(writer->bytes_written() < volume_bytes_, true);
  ASSERT_TRUE(writer->Finish(Draft(), *origin_).has_value());
  EXPECT_EQ(Read("repair-0001"), expected);
  ExpectMended("again");
}

/// Wrong repair blocks whose digests say that they are right: what comes out is compared too.
TEST(VolumeMender, WrongRepairDataNeverGivesWrongBytes) {
  const auto layout = ParityLayout::Of(4 * kBlock, 25);
  ASSERT_EQ(layout.parity, 2u);
  class MemoryFile : public MediumFile {
   public:
    explicit MemoryFile(Bytes bytes) : bytes_(std::move(bytes)) {}
    std::uint64_t size() const override { return bytes_.size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
      const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
      std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
      return count;
    }

   private:
    Bytes bytes_;
  };
  Bytes volume(4 * kBlock, 7), repair(2 * kBlock, 9), digests;
  for (const Bytes* bytes : {&volume, &repair}) {
    for (std::size_t at = 0; at < bytes->size(); at += kBlock) {
      const auto digest = Sha256(ByteView(*bytes).subspan(at, kBlock));
      digests.insert(digests.end(), digest.bytes.begin(), digest.bytes.begin() + 8);
    }
  }
  volume[kBlock] ^= 1;
  VolumeMender::Parts parts;
  parts.volume = 1;
  parts.name = "volume-0001.tar";
  parts.layout = layout;
  parts.file = std::make_unique<MemoryFile>(volume);
  parts.repair.push_back(std::make_unique<MemoryFile>(repair));
  parts.load_digests = [digests] { return Result<Bytes>(digests); };
  parts.scratch = ::testing::TempDir();
  VolumeMender mender(std::move(parts));
  Bytes out(100);
  EXPECT_EQ(*mender.ReadCarefully(0, out), 100u);
  const auto damaged = mender.ReadCarefully(kBlock, out);
  ASSERT_FALSE(damaged.has_value());
  EXPECT_EQ(damaged.error().reason, "block-lost");
  EXPECT_THAT(mender.damage().lost, ElementsAre(1));
}

}  // namespace
}  // namespace gapferry::manifests
