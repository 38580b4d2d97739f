#include "exporter/content_download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <deque>
#include <map>
#include <string>

#include "base/text.h"
#include "exporter/staged_file.h"
#include "mirror/content_store.h"
#include "mirror/sqlite.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::exporter {
namespace {

using mirror::ContentExpectation;
using mirror::ContentStore;
using mirror::VerifiedContent;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// A content server in memory, with the ways in which real ones go wrong.
class FakeHost : public Fetcher {
 public:
  std::map<std::string, std::string> files;  // by URL
  std::string etag = "\"1\"";
  bool knows_ranges = true;
  bool honours_if_range = true;
  bool says_length = true;
  std::optional<std::uint64_t> claims_total;
  std::deque<std::size_t> breaks;  // the next answers break after so many bytes
  std::deque<std::size_t> ends;    // the next answers end early and look complete
  std::deque<int> statuses;        // the next answers are these
  std::string retry_after;
  bool is_endless = false;
  std::function<void()> after_piece;

  std::vector<std::string> requests;  // "URL FIRST IF-RANGE"
  std::uint64_t sent = 0;

  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink, std::stop_token) override {
    requests.push_back(request.url + " " + std::to_string(request.range_first) + " " +
                       request.if_range);
    FetchResponse answer;
    if (!statuses.empty()) {
      answer.status = statuses.front();
      statuses.pop_front();
      answer.headers = {{"Retry-After", retry_after}};
      return answer;
    }
    const auto file = files.find(request.url);
    if (file == files.end()) {
      answer.status = 404;
      return answer;
    }
    const bool part = request.range_first > 0 && knows_ranges &&
                      (request.if_range.empty() || !honours_if_range || request.if_range == etag);
    if (part && request.range_first >= file->second.size()) {
      answer.status = 416;
      return answer;
    }
    answer.status = part ? 206 : 200;
    const std::uint64_t total = claims_total.value_or(file->second.size());
    if (!etag.empty()) answer.headers.emplace_back("ETag", etag);
    if (part) {
      answer.headers.emplace_back("Content-Range", "bytes " + std::to_string(request.range_first) +
                                                       "-" + std::to_string(total - 1) + "/" +
                                                       std::to_string(total));
    } else if (says_length) {
      answer.headers.emplace_back("Content-Length", std::to_string(total));
    }
    TRY(request.on_answer(answer));
    std::string_view bytes = file->second;
    if (part) bytes.remove_prefix(request.range_first);
    TRY(Send(bytes, sink));
    return answer;
  }

 private:
  static std::optional<std::size_t> Take(std::deque<std::size_t>& queue) {
    if (queue.empty()) return std::nullopt;
    const std::size_t first = queue.front();
    queue.pop_front();
    return first;
  }
  Result<void> Send(std::string_view bytes, Sink& sink) {
    const auto broken = Take(breaks);
    if (broken) bytes = bytes.substr(0, *broken);
    if (!broken) {
      if (const auto end = Take(ends)) bytes = bytes.substr(0, *end);
    }
    constexpr std::size_t kPiece = 100'000;
    for (std::size_t at = 0; at < bytes.size() || is_endless; at += kPiece) {
      const std::string_view piece =
          at < bytes.size() ? bytes.substr(at, kPiece) : bytes.substr(0, kPiece);
      sent += piece.size();
      TRY(sink.Write(AsBytes(piece)));
      if (after_piece) after_piece();
    }
    if (broken) return Fail(ErrorCode::kTransient, "connection reset");
    return {};
  }
};

std::string Noise(std::size_t size) {
  std::string text(size, '\0');
  std::uint32_t state = 12345;
  for (char& c : text) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

constexpr const char* kUrl = "http://wsus:8530/Content/x";
constexpr const char* kVendor = "http://vendor/y?secret=1";

class DownloadTest : public testing::Test {
 protected:
  DownloadTest() : store_(db_, directory_.path()), noise_(Noise(3 << 20)) {
    host_.files[kUrl] = noise_;
    needed_.expected = Expect(noise_);
  }

  static ContentExpectation Expect(const std::string& content) {
    return {Sha1(content), Sha256(content), content.size(), "cab"};
  }
  fs::path Staged() { return store_.StagedPath(needed_.expected).value(); }
  Downloaded Run(const std::vector<ContentPlace>& places) {
    const DownloadShared shared{store_,
                                clock_,
                                NoProgress(),
                                window_,
                                limiter_ ? &*limiter_ : nullptr,
                                [this](milliseconds wait, std::stop_token) {
                                  waits_.push_back(wait);
                                  return true;
                                }};
    return DownloadFile(host_, needed_, places, shared, {});
  }
  Downloaded Run() { return Run({{kUrl, true}}); }
  Downloaded RunBoth() { return Run({{kUrl, true}, {kVendor, false}}); }

  void ExpectWhole(const Downloaded& done) {
    const auto* verified = std::get_if<VerifiedContent>(&done.result);
    ASSERT_NE(verified, nullptr) << ErrorOf(done).message;
    EXPECT_EQ(verified->file().sha256, Sha256(noise_));
    const auto bytes = ReadFile(verified->staged_path(), 100 << 20);
    ASSERT_TRUE(bytes.has_value());
    EXPECT_TRUE(AsText(*bytes) == noise_);
    EXPECT_THAT(ListDirectory(Staged().parent_path()).value(),
                ElementsAre(Staged().filename().string()));
  }
  static Error ErrorOf(const Downloaded& done) {
    const auto* error = std::get_if<Error>(&done.result);
    return error != nullptr ? *error : Error{ErrorCode::kInternal, "no error", {}, {}};
  }
  std::string Request(const char* url, std::size_t first, const char* if_range) {
    return std::string(url) + " " + std::to_string(first) + " " + if_range;
  }

  mirror::TemporaryDirectory directory_;
  mirror::Database db_ = *mirror::Database::Open(directory_.path() / "db", {.create = true});
  ContentStore store_;
  FixedClock clock_{*UtcTime::ParseXml("2026-01-01T23:00:00Z")};
  WindowGate window_{std::nullopt, clock_};
  std::optional<RateLimiter> limiter_;
  const std::string noise_;
  FakeHost host_;
  NeededFile needed_;
  std::vector<milliseconds> waits_;
};

TEST_F(DownloadTest, FetchesAndVerifies) {
  const Downloaded done = Run();
  ExpectWhole(done);
  EXPECT_EQ(done.network_bytes, noise_.size());
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 0, "")));
}

TEST_F(DownloadTest, GoesOnAfterABreakAndCountsAnewWithEachMiB) {
  for (int i = 0; i < 6; ++i) host_.breaks.push_back(500'000);
  const Downloaded done = Run();
  EXPECT_EQ(done.network_bytes, noise_.size());
  ExpectWhole(done);
  EXPECT_EQ(host_.requests.size(), 7U);
  EXPECT_EQ(host_.requests[1], Request(kUrl, 500'000, "\"1\""));
  EXPECT_EQ(waits_.size(), 6U);
}

TEST_F(DownloadTest, GivesUpWhenNothingArrives) {
  for (int i = 0; i < 10; ++i) host_.breaks.push_back(10);
  const Downloaded done = Run();
  EXPECT_EQ(ErrorOf(done).code, ErrorCode::kTransient);
  EXPECT_EQ(host_.requests.size(), 4U);
  EXPECT_EQ(fs::file_size(Staged()), 40U);
}

TEST_F(DownloadTest, GoesOnWhereAnEarlierRunStopped) {
  host_.breaks = {1'000'000, 0, 0, 0};
  EXPECT_EQ(ErrorOf(Run()).code, ErrorCode::kTransient);
  host_.requests.clear();
  const Downloaded done = Run();
  ExpectWhole(done);
  EXPECT_EQ(done.network_bytes, noise_.size() - 1'000'000);
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1'000'000, "\"1\"")));
}

TEST_F(DownloadTest, BeginsAgainInTheSameAnswerWhenTheFileHasChanged) {
  host_.files[kUrl] = Noise((3 << 20) - 1) + "X";  // an older one that is wrong
  host_.breaks = {1'000'000, 0, 0, 0};
  (void)Run();
  host_.requests.clear();
  host_.files[kUrl] = noise_;
  host_.etag = "\"2\"";
  ExpectWhole(Run());
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1'000'000, "\"1\"")));
}

TEST_F(DownloadTest, SeesAChangeThatAServerWithoutIfRangeWouldMix) {
  host_.files[kUrl][5] ^= 1;
  host_.breaks = {1'000'000, 0, 0, 0};
  (void)Run();
  host_.requests.clear();
  host_.files[kUrl] = noise_;
  host_.etag = "\"2\"";
  host_.honours_if_range = false;
  ExpectWhole(Run());
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1'000'000, "\"1\""), Request(kUrl, 0, "")));
}

TEST_F(DownloadTest, WithoutValidatorsTheDigestDecidesAfterOneMoreTry) {
  host_.etag.clear();
  host_.files[kUrl][5] ^= 1;
  host_.breaks = {1'000'000, 0, 0, 0};
  (void)Run();
  host_.requests.clear();
  host_.files[kUrl] = noise_;
  ExpectWhole(Run());
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1'000'000, ""), Request(kUrl, 0, "")));
}

TEST_F(DownloadTest, TakesTheWholeFromAServerWithoutRanges) {
  host_.breaks = {1'000'000};
  host_.knows_ranges = false;
  const Downloaded done = Run();
  ExpectWhole(done);
  EXPECT_EQ(host_.requests.size(), 2U);
  EXPECT_EQ(done.network_bytes, noise_.size() + 1'000'000);
}

TEST_F(DownloadTest, AServerWithoutRangesThatAlwaysBreaksIsLeft) {
  host_.knows_ranges = false;
  for (int i = 0; i < 100; ++i) host_.breaks.push_back(2 << 20);
  EXPECT_EQ(ErrorOf(Run()).code, ErrorCode::kTransient);
  EXPECT_LE(host_.requests.size(), 5U);
}

TEST_F(DownloadTest, A416BeginsAgain) {
  host_.breaks = {1'000'000};
  host_.statuses = {};
  const Downloaded first = [&] {
    host_.breaks = {1'000'000, 0, 0, 0};
    return Run();
  }();
  EXPECT_EQ(ErrorOf(first).code, ErrorCode::kTransient);
  host_.requests.clear();
  host_.statuses = {416};
  ExpectWhole(Run());
  EXPECT_EQ(host_.requests.back(), Request(kUrl, 0, ""));
}

TEST_F(DownloadTest, AnotherTotalSizeIsRefusedBeforeAByteIsTaken) {
  host_.claims_total = 4 << 20;
  const Downloaded done = Run();
  EXPECT_EQ(ErrorOf(done).code, ErrorCode::kCorrupt);
  EXPECT_EQ(ErrorOf(done).message,
            "content " + Sha1(noise_).ToHex() + ": size mismatch: expected 3145728, got 4194304");
  EXPECT_EQ(done.network_bytes, 0U);
  EXPECT_EQ(host_.requests.size(), 2U);
}

TEST_F(DownloadTest, AnEndlessAnswerIsCutAtTheDeclaredSize) {
  host_.is_endless = true;
  host_.says_length = false;
  EXPECT_EQ(ErrorOf(Run()).reason, "answer-too-large");
  EXPECT_EQ(host_.requests.size(), 2U);
  EXPECT_LE(host_.sent, 2 * (noise_.size() + 100'000));
  EXPECT_EQ(fs::file_size(Staged()), 0U);
}

TEST_F(DownloadTest, ATruncatedAnswerThatLooksWholeIsContinued) {
  host_.says_length = false;
  host_.ends = {1'000'000};
  ExpectWhole(Run());
  EXPECT_EQ(host_.requests[1], Request(kUrl, 1'000'000, "\"1\""));
}

TEST_F(DownloadTest, WrongBytesCostOneMoreTryOfEachPlace) {
  host_.files[kUrl][7] ^= 1;
  host_.files[kVendor] = noise_;
  ExpectWhole(RunBoth());
  EXPECT_THAT(host_.requests,
              ElementsAre(Request(kUrl, 0, ""), Request(kUrl, 0, ""), Request(kVendor, 0, "")));
  host_.requests.clear();
  ASSERT_TRUE(RemoveFile(Staged()));
  host_.files[kVendor] = host_.files[kUrl];
  const Downloaded done = RunBoth();
  EXPECT_EQ(ErrorOf(done).reason, "content-mismatch");
  EXPECT_EQ(host_.requests.size(), 4U);
  EXPECT_FALSE(fs::exists(Staged()));
}

TEST_F(DownloadTest, ThePlaceThatHasItDelivers) {
  host_.files.erase(kUrl);
  EXPECT_TRUE(std::holds_alternative<AbsentUpstream>(RunBoth().result));
  host_.files[kVendor] = noise_;
  ExpectWhole(RunBoth());
}

TEST_F(DownloadTest, TheVendorAloneIsNoUpstreamToAsk) {
  EXPECT_EQ(
      ErrorOf(Run({{kVendor, false}})).message,
      "file " + Sha1(noise_).ToHex(HexCase::kUpper) + ": GET http://vendor/y: HTTP status 404");
  EXPECT_EQ(ErrorOf(Run({})).reason, "no-url");
}

TEST_F(DownloadTest, AServerErrorWaitsAsLongAsItSays) {
  host_.statuses = {503, 429};
  host_.retry_after = "7";
  ExpectWhole(Run());
  EXPECT_THAT(waits_, ElementsAre(milliseconds(7000), milliseconds(7000)));
  host_.statuses = {403};
  ASSERT_TRUE(RemoveFile(Staged()));
  EXPECT_EQ(ErrorOf(Run()).code, ErrorCode::kUnsupported);
}

TEST_F(DownloadTest, WhatIsWholeInStagingNeedsNoServer) {
  ASSERT_TRUE(WriteFileAtomically(Staged(), AsBytes(noise_)));
  const Downloaded done = Run();
  ExpectWhole(done);
  EXPECT_THAT(host_.requests, IsEmpty());
}

TEST_F(DownloadTest, DamageInStagingCostsOneDownload) {
  std::string damaged = noise_;
  damaged[9] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(Staged(), AsBytes(damaged)));
  ExpectWhole(Run());
  EXPECT_EQ(host_.requests.size(), 1U);
  ASSERT_TRUE(WriteFileAtomically(Staged(), AsBytes(noise_ + "more")));
  ExpectWhole(Run());
}

TEST_F(DownloadTest, AnyOfContradictingDeclarationsMayBeRight) {
  needed_.others.push_back(needed_.expected);
  needed_.expected.sha256 = Sha256("another");
  ExpectWhole(Run());
  EXPECT_EQ(host_.requests.size(), 1U);
  ASSERT_TRUE(RemoveFile(Staged()));
  needed_.expected.size_bytes = 5;
  ExpectWhole(Run());
}

TEST_F(DownloadTest, TheEndOfTheWindowKeepsWhatIsThere) {
  ::setenv("TZ", "UTC", 1);
  const mirror::TimeWindow night{22 * 60, 5 * 60};
  WindowGate gate(night, clock_);
  const DownloadShared shared{store_, clock_,  NoProgress(),
                              gate,   nullptr, [](milliseconds, std::stop_token) {
        return true; }};
  int pieces = 0;
  host_.after_piece = [&] {
    if (++pieces == 3) clock_.Set(*UtcTime::ParseXml("2026-01-02T05:00:00Z"));
  };
  const std::vector<ContentPlace> places{{kUrl, true}};
  const Downloaded paused = DownloadFile(host_, needed_, places, shared, {});
  EXPECT_EQ(ErrorOf(paused).reason, "window-closed");
  EXPECT_EQ(fs::file_size(Staged()), 300'000U);
  EXPECT_EQ(ErrorOf(DownloadFile(host_, needed_, places, shared, {})).reason, "window-closed");
  EXPECT_EQ(host_.requests.size(), 1U);  // nobody is asked outside the window
  clock_.Set(*UtcTime::ParseXml("2026-01-02T22:00:00Z"));
  const Downloaded done = DownloadFile(host_, needed_, places, shared, {});
  ExpectWhole(done);
  EXPECT_EQ(done.network_bytes, noise_.size() - 300'000);
  ::unsetenv("TZ");
}

TEST_F(DownloadTest, KeepsToTheSharedBandwidth) {
  RateLimiter::TimePoint now{std::chrono::seconds(1)};
  limiter_.emplace(1 << 20, [&] { return now; });
  const DownloadShared shared{
      store_, clock_, NoProgress(), window_, &*limiter_, [&](milliseconds wait, std::stop_token) {
        now += wait;
        return true;
      }};
  const auto began = now;
  ExpectWhole(DownloadFile(host_, needed_, {{kUrl, true}}, shared, {}));
  const double seconds = std::chrono::duration<double>(now - began).count();
  EXPECT_NEAR(seconds, 2.75, 0.1);  // 3 MiB less what a quarter of a second allows
}

// ---- The note of where staged bytes came from --------------------------------------------------

TEST_F(DownloadTest, APartFromElsewhereIsGoneOnWithWithoutItsValidator) {
  host_.files[kVendor] = noise_;
  host_.breaks = {1'000'000, 0, 0, 0};
  (void)Run({{kVendor, false}});
  const auto note = ReadTextFile(Staged().string() + ".from", 1000);
  ASSERT_TRUE(note.has_value());
  EXPECT_EQ(note->find("secret"), std::string::npos);
  host_.requests.clear();
  ExpectWhole(Run());
  EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1'000'000, "")));
}

TEST_F(DownloadTest, ANoteThatIsNoneIsIgnored) {
  const std::string url_line = "url-sha256 " + Sha256(std::string_view(kUrl)).ToHex() + "\n";
  for (const std::string& note :
       {std::string(), std::string("nonsense"), "gapferry-staged/1\n" + url_line,
        "gapferry-staged/1\n" + url_line + "validator \"1\"\n",
        "gapferry-staged/1\n" + url_line + "validator \nend\n",
        "gapferry-staged/1\n" + url_line + "validator \"1\"\r\nX: y\nend\n",
        "gapferry-staged/1\n" + url_line + "validator \"\x01\"\nend\n",
        "gapferry-staged/1\n" + url_line + "validator " + std::string(5000, 'x') + "\nend\n",
        "gapferry-staged/2\n" + url_line + "validator \"1\"\nend\n"}) {
    ASSERT_TRUE(WriteFileAtomically(Staged(), AsBytes(noise_.substr(0, 1000))));
    ASSERT_TRUE(WriteFileAtomically(Staged().string() + ".from", AsBytes(note)));
    host_.requests.clear();
    ExpectWhole(Run());
    EXPECT_THAT(host_.requests, ElementsAre(Request(kUrl, 1000, ""))) << note;
    ASSERT_TRUE(RemoveFile(Staged()));
  }
}

TEST(ValidatorOf, TakesStrongBoundedOnes) {
  const auto of = [](std::vector<HttpHeader> headers) {
    FetchResponse answer;
    answer.headers = std::move(headers);
    return ValidatorOf(answer);
  };
  const std::string date = "Sun, 04 Oct 2026 15:03:36 GMT";
  EXPECT_EQ(of({{"etag", "\"a\""}, {"last-modified", date}}), "\"a\"");
  EXPECT_EQ(of({{"ETag", "W/\"a\""}, {"Last-Modified", date}}), date);
  EXPECT_EQ(of({{"ETag", "\"" + std::string(300, 'x') + "\""}}), "");
  EXPECT_EQ(of({{"ETag", "\"\x01\x02\""}}), "");
  EXPECT_EQ(of({}), "");
}

TEST_F(DownloadTest, RunsOfZerosBecomeHoles) {
  std::string sparse(32 << 20, '\0');
  sparse[0] = 'a';
  sparse[20 << 20] = 'b';
  host_.files[kUrl] = sparse;
  needed_.expected = Expect(sparse);
  const Downloaded done = Run();
  ASSERT_TRUE(std::holds_alternative<VerifiedContent>(done.result)) << ErrorOf(done).message;
  struct stat status {};
  ASSERT_EQ(::stat(Staged().c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 32 << 20);
  EXPECT_LT(status.st_blocks * 512, 4 << 20);
  EXPECT_EQ(Sha256(*ReadFile(Staged(), 64 << 20)), Sha256(sparse));
}

}  // namespace
}  // namespace gapferry::exporter
