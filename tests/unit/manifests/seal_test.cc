#include "manifests/seal.h"

#include <gmock/gmock.h>

#include "manifests/opened_medium.h"
#include "manifests/seal_format.h"
#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Patterned(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 13 + i / 251);
  return text;
}

/// One file in memory.
class OneFile : public Medium {
 public:
  OneFile(std::string name, Bytes bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}
  std::string Describe() const override { return "memory"; }
  Result<std::vector<std::string>> List() override { return std::vector{name_}; }
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override {
    if (name != name_) return Fail(ErrorCode::kNotFound, "no such file");
    return std::unique_ptr<MediumFile>(std::make_unique<File>(bytes_));
  }
  Bytes& bytes() { return bytes_; }
  const Bytes& bytes() const { return bytes_; }

 private:
  class File : public MediumFile {
   public:
    explicit File(const Bytes& bytes) : bytes_(bytes) {}
    std::uint64_t size() const override { return bytes_.size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
      if (offset >= bytes_.size()) return std::size_t{0};
      const std::size_t count =
          std::min<std::size_t>(out.size(), bytes_.size() - static_cast<std::size_t>(offset));
      std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
      return count;
    }

   private:
    const Bytes& bytes_;
  };
  std::string name_;
  Bytes bytes_;
};

Result<std::string> ReadOpened(Medium& stored, const SealKey& key) {
  OpenedMedium opened(stored, key);
  TRY_ASSIGN(const Bytes bytes, ReadMediumFile(opened, "volume-0001.tar", 1 << 30));
  return std::string(AsText(bytes));
}

OneFile Sealed(const BundleSecret& secret, std::string_view text) {
  return {"volume-0001.tar.sealed", SealText(secret, "volume-0001.tar", AsBytes(text))};
}

std::vector<std::string> Names(const fs::path& folder) { return *ListDirectory(folder); }

constexpr std::size_t kFirst = kSealPlainBytes - kSealHeaderBytes;

TEST(Seal, FilesOfEverySizeComeBackWholeAndAnywhere) {
  const BundleSecret secret = BundleSecret::Draw();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, kFirst - 1, kFirst, kFirst + 1, kFirst + kSealPlainBytes,
        kFirst + kSealPlainBytes + 1, std::size_t{300'000}}) {
    const std::string text = Patterned(size);
    OneFile stored = Sealed(secret, text);
    EXPECT_EQ(stored.bytes().size(), SealedSize(size));
    const auto read = ReadOpened(stored, secret.Key());
    ASSERT_TRUE(read.has_value()) << read.error().message;
    EXPECT_EQ(*read, text);
    EXPECT_EQ(AsText(*OpenText(secret.Key(), "volume-0001.tar", stored.bytes())), text);
    OpenedMedium opened(stored, secret.Key());
    const auto file = *opened.Open("volume-0001.tar");
    EXPECT_EQ(file->size(), size);
    Bytes piece(1000);
    for (std::uint64_t at = 0; at < size; at += 7'777) {
      const auto count = file->ReadAt(at, piece);
      ASSERT_TRUE(count.has_value());
      EXPECT_EQ(AsText(ByteView(piece).first(*count)), text.substr(at, 1000)) << at;
    }
    EXPECT_EQ(*file->ReadAt(size, piece), 0u);
  }
}

TEST(Seal, EveryChangedByteAndEveryOtherLengthIsRefused) {
  const BundleSecret secret = BundleSecret::Draw();
  const OneFile good = Sealed(secret, Patterned(kFirst + 40));
  OneFile bad = good;
  for (std::size_t at = 0; at < bad.bytes().size();
       at += (at < 100 || at + 200 > bad.bytes().size()) ? 1 : 997) {
    bad.bytes()[at] ^= 1;
    const auto read = ReadOpened(bad, secret.Key());
    ASSERT_FALSE(read.has_value()) << at;
    EXPECT_EQ(read.error().reason, "seal-damaged");
    bad.bytes()[at] ^= 1;
  }
  for (std::size_t size = 0; size <= good.bytes().size() + 100;
       size += (size < 100 || size + 200 > good.bytes().size()) ? 1 : 997) {
    if (size == good.bytes().size()) continue;
    bad.bytes() = good.bytes();
    bad.bytes().resize(size);
    // Nothing is read, and so nothing opened, of a file without text: manifests state sizes.
    if (PlainSize(size) != 0) {
      EXPECT_FALSE(ReadOpened(bad, secret.Key()).has_value()) << size;
    }
    EXPECT_FALSE(OpenText(secret.Key(), "volume-0001.tar", bad.bytes()).has_value()) << size;
  }
}

TEST(Seal, ChunksStayWhereTheyAre) {
  const BundleSecret secret = BundleSecret::Draw();
  const std::string text = Patterned(kFirst + 3 * kSealPlainBytes);
  const OneFile good = Sealed(secret, text);
  const auto chunk = [&](std::size_t n) {
    return good.bytes().begin() + static_cast<std::ptrdiff_t>(n * kSealChunkBytes);
  };
  OneFile swapped = good;
  std::swap_ranges(swapped.bytes().begin() + kSealChunkBytes,
                   swapped.bytes().begin() + 2 * kSealChunkBytes,
                   swapped.bytes().begin() + 2 * kSealChunkBytes);
  EXPECT_FALSE(ReadOpened(swapped, secret.Key()).has_value());
  OneFile repeated = good;
  std::copy(chunk(1), chunk(2), repeated.bytes().begin() + 2 * kSealChunkBytes);
  EXPECT_FALSE(ReadOpened(repeated, secret.Key()).has_value());
  // Whole chunks cut off: the one that is then last was not sealed as the last.
  OneFile cut = good;
  cut.bytes().resize(3 * kSealChunkBytes);
  EXPECT_FALSE(ReadOpened(cut, secret.Key()).has_value());
  OneFile longer = good;
  longer.bytes().insert(longer.bytes().end(), chunk(3), chunk(4));
  EXPECT_FALSE(ReadOpened(longer, secret.Key()).has_value());
}

TEST(Seal, AFileIsReadUnderItsOwnNameAndKeyOnly) {
  const BundleSecret secret = BundleSecret::Draw();
  OneFile as_other{"volume-0001.tar.sealed", SealText(secret, "volume-0002.tar", AsBytes("x"))};
  EXPECT_FALSE(ReadOpened(as_other, secret.Key()).has_value());
  OneFile good = Sealed(secret, "x");
  EXPECT_FALSE(ReadOpened(good, BundleSecret::Draw().Key()).has_value());
  EXPECT_TRUE(ReadOpened(good, secret.Key()).has_value());
}

TEST(Seal, TwoTextsNeverMeetUnderOneKeyAndNonce) {
  const BundleSecret secret = BundleSecret::Draw();
  const Bytes one = SealText(secret, "details.json", AsBytes("aaaaaaaaaaaaaaaa"));
  const Bytes two = SealText(secret, "details.json", AsBytes("aaaaaaaaaaaaaaab"));
  EXPECT_EQ(one, SealText(secret, "details.json", AsBytes("aaaaaaaaaaaaaaaa")));
  EXPECT_NE(Bytes(one.begin() + 16, one.begin() + 32), Bytes(two.begin() + 16, two.begin() + 32));
  // Under the same key stream all but the last byte of the ciphertexts would be equal.
  EXPECT_NE(Bytes(one.begin() + 32, one.begin() + 40), Bytes(two.begin() + 32, two.begin() + 40));
}

/// What StreamVolume gives of one volume, as far as it comes.
Bytes StreamedVolume(std::vector<IndexLine> layout, const fs::path& journal, const Sealing& sealing,
                     ObjectProvider& provider, std::uint32_t volume) {
  auto writer = BundleWriter::Create({}, journal, std::move(layout), 0, sealing);
  EXPECT_TRUE(writer.has_value());
  MemorySink out(64 << 20);
  const auto streamed = writer->StreamVolume(volume, provider, {}, out);
  if (!streamed) {
    EXPECT_EQ(streamed.error().reason, "source-changed");
  }
  return out.Take();
}

TEST_F(BundleTest, NoByteOfASourceThatChangedIsSealed) {
  SealFor(7);
  const auto layout = *LayOut(provider_.Plan(), 0, VolumeForm::kSealed);
  const Bytes good = StreamedVolume(layout, root_ / "journal", *sealing_, provider_, 1);
  for (auto& [name, bytes] : provider_.objects()) {
    if (bytes.size() == 300'000) bytes[10] = '!';
  }
  const Bytes bad = StreamedVolume(layout, root_ / "journal", *sealing_, provider_, 1);
  ASSERT_LT(bad.size(), good.size());
  EXPECT_EQ(bad, Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(bad.size())));
}

TEST_F(BundleTest, PartsFromElsewhereInAFileAreUnderAnotherKey) {
  SealFor(7);
  constexpr std::uint64_t kVolume = 1 << 20;
  MemoryProvider one, two;
  const std::string huge(4 << 20, 'h');
  one.Put(ObjectName::Intent(), std::string(700, 'i'));
  two.Put(ObjectName::Intent(), std::string(7'000, 'i'));
  std::array<Bytes, 2> stored;
  std::array<std::string, 2> lines;
  std::size_t at = 0;
  for (MemoryProvider* provider : {&one, &two}) {
    provider->Put(ContentNamed(huge), huge);
    const auto layout = *LayOut(provider->Plan(), kVolume, VolumeForm::kSealed);
    for (const IndexLine& line : layout) {
      if (line.volume == 2) lines[at] += EncodeIndexLine(line);
    }
    stored[at] = StreamedVolume(layout, root_ / "journal", *sealing_, *provider, 2);
    ASSERT_GT(stored[at].size(), 32U);
    ++at;
  }
  // The same line of the index, but other bytes of the file.
  ASSERT_EQ(lines[0], lines[1]);
  EXPECT_NE(Bytes(stored[0].begin() + 16, stored[0].begin() + 32),
            Bytes(stored[1].begin() + 16, stored[1].begin() + 32));
}

TEST(Seal, TheKeyOpensForItsRecipientOnly) {
  const BundleSecret secret = BundleSecret::Draw();
  const EncryptionKey one = EncryptionKey::Generate(), two = EncryptionKey::Generate();
  Bytes wrapped = *secret.WrapFor(one.public_key());
  ASSERT_EQ(wrapped.size(), kSealedKeyBytes);
  EXPECT_EQ(Unwrap(wrapped, one)->bytes, secret.Key().bytes);
  EXPECT_EQ(Unwrap(wrapped, two).error().reason, "seal-key");
  EXPECT_NE(wrapped, *secret.WrapFor(two.public_key()));
  for (std::size_t at = 0; at < wrapped.size(); ++at) {
    wrapped[at] ^= 0x20;
    EXPECT_FALSE(Unwrap(wrapped, one).has_value()) << at;
    wrapped[at] ^= 0x20;
  }
  // Of small order: the agreed value would be known to everybody.
  EXPECT_FALSE(secret.WrapFor(EncryptionPublicKey{}).has_value());
  EXPECT_FALSE(Unwrap(Bytes(kSealedKeyBytes, 0), one).has_value());
}

TEST_F(BundleTest, ASealedBundleIsReadByItsRecipient) {
  SealFor(7);
  const auto written = Write();
  ASSERT_TRUE(written.has_value()) << written.error().message;
  EXPECT_EQ(
      *ListDirectory(Directory()),
      (std::vector<std::string>{"README.txt", "SHA256SUMS", "blocks-0001", "details.json.sealed",
                                "index.jsonl.zst.sealed", "manifest.json", "manifest.json.sig",
                                "volume-0001.tar.sealed"}));
  DirectoryMedium medium(Directory());
  const auto manifest = VerifyManifest(medium, policy_, addressee_);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_EQ(manifest->manifest(), *written);
  EXPECT_EQ(manifest->manifest().base, Draft().base);
  const auto verified = Verify(Directory());
  ASSERT_TRUE(verified.has_value()) << verified.error().message;
  MemorySink intent(1 << 20);
  ASSERT_TRUE(
      ReadObject(medium, verified->index(), verified->index().lines().front(), intent).has_value());
  EXPECT_EQ(AsText(intent.bytes()), provider_.objects().at(ObjectName::Intent()));
}

TEST_F(BundleTest, SealedVolumesKeepTheLimitAndAnInterruptedWriteEndsInTheSameBytes) {
  SealFor(7);
  provider_.Put(ContentNamed(Patterned(2'500'000), "msu"), Patterned(2'500'000));
  const auto written = WriteTo(root_ / "whole", kMinVolumeBytes);
  ASSERT_TRUE(written.has_value()) << written.error().message;
  for (const auto& volume : written->volumes) {
    EXPECT_LE(volume.size, kMinVolumeBytes);
    EXPECT_EQ(fs::file_size(root_ / "whole" / volume.name), volume.size);
  }
  EXPECT_GE(written->volumes.front().size, kMinVolumeBytes - 1024);
  // A second run into the same folder takes what the journal knows; one into another folder, with
  // an empty journal, gives the same bytes.
  ASSERT_TRUE(WriteTo(root_ / "whole", kMinVolumeBytes).has_value());
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  ASSERT_TRUE(Write(kMinVolumeBytes).has_value());
  for (const std::string& name : Names(root_ / "whole")) {
    EXPECT_EQ(Read(name), *ReadTextFile(root_ / "whole" / name, 1 << 30)) << name;
  }
  EXPECT_EQ(Reason(), "");
}

TEST_F(BundleTest, AnotherSecretWritesVolumesAgainThatTheJournalKnows) {
  SealFor(7);
  ASSERT_TRUE(Write().has_value());
  const std::string first = Read("volume-0001.tar.sealed");
  sealing_->secret = BundleSecret::Draw();
  ASSERT_TRUE(Write().has_value());
  EXPECT_NE(Read("volume-0001.tar.sealed"), first);
  EXPECT_EQ(Reason(), "");
}

TEST_F(BundleTest, WithoutTheKeyOnlyWhatIsStoredIsChecked) {
  SealFor(7);
  ASSERT_TRUE(Write().has_value());
  DirectoryMedium medium(Directory());
  const auto manifest = VerifyManifest(medium, policy_, std::nullopt);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_FALSE(manifest->has_details());
  EXPECT_EQ(VerifyIndex(medium, *manifest).error().reason, "seal-closed");
  const auto checked = VerifyStored(medium, *manifest, nullptr, {});
  ASSERT_TRUE(checked.has_value()) << checked.error().message;
  EXPECT_EQ(checked->volumes, 1u);
  for (const std::string& name : Names(Directory())) {
    if (name.starts_with("manifest.json")) continue;
    Flip(name, Read(name).size() / 2);
    EXPECT_FALSE(VerifyStored(medium, *manifest, nullptr, {}).has_value()) << name;
    Flip(name, Read(name).size() / 2);
  }
}

TEST_F(BundleTest, AKeyThatIsNotTheRecipientsIsRefused) {
  SealFor(7);
  ASSERT_TRUE(Write().has_value());
  addressee_.load_key = Giving(8);
  EXPECT_EQ(Reason(), "seal-key");
  addressee_.encryption_key_id = TestEncryptionKey(root_, 8).public_key().Id();
  EXPECT_EQ(Reason(), "recipient-foreign");
  // After a rotation: the old key is kept, and asked for by its id.
  const KeyId old = TestEncryptionKey(root_, 7).public_key().Id();
  addressee_.retired_key_ids = {old};
  addressee_.load_key = [&](const KeyId& id) {
    EXPECT_EQ(id, old);
    return Giving(7)(id);
  };
  EXPECT_EQ(Reason(), "");
}

/// Nothing of what lies in objects, index or details is readable on the medium.
TEST_F(BundleTest, AFoundMediumTellsNothingOfWhatItCarries) {
  const std::string secret_text = "Security Update for Windows (KB5099999) 9c1b2d3e-1111";
  const ObjectName file = ContentNamed(secret_text);
  provider_.Put(ObjectName::Metadata(1), secret_text);
  provider_.Put(file, secret_text);
  const Manifest plain = *WriteTo(root_ / "plain");
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  SealFor(7);
  ASSERT_TRUE(Write().has_value());
  const auto everything = [](const fs::path& folder) {
    std::string bytes;
    for (const std::string& name : Names(folder)) {
      bytes += name + "\n" + *ReadTextFile(folder / name, 1 << 30);
    }
    return bytes;
  };
  const std::string found = everything(Directory());
  for (const std::string& told :
       {secret_text, std::string("KB5099999"), std::string("content/"), file.sha1.ToHex(),
        file.sha1.ToHex(HexCase::kUpper), plain.target.epoch.ToString(), plain.target.chain.ToHex(),
        plain.base.state_digest.ToHex(), plain.audit_head.ToHex(), plain.index.raw_sha256.ToHex(),
        std::string("generation"), std::string("ustar")}) {
    EXPECT_THAT(found, Not(HasSubstr(told)));
  }
  EXPECT_THAT(everything(root_ / "plain"), HasSubstr(secret_text));  // the search does find
}

}  // namespace
}  // namespace gapferry::manifests
