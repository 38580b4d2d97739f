#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/guid.h"
#include "base/hash.h"
#include "base/text.h"

namespace gapferry {
namespace {

TEST(Base64, RoundTripsEveryLength) {
  Bytes bytes;
  for (int i = 0; i < 40; ++i) {
    const auto decoded = Base64Decode(Base64Encode(bytes));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(*decoded, bytes);
    bytes.push_back(static_cast<std::uint8_t>(i * 37));
  }
}

TEST(Base64, RefusesMalformedText) {
  for (const char* text :
       {"A", "AA", "AAA", "AA=", "A===", "AAAA=", "AA==A", "AB==", "AAB=", "A*AA"}) {
    EXPECT_FALSE(Base64Decode(text).has_value()) << text;
  }
}

TEST(Base64, RefusesAForeignCharacterWhereverItStands) {
  const std::string good = Base64Encode(Bytes(30, 0xA5));
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char foreign : {'!', '\x80', '\0', '='}) {
      std::string text = good;
      text[at] = foreign;
      EXPECT_FALSE(Base64Decode(text).has_value()) << at;
    }
  }
}

TEST(Base64, SkipsWhiteSpaceOfXml) { EXPECT_EQ(AsText(*Base64Decode("Zm9v\r\n YmFy")), "foobar"); }

TEST(Hex, ReadsBothCasesAndRefusesTheRest) {
  EXPECT_EQ(*HexDecode("0aFf"), (Bytes{0x0A, 0xFF}));
  EXPECT_FALSE(HexDecode("0").has_value());
  EXPECT_FALSE(HexDecode("0g").has_value());
}

TEST(Utf16, RoundTripsBeyondTheBasicPlane) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";
  EXPECT_EQ(*Utf16LeToUtf8(*Utf8ToUtf16Le(text)), text);
}

TEST(Utf16, RoundTripsWhereverALetterStands) {
  const std::string letters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
  for (std::size_t length = 0; length < 70; ++length) {
    for (std::size_t at = 0; at <= length; ++at) {
      std::string text(length, 'a');
      text.insert(at, letters[(length + at) % 4]);
      const auto utf16 = Utf8ToUtf16Le(text);
      ASSERT_TRUE(utf16.has_value());
      EXPECT_EQ(*Utf16LeToUtf8(*utf16), text);
    }
  }
}

TEST(Utf16, RefusesLoneSurrogatesAndBadUtf8) {
  EXPECT_FALSE(Utf16LeToUtf8(Bytes{0x00, 0xD8}).has_value());
  EXPECT_FALSE(Utf16LeToUtf8(Bytes{0x00, 0xDC, 0x41, 0x00}).has_value());
  EXPECT_FALSE(Utf8ToUtf16Le("\xC0\x80").has_value());          // overlong
  EXPECT_FALSE(Utf8ToUtf16Le("\xED\xA0\x80").has_value());      // surrogate
  EXPECT_FALSE(Utf8ToUtf16Le("\xF4\x90\x80\x80").has_value());  // beyond U+10FFFF
}

TEST(GuidText, ComparesByValueAndPrintsLowerCase) {
  const auto a = Guid::Parse("56309036-4C77-4DD9-951A-99EE9C246A94");
  const auto b = Guid::Parse("{56309036-4c77-4dd9-951a-99ee9c246a94}");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, *b);
  EXPECT_EQ(a->ToString(), "56309036-4c77-4dd9-951a-99ee9c246a94");
  for (const char* text :
       {"", "563090364C774DD9951A99EE9C246A94", "{56309036-4c77-4dd9-951a-99ee9c246a94",
        "56309036-4c77-4dd9-951a-99ee9c246a9g"}) {
    EXPECT_FALSE(Guid::Parse(text).has_value()) << text;
  }
}

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(Sha1("abc").ToHex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(Sha256("abc").ToHex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256Hasher hasher;
  hasher.Update("a").Update("bc");
  EXPECT_EQ(hasher.Finish(), Sha256("abc"));
  EXPECT_EQ(hasher.Update("abc").Finish(), Sha256("abc"));
}

TEST(Text, NumbersAreWholeStrings) {
  EXPECT_EQ(ParseInt<int>("42"), 42);
  for (const char* text : {"", " 42", "42 ", "+42", "4x", "99999999999"}) {
    EXPECT_FALSE(ParseInt<int>(text).has_value()) << text;
  }
}

TEST(Text, FormatsByteCounts) {
  EXPECT_EQ(FormatByteCount(17), "17 B");
  EXPECT_EQ(FormatByteCount(1536), "1.5 KiB");
  EXPECT_EQ(FormatByteCount(5ull << 40), "5.0 TiB");
}

TEST(Text, EscapesWhatAPeerSent) {
  EXPECT_EQ(EscapeForDisplay("a\n\"b\xFF"), "a\\x0a\\\"b\\xff");
  EXPECT_EQ(EscapeForDisplay("abcdef", 3), "abc...");
}

}  // namespace
}  // namespace gapferry
