#include <gmock/gmock.h>

#include "manifests/seal_format.h"
#include "manifests/zstd_stream.h"
#include "tests/unit/manifests/bundle_fixture.h"

namespace gapferry::manifests {
namespace {

using testing::HasSubstr;

TEST(ObjectNames, AreReadAndWrittenAsTheyAre) {
  const std::string sha1 = "0123456789ABCDEF0123456789ABCDEF012345AB";
  for (const std::string& text :
       {std::string("intent"), std::string("metadata/000001"), std::string("metadata/999999"),
        std::string("attachments/001"), "content/AB/" + sha1 + ".cab",
        "content/AB/" + sha1 + ".Msu16", "content/AB/" + sha1 + ".cab.part0001",
        "content/AB/" + sha1 + ".cab.part9999"}) {
    const auto name = ObjectName::Parse(text);
    ASSERT_TRUE(name.has_value()) << text;
    EXPECT_EQ(name->ToString(), text);
  }
}

TEST(ObjectNames, NothingElseCanBeExpressed) {
  const std::string sha1 = "0123456789ABCDEF0123456789ABCDEF012345AB";
  for (const std::string& text :
       {std::string(""),
        std::string("intent/"),
        std::string("Intent"),
        std::string("/intent"),
        std::string("metadata/1"),
        std::string("metadata/000000"),
        std::string("metadata/0000001"),
        std::string("metadata/00000a"),
        std::string("metadata/+00001"),
        std::string("attachments/1000"),
        "content/" + sha1 + ".cab",
        "content/AC/" + sha1 + ".cab",
        "content/ab/" + sha1 + ".cab",
        "content/AB/" + sha1,
        "content/AB/" + sha1 + ".",
        "content/AB/" + sha1 + ".c/b",
        "content/AB/" + sha1 + ".cab.part0000",
        "content/AB/" + sha1 + ".cab.part1",
        "content/AB/" + sha1 + ".cab.part00001",
        "content/AB/" + sha1 + ".abcdefghijklmnopq",
        "content/AB/" + sha1 + ".cab.exe",
        std::string("content/AB/../../etc/passwd"),
        "content/AB/" + sha1 + ".c b",
        std::string("content/AB/0123456789abcdef0123456789ABCDEF012345AB.cab")}) {
    const auto name = ObjectName::Parse(text);
    ASSERT_FALSE(name.has_value()) << text;
    EXPECT_EQ(name.error().reason, "object-name");
  }
}

IndexLine Line(std::uint64_t size) {
  IndexLine line;
  line.name = ContentNamed("x");
  line.volume = 1;
  line.size = line.full_size = size;
  return line;
}

TEST(TarHeaders, WriteSizesAboveEightGibibytesInBase256) {
  const auto small = TarHeader(Line((1ULL << 33) - 1));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(&small[124]), 11), "77777777777");
  const auto large = TarHeader(Line(1ULL << 33));
  EXPECT_EQ(HexEncode(ByteView(large).subspan(124, 12)), "800000000000000200000000");
}

TEST(Layout, FillsVolumesInOrderAndCutsOnlyContent) {
  std::vector<PlannedObject> objects = {{ObjectName::Intent(), 1000, {}},
                                        {ObjectName::Metadata(1), 900'000, {}},
                                        {ContentNamed("a"), 3'000'000, Sha256("a")}};
  const auto lines = LayOut(objects, kMinVolumeBytes);
  ASSERT_TRUE(lines.has_value());
  IndexChecker checker;
  std::uint64_t content = 0;
  for (const IndexLine& line : *lines) {
    const auto added = checker.Add(line);
    ASSERT_TRUE(added.has_value()) << added.error().message;
    EXPECT_LE(line.end() + kTarTrailer, kMinVolumeBytes);
    if (line.name.IsContent()) content += line.size;
  }
  EXPECT_EQ(content, 3'000'000u);
  EXPECT_TRUE(checker.Finish().has_value());
  objects[1].size = 2'000'000;
  EXPECT_EQ(LayOut(objects, kMinVolumeBytes).error().reason, "volume-too-small");
  EXPECT_EQ(LayOut(objects, 1000).error().reason, "volume-too-small");
  EXPECT_EQ(LayOut(objects, 0)->size(), 3u);
}

TEST(IndexLines, AreCheckedForOrderGapsAndParts) {
  const auto lines =
      *LayOut(std::vector<PlannedObject>{{ObjectName::Intent(), 10, {}},
                                         {ObjectName::Metadata(1), 10, {}},
                                         {ContentNamed("a"), 3'000'000, Sha256("a")}},
              kMinVolumeBytes);
  const auto reason = [](std::vector<IndexLine> changed) -> std::string {
    IndexChecker checker;
    for (const IndexLine& line : changed) {
      if (const auto added = checker.Add(line); !added) return added.error().reason;
    }
    const auto done = checker.Finish();
    return done ? "" : done.error().reason;
  };
  EXPECT_EQ(reason(lines), "");
  struct Case {
    const char* what;
    const char* reason;
    std::function<void(std::vector<IndexLine>&)> change;
  };
  const Case cases[] = {
      {"swapped", "index-gap", [](auto& all) { std::swap(all[0], all[1]); }},
      {"repeated", "index-order", [](auto& all) { all.insert(all.begin(), all[0]); }},
      {"gap", "index-gap", [](auto& all) { all[1].offset += 512; }},
      {"overlap", "index-gap", [](auto& all) { all[1].offset = 0; }},
      {"skipped volume", "index-gap", [](auto& all) { all.back().volume += 1; }},
      {"huge", "index-gap", [](auto& all) { all[0].size = 1ULL << 53; }},
      {"part missing", "index-gap", [](auto& all) { all.erase(all.begin() + 3); }},
      {"last part missing", "index-parts", [](auto& all) { all.pop_back(); }},
      {"other file", "index-parts", [](auto& all) { all[3].full_sha256 = Sha256("b"); }},
      {"size", "index-parts", [](auto& all) { all[3].full_size += 1; }},
  };
  for (const Case& one : cases) {
    auto changed = lines;
    one.change(changed);
    EXPECT_EQ(reason(changed), one.reason) << one.what;
  }
}

TEST(IndexLines, ReEncodeToThemselves) {
  const auto lines =
      *LayOut(std::vector<PlannedObject>{{ObjectName::Intent(), 10, {}},
                                         {ContentNamed("a"), 3'000'000, Sha256("a")}},
              kMinVolumeBytes);
  for (const IndexLine& line : lines) {
    const std::string text = EncodeIndexLine(line);
    const auto again = DecodeIndexLine(text, 1);
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(*again, line);
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      EXPECT_FALSE(DecodeIndexLine(text.substr(0, cut), 1).has_value());
    }
  }
}

TEST_F(BundleTest, TheManifestOfASealedBundleCarriesRoutingOnly) {
  const Manifest plain = *Write();
  Manifest sealed = plain;
  sealed.sealed = DetailsSummary{1000, Sha256("details")};
  sealed.recipients[0].sealed_key = Bytes(kSealedKeyBytes, 7);
  for (auto& volume : sealed.volumes) volume.name += ".sealed";
  const std::string text = EncodeManifest(sealed);
  const std::string details = EncodeDetails(sealed);
  for (const char* key : {"\"base\"", "\"target\"", "\"scope\"", "\"totals\"", "\"audit_head\"",
                          "\"raw_size\"", "\"acknowledgements\"", "\"void_sequences\""}) {
    EXPECT_EQ(text.find(key), std::string::npos) << key;
    EXPECT_NE(details.find(key), std::string::npos) << key;
  }
  auto decoded = DecodeManifest(AsBytes(text));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->base, StateReference{});
  EXPECT_EQ(EncodeManifest(*decoded), text);
  ASSERT_TRUE(DecodeDetails(AsBytes(details), *decoded).has_value());
  EXPECT_EQ(*decoded, sealed);
  // Neither passes for the other, and plain names for a sealed bundle's files are refused.
  EXPECT_EQ(DecodeDetails(AsBytes(EncodeManifest(plain)), *decoded).error().reason,
            "document-type");
  EXPECT_EQ(DecodeManifest(AsBytes(details)).error().reason, "document-type");
  sealed.volumes[0].name = "volume-0001.tar";
  EXPECT_EQ(DecodeManifest(AsBytes(EncodeManifest(sealed))).error().reason, "manifest-malformed");
}

TEST(Seal, SizesFollowFromEachOther) {
  EXPECT_EQ(SealedSize(0), kSealHeaderBytes + kSealTagBytes);
  for (const std::uint64_t plain : {0ULL, 1ULL, 65'487ULL, 65'488ULL, 65'489ULL, 131'008ULL,
                                    131'009ULL, 1'000'000ULL, 5'000'000'512ULL}) {
    EXPECT_LE(PlainCapacity(SealedSize(plain)), plain);
    EXPECT_LE(SealedSize(PlainCapacity(SealedSize(plain))), SealedSize(plain));
    EXPECT_EQ(PlainCapacity(SealedSize(plain)), plain);
  }
  for (std::uint64_t stored = 0; stored < 200'000; stored += 13) {
    const std::uint64_t plain = PlainCapacity(stored);
    if (stored <= 100) continue;
    EXPECT_LE(SealedSize(plain), stored);
    EXPECT_GT(SealedSize(plain + kSealTagBytes + 1), stored);
  }
}

TEST_F(BundleTest, ManifestsReEncodeAndRefuseWhatMakesNoSense) {
  const Manifest good = *Write();
  EXPECT_EQ(*DecodeManifest(AsBytes(EncodeManifest(good))), good);
  struct Case {
    const char* what;
    std::function<void(Manifest&)> change;
  };
  const Case cases[] = {
      {"sequence 0", [](Manifest& m) { m.sequence = 0; }},
      {"stream", [](Manifest& m) { m.stream = "../x"; }},
      {"base behind target", [](Manifest& m) { m.base.generation = m.target.generation + 1; }},
      {"two epochs", [](Manifest& m) { m.base.epoch = Guid::Random(); }},
      {"full with base", [](Manifest& m) { m.scope = Scope::kFull; }},
      {"no recipient", [](Manifest& m) { m.recipients.clear(); }},
      {"recipient twice", [](Manifest& m) { m.recipients.push_back(m.recipients[0]); }},
      {"void in the future", [](Manifest& m) { m.void_sequences = {m.sequence}; }},
      {"volume names", [](Manifest& m) { m.volumes[0].name = "volume-0002.tar"; }},
      {"many index lines", [](Manifest& m) { m.index.lines = kMaxIndexLines + 1; }},
  };
  for (const Case& one : cases) {
    Manifest bad = good;
    one.change(bad);
    const auto decoded = DecodeManifest(AsBytes(EncodeManifest(bad)));
    ASSERT_FALSE(decoded.has_value()) << one.what;
    EXPECT_EQ(decoded.error().reason, "manifest-malformed") << one.what;
  }
}

class CardTest : public BundleTest {
 protected:
  Card Make() {
    Card card;
    card.guid = sender_;
    card.name = "Kraftwerk Süd";
    card.roles = {SignerRole::kOrigin};
    card.signing_key = origin_->public_key();
    card.encryption_key.bytes.fill(7);
    card.formats = {"gapferry-manifest/1", "gapferry-return/1"};
    return card;
  }
};

TEST_F(CardTest, IsReadAsItWasWritten) {
  const Card card = Make();
  const std::string text = *EncodeCard(card, *origin_);
  const auto read = DecodeCard(AsBytes(text));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(*read, card);
  EXPECT_EQ(card.Fingerprint().size(), 39u);
  EXPECT_THAT(text, HasSubstr(card.Fingerprint()));
}

TEST_F(CardTest, EveryFlippedByteIsRefused) {
  const std::string good = *EncodeCard(Make(), *origin_);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_FALSE(DecodeCard(AsBytes(bad)).has_value()) << at;
  }
}

TEST_F(CardTest, ACardWithAnotherNameNeedsItsOwnersSignature) {
  Card card = Make();
  card.name = "Somebody Else";
  const auto read = DecodeCard(AsBytes(*EncodeCard(card, SigningKey::Generate())));
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().reason, "card-signature");
}

TEST_F(CardTest, TheFingerprintIsOfGuidAndKeysOnly) {
  Card card = Make();
  const std::string before = card.Fingerprint();
  card.name = "renamed";
  EXPECT_EQ(card.Fingerprint(), before);
  card.encryption_key.bytes[0] ^= 1;
  EXPECT_NE(card.Fingerprint(), before);
}

TEST_F(CardTest, KeysAreKeptFromOthersAndNeverOverwritten) {
  const SigningKey key = SigningKey::Generate();
  const fs::path path = root_ / "k.pem";
  ASSERT_TRUE(key.Save(path).has_value());
  EXPECT_EQ(SigningKey::Load(path)->public_key(), key.public_key());
  EXPECT_EQ(key.Save(path).error().code, ErrorCode::kUsage);
  fs::permissions(path, fs::perms::group_read, fs::perm_options::add);
  EXPECT_EQ(SigningKey::Load(path).error().reason, "key-readable");
}

TEST(Zstd, RefusesWhatFollowsTheFrameAndCountsWhatComesOut) {
  MemorySink stored(1 << 20);
  ZstdSink zstd(stored);
  ASSERT_TRUE(zstd.Write(AsBytes(std::string(100'000, 'z'))).has_value());
  ASSERT_TRUE(zstd.Finish().has_value());
  const auto reason = [](const Bytes& bytes, std::uint64_t limit) -> std::string {
    MemorySource source(bytes);
    ZstdSource decoded(source, limit);
    CountingSink sink;
    const auto done = Copy(decoded, sink, 1 << 20);
    if (done) return std::to_string(sink.count());
    return done.error().reason;
  };
  EXPECT_EQ(reason(stored.bytes(), 100'000), "100000");
  EXPECT_EQ(reason(stored.bytes(), 99'999), "zstd-too-large");
  Bytes longer = stored.bytes();
  longer.push_back(0);
  EXPECT_EQ(reason(longer, 100'000), "zstd-malformed");
  Bytes twice = stored.bytes();
  twice.insert(twice.end(), stored.bytes().begin(), stored.bytes().end());
  EXPECT_EQ(reason(twice, 200'000), "zstd-malformed");
  for (std::size_t cut = 0; cut < stored.bytes().size(); ++cut) {
    EXPECT_EQ(reason(Bytes(stored.bytes().begin(), stored.bytes().begin() + static_cast<long>(cut)),
                     100'000),
              "zstd-malformed");
  }
}

}  // namespace
}  // namespace gapferry::manifests
