#include "protocol/answer_body.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"
#include "protocol/xml_writer.h"
#include "protocol/xpress.h"

namespace gapferry::protocol {
namespace {

class FakePrepared : public PreparedText {
 public:
  explicit FakePrepared(const std::string& text) : decoded_(text.size()) {
    std::string blocks;
    XpressEncoder().AppendBlocks(AsBytes(text), blocks);
    stored_ = StoreInMemory(Bytes(blocks.begin(), blocks.end()));
  }
  std::uint64_t encoded_bytes() const override { return stored_->size_bytes(); }
  std::uint64_t decoded_bytes() const override { return decoded_; }
  Result<std::unique_ptr<Source>> OpenEncoded() const override { return stored_->Open(); }

 private:
  std::uint64_t decoded_;
  std::shared_ptr<const StoredBytes> stored_;
};

std::string ReadAll(AnswerSource& source, std::size_t piece) {
  std::string out;
  Bytes buffer(piece);
  while (true) {
    const auto n = source.Read(buffer);
    EXPECT_TRUE(n.has_value());
    if (!n || *n == 0) return out;
    out.append(AsText(ByteView(buffer.data(), *n)));
  }
}

AnswerBody Mixed(const std::string& large, Rendering rendering) {
  AnswerBody body("<a>");
  body.Append(std::make_shared<FakePrepared>(large));
  body.Append("</a><b>");
  body.Append(StoredPiece{StoreInMemory(Bytes(40'000, '<')), rendering});
  body.Append("</b>");
  return body;
}

TEST(AnswerBody, IsTheSameTextInBothEncodingsAndAllReadSizes) {
  std::string large;
  for (int i = 0; i < 9000; ++i) large += "&lt;File " + std::to_string(i) + "/&gt;";
  for (const Rendering rendering :
       {Rendering::kBase64, Rendering::kEscapedText, Rendering::kMarkup}) {
    const AnswerBody body = Mixed(large, rendering);
    const std::string expected = *Flatten(body, 1 << 24);
    for (const std::size_t piece : {1u, 4096u, 1u << 20}) {
      auto plain = AnswerSource::Create(body, ContentEncoding::kIdentity);
      EXPECT_EQ(ReadAll(**plain, piece), expected);
      auto packed = AnswerSource::Create(body, ContentEncoding::kXpress);
      const std::string wire = ReadAll(**packed, piece);
      EXPECT_EQ(*DecodeContent(Bytes(wire.begin(), wire.end()), "xpress", 1 << 24), expected);
    }
  }
}

TEST(AnswerBody, SharesWhatIsInMemoryWithoutCopying) {
  std::string blocks;
  XpressEncoder().AppendBlocks(AsBytes("prepared"), blocks);
  const auto prepared = PrepareInMemory(blocks, 8);
  const auto stored = StoreInMemory(Bytes(100, 'x'));
  const auto join = [](const std::vector<SharedPiece>& pieces) {
    std::string out;
    for (const SharedPiece& piece : pieces) out += AsText(piece.bytes);
    return out;
  };
  AnswerBody packed("<a>");
  packed.Append(prepared);
  packed.Append("</a>");
  EXPECT_EQ(packed.HeldBytes(), 7 + blocks.size());
  auto pieces = ShareBody(packed, ContentEncoding::kXpress);
  ASSERT_TRUE(pieces && pieces->size() == 3);
  EXPECT_EQ((*pieces)[1].bytes.data(), prepared->InMemory().data());
  EXPECT_EQ(*XpressDecode(AsBytes(join(*pieces)), 100), "<a>prepared</a>");

  AnswerBody plain("<a>");
  plain.Append(StoredPiece{stored, Rendering::kMarkup});
  pieces = ShareBody(plain, ContentEncoding::kIdentity);
  ASSERT_TRUE(pieces && pieces->size() == 2);
  EXPECT_EQ((*pieces)[1].bytes.data(), stored->InMemory().data());
  EXPECT_EQ(join(*pieces), "<a>" + std::string(100, 'x'));

  // What has to be coded on its way is streamed, and the body is as it was.
  AnswerBody coded("<a>");
  coded.Append(StoredPiece{stored, Rendering::kBase64});
  EXPECT_FALSE(ShareBody(coded, ContentEncoding::kIdentity).has_value());
  EXPECT_FALSE(ShareBody(coded, ContentEncoding::kXpress).has_value());
  AnswerBody apart("<a>");
  apart.Append(std::make_shared<FakePrepared>("kept elsewhere"));
  EXPECT_FALSE(ShareBody(apart, ContentEncoding::kXpress).has_value());
  EXPECT_EQ(apart.pieces().size(), 2U);
}

TEST(AnswerBody, SaysItsSizeBeforeItIsReadWhereItCan) {
  AnswerBody body("<a>");
  body.Append(std::make_shared<FakePrepared>("hello"));
  for (const auto encoding : {ContentEncoding::kIdentity, ContentEncoding::kXpress}) {
    auto source = AnswerSource::Create(body, encoding);
    ASSERT_TRUE((*source)->size_bytes().has_value());
    const std::uint64_t promised = *(*source)->size_bytes();
    EXPECT_EQ(ReadAll(**source, 7).size(), promised);
  }
  const AnswerBody base64 = Mixed("x", Rendering::kBase64);
  EXPECT_EQ(base64.DecodedBytes(), Flatten(base64, 1 << 24)->size());
  EXPECT_FALSE(Mixed("x", Rendering::kEscapedText).DecodedBytes().has_value());
}

/// As many identities as wanted, none of them kept.
class CountedList : public UpdateIdList {
 public:
  explicit CountedList(std::size_t size) : size_(size) {}
  std::size_t size() const override { return size_; }
  UpdateId At(std::size_t position) const override {
    Guid guid;
    for (std::size_t i = 0; i < 8; ++i) {
      guid.bytes[i] = static_cast<std::uint8_t>(position >> (8 * i));
    }
    return {guid, static_cast<std::int32_t>(position * 7)};
  }

 private:
  std::size_t size_;
};

TEST(AnswerBody, ListsAreWrittenWhileTheyAreRead) {
  for (const std::size_t size : {0u, 1u, 100'000u}) {
    GetRevisionIdListResponse whole;
    GetRevisionIdListResponse streamed;
    whole.anchor = streamed.anchor = "1,2026-10-04 16:33:26.668";
    streamed.list = std::make_shared<CountedList>(size);
    for (std::size_t i = 0; i < size; ++i) whole.new_revisions.push_back(streamed.list->At(i));
    for (const SoapVersion version : {SoapVersion::k11, SoapVersion::k12}) {
      const AnswerBody body = EncodeBody(streamed, version);
      const std::string expected = Encode(whole, version);
      EXPECT_EQ(*Flatten(body, 1 << 26), expected);
      EXPECT_EQ(body.DecodedBytes(), expected.size());
      EXPECT_LT(body.HeldBytes(), 2000u) << "the list itself is not kept as text";
    }
  }
}

TEST(AnswerBody, KnowsWhatItHolds) {
  AnswerBody body("<a>");
  body.Append(std::make_shared<FakePrepared>("hello"));
  body.Append(StoredPiece{StoreInMemory(Bytes(1000)), Rendering::kBase64});
  EXPECT_EQ(body.HeldBytes(), 1003u);
}

TEST(AnswerBody, KeepsLargeFragmentsApart) {
  SyncUpdatesResponse answer;
  answer.result.new_updates.push_back({1, Deployment{}, true, PlainText{"<a b=\"c\"/>"}});
  answer.result.new_updates.push_back({2, Deployment{}, true, EscapedText{"&lt;d/&gt;"}});
  answer.result.new_updates.push_back(
      {3, Deployment{}, true,
       std::shared_ptr<const PreparedText>(std::make_shared<FakePrepared>("&lt;e/&gt;"))});
  const AnswerBody body = EncodeBody(answer);
  EXPECT_EQ(body.pieces().size(), 3u);
  auto message = SoapMessage::Parse(*Flatten(body, 1 << 20), SoapLimits::Answer());
  ASSERT_TRUE(message.has_value());
  const auto decoded = Decode<SyncUpdatesResponse>(*message);
  ASSERT_TRUE(decoded.has_value());
  const auto text = [&](std::size_t i) {
    return std::get<PlainText>(*decoded->result.new_updates.at(i).xml).text;
  };
  EXPECT_EQ(text(0), "<a b=\"c\"/>");
  EXPECT_EQ(text(1), "<d/>");
  EXPECT_EQ(text(2), "<e/>");
}

TEST(DecodeContent, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(*DecodeContent({'a'}, "", 1), "a");
  EXPECT_EQ(*DecodeContent({'a'}, "Identity", 1), "a");
  EXPECT_EQ(DecodeContent({'a'}, "gzip", 1).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(DecodeContent({'a', 'b'}, "", 1).error().code, ErrorCode::kCorrupt);
}

TEST(XmlWriter, EscapesPieceByPieceWhateverTheStringHasRoomFor) {
  const std::string piece = "<a b=\"c\">&\r\x01";
  const std::string escaped = "&lt;a b=\"c\"&gt;&amp;&#xD;\xEF\xBF\xBD";
  for (std::size_t room = 0; room < 200; ++room) {
    std::string out;
    out.reserve(room);
    std::string expected;
    for (int i = 0; i < 12; ++i) {
      AppendEscapedText(out, std::string_view(piece).substr(i % 3 == 0 ? 0 : 1));
      expected += i % 3 == 0 ? escaped : escaped.substr(4);
    }
    ASSERT_EQ(out, expected) << room;
  }
}

TEST(XmlWriter, EscapesTextAndAttributes) {
  std::string out;
  XmlWriter xml(out, EmptyElement::kSpaced);
  xml.Open("a");
  xml.Attribute("b", "\"<&>\n\t");
  xml.Text("\"<&>\r\n\x01");
  xml.Open("c");
  xml.Close();
  xml.Close();
  EXPECT_EQ(out,
            "<a b=\"&quot;&lt;&amp;&gt;&#xA;&#x9;\">\"&lt;&amp;&gt;&#xD;\n\xEF\xBF\xBD<c /></a>");
  EXPECT_EQ(EscapedTextSize("\"<&>\r\n\x01"),
            std::string("\"&lt;&amp;&gt;&#xD;\n\xEF\xBF\xBD").size());
}

}  // namespace
}  // namespace gapferry::protocol
