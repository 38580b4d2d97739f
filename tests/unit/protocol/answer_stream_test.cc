#include "protocol/answer_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "protocol/soap.h"
#include "protocol/xpress.h"

namespace gapferry::protocol {
namespace {

const std::string kHead =
    R"(<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>)";
const std::string kTail = "</s:Body></s:Envelope>";
const std::string kGuid = "11111111-2222-3333-4444-555555555555";

std::string ListOf(const std::string& entries) {
  return kHead +
         R"(<GetRevisionIdListResponse xmlns="http://www.microsoft.com/SoftwareDistribution">)"
         "<GetRevisionIdListResult><Anchor>7,2026-10-04 16:33:26.668</Anchor><NewRevisions>" +
         entries + "</NewRevisions></GetRevisionIdListResult></GetRevisionIdListResponse>" + kTail;
}

std::string Entry(const std::string& guid = kGuid, const std::string& revision = "100") {
  return "<UpdateIdentity><UpdateID>" + guid + "</UpdateID><RevisionNumber>" + revision +
         "</RevisionNumber></UpdateIdentity>";
}

Result<GetRevisionIdListResponse> ReadList(const std::string& text, std::size_t piece = 1 << 20,
                                           const std::string& encoding = "") {
  RevisionListAnswer answer;
  AnswerSink sink(answer, 1 << 20);
  TRY(sink.SetEncoding(encoding));
  for (std::size_t i = 0; i < text.size(); i += piece) {
    TRY(sink.Write(AsBytes(std::string_view(text).substr(i, piece))));
  }
  TRY(sink.Finish());
  return answer.Take();
}

TEST(RevisionListAnswer, ReadsTheSameInPiecesOfAnySizePlainAndCompressed) {
  const std::string text = ListOf(Entry() + Entry(kGuid, "101"));
  std::string packed;
  XpressEncoder().AppendBlocks(AsBytes(text), packed);
  for (const std::size_t piece : {1, 2, 7, 64, 100'000}) {
    for (const bool compressed : {false, true}) {
      const auto list = ReadList(compressed ? packed : text, piece, compressed ? "xpress" : "");
      ASSERT_TRUE(list.has_value()) << list.error().message;
      EXPECT_EQ(list->anchor, "7,2026-10-04 16:33:26.668");
      ASSERT_EQ(list->new_revisions.size(), 2u);
      EXPECT_EQ(list->new_revisions[1].ToString(), kGuid + "/101");
    }
  }
}

TEST(RevisionListAnswer, TakesNoPrefixOfAnAnswerForTheWhole) {
  const std::string text = ListOf(Entry() + Entry(kGuid, "101"));
  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto list = ReadList(text.substr(0, size));
    ASSERT_FALSE(list.has_value()) << text.substr(0, size);
    EXPECT_EQ(list.error().code, ErrorCode::kTransient) << size << ": " << list.error().message;
  }
  std::string packed;
  XpressEncoder().AppendBlocks(AsBytes(text), packed);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    const auto list = ReadList(packed.substr(0, size), 1 << 20, "xpress");
    ASSERT_FALSE(list.has_value());
    EXPECT_EQ(list.error().code, ErrorCode::kTransient) << size << ": " << list.error().message;
  }
}

struct WrongCase {
  const char* name;
  std::string text;
  ErrorCode code;
};

TEST(RevisionListAnswer, TakesNothingElseForAnEmptyList) {
  const std::string open = "<GetRevisionIdListResponse xmlns=\"";
  const std::string ours = "http://www.microsoft.com/SoftwareDistribution\">";
  const std::string close = "</GetRevisionIdListResponse>";
  const std::string result =
      "<GetRevisionIdListResult><Anchor>1</Anchor><NewRevisions/></GetRevisionIdListResult>";
  const std::string nil =
      "<GetRevisionIdListResult xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" "
      "i:nil=\"true\"/>";
  const WrongCase cases[] = {
      {"no result", kHead + open + ours + close + kTail, ErrorCode::kCorrupt},
      {"nil result", kHead + open + ours + nil + close + kTail, ErrorCode::kCorrupt},
      {"two results", kHead + open + ours + result + result + close + kTail, ErrorCode::kCorrupt},
      {"another namespace", kHead + open + "urn:x\">" + result + close + kTail,
       ErrorCode::kUnsupported},
      {"another operation",
       kHead + "<GetConfigDataResponse xmlns=\"" + ours + "</GetConfigDataResponse>" + kTail,
       ErrorCode::kUnsupported},
      {"empty body", kHead + kTail, ErrorCode::kCorrupt},
      {"a page", "<html><body>hello</body></html>", ErrorCode::kCorrupt},
      {"two answers", kHead + open + ours + result + close + open + ours + result + close + kTail,
       ErrorCode::kCorrupt},
      {"a guid that is none", ListOf(Entry("x")), ErrorCode::kCorrupt},
      {"a revision that is none", ListOf(Entry(kGuid, "9999999999")), ErrorCode::kCorrupt},
      {"a document type", "<!DOCTYPE x><x/>", ErrorCode::kCorrupt}};
  for (const WrongCase& wrong : cases) {
    const auto list = ReadList(wrong.text);
    ASSERT_FALSE(list.has_value()) << wrong.name;
    EXPECT_EQ(list.error().code, wrong.code) << wrong.name << ": " << list.error().message;
  }
  EXPECT_TRUE(ReadList(kHead + open + ours + result + close + kTail).has_value());
}

TEST(RevisionListAnswer, HandsOnAFaultThatCameAsASuccess) {
  const auto list = ReadList(kHead +
                             "<s:Fault><faultcode>s:Client</faultcode><faultstring>x</faultstring>"
                             "<detail><ErrorCode>ServerChanged</ErrorCode><Message/></detail>"
                             "</s:Fault>" +
                             kTail);
  ASSERT_FALSE(list.has_value());
  EXPECT_EQ(FaultCodeOf(list.error()), FaultCode::kServerChanged);
}

TEST(AnswerSink, EndsAnAnswerThatIsTooLargeAndAnUnknownEncoding) {
  RevisionListAnswer answer;
  AnswerSink sink(answer, 1000);
  const std::string spaces(2000, ' ');
  ASSERT_TRUE(sink.Write(AsBytes(kHead)).has_value());
  const auto written = sink.Write(AsBytes(spaces));
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().reason, "answer-too-large");
  EXPECT_EQ(AnswerSink(answer, 1000).SetEncoding("gzip").error().code, ErrorCode::kUnsupported);
}

std::string UpdateEntry(const std::string& inner, const std::string& guid = kGuid) {
  return "<ServerSyncUpdateData><Id><UpdateID>" + guid +
         "</UpdateID><RevisionNumber>100</RevisionNumber></Id>" + inner + "</ServerSyncUpdateData>";
}

std::string DataOf(const std::string& updates) {
  return kHead +
         R"(<GetUpdateDataResponse xmlns="http://www.microsoft.com/SoftwareDistribution">)" +
         "<GetUpdateDataResult><updates>" + updates +
         "</updates><fileUrls /></GetUpdateDataResult></GetUpdateDataResponse>" + kTail;
}

struct Received {
  std::vector<ReceivedUpdate> updates;
  Result<void> outcome;
};

Received ReadData(const std::string& text, std::size_t piece, std::uint64_t max_document_bytes) {
  Received received;
  UpdateDataAnswer answer({[&](ReceivedUpdate update) -> Result<void> {
                             received.updates.push_back(std::move(update));
                             return {};
                           },
                           [](const FileUrl&) -> Result<void> { return {}; }},
                          max_document_bytes);
  for (std::size_t i = 0; i < text.size() && received.outcome; i += piece) {
    received.outcome = answer.Feed(std::string_view(text).substr(i, piece));
  }
  if (received.outcome) received.outcome = answer.Finish();
  return received;
}

TEST(UpdateDataAnswer, HandsOnEachDocumentWholeAndRefusesOnlyTheOneThatIsTooLarge) {
  const std::string text =
      DataOf(UpdateEntry("<XmlUpdateBlob>&lt;a&gt;1&amp;amp;2&lt;/a&gt;</XmlUpdateBlob>") +
             UpdateEntry("<XmlUpdateBlob>" + std::string(500, 'x') + "</XmlUpdateBlob>") +
             UpdateEntry("<XmlUpdateBlobCompressed>TVND\r\n Rg==</XmlUpdateBlobCompressed>"));
  for (const std::size_t piece : {1, 3, 1000}) {
    const Received received = ReadData(text, piece, 100);
    ASSERT_TRUE(received.outcome.has_value()) << received.outcome.error().message;
    ASSERT_EQ(received.updates.size(), 3u);
    EXPECT_EQ(AsText(*received.updates[0].text), "<a>1&amp;2</a>");
    EXPECT_TRUE(received.updates[1].is_too_large);
    EXPECT_EQ(AsText(*received.updates[2].cabinet), "MSCF");
    EXPECT_FALSE(received.updates[2].text.has_value());
  }
}

TEST(UpdateDataAnswer, DoesNotTakeAnAnswerWithoutResultForOneThatHoldsNothing) {
  const std::string open =
      R"(<GetUpdateDataResponse xmlns="http://www.microsoft.com/SoftwareDistribution">)";
  EXPECT_FALSE(
      ReadData(kHead + open + "</GetUpdateDataResponse>" + kTail, 1000, 100).outcome.has_value());
  EXPECT_TRUE(ReadData(DataOf(""), 1000, 100).outcome.has_value());
}

}  // namespace
}  // namespace gapferry::protocol
