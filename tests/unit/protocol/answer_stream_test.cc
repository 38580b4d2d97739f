#include "protocol/answer_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "protocol/soap.h"
#include "protocol/sync_codec.h"
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
  for (const std::size_t piece : {1UZ, 2UZ, 7UZ, 64UZ, 100'000UZ}) {
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
  for (const std::size_t piece : {1UZ, 3UZ, 1000UZ}) {
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

UpdateId Numbered(int n) {
  char text[40];
  std::snprintf(text, sizeof(text), "33333333-0000-4000-8000-%012d", n);
  return {*Guid::Parse(text), 100 + n};
}

/// Feeds `text` in pieces of `piece` bytes.
Result<void> Read(AnswerReader& reader, std::string_view text, std::size_t piece) {
  for (std::size_t at = 0; at < text.size(); at += piece) TRY(reader.Feed(text.substr(at, piece)));
  return reader.Finish();
}

struct Collected {
  std::vector<ReceivedUpdate> updates;
  std::vector<FileUrl> urls;
  UpdateDataAnswer::Receiver Receiver() {
    return {[this](ReceivedUpdate update) -> Result<void> {
              updates.push_back(std::move(update));
              return {};
            },
            [this](FileUrl url) -> Result<void> {
              urls.push_back(std::move(url));
              return {};
            }};
  }
};

GetUpdateDataResponse SomeUpdates() {
  GetUpdateDataResponse answer;
  UpdateData plain;
  plain.id = Numbered(1);
  plain.blob = PlainText{"<upd:Update a=\"1\">\xC3\xA4 &amp; <b/></upd:Update>"};
  plain.file_digests = {Sha1(std::string_view("a")), Sha1(std::string_view("b"))};
  answer.updates.push_back(std::move(plain));
  UpdateData packed;
  packed.id = Numbered(2);
  Bytes bytes;
  for (int i = 0; i < 1000; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 7));
  packed.compressed_blob = StoreInMemory(bytes);
  answer.updates.push_back(std::move(packed));
  answer.file_urls = {{Sha1(std::string_view("a")), "http://vendor/a", ""},
                      {Sha1(std::string_view("b")), std::nullopt, "x"}};
  return answer;
}

std::string Text(const GetUpdateDataResponse& answer) {
  return *Flatten(EncodeBody(answer), 1 << 20);
}

TEST(AnswerStream, ReadsUpdatesAsTheyCome) {
  const std::string text = Text(SomeUpdates());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, text.size()}) {
    Collected got;
    UpdateDataAnswer answer(got.Receiver(), 1 << 20);
    const auto done = Read(answer, text, piece);
    ASSERT_TRUE(done.has_value()) << done.error().message;
    ASSERT_EQ(got.updates.size(), 2u);
    EXPECT_EQ(got.updates[0].id, Numbered(1));
    EXPECT_EQ(AsText(*got.updates[0].text), "<upd:Update a=\"1\">\xC3\xA4 &amp; <b/></upd:Update>");
    EXPECT_EQ(got.updates[0].file_digests.size(), 2u);
    EXPECT_FALSE(got.updates[0].cabinet.has_value());
    ASSERT_EQ(got.updates[1].cabinet->size(), 1000u);
    EXPECT_EQ(got.updates[1].cabinet->at(999), static_cast<std::uint8_t>(999 * 7));
    ASSERT_EQ(got.urls.size(), 2u);
    EXPECT_EQ(got.urls[0].mu_url, "http://vendor/a");
    EXPECT_FALSE(got.urls[1].mu_url.has_value());
  }
}

TEST(AnswerStream, AnAddressWithoutItsFileIsPassedOver) {
  std::string text = Text(SomeUpdates());
  const std::string digest = Base64Encode(Sha1(std::string_view("a")).bytes);
  const std::size_t at = text.rfind(digest);
  ASSERT_NE(at, std::string::npos);
  text.replace(at, digest.size(), "no digest");
  Collected got;
  UpdateDataAnswer answer(got.Receiver(), 1 << 20);
  const auto done = Read(answer, text, text.size());
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(got.updates.size(), 2u);
  ASSERT_EQ(got.urls.size(), 1u);
  EXPECT_EQ(got.urls[0].file_digest, Sha1(std::string_view("b")));
}

TEST(AnswerStream, RefusesCabinetsThatAreNoBase64) {
  const std::string good = Text(SomeUpdates());
  const std::size_t at = good.find("<XmlUpdateBlobCompressed>") + 25;
  for (const std::string_view bad : {"!", "=", "AA==AAAA", "A"}) {
    std::string text = good;
    text.replace(at, bad.size(), bad);
    if (bad == "A") text.insert(at, "A");
    Collected got;
    UpdateDataAnswer answer(got.Receiver(), 1 << 20);
    const auto done = Read(answer, text, 1 << 16);
    ASSERT_FALSE(done.has_value()) << bad;
    EXPECT_EQ(done.error().code, ErrorCode::kCorrupt);
  }
}

TEST(AnswerStream, AnErrorOfTheReceiverEndsIt) {
  UpdateDataAnswer answer({[](ReceivedUpdate) { return Fail(ErrorCode::kCancelled, "enough"); },
                           [](FileUrl) -> Result<void> { return {}; }},
                          1 << 20);
  const auto done = Read(answer, Text(SomeUpdates()), 1 << 16);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace gapferry::protocol
