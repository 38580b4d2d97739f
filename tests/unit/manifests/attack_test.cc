// Attacks on the format. Every byte and every length of a small bundle; and bundles that a trusted
// key has signed, so that nothing but the reader's own checks stands in their way.
#include <gmock/gmock.h>
#include <zstd.h>

#include <cstdlib>

#include "base/text.h"
#include "manifests/block_hasher.h"
#include "manifests/seal_format.h"
#include "manifests/zstd_stream.h"
#include "tests/unit/manifests/bundle_fixture.h"
#include "tests/unit/manifests/memory_medium.h"

namespace gapferry::manifests {
namespace {

using Files = MemoryMedium::Files;

std::string Compressed(std::string_view text) {
  MemorySink stored(64 << 20);
  ZstdSink zstd(stored);
  EXPECT_TRUE(zstd.Write(AsBytes(text)).has_value());
  EXPECT_TRUE(zstd.Finish().has_value());
  return std::string(AsText(stored.bytes()));
}

class AttackTest : public BundleTest {
 protected:
  AttackTest() {
    provider_.objects().clear();
    provider_.Put(ObjectName::Intent(), std::string(30, 'i'));
    provider_.Put(ContentNamed("alpha"), "alpha");
  }

  Files Written() {
    EXPECT_TRUE(Write().has_value());
    Files files;
    const auto names = *ListDirectory(Directory());
    for (const std::string& name : names) files[name] = Read(name);
    return files;
  }

  Result<VerifiedBundle> Check(const Files& files) {
    MemoryMedium medium(files);
    TRY_ASSIGN(auto manifest, VerifyManifest(medium, policy_, addressee_));
    TRY_ASSIGN(auto index, VerifyIndex(medium, std::move(manifest)));
    VerifyOptions options;
    options.threads = 1;
    return VerifyVolumes(medium, std::move(index), options);
  }
  std::string ReasonOf(const Files& files) {
    const auto result = Check(files);
    return result ? "" : result.error().reason;
  }

  /// Every place of what is read field by field. Of volumes and of the text for people, whose bytes
  /// all go the same way through one hash, one in eleven (every one with GAPFERRY_ATTACK_ALL).
  static std::size_t StepIn(std::string_view name) {
    const bool hashed_only = name.starts_with("volume-") || name.starts_with("README");
    return hashed_only && std::getenv("GAPFERRY_ATTACK_ALL") == nullptr ? 11 : 1;
  }

  void EveryChangeIsRefused() {
    Files files = Written();
    ASSERT_EQ(ReasonOf(files), "");
    std::size_t tried = 0;
    for (auto& [name, bytes] : files) {
      const std::size_t step = StepIn(name);
      for (std::size_t at = 0; at < bytes.size(); at += step, ++tried) {
        const char good = bytes[at];
        bytes[at] = static_cast<char>(good ^ (1 << (at % 8)));
        ASSERT_NE(ReasonOf(files), "") << name << " byte " << at;
        bytes[at] = good;
      }
      const std::string good = bytes;
      for (std::size_t size = 0; size < good.size(); size += step, ++tried) {
        bytes.resize(size);
        ASSERT_NE(ReasonOf(files), "") << name << " cut to " << size;
        bytes = good;
      }
      bytes += '\0';
      ASSERT_NE(ReasonOf(files), "") << name << " with one more byte";
      bytes = good;
    }
    EXPECT_EQ(ReasonOf(files), "");
    EXPECT_GT(tried, 2'000u);
  }

  // What a holder of a trusted key can make: a bundle from any index, any volumes, any manifest.
  struct Forgery {
    std::vector<std::string> index;  ///< lines, without LF
    std::vector<std::string> volumes;
    std::string stored_index;  ///< when not empty: instead of the compressed lines
    std::function<void(Manifest&)> manifest = [](Manifest&) {};
    std::function<void(std::string&)> sums = [](std::string&) {};
  };

  Files Make(const Forgery& forgery) {
    Files files;
    Manifest manifest = Draft();
    std::string text;
    for (const std::string& line : forgery.index) text += line + "\n";
    const std::string stored =
        forgery.stored_index.empty() ? Compressed(text) : forgery.stored_index;
    manifest.index = {forgery.index.size(), stored.size(), Sha256(stored), text.size(),
                      Sha256(text)};
    files["README.txt"] = "read me\n";
    files["index.jsonl.zst"] = stored;
    for (std::uint32_t i = 0; i < forgery.volumes.size(); ++i) {
      const std::string& volume = forgery.volumes[i];
      files[VolumeName(i + 1)] = volume;
      std::string& blocks = files[BlocksName(i + 1)];
      for (std::size_t at = 0; at < volume.size(); at += kBlockBytes) {
        const Sha256Digest digest = Sha256(std::string_view(volume).substr(at, kBlockBytes));
        blocks += AsText(digest.View().first(kBlockDigestBytes));
      }
      manifest.volumes.push_back({VolumeName(i + 1), volume.size(), Sha256(volume)});
    }
    std::string sums;
    for (const auto& [name, bytes] : files) sums += Sha256(bytes).ToHex() + "  " + name + "\n";
    forgery.sums(sums);
    files["SHA256SUMS"] = sums;
    manifest.sums_size = sums.size();
    manifest.sums_sha256 = Sha256(sums);
    forgery.manifest(manifest);
    files["manifest.json"] = EncodeManifest(manifest);
    const auto line = *SignDocument(AsBytes(files["manifest.json"]), *origin_, SignerRole::kOrigin);
    files["manifest.json.sig"] = EncodeSignatures({line});
    return files;
  }

  /// `lines` with their places filled in, and volumes that fit them.
  Forgery Laid(const std::vector<std::pair<IndexLine, std::string>>& objects) {
    Forgery forgery;
    for (auto [line, bytes] : objects) {
      if (line.volume == 0) line.volume = 1;
      forgery.volumes.resize(std::max<std::size_t>(forgery.volumes.size(), line.volume));
      std::string& volume = forgery.volumes[line.volume - 1];
      line.offset = volume.size();
      line.size = bytes.size();
      line.sha256 = Sha256(bytes);
      if (line.name.IsContent() && line.full_size == 0) line.full_size = bytes.size();
      const auto header = TarHeader(line);
      volume.append(header.begin(), header.end());
      volume += bytes + std::string(line.padding(), '\0');
      forgery.index.push_back(EncodeIndexLine(line));
    }
    for (std::string& volume : forgery.volumes) volume.append(kTarTrailer, '\0');
    return forgery;
  }

  static IndexLine Named(const ObjectName& name) {
    IndexLine line;
    line.name = name;
    return line;
  }
  static IndexLine Part(std::string_view whole, std::uint32_t part) {
    IndexLine line = Named(ContentNamed(whole));
    line.name.part = part;
    line.full_size = whole.size();
    line.full_sha256 = Sha256(whole);
    return line;
  }
  Forgery Good() {
    return Laid({{Named(ObjectName::Intent()), "intent"}, {Named(ContentNamed("alpha")), "alpha"}});
  }
  /// The good one with `from` in the line of its second object replaced by `to`.
  std::string ReasonWith(std::string_view from, std::string_view to) {
    Forgery forgery = Good();
    std::string& line = forgery.index[1];
    const std::size_t at = line.find(from);
    EXPECT_NE(at, std::string::npos) << line;
    line.replace(at, from.size(), to);
    return ReasonOf(Make(forgery));
  }
};

TEST_F(AttackTest, EveryChangedByteAndEveryLengthOfAPlainBundleIsRefused) {
  EveryChangeIsRefused();
}

TEST_F(AttackTest, EveryChangedByteAndEveryLengthOfASealedBundleIsRefused) {
  SealFor(7);
  EveryChangeIsRefused();
}

TEST_F(AttackTest, TheForgerMakesGoodBundlesToo) {
  EXPECT_EQ(ReasonOf(Make(Good())), "");
  EXPECT_EQ(ReasonOf(Make(Laid({{Named(ObjectName::Intent()), "intent"},
                                {Part("abcdef", 1), "abc"},
                                {Part("abcdef", 2), "def"}}))),
            "");
}

TEST_F(AttackTest, ForgedVolumesAreRefused) {
  Forgery forgery = Good();
  const std::string good = forgery.volumes[0];
  for (std::size_t at = 0; at < 512; ++at) {  // every byte of a header: links, modes, owners, ...
    forgery.volumes[0][at] = static_cast<char>(good[at] ^ 0x15);
    ASSERT_EQ(ReasonOf(Make(forgery)), "header-damaged") << at;
    forgery.volumes[0][at] = good[at];
  }
  const auto with = [&](std::size_t at, char byte) {
    forgery.volumes[0] = good;
    forgery.volumes[0][at] = byte;
    return ReasonOf(Make(forgery));
  };
  EXPECT_EQ(with(512, 'x'), "object-damaged");
  EXPECT_EQ(with(512 + 6, 'x'), "padding-damaged");
  EXPECT_EQ(with(1023, 'x'), "padding-damaged");
  EXPECT_EQ(with(good.size() - 1, 'x'), "trailer-damaged");
  forgery.volumes[0] = good + std::string(512, '\0');
  EXPECT_EQ(ReasonOf(Make(forgery)), "index-volumes");
  forgery.volumes[0] = good.substr(0, good.size() - 512);
  EXPECT_EQ(ReasonOf(Make(forgery)), "index-volumes");
  forgery.volumes[0] = good;
  forgery.volumes.push_back(good);
  EXPECT_EQ(ReasonOf(Make(forgery)), "index-volumes");
}

TEST_F(AttackTest, IndexGapsAndOverlapsAreRefused) {
  EXPECT_EQ(ReasonWith("\"offset\":1024", "\"offset\":1536"), "index-gap");
  EXPECT_EQ(ReasonWith("\"offset\":1024", "\"offset\":512"), "index-gap");
  EXPECT_EQ(ReasonWith("\"offset\":1024", "\"offset\":0"), "index-gap");
  EXPECT_EQ(ReasonWith("\"offset\":1024", "\"offset\":1025"), "index-gap");
  EXPECT_EQ(ReasonWith("\"volume\":1", "\"volume\":2"), "index-gap");
  EXPECT_EQ(ReasonWith("\"volume\":1", "\"volume\":0"), "index-gap");
  EXPECT_EQ(ReasonWith("\"volume\":1", "\"volume\":4097"), "index-malformed");
  EXPECT_EQ(ReasonWith("\"size\":5", "\"size\":9007199254740991"), "index-gap");
  EXPECT_EQ(ReasonWith("\"size\":5", "\"size\":-5"), "index-malformed");
  EXPECT_EQ(ReasonWith("\"size\":5", "\"size\":6"), "index-parts");
  EXPECT_EQ(ReasonWith("\"full_size\":5", "\"full_size\":6"), "index-parts");
  Forgery empty = Good();
  empty.index.clear();
  EXPECT_NE(ReasonOf(Make(empty)), "");
}

TEST_F(AttackTest, PartsOutOfOrderAreRefused) {
  const auto reason = [&](std::vector<std::pair<IndexLine, std::string>> objects) {
    objects.insert(objects.begin(), {Named(ObjectName::Intent()), "intent"});
    return ReasonOf(Make(Laid(objects)));
  };
  const IndexLine one = Part("abcdef", 1), two = Part("abcdef", 2), three = Part("abcdef", 3);
  EXPECT_EQ(reason({{two, "def"}, {one, "abc"}}), "index-parts");
  EXPECT_EQ(reason({{one, "abc"}}), "index-parts");
  EXPECT_EQ(reason({{one, "abc"}, {one, "abc"}}), "index-order");
  EXPECT_EQ(reason({{one, "abc"}, {three, "def"}}), "index-parts");
  EXPECT_EQ(reason({{one, "abc"}, {two, "defg"}}), "index-parts");
  EXPECT_EQ(reason({{one, "abc"}, {two, ""}, {three, "def"}}), "index-parts");
  EXPECT_EQ(reason({{one, "abcdef"}, {two, "x"}}), "index-parts");
  IndexLine other = two;
  other.full_sha256 = Sha256("another file");
  EXPECT_EQ(reason({{one, "abc"}, {other, "def"}}), "index-parts");
  other = two;
  other.full_size = 7;
  EXPECT_EQ(reason({{one, "abc"}, {other, "defg"}}), "index-parts");
  other = two;
  other.name.extension = "exe";
  EXPECT_EQ(reason({{one, "abc"}, {other, "def"}}), "index-parts");
  EXPECT_EQ(
      reason({{Named(ContentNamed("a", "cab")), "a"}, {Named(ContentNamed("a", "exe")), "a"}}),
      "index-order");
}

TEST_F(AttackTest, NamesThatTheGrammarCannotExpressAreRefused) {
  const std::string sha1 = Sha1("alpha").ToHex(HexCase::kUpper);
  const std::string folder = sha1.substr(38);
  for (const std::string& name : {std::string("../intent"),
                                  std::string("/etc/passwd"),
                                  std::string("content/../../x"),
                                  std::string("intent/"),
                                  std::string("Intent"),
                                  std::string("intent.part0001"),
                                  std::string("metadata/000000"),
                                  std::string("metadata/1"),
                                  std::string("metadata/1000000"),
                                  std::string("metadata/000001.part0001"),
                                  std::string("attachments/000"),
                                  std::string("attachments/0001"),
                                  std::string("con"),
                                  std::string(),
                                  "content/" + folder + "/" + sha1,
                                  "content/" + folder + "/" + sha1 + ".",
                                  "content/" + folder + "/" + sha1 + ".c/b",
                                  "content/" + folder + "/" + sha1 + ".c b",
                                  "content/" + folder + "/" + sha1 + "." + std::string(17, 'x'),
                                  "content/" + folder + "/" + sha1 + ".cab.part0000",
                                  "content/" + folder + "/" + sha1 + ".cab.part10000",
                                  "content/" + folder + "/" + sha1 + ".cab.part1",
                                  "content/00/" + sha1 + ".cab",
                                  "content\\\\" + folder + "\\\\" + sha1 + ".cab",
                                  "content/" + folder + "/" + Sha1("alpha").ToHex() + ".cab"}) {
    Forgery forgery = Good();
    std::string& line = forgery.index[1];
    const std::size_t begin = line.find("\"name\":\"") + 8;
    line.replace(begin, line.find('"', begin) - begin, name);
    EXPECT_EQ(ReasonOf(Make(forgery)), "index-malformed") << name;
  }
}

TEST_F(AttackTest, OneStateHasOneSpelling) {
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"size\":5", "\"size\": 5"},
           {"\"size\":5", "\"size\":05"},
           {"\"size\":5", "\"size\":5.0"},
           {"\"size\":5", "\"size\":5e0"},
           {"\"size\":5", "\"size\":\"5\""},
           {"\"size\":5", "\"size\":null"},
           {"\"size\":5", "\"size\":5,\"size\":5"},
           {"\"size\":5", "\"siye\":5"},
           {"\"size\":5", "\"size\":5,\"zzz\":1"},
           {"content/", "conte\\u006et/"},
           {"\"volume\":1}", "\"volume\":1} "},
           {"\"volume\":1}", "\"volume\":1}{}"},
           {"{", "{" + std::string(450, ' ')},
           {"\"volume\":1", "\"volume\":" + std::string(40, '[') + std::string(40, ']')}}) {
    EXPECT_EQ(ReasonWith(from, to), "index-malformed") << to;
  }
}

TEST_F(AttackTest, BombsCostNoMoreThanTheyState) {
  const auto stored = [&](std::string bytes) {
    Forgery forgery = Good();
    forgery.stored_index = std::move(bytes);
    return ReasonOf(Make(forgery));
  };
  EXPECT_EQ(stored(Compressed(std::string(32 << 20, '\n'))), "zstd-too-large");
  // A window that would cost the reader 128 MiB.
  std::string wide(ZSTD_compressBound(1 << 20), '\0');
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(),
                                                                     &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, 27);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  const std::string text(1 << 20, 'x');
  ZSTD_outBuffer out{wide.data(), wide.size(), 0};
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  while (ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_continue) != 0 && in.pos < in.size) {
  }
  ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_end);
  wide.resize(out.pos);
  EXPECT_EQ(stored(wide), "zstd-malformed");
  // Frames behind the one, empty and skippable ones among them.
  std::string lines;
  for (const std::string& line : Good().index) lines += line + "\n";
  const std::string good = Compressed(lines);
  EXPECT_EQ(stored(good), "");
  EXPECT_EQ(stored(good + good), "zstd-malformed");
  EXPECT_EQ(stored(good + Compressed("")), "zstd-malformed");
  EXPECT_EQ(stored(good + std::string("\x50\x2a\x4d\x18\x04\0\0\0xxxx", 12)), "zstd-malformed");
  EXPECT_EQ(stored(std::string("\x50\x2a\x4d\x18\x04\0\0\0xxxx", 12) + good), "zstd-malformed");
  EXPECT_EQ(stored(good.substr(0, good.size() - 1)), "zstd-malformed");
  EXPECT_EQ(stored("not compressed at all"), "zstd-malformed");
}

TEST_F(AttackTest, HugeCountsAndFilesAreRefusedBeforeTheyCostAnything) {
  const auto stated = [&](const std::function<void(Manifest&)>& edit) {
    Forgery forgery = Good();
    forgery.manifest = edit;
    return ReasonOf(Make(forgery));
  };
  EXPECT_EQ(stated([](Manifest& m) { m.index.lines = kMaxIndexLines + 1; }), "manifest-malformed");
  EXPECT_EQ(stated([](Manifest& m) { m.index.raw_size = kMaxIndexRawBytes + 1; }),
            "manifest-malformed");
  EXPECT_EQ(stated([](Manifest& m) { m.index.raw_size += 1; }), "index-digest");
  EXPECT_EQ(stated([](Manifest& m) { m.index.lines += 1; }), "index-digest");
  EXPECT_EQ(stated([](Manifest& m) { m.index.raw_size = 3; }), "zstd-too-large");
  EXPECT_EQ(stated([](Manifest& m) { m.volumes[0].size = 9'007'199'254'740'991; }), "file-size");
  EXPECT_EQ(stated([](Manifest& m) { m.sums_size = 9'007'199'254'740'991; }), "sums-digest");
  EXPECT_EQ(stated([](Manifest& m) {
              m.recipients.resize(kMaxRecipients + 1, m.recipients[0]);
              for (std::size_t i = 0; i < m.recipients.size(); ++i) {
                m.recipients[i].guid.bytes[15] = static_cast<std::uint8_t>(i);
                m.recipients[i].guid.bytes[14] = static_cast<std::uint8_t>(i / 256);
              }
            }),
            "manifest-malformed");
  EXPECT_EQ(stated([](Manifest& m) {
              m.void_sequences.clear();
              m.sequence = 500'000;
              for (std::uint64_t i = 1; i < 200'000; ++i) m.void_sequences.push_back(i);
            }),
            "file-too-large");
  for (const auto& [name, reason] : std::map<std::string, std::string>{
           {"manifest.json.sig", "file-too-large"}, {"SHA256SUMS", "file-too-large"}}) {
    Files files = Make(Good());
    files[name].append(4 << 20, 'x');
    EXPECT_EQ(ReasonOf(files), reason) << name;
  }
}

TEST_F(AttackTest, ForgedSumsAreRefused) {
  const auto with = [&](const std::function<void(std::string&)>& edit) {
    Forgery forgery = Good();
    forgery.sums = edit;
    return ReasonOf(Make(forgery));
  };
  const std::string digest(64, '0');
  EXPECT_EQ(with([&](std::string& s) { s += digest + "  ../../etc/passwd\n"; }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s += digest + "  volume-0002.tar\n"; }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s += s.substr(s.rfind('\n', s.size() - 2) + 1); }),
            "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s.erase(0, s.find('\n') + 1); }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s.pop_back(); }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s.clear(); }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s.replace(64, 2, " *"); }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s[0] = s[0] == 'A' ? 'B' : 'A'; }), "sums-malformed");
  EXPECT_EQ(with([&](std::string& s) { s.replace(0, 64, digest); }), "file-digest");
  EXPECT_EQ(with([&](std::string& s) { s.replace(s.find("volume") - 66, 64, digest); }),
            "sums-malformed");
}

/// Another recipient of the same bundle knows its key, but not the sender's: what was signed still
/// decides.
TEST_F(AttackTest, AnotherRecipientCannotReplaceWhatWasSealed) {
  SealFor(7);
  const Files good = Written();
  ASSERT_EQ(ReasonOf(good), "");
  const SealKey key = sealing_->secret.Key();
  for (const char* name : {"volume-0001.tar", "index.jsonl.zst", "details.json"}) {
    Files files = good;
    std::string& stored = files[std::string(name) + ".sealed"];
    Bytes text = *OpenText(key, name, AsBytes(stored));
    text[text.size() / 3] ^= 1;
    MemorySink out(1 << 20);
    SealSink sink(out, key, SealSalt{}, name);
    ASSERT_TRUE(sink.Write(text).has_value());
    ASSERT_TRUE(sink.Finish().has_value());
    ASSERT_EQ(out.bytes().size(), stored.size());
    stored = AsText(out.bytes());
    EXPECT_THAT(ReasonOf(files), ::testing::AnyOf("header-damaged", "padding-damaged",
                                                  "object-damaged", "index-digest", "file-digest"))
        << name;
  }
}

/// The key's holder signed nonsense as details: refused as a manifest would be.
TEST_F(AttackTest, DetailsAreReadAsStrictlyAsAManifest) {
  SealFor(7);
  const Files good = Written();
  const auto with = [&](std::string_view from, std::string_view to) {
    Files files = good;
    const Bytes opened =
        *OpenText(sealing_->secret.Key(), "details.json", AsBytes(files["details.json.sealed"]));
    std::string text(AsText(opened));
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << text;
    text.replace(at, from.size(), to);
    const Bytes sealed = SealText(sealing_->secret, "details.json", AsBytes(text));
    files["details.json.sealed"] = AsText(sealed);
    Manifest manifest = *DecodeManifest(AsBytes(files["manifest.json"]));
    manifest.sealed = DetailsSummary{sealed.size(), Sha256(sealed)};
    files["manifest.json"] = EncodeManifest(manifest);
    const auto line = *SignDocument(AsBytes(files["manifest.json"]), *origin_, SignerRole::kOrigin);
    files["manifest.json.sig"] = EncodeSignatures({line});
    return ReasonOf(files);
  };
  EXPECT_EQ(with("gapferry-details/1", "gapferry-details/2"), "document-version");
  EXPECT_EQ(with("gapferry-details/1", "gapferry-manifest/1"), "document-type");
  EXPECT_EQ(with("\"scope\":\"delta\"", "\"scope\":\"full\""), "manifest-malformed");
  EXPECT_EQ(with("\"void_sequences\":[2]", "\"void_sequences\":[3]"), "manifest-malformed");
  EXPECT_EQ(with("\"raw_size\":", "\"raw_size\":9999999999"), "manifest-malformed");
  EXPECT_EQ(with("}\n", "}"), "manifest-malformed");
  EXPECT_EQ(with("}\n", "} \n"), "manifest-malformed");
  EXPECT_EQ(with("}\n", ",\"zzz\":1}\n"), "manifest-malformed");
}

}  // namespace
}  // namespace gapferry::manifests
