#include "protocol/xpress.h"

#include <gtest/gtest.h>

#include <random>

namespace gapferry::protocol {
namespace {

std::string Repeat(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

std::string FromHex(std::string_view hex) {
  std::string digits;
  for (const char c : hex) {
    if (c != ' ') digits += c;
  }
  return std::string(AsText(*HexDecode(digits)));
}

std::string ToHex(std::string_view bytes) { return HexEncode(AsBytes(bytes)); }

struct Vector {
  const char* name;
  std::string decoded;
  std::string payload;
};

std::vector<Vector> Vectors() {
  const std::string thirty_two = "0123456789abcdefghijklmnopqrstuv";
  return {
      {"alphabet", "abcdefghijklmnopqrstuvwxyz",
       FromHex("3f000000 6162636465666768696a6b6c6d6e6f707172737475767778797a")},
      {"abc 100 times", Repeat("abc", 100), FromHex("ffffff1f 616263 1700 0f ff 2601")},
      {"ABCABCDEF", "ABCABCDEF", FromHex("ffffff11 414243 1000 444546")},
      {"ABCABCCCC", "ABCABCCCC", FromHex("ffffff1f 414243 1000 0000")},
      {"length 3", Repeat("x", 4), FromHex("ffffff7f 78 0000")},
      {"length 9", Repeat("x", 10), FromHex("ffffff7f 78 0600")},
      {"length 10", Repeat("x", 11), FromHex("ffffff7f 78 0700 00")},
      {"length 24", Repeat("x", 25), FromHex("ffffff7f 78 0700 0e")},
      {"length 25", Repeat("x", 26), FromHex("ffffff7f 78 0700 0f 00")},
      {"length 279", Repeat("x", 280), FromHex("ffffff7f 78 0700 0f fe")},
      {"length 280", Repeat("x", 281), FromHex("ffffff7f 78 0700 0f ff 1501")},
      {"length 281", Repeat("x", 282), FromHex("ffffff7f 78 0700 0f ff 1601")},
      {"shared nibble", "abcdefghij0abcdefghij1KLMNOPQRSTUVW2KLMNOPQRSTUVW3",
       FromHex("17001000 6162636465666768696a30 5700 30 314b4c4d4e4f5051525354555657 32 6f00 33")},
      {"32 literals", thirty_two, FromHex("00000000") + thirty_two + FromHex("ffffffff")},
  };
}

TEST(Xpress, EncodesTheVectors) {
  XpressEncoder encoder;
  for (const Vector& vector : Vectors()) {
    std::string payload;
    encoder.AppendPayload(AsBytes(vector.decoded), payload);
    EXPECT_EQ(ToHex(payload), ToHex(vector.payload)) << vector.name;
  }
}

TEST(Xpress, DecodesTheVectors) {
  for (const Vector& vector : Vectors()) {
    std::string decoded = "before";
    ASSERT_TRUE(
        XpressDecodePayload(AsBytes(vector.payload), vector.decoded.size(), decoded).has_value())
        << vector.name;
    EXPECT_EQ(decoded, "before" + vector.decoded) << vector.name;
  }
}

TEST(Xpress, FramesCompressedAndStoredBlocks) {
  XpressEncoder encoder;
  const std::string alphabet = "abcdefghijklmnopqrstuvwxyz";
  const std::string stored = FromHex("1a000000 1a000000") + alphabet;
  const std::string compressed = FromHex("2c010000 0d000000 ffffff1f 616263 1700 0f ff 2601");
  std::string out;
  encoder.AppendBlocks(AsBytes(alphabet), out);
  EXPECT_EQ(ToHex(out), ToHex(stored));
  out.clear();
  encoder.AppendBlocks(AsBytes(Repeat("abc", 100) + alphabet), out, 300);
  EXPECT_EQ(ToHex(out), ToHex(compressed + stored));
  EXPECT_EQ(*XpressDecode(AsBytes(out), 326), Repeat("abc", 100) + alphabet);
  EXPECT_EQ(*XpressDecodedSize(AsBytes(out)), 326u);
}

// An encoding of exactly the block's size would be read back as stored bytes.
TEST(Xpress, StoresABlockWhoseEncodingIsNoSmaller) {
  XpressEncoder encoder;
  std::mt19937 random(5);
  for (std::size_t size = 1; size < 400; ++size) {
    std::string block;
    while (block.size() < size) {
      block += static_cast<char>(random() % 256);
      if (random() % 8 == 0) block += block.substr(0, 3);
    }
    block.resize(size);
    std::string payload;
    encoder.AppendPayload(AsBytes(block), payload);
    std::string framed;
    encoder.AppendBlock(AsBytes(block), framed);
    const std::size_t stored = LoadLe32(AsBytes(framed).data() + 4);
    EXPECT_EQ(stored, payload.size() < size ? payload.size() : size);
    EXPECT_EQ(*XpressDecode(AsBytes(framed), size), block);
  }
}

std::string Sample(int kind, std::size_t size, std::mt19937& random) {
  std::string text;
  while (text.size() < size) {
    if (kind == 0) {
      text += static_cast<char>(random());
    } else if (kind == 1) {
      text += "&lt;b.RegSz Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\" +
              std::to_string(random() % 50) + "\" /&gt;";
    } else {
      text.append(random() % 5000, static_cast<char>('a' + random() % 3));
    }
  }
  text.resize(size);
  return text;
}

TEST(Xpress, RoundTripsAtEveryBlockSize) {
  XpressEncoder encoder;
  std::mt19937 random(1);
  for (int kind = 0; kind < 3; ++kind) {
    for (const std::size_t block : {1u, 2u, 3u, 31u, 32u, 33u, 300u, 16352u, 65535u}) {
      for (const std::size_t size : {0u, 1u, 31u, 32u, 33u, 2000u, 70000u, 200000u}) {
        if (block < 31 && size > 2000) continue;
        const std::string text = Sample(kind, size, random);
        std::string encoded;
        encoder.AppendBlocks(AsBytes(text), encoded, block);
        const auto decoded = XpressDecode(AsBytes(encoded), size);
        ASSERT_TRUE(decoded.has_value()) << kind << " " << block << " " << size;
        ASSERT_EQ(*decoded, text) << kind << " " << block << " " << size;
      }
    }
  }
}

TEST(Xpress, CompressesMetadataWell) {
  std::mt19937 random(2);
  std::string out;
  XpressEncoder().AppendBlocks(AsBytes(Sample(1, 500'000, random)), out);
  EXPECT_LT(out.size(), 500'000u / 6);
}

TEST(Xpress, GivesEqualBytesWhateverCameBefore) {
  std::mt19937 random(3);
  const std::string text = Sample(1, 40'000, random);
  std::string fresh;
  XpressEncoder().AppendBlocks(AsBytes(text), fresh);
  XpressEncoder used;
  std::string ignored;
  for (int i = 0; i < 70'000; ++i) used.AppendPayload(AsBytes("abcabc"), ignored);
  std::string again;
  used.AppendBlocks(AsBytes(text), again);
  EXPECT_EQ(fresh, again);
}

TEST(Xpress, SinkAndSourceAgreeWithTheWhole) {
  std::mt19937 random(4);
  const std::string text = Sample(1, 100'000, random);
  std::string whole;
  XpressEncoder().AppendBlocks(AsBytes(text), whole);
  MemorySink out(1 << 20);
  XpressSink sink(out);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = std::min<std::size_t>(random() % 40'000, text.size() - at);
    ASSERT_TRUE(sink.Write(AsBytes(std::string_view(text).substr(at, size))).has_value());
    at += size;
  }
  ASSERT_TRUE(sink.Finish().has_value());
  EXPECT_EQ(AsText(out.bytes()), whole);

  MemorySource in(out.bytes());
  XpressSource source(in);
  MemorySink decoded(1 << 20);
  ASSERT_TRUE(Copy(source, decoded, 1 << 20).has_value());
  EXPECT_EQ(AsText(decoded.bytes()), text);
}

TEST(Xpress, RefusesDamageWithoutReadingOrWritingTooFar) {
  struct Case {
    const char* name;
    std::string body;
    std::string message;
  };
  const Case cases[] = {
      {"half a header", FromHex("01000000"), "xpress body ends inside a block"},
      {"half a payload", FromHex("04000000 04000000 6162"), "xpress body ends inside a block"},
      {"zero size", FromHex("00000000 01000000 61"),
       "xpress block has sizes 0 and 1, expected 1 to 65535"},
      {"negative size", FromHex("ffffffff 01000000 61"),
       "xpress block has sizes -1 and 1, expected 1 to 65535"},
      {"too large", FromHex("00000100 01000000 61"),
       "xpress block has sizes 65536 and 1, expected 1 to 65535"},
      {"reaches back too far", FromHex("05000000 07000000 ffffff7f 78 0800"),
       "xpress match reaches back 2 bytes, but the block has 1 so far"},
      {"longer than said", FromHex("03000000 07000000 ffffff7f 78 0000"),
       "xpress payload does not decode to 3 bytes"},
      {"shorter than said", FromHex("05000000 07000000 ffffff7f 78 0000"),
       "xpress payload does not decode to 5 bytes"},
      {"ends in a match", FromHex("05000000 06000000 ffffff7f 78 00"),
       "xpress payload ends inside an element"},
      {"impossible length", FromHex("1e000000 0b000000 ffffff7f 78 0700 0f ff 1500"),
       "xpress match has an impossible length"},
  };
  for (const Case& c : cases) {
    const auto decoded = XpressDecode(AsBytes(c.body), 1000);
    ASSERT_FALSE(decoded.has_value()) << c.name;
    EXPECT_EQ(decoded.error().message, c.message) << c.name;
    MemorySource in(AsBytes(c.body));
    XpressSource source(in);
    MemorySink out(1000);
    const auto streamed = Copy(source, out, 1000);
    ASSERT_FALSE(streamed.has_value()) << c.name;
    EXPECT_EQ(streamed.error().message, c.message) << c.name;
  }
}

TEST(Xpress, HoldsTheLimitOfTheDecodedBody) {
  std::string body;
  XpressEncoder().AppendBlocks(AsBytes(std::string(100'000, 'x')), body);
  const auto decoded = XpressDecode(AsBytes(body), 99'999);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().message,
            "xpress body decodes to 100000 bytes, at most 99999 are allowed");
}

}  // namespace
}  // namespace gapferry::protocol
