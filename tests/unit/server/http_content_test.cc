#include "server/http_content.h"

#include <gtest/gtest.h>

namespace gapferry::server {
namespace {

struct RangeCase {
  const char* name;
  const char* header;
  std::uint64_t size;
  RangeKind kind;
  ByteRange range;
};

class RangeTest : public testing::TestWithParam<RangeCase> {};

TEST_P(RangeTest, Chooses) {
  const RangeChoice choice = ChooseRange(GetParam().header, GetParam().size);
  EXPECT_EQ(choice.kind, GetParam().kind);
  if (choice.kind == RangeKind::kPart) {
    EXPECT_EQ(choice.range, GetParam().range);
  }
}

constexpr std::uint64_t kHuge = 14'800'000'000ULL;

INSTANTIATE_TEST_SUITE_P(
    Table, RangeTest,
    testing::Values(
        RangeCase{"Closed", "bytes=0-1048575", 204745168, RangeKind::kPart, {0, 1048576}},
        RangeCase{"LastPiece",
                  "bytes=204472320-204745167",
                  204745168,
                  RangeKind::kPart,
                  {204472320, 272848}},
        RangeCase{"EndBeyondSize", "bytes=5-99", 10, RangeKind::kPart, {5, 5}},
        RangeCase{"Open", "bytes=7-", 10, RangeKind::kPart, {7, 3}},
        RangeCase{"Suffix", "bytes=-3", 10, RangeKind::kPart, {7, 3}},
        RangeCase{"SuffixLongerThanFile", "bytes=-30", 10, RangeKind::kPart, {0, 10}},
        RangeCase{"Beyond4GiB", "bytes=14799999999-", kHuge, RangeKind::kPart, {kHuge - 1, 1}},
        RangeCase{"UnitIgnoresCase", "Bytes=1-1", 10, RangeKind::kPart, {1, 1}},
        RangeCase{"StartAtSize", "bytes=10-", 10, RangeKind::kUnsatisfiable, {}},
        RangeCase{"EmptyFile", "bytes=0-0", 0, RangeKind::kUnsatisfiable, {}},
        RangeCase{"EmptySuffix", "bytes=-0", 10, RangeKind::kUnsatisfiable, {}},
        RangeCase{"Several", "bytes=0-1,3-4", 10, RangeKind::kWhole, {}},
        RangeCase{"Reversed", "bytes=5-4", 10, RangeKind::kWhole, {}},
        RangeCase{"OtherUnit", "pages=1-2", 10, RangeKind::kWhole, {}},
        RangeCase{"NoNumbers", "bytes=-", 10, RangeKind::kWhole, {}},
        RangeCase{"Negative", "bytes=-5-7", 10, RangeKind::kWhole, {}},
        RangeCase{"Overflow", "bytes=99999999999999999999-", 10, RangeKind::kWhole, {}},
        RangeCase{"Text", "bytes=a-b", 10, RangeKind::kWhole, {}}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(HttpDate, ReadsWhatToHttpWrites) {
  const UtcTime time = UtcTime::FromUnixSeconds(1'791'126'216);
  const auto parsed = ParseHttpDate(time.ToHttp());
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, time);
}

TEST(HttpDate, RefusesOtherText) {
  for (const char* text : {"", "now", "Sunday, 04-Oct-26 15:03:36 GMT", "Sun Oct  4 15:03:36 2026",
                           "Sun, 04 Okt 2026 15:03:36 GMT", "Sun, 44 Oct 2026 15:03:36 GMT"}) {
    EXPECT_FALSE(ParseHttpDate(text).has_value()) << text;
  }
}

class ServeFileTest : public testing::Test {
 protected:
  ServeFileTest() {
    request_.method = "GET";
    facts_.etag = "\"2f88\"";
    facts_.last_modified = UtcTime::FromUnixSeconds(1'788'337'853);
    facts_.content_type = "application/octet-stream";
  }
  Reply Serve() { return ServeFile(request_, std::make_shared<File>(), 1000, facts_); }
  void With(const char* name, const std::string& value) {
    request_.headers.emplace_back(name, value);
  }
  Request request_;
  FileFacts facts_;
};

TEST_F(ServeFileTest, GivesThePartAskedFor) {
  With("Range", "bytes=10-19");
  const Reply reply = Serve();
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(*FindHeader(reply.headers, "content-range"), "bytes 10-19/1000");
  EXPECT_EQ(std::get<FileBody>(reply.body).offset, 10U);
  EXPECT_EQ(reply.BodySize(), 10U);
}

TEST_F(ServeFileTest, SaysTheSizeWhenTheRangeIsOutside) {
  With("Range", "bytes=1000-");
  const Reply reply = Serve();
  EXPECT_EQ(reply.status, 416);
  EXPECT_EQ(*FindHeader(reply.headers, "Content-Range"), "bytes */1000");
}

TEST_F(ServeFileTest, HeadIgnoresRange) {
  request_.method = "HEAD";
  With("Range", "bytes=0-9");
  const Reply reply = Serve();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.BodySize(), 1000U);
}

TEST_F(ServeFileTest, ConditionsDecide) {
  const std::string date = facts_.last_modified.ToHttp();
  const std::string earlier = (facts_.last_modified - std::chrono::seconds(1)).ToHttp();
  struct Case {
    HeaderList headers;
    int status;
  };
  const Case cases[] = {
      {{{"If-None-Match", "\"2f88\""}}, 304},
      {{{"If-None-Match", "\"x\", W/\"2f88\""}}, 304},
      {{{"If-None-Match", "*"}}, 304},
      {{{"If-None-Match", "\"other\""}}, 200},
      {{{"If-None-Match", "\"other\""}, {"If-Modified-Since", date}}, 200},
      {{{"If-Modified-Since", date}}, 304},
      {{{"If-Modified-Since", earlier}}, 200},
      {{{"If-Modified-Since", "yesterday"}}, 200},
      {{{"If-Match", "\"2f88\""}}, 200},
      {{{"If-Match", "W/\"2f88\""}}, 412},
      {{{"If-Unmodified-Since", earlier}}, 412},
      {{{"If-Unmodified-Since", date}}, 200},
      {{{"Range", "bytes=0-9"}, {"If-Range", "\"2f88\""}}, 206},
      {{{"Range", "bytes=0-9"}, {"If-Range", "\"old\""}}, 200},
      {{{"Range", "bytes=0-9"}, {"If-Range", "W/\"2f88\""}}, 200},
      {{{"Range", "bytes=0-9"}, {"If-Range", date}}, 206},
      {{{"Range", "bytes=0-9"}, {"If-Range", earlier}}, 200},
  };
  for (const Case& c : cases) {
    request_.headers = c.headers;
    EXPECT_EQ(Serve().status, c.status) << c.headers[0].first << ": " << c.headers[0].second;
  }
}

TEST_F(ServeFileTest, RefusesOtherMethods) {
  request_.method = "POST";
  EXPECT_EQ(Serve().status, 405);
}

TEST(Request, AcceptsCodingReadsWeights) {
  struct Case {
    const char* header;
    bool accepts;
  };
  for (const Case& c : {Case{"xpress", true}, Case{"gzip, XPRESS", true}, Case{"gzip", false},
                        Case{"xpress;q=0", false}, Case{"xpress; q=0.5", true}, Case{"", false}}) {
    Request request;
    request.headers.emplace_back("accept-encoding", c.header);
    EXPECT_EQ(request.AcceptsCoding("xpress"), c.accepts) << c.header;
  }
}

TEST(Request, BaseUrlTakesNoForgedHost) {
  Request request;
  request.local_address = "10.0.0.7";
  request.local_port = 8530;
  EXPECT_EQ(request.BaseUrl(), "http://10.0.0.7:8530");
  request.headers.emplace_back("Host", "wsus.example:8530");
  EXPECT_EQ(request.BaseUrl(), "http://wsus.example:8530");
  request.headers[0].second = "a/<x>";
  EXPECT_EQ(request.BaseUrl(), "http://10.0.0.7:8530");
}

TEST(DecodePath, UndoesEscapesAndRefusesBrokenOnes) {
  EXPECT_EQ(DecodePath("/a%20b"), "/a b");
  EXPECT_EQ(DecodePath("/%2e%2E/x"), "/../x");
  for (const char* text : {"", "a", "/%", "/%4", "/%zz", "/a%00b"}) {
    EXPECT_FALSE(DecodePath(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace gapferry::server
