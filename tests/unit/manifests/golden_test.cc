// Bundles of this format version, byte for byte: tests/golden/. ACCEPT=1 writes them anew.
#include <gtest/gtest.h>

#include <cstdlib>

#include "manifests/zstd_stream.h"
#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

class GoldenTest : public BundleTest {
 protected:
  static fs::path Golden() { return fs::path(GAPFERRY_SOURCE_DIR) / "tests/golden"; }

  static std::string Compressed(std::string_view text) {
    MemorySink stored(1 << 20);
    ZstdSink zstd(stored);
    EXPECT_TRUE(zstd.Write(AsBytes(text)).has_value());
    EXPECT_TRUE(zstd.Finish().has_value());
    return std::string(AsText(stored.bytes()));
  }

  /// An intent object without elements, and one file.
  void Carry(const std::string& file, std::string extension) {
    provider_.objects().clear();
    provider_.Put(ObjectName::Intent(), Compressed("{\"dangling\":0,\"elements\":0,\"format\":"
                                                   "\"gapferry-exchange/1\",\"record\":\"intent\","
                                                   "\"revisions\":0,\"scope\":\"delta\"}\n"));
    provider_.Put(ContentNamed(file, std::move(extension)), file);
    content_bytes_ = file.size();
  }

  Card Sender() const {
    Card card;
    card.guid = sender_;
    card.name = "Headquarters";
    card.roles = {SignerRole::kOrigin};
    card.signing_key = origin_->public_key();
    card.encryption_key.bytes.fill(7);
    card.formats = {"gapferry-manifest/1", "gapferry-return/1"};
    return card;
  }

  Result<void> WriteGolden(const fs::path& directory, std::uint64_t volume_bytes) {
    const VolumeForm form = sealing_ ? VolumeForm::kSealed : VolumeForm::kPlain;
    TRY(RemoveTree(root_ / "journal"));
    TRY_ASSIGN(auto layout, LayOut(provider_.Plan(), volume_bytes, form));
    TRY_ASSIGN(auto writer, BundleWriter::Create(directory, root_ / "journal", std::move(layout),
                                                 parity_, sealing_));
    Manifest draft = Draft();
    draft.totals = {0, 1, content_bytes_};
    TRY(writer.WriteVolumes(BundleReadme(draft, Sender().Fingerprint(), form), provider_, {}));
    TRY(writer.Finish(draft, *origin_));
    return {};
  }

  /// Whether tests/golden/NAME is what is written today, and is read.
  void IsReadAndWritten(const std::string& name, std::uint64_t volume_bytes = 0) {
    const fs::path golden = Golden() / name;
    if (std::getenv("ACCEPT") != nullptr) {
      ASSERT_TRUE(RemoveTree(golden).has_value());
      ASSERT_TRUE(WriteGolden(golden, volume_bytes).has_value());
      GTEST_SKIP() << "golden bundle written";
    }
    const auto read = Verify(golden);
    ASSERT_TRUE(read.has_value()) << read.error().message;
    ASSERT_TRUE(WriteGolden(root_ / "new", volume_bytes).has_value());
    const auto names = *ListDirectory(golden);
    EXPECT_EQ(names, *ListDirectory(root_ / "new"));
    for (const std::string& file : names) {
      // Not by gtest: it would print what differs.
      EXPECT_TRUE(*ReadFile(golden / file, 4 << 20) == *ReadFile(root_ / "new" / file, 4 << 20))
          << file;
    }
  }

  std::uint64_t content_bytes_ = 0;
};

TEST_F(GoldenTest, SendersCard) {
  const std::string card = *EncodeCard(Sender(), *origin_);
  if (std::getenv("ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(Golden() / "sender.card", AsBytes(card)).has_value());
  }
  EXPECT_EQ(*ReadTextFile(Golden() / "sender.card", kMaxCardBytes), card);
}

/// The worked example of docs/format.md.
TEST_F(GoldenTest, PlainBundle) {
  Carry("alpha", "cab");
  IsReadAndWritten("bundle");
}

TEST_F(GoldenTest, SealedBundle) {
  SealFor(7);  // tests/golden/recipient.pem
  Carry("alpha", "cab");
  IsReadAndWritten("sealed");
}

/// A file in two parts over two volumes, with repair files.
TEST_F(GoldenTest, PartsAndRepairFiles) {
  std::string file;
  for (int line = 0; file.size() < 1'100'000; ++line) {
    file += "line " + std::to_string(line / 1000) + " of a file that is larger than a volume\n";
  }
  Carry(file, "msu");
  parity_ = 10;
  IsReadAndWritten("parts", kMinVolumeBytes);
}

}  // namespace
}  // namespace gapferry::manifests
