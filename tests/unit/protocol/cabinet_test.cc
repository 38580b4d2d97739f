#include "protocol/cabinet.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/file.h"
#include "tests/support/cabinet_writer.h"

namespace gapferry::protocol {
namespace {

using gapferry::testing::WriteMetadataCabinet;
using gapferry::testing::WriteMszipCabinet;

std::string SampleText(std::size_t size) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < size) {
    text += "<Rule Id=\"" + std::to_string(random()) + "\">\xC3\xA9\xF0\x9F\x98\x80</Rule>";
  }
  return text;
}

TEST(Cabinet, ReadsWhatTheWriterWrote) {
  for (const std::size_t size : {1u, 100u, 16'000u, 40'000u, 1'000'000u}) {
    const std::string text = SampleText(size);
    const auto decoded = DecodeMetadataCabinet(WriteMetadataCabinet(text));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
    EXPECT_EQ(*decoded, text);
  }
}

TEST(Cabinet, ReadsIncompressibleText) {
  std::mt19937 random(8);
  Bytes utf16;
  for (int i = 0; i < 100'000; ++i)
    AppendLe16(utf16, static_cast<std::uint16_t>(random() % 0xD800));
  const auto decoded = DecodeMetadataCabinet(WriteMszipCabinet("blob", utf16));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(*Utf8ToUtf16Le(*decoded), utf16);
}

TEST(Cabinet, RefusesAnotherMemberName) {
  const auto decoded = DecodeMetadataCabinet(WriteMszipCabinet("../evil", Bytes{65, 0}));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().message, "metadata cabinet: member '../evil', expected 'blob'");
}

TEST(Cabinet, RefusesTextThatIsNoUtf16) {
  for (const Bytes& content :
       {Bytes{65}, Bytes{0x00, 0xDC}, Bytes{0x00, 0xD8}, Bytes{0, 0xD8, 65, 0}}) {
    const auto decoded = DecodeMetadataCabinet(WriteMszipCabinet("blob", content));
    ASSERT_FALSE(decoded.has_value());
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt);
  }
}

TEST(Cabinet, HoldsTheLimitWhateverTheHeaderSays) {
  const auto bomb = WriteMetadataCabinet(std::string(8'000'000, 'a'));
  EXPECT_LT(bomb.size(), 100'000u);
  const auto decoded = DecodeMetadataCabinet(bomb, 1'000'000);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error().message, "metadata cabinet: the text is larger than 1000000 bytes");
}

TEST(Cabinet, RefusesEveryPrefixAndChangesNothingElse) {
  const std::string text = SampleText(50'000);
  const Bytes cabinet = WriteMetadataCabinet(text);
  for (std::size_t size = 0; size < cabinet.size(); size += size < 100 ? 1 : 97) {
    EXPECT_FALSE(DecodeMetadataCabinet(ByteView(cabinet).first(size)).has_value()) << size;
  }
}

TEST(Cabinet, NeverTakesAFlippedByteOfTheDataForGood) {
  const std::string text = SampleText(50'000);
  Bytes cabinet = WriteMetadataCabinet(text);
  for (std::size_t at = 70; at < cabinet.size(); at += 61) {
    cabinet[at] ^= 0x10;
    const auto decoded = DecodeMetadataCabinet(cabinet);
    EXPECT_TRUE(!decoded || *decoded == text) << at;
    cabinet[at] ^= 0x10;
  }
}

TEST(Cabinet, IsReadByCabextract) {
  if (std::system("command -v cabextract >/dev/null 2>&1") != 0) GTEST_SKIP() << "no cabextract";
  const auto folder = std::filesystem::path(::testing::TempDir()) / "gapferry-cabinet-test";
  ASSERT_TRUE(RemoveTree(folder).has_value());
  ASSERT_TRUE(CreateDirectories(folder).has_value());
  const std::string text = SampleText(300'000);
  ASSERT_TRUE(WriteFileAtomically(folder / "a.cab", WriteMetadataCabinet(text)).has_value());
  const std::string command =
      "cabextract -q -d " + folder.string() + " " + (folder / "a.cab").string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(*ReadFile(folder / "blob", 10 << 20), *Utf8ToUtf16Le(text));
  EXPECT_TRUE(RemoveTree(folder).has_value());
}

TEST(Cabinet, ReadsARealLzxOne) {
  const auto samples = std::filesystem::path(GAPFERRY_SOURCE_DIR) / "../shared/samples";
  if (!std::filesystem::is_directory(samples)) GTEST_SKIP() << "no samples here";
  const auto decoded =
      DecodeMetadataCabinet(*ReadFile(samples / "266f6222-r200.blob.cab", 1 << 20));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(*decoded, *ReadTextFile(samples / "266f6222-r200.software-leaf.xml", 1 << 20));
}

}  // namespace
}  // namespace gapferry::protocol
