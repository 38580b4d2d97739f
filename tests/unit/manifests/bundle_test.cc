#include <gmock/gmock.h>

#include <cstdlib>

#include "base/guarded.h"
#include "manifests/zstd_stream.h"
#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

/// Keeps what it is given.
class Collector : public ObjectReceiver {
 public:
  Result<bool> Has(const IndexLine&) override { return false; }
  Result<std::unique_ptr<ObjectSlot>> Begin(const IndexLine& line) override {
    class Slot : public ObjectSlot {
     public:
      Slot(Collector& owner, std::string name) : owner_(owner), name_(std::move(name)) {}
      Result<void> Write(ByteView bytes) override {
        text_ += AsText(bytes);
        return {};
      }
      Result<void> Complete() override {
        (*owner_.got.Lock())[name_] = text_;
        return {};
      }

     private:
      Collector& owner_;
      std::string name_, text_;
    };
    return std::unique_ptr<ObjectSlot>(std::make_unique<Slot>(*this, line.name.ToString()));
  }
  Guarded<std::map<std::string, std::string>> got;
};

TEST_F(BundleTest, WhatWasWrittenIsVerifiedAndReadWhole) {
  const auto written = Write();
  ASSERT_TRUE(written.has_value()) << written.error().message;
  DirectoryMedium medium(Directory());
  auto manifest = VerifyManifest(medium, policy_, addressee_);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_EQ(manifest->manifest(), *written);
  auto index = VerifyIndex(medium, std::move(*manifest));
  ASSERT_TRUE(index.has_value()) << index.error().message;
  Collector collector;
  VerifyOptions options;
  options.receiver = &collector;
  const auto bundle = VerifyVolumes(medium, std::move(*index), options);
  ASSERT_TRUE(bundle.has_value()) << bundle.error().message;
  auto got = collector.got.Lock();
  EXPECT_EQ(got->size(), provider_.objects().size());
  for (const auto& [name, bytes] : provider_.objects()) EXPECT_EQ((*got)[name.ToString()], bytes);
}

TEST_F(BundleTest, TheSamePlanGivesTheSameBytes) {
  ASSERT_TRUE(Write().has_value());
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  ASSERT_TRUE(WriteTo(root_ / "again").has_value());
  const auto names = *ListDirectory(Directory());
  EXPECT_EQ(names, *ListDirectory(root_ / "again"));
  for (const std::string& name : names) {
    EXPECT_EQ(Read(name), *ReadTextFile(root_ / "again" / name, 1 << 30)) << name;
  }
}

TEST_F(BundleTest, CutsLargeFilesIntoPartsThatVerifyAndJoin) {
  std::string huge(3'500'000, 'h');
  for (std::size_t i = 0; i < huge.size(); i += 97) huge[i] = static_cast<char>(i);
  provider_.Put(ContentNamed(huge, "msu"), huge);
  const auto written = Write(kMinVolumeBytes);
  ASSERT_TRUE(written.has_value()) << written.error().message;
  EXPECT_GE(written->volumes.size(), 4u);
  for (const auto& volume : written->volumes) EXPECT_LE(volume.size, kMinVolumeBytes);
  DirectoryMedium medium(Directory());
  auto index = VerifyIndex(medium, *VerifyManifest(medium, policy_, addressee_));
  ASSERT_TRUE(index.has_value()) << index.error().message;
  Collector collector;
  VerifyOptions options;
  options.receiver = &collector;
  ASSERT_TRUE(VerifyVolumes(medium, *index, options).has_value());
  std::string joined;
  for (const IndexLine& line : index->lines()) {
    if (line.name.Whole() == ContentNamed(huge, "msu")) {
      joined += (*collector.got.Lock())[line.name.ToString()];
      EXPECT_EQ(line.file_sha256(), Sha256(huge));
    }
  }
  EXPECT_EQ(joined, huge);
}

TEST_F(BundleTest, AnInterruptedWriteContinuesToTheSameBytes) {
  std::string huge(2'500'000, 'h');
  provider_.Put(ContentNamed(huge, "msu"), huge);
  ASSERT_TRUE(WriteTo(root_ / "whole", kMinVolumeBytes).has_value());
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());

  // The second volume cannot be read: the first is kept, the rest is written by the next call.
  auto layout = *LayOut(provider_.Plan(), kMinVolumeBytes);
  class Failing : public ObjectProvider {
   public:
    explicit Failing(ObjectProvider& inner) : inner_(inner) {}
    Result<std::unique_ptr<Source>> Open(const ObjectName& name, std::uint64_t offset) override {
      if (++calls_ > 6) return Fail(ErrorCode::kInternal, "pulled the plug");
      return inner_.Open(name, offset);
    }

   private:
    ObjectProvider& inner_;
    int calls_ = 0;
  } failing(provider_);
  auto writer = BundleWriter::Create(Directory(), root_ / "journal", layout);
  ASSERT_TRUE(writer.has_value());
  ASSERT_FALSE(writer->WriteVolumes(BundleReadme(Draft(), "abcd-efgh"), failing, {}).has_value());
  EXPECT_EQ(Reason(), "bundle-unfinished");
  ASSERT_TRUE(Write(kMinVolumeBytes).has_value());
  const auto names = *ListDirectory(root_ / "whole");
  for (const std::string& name : names) {
    EXPECT_EQ(Read(name), *ReadTextFile(root_ / "whole" / name, 1 << 30)) << name;
  }
}

TEST_F(BundleTest, StandardToolsCheckIt) {
  ASSERT_TRUE(Write().has_value());
  const fs::path pem = root_ / "origin.pub.pem";
  ASSERT_TRUE(WriteFileAtomically(pem, AsBytes(origin_->public_key().ToPem())).has_value());
  const std::string script =
      "cd '" + Directory().string() +
      "' && sha256sum --quiet -c --strict SHA256SUMS && tar -tf volume-0001.tar >/dev/null"
      " && zstd -qt index.jsonl.zst && sed -n 's/^" +
      origin_->public_key().Id().ToHex() +
      " origin //p' manifest.json.sig | base64 -d > ../m.sig && openssl pkeyutl -verify -pubin "
      "-inkey '" +
      pem.string() +
      "' -rawin -in manifest.json -sigfile ../m.sig >/dev/null"
      " && [ \"$(sha256sum < SHA256SUMS | cut -c1-64)\" = \"$(grep -o "
      "'\"sums_sha256\":\"[0-9a-f]*' manifest.json | cut -d'\"' -f4)\" ]";
  EXPECT_EQ(std::system(script.c_str()), 0);
}

TEST_F(BundleTest, NamesObjectVolumeAndOffsetOfDamage) {
  ASSERT_TRUE(Write().has_value());
  DirectoryMedium medium(Directory());
  const auto index = VerifyIndex(medium, *VerifyManifest(medium, policy_, addressee_));
  const auto& line = *std::ranges::max_element(index->lines(), {}, &IndexLine::size);
  Flip("volume-0001.tar", line.data_offset() + 200'000);
  const auto result = Verify(Directory());
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(result.error().reason, "object-damaged");
  EXPECT_THAT(result.error().message,
              ::testing::AllOf(::testing::HasSubstr("object '" + line.name.ToString() +
                                                    "' in volume-0001.tar at offset " +
                                                    std::to_string(line.data_offset())),
                               ::testing::HasSubstr("damage begins in the block at offset " +
                                                    std::to_string((line.data_offset() + 200'000) /
                                                                   65536 * 65536))));
}

// Attacks by name.

TEST_F(BundleTest, RefusesAReplacedVolumeWithRewrittenSums) {
  ASSERT_TRUE(Write().has_value());
  Flip("volume-0001.tar", 600);
  RewriteSums();
  EXPECT_EQ(Reason(), "sums-digest");
}

TEST_F(BundleTest, RefusesForgedSumsSignedByAnUnknownKey) {
  ASSERT_TRUE(Write().has_value());
  Flip("volume-0001.tar", 600);
  RewriteSums();
  const SigningKey attacker = SigningKey::Generate();
  EditManifest(
      [&](Manifest& manifest) {
        const std::string sums = Read("SHA256SUMS");
        manifest.sums_sha256 = Sha256(sums);
        manifest.sums_size = sums.size();
      },
      attacker);
  EXPECT_EQ(Reason(), "signature-unknown-key");
}

TEST_F(BundleTest, RefusesABadSignatureByAKnownKeyEvenBesideAGoodOne) {
  ASSERT_TRUE(Write().has_value());
  const SigningKey second = TestKey(root_, 2);
  policy_.keys.push_back({second.public_key(), SignerRole::kRelease, addressee_.guid, "Reviewer"});
  const std::string text = Read("manifest.json");
  auto lines = *DecodeSignatures(Read("manifest.json.sig"));
  lines.push_back(*SignDocument(AsBytes(text + " "), second, SignerRole::kRelease));
  Replace("manifest.json.sig", EncodeSignatures(lines));
  EXPECT_EQ(Reason(), "signature-bad");
}

TEST_F(BundleTest, RefusesARepeatedKey) {
  ASSERT_TRUE(Write().has_value());
  const std::string line = Read("manifest.json.sig");
  Replace("manifest.json.sig", line + line);
  EXPECT_EQ(Reason(), "signature-repeated-key");
}

TEST_F(BundleTest, RefusesMalformedSignatureLines) {
  ASSERT_TRUE(Write().has_value());
  const std::string line = Read("manifest.json.sig");
  for (const std::string& bad :
       {std::string(), std::string("\n"), line + "\n", line + "x\n", " " + line,
        line.substr(0, line.size() - 1), "x" + line, line + line.substr(0, 40) + "\n"}) {
    Replace("manifest.json.sig", bad);
    EXPECT_EQ(Reason(), "signature-malformed") << bad;
  }
}

TEST_F(BundleTest, AnUnknownKeyIsShownAndNotCounted) {
  ASSERT_TRUE(Write().has_value());
  const std::string text = Read("manifest.json");
  auto lines = *DecodeSignatures(Read("manifest.json.sig"));
  lines.push_back(*SignDocument(AsBytes(text), SigningKey::Generate(), SignerRole::kRelease));
  Replace("manifest.json.sig", EncodeSignatures(lines));
  DirectoryMedium medium(Directory());
  const auto manifest = VerifyManifest(medium, policy_, addressee_);
  ASSERT_TRUE(manifest.has_value()) << manifest.error().message;
  EXPECT_EQ(manifest->signatures().unknown.size(), 1u);
  policy_.rule.release_persons = 1;
  EXPECT_EQ(Reason(), "signature-threshold");
}

TEST_F(BundleTest, CountsPersonsNotKeys) {
  ASSERT_TRUE(Write().has_value());
  const Guid reviewer = Guid::Random();
  const SigningKey one = TestKey(root_, 2), two = TestKey(root_, 3);
  const std::string text = Read("manifest.json");
  auto lines = *DecodeSignatures(Read("manifest.json.sig"));
  for (const SigningKey* key : {&one, &two}) {
    policy_.keys.push_back({key->public_key(), SignerRole::kRelease, reviewer, "Reviewer"});
    lines.push_back(*SignDocument(AsBytes(text), *key, SignerRole::kRelease));
  }
  Replace("manifest.json.sig", EncodeSignatures(lines));
  policy_.rule.release_persons = 2;
  EXPECT_EQ(Reason(), "signature-threshold");
  policy_.rule.release_persons = 1;
  EXPECT_EQ(Reason(), "");
  policy_.keys.back().holder = sender_;  // the origin in another hat is nobody new
  policy_.rule.release_persons = 2;
  EXPECT_EQ(Reason(), "signature-threshold");
}

TEST_F(BundleTest, RefusesAReleaseKeyAsOrigin) {
  ASSERT_TRUE(Write().has_value());
  policy_.keys[0].role = SignerRole::kRelease;
  EXPECT_EQ(Reason(), "signature-role");
}

TEST_F(BundleTest, RefusesAForeignRecipient) {
  ASSERT_TRUE(Write().has_value());
  addressee_.guid = Guid::Random();
  EXPECT_EQ(Reason(), "recipient-foreign");
}

TEST_F(BundleTest, RefusesAnotherSendersName) {
  ASSERT_TRUE(Write().has_value());
  EditManifest([](Manifest& manifest) { manifest.sender.guid = Guid::Random(); }, *origin_);
  EXPECT_EQ(Reason(), "sender-mismatch");
}

TEST_F(BundleTest, RefusesAMixOfTwoBundles) {
  ASSERT_TRUE(Write().has_value());
  provider_.Put(ContentNamed("gamma"), "gamma");
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  ASSERT_TRUE(WriteTo(root_ / "other").has_value());
  for (const char* name :
       {"volume-0001.tar", "index.jsonl.zst", "SHA256SUMS", "manifest.json", "manifest.json.sig"}) {
    const std::string good = Read(name);
    Replace(name, *ReadTextFile(root_ / "other" / name, 1 << 30));
    EXPECT_NE(Reason(), "") << name;
    Replace(name, good);
  }
  EXPECT_EQ(Reason(), "");
}

TEST_F(BundleTest, RefusesAnUnlistedFile) {
  ASSERT_TRUE(Write().has_value());
  Replace("autorun.inf", "x");
  EXPECT_EQ(Reason(), "file-unlisted");
}

TEST_F(BundleTest, RefusesAMissingFileAndASymlink) {
  ASSERT_TRUE(Write().has_value());
  ASSERT_TRUE(Rename(Directory() / "volume-0001.tar", root_ / "volume.tar").has_value());
  EXPECT_EQ(Reason(), "file-missing");
  fs::create_symlink(root_ / "volume.tar", Directory() / "volume-0001.tar");
  EXPECT_FALSE(Verify(Directory()).has_value());
}

TEST_F(BundleTest, RefusesTarTricks) {
  ASSERT_TRUE(Write().has_value());
  const std::string good = Read("volume-0001.tar");
  struct Trick {
    const char* what;
    std::size_t at;
    char byte;
  };
  for (const Trick& trick :
       {Trick{"link type", 156, '2'}, Trick{"longer name", 6, '/'}, Trick{"mode", 103, '7'},
        Trick{"prefix", 345, '.'}, Trick{"pax", 156, 'x'}, Trick{"padding", 512 + 700, 'p'}}) {
    std::string bad = good;
    bad[trick.at] = trick.byte;
    Replace("volume-0001.tar", bad);
    EXPECT_TRUE(Reason() == "header-damaged" || Reason() == "padding-damaged")
        << trick.what << Reason();
  }
  std::string behind = good;
  behind[behind.size() - 5] = 'e';
  Replace("volume-0001.tar", behind);
  EXPECT_EQ(Reason(), "trailer-damaged");
  Replace("volume-0001.tar", good + std::string(512, '\0'));
  EXPECT_EQ(Reason(), "file-size");
}

TEST_F(BundleTest, RefusesACompressionBombByItsStatedSize) {
  ASSERT_TRUE(Write().has_value());
  MemorySink stored(1 << 20);
  ZstdSink zstd(stored);
  const Bytes zeros(1 << 20, 0);
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(zstd.Write(zeros).has_value());
  ASSERT_TRUE(zstd.Finish().has_value());
  Replace("index.jsonl.zst", AsText(stored.bytes()));
  RewriteSums();
  EditManifest(
      [&](Manifest& manifest) {
        const std::string sums = Read("SHA256SUMS");
        manifest.sums_sha256 = Sha256(sums);
        manifest.sums_size = sums.size();
        manifest.index.size = stored.bytes().size();
        manifest.index.sha256 = Sha256(stored.bytes());
      },
      *origin_);
  EXPECT_EQ(Reason(), "zstd-too-large");
}

TEST_F(BundleTest, RefusesOneSignedDocumentAsAnother) {
  ASSERT_TRUE(Write().has_value());
  const std::string other = "{\"_type\":\"gapferry-return/1\"}\n";
  Replace("manifest.json", other);
  Resign(*origin_);
  EXPECT_EQ(Reason(), "document-type");
  Replace("manifest.json", "{\"_type\":\"gapferry-manifest/2\"}\n");
  Resign(*origin_);
  EXPECT_EQ(Reason(), "document-version");
  Replace("manifest.json", "{\"_type\":\"gapferry-manifest/1\"}\n");
  Resign(*origin_);
  EXPECT_EQ(Reason(), "manifest-malformed");
}

TEST_F(BundleTest, ASourceThatChangedIsNotWritten) {
  auto layout = *LayOut(provider_.Plan(), 0);
  provider_.objects()[ContentNamed("alpha")] = "alphb";
  auto writer = BundleWriter::Create(Directory(), root_ / "journal", layout);
  ASSERT_TRUE(writer.has_value());
  EXPECT_EQ(writer->WriteVolumes("readme", provider_, {}).error().reason, "source-changed");
  EXPECT_EQ(Reason(), "bundle-unfinished");
}

TEST_F(BundleTest, NoSignatureStandsBesideAVolumeThatIsWritten) {
  ASSERT_TRUE(Write().has_value());
  // The journal is lost (staging may be emptied), and the run that writes again ends early.
  ASSERT_TRUE(RemoveTree(root_ / "journal").has_value());
  auto layout = *LayOut(provider_.Plan(), 0);
  provider_.objects()[ContentNamed("beta")] = "beto";
  auto writer = BundleWriter::Create(Directory(), root_ / "journal", std::move(layout));
  ASSERT_FALSE(writer->WriteVolumes("readme", provider_, {}).has_value());
  EXPECT_EQ(Reason(), "bundle-unfinished");
  provider_.objects()[ContentNamed("beta")] = "beta";
  ASSERT_TRUE(Write().has_value());
  EXPECT_EQ(Reason(), "");
}

TEST_F(BundleTest, ForeignFilesInTheTargetFolderAreRefusedBeforeWriting) {
  ASSERT_TRUE(CreateDirectories(Directory()).has_value());
  Replace("holiday.jpg", "x");
  EXPECT_EQ(Write().error().reason, "directory-in-use");
}

}  // namespace
}  // namespace gapferry::manifests
