#include "base/curl_fetcher.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

namespace gapferry {
namespace {

// Accepts one connection per canned answer, keeps the request, sends the answer and closes.
class CannedServer {
 public:
  explicit CannedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~CannedServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string Url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  const std::vector<std::string>& requests() const { return requests_; }

 private:
  void Serve() {
    for (const std::string& answer : answers_) {
      const int peer = ::accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      std::string request;
      char buffer[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t n = ::recv(peer, buffer, sizeof(buffer), 0);
        if (n <= 0) break;
        request.append(buffer, static_cast<std::size_t>(n));
      }
      requests_.push_back(request);
      (void)!::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::shutdown(peer, SHUT_WR);
      while (::recv(peer, buffer, sizeof(buffer), 0) > 0) continue;
      ::close(peer);
    }
  }

  std::vector<std::string> answers_;
  std::vector<std::string> requests_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

std::string Answer(const std::string& status, const std::string& headers, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "Connection: close\r\n\r\n" + body;
}

std::unique_ptr<CurlFetcher> Fetcher() { return *CurlFetcher::Create({}); }

TEST(CurlFetcher, SendsTheRequestAndStreamsTheAnswer) {
  CannedServer server({Answer("500 Oops", "X-A: b\r\n", "fault")});
  FetchRequest request;
  request.method = "POST";
  request.url = server.Url("/x");
  request.headers = {{"SOAPAction", "\"a/b\""}, {"Content-Type", "text/xml; charset=utf-8"}};
  request.body = AsBytes("<a/>");
  MemorySink sink(100);
  const auto answer = Fetcher()->Fetch(request, sink, {});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->status, 500);  // an answer, not a failure
  EXPECT_EQ(answer->Header("x-a"), "b");
  EXPECT_EQ(AsText(sink.bytes()), "fault");
  const std::string& sent = server.requests().at(0);
  EXPECT_NE(sent.find("POST /x HTTP/1.1\r\n"), std::string::npos);
  EXPECT_NE(sent.find("SOAPAction: \"a/b\"\r\n"), std::string::npos);
  EXPECT_NE(sent.find("Content-Length: 4\r\n"), std::string::npos);
  EXPECT_EQ(sent.find("Expect:"), std::string::npos);
}

TEST(CurlFetcher, ResumesByRange) {
  CannedServer server({Answer("206 Partial Content", "Content-Range: bytes 3-5/6\r\n", "def")});
  FetchRequest request;
  request.url = server.Url("/f");
  request.range_first = 3;
  request.if_range = "\"e\"";
  MemorySink sink(100);
  const auto answer = Fetcher()->Fetch(request, sink, {});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->TotalBytes(), 6u);
  EXPECT_EQ(AsText(sink.bytes()), "def");
  EXPECT_NE(server.requests().at(0).find("Range: bytes=3-\r\n"), std::string::npos);
  EXPECT_NE(server.requests().at(0).find("If-Range: \"e\"\r\n"), std::string::npos);
}

TEST(CurlFetcher, RefusesAWrongOrIgnoredRangeBeforeTheSinkSeesAByte) {
  CannedServer server({Answer("200 OK", "", "abcdef"),
                       Answer("206 Partial Content", "Content-Range: bytes 0-5/6\r\n", "abcdef")});
  FetchRequest request;
  request.url = server.Url("/f");
  request.range_first = 3;
  MemorySink sink(100);
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().reason, "range-ignored");
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().reason, "range-mismatch");
  EXPECT_TRUE(sink.bytes().empty());
}

TEST(CurlFetcher, NamesFailuresByWhatTheCallerShouldDo) {
  CannedServer server({Answer("200 OK", "", std::string(2000, 'x')),
                       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"});
  FetchRequest request;
  request.url = server.Url("/secret?token=1");
  request.max_body_bytes = 1000;
  MemorySink sink(10'000);
  const auto large = Fetcher()->Fetch(request, sink, {});
  EXPECT_EQ(large.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(large.error().reason, "answer-too-large");
  EXPECT_EQ(large.error().message.find("token"), std::string::npos);
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().code, ErrorCode::kTransient);
  request.url = "ftp://127.0.0.1/";
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().code, ErrorCode::kUsage);
  request.url = "http://127.0.0.1:1/";  // nobody listens
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().code, ErrorCode::kTransient);
}

TEST(CurlFetcher, BlamesThePeerForWhatIsNoHttpAndForWhereItPoints) {
  const std::string to_file = Answer("302 Found", "Location: file:///etc/passwd\r\n", "");
  const std::string in_circles = Answer("302 Found", "Location: /again\r\n", "");
  CannedServer server({"220 mail.example ESMTP\r\n", "HTTP/1.1 two hundred\r\n\r\n", to_file,
                       in_circles, in_circles, in_circles, in_circles});
  FetchRequest request;
  request.url = server.Url("/");
  MemorySink sink(10'000);
  for (int i = 0; i < 2; ++i) {
    const auto spoken = Fetcher()->Fetch(request, sink, {});
    EXPECT_EQ(spoken.error().code, ErrorCode::kCorrupt) << spoken.error().message;
    EXPECT_EQ(spoken.error().reason, "no-http");
  }
  for (int i = 0; i < 2; ++i) {
    const auto pointed = Fetcher()->Fetch(request, sink, {});
    EXPECT_EQ(pointed.error().code, ErrorCode::kUnsupported) << pointed.error().message;
    EXPECT_EQ(pointed.error().reason, "redirect");
  }
  EXPECT_TRUE(sink.bytes().empty());
}

TEST(CurlFetcher, KeepsErrorPagesFromTheSinkWhenAsked) {
  CannedServer server({Answer("404 Not Found", "", std::string(50, 'x'))});
  FetchRequest request;
  request.url = server.Url("/");
  request.max_body_bytes = 10;
  request.success_body_only = true;
  MemorySink sink(10);
  const auto answer = Fetcher()->Fetch(request, sink, {});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->status, 404);
  EXPECT_TRUE(sink.bytes().empty());
}

TEST(CurlFetcher, StopsWhenAsked) {
  CannedServer server({Answer("200 OK", "", "x")});
  std::stop_source stop;
  stop.request_stop();
  FetchRequest request;
  request.url = server.Url("/");
  MemorySink sink(10);
  EXPECT_EQ(Fetcher()->Fetch(request, sink, stop.get_token()).error().code, ErrorCode::kCancelled);
}

TEST(CurlFetcher, TakesTheWholeInsteadOfAPartWhenAskedAndShowsItFirst) {
  CannedServer server({Answer("200 OK", "ETag: \"new\"\r\n", "abcdef")});
  FetchRequest request;
  request.url = server.Url("/f");
  request.range_first = 3;
  request.accept_whole = true;
  MemorySink sink(100);
  int shown = 0;
  request.on_answer = [&](const FetchResponse& answer) -> Result<void> {
    ++shown;
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.Header("etag"), "\"new\"");
    EXPECT_EQ(answer.TotalBytes(), 6u);
    EXPECT_TRUE(sink.bytes().empty());
    return {};
  };
  ASSERT_TRUE(Fetcher()->Fetch(request, sink, {}).has_value());
  EXPECT_EQ(shown, 1);
  EXPECT_EQ(AsText(sink.bytes()), "abcdef");
}

TEST(CurlFetcher, EndsWhenTheCallerRefusesTheAnswer) {
  CannedServer server({Answer("200 OK", "", "abcdef"), Answer("200 OK", "", ""),
                       Answer("404 Not Found", "", "page")});
  FetchRequest request;
  request.url = server.Url("/f");
  MemorySink sink(100);
  int shown = 0;
  request.on_answer = [&](const FetchResponse&) -> Result<void> {
    ++shown;
    return Fail(ErrorCode::kCorrupt, "not-mine", "another size");
  };
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().reason, "not-mine");
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {}).error().reason, "not-mine");  // without a body
  EXPECT_TRUE(sink.bytes().empty());
  request.success_body_only = true;
  EXPECT_EQ(Fetcher()->Fetch(request, sink, {})->status, 404);
  EXPECT_EQ(shown, 2);
}

// The proxy is a server that is asked for the whole URL; the name is never looked up here.
TEST(CurlFetcher, GoesByTheProxyAndByNothingElse) {
  ::setenv("no_proxy", "*", 1);
  ::setenv("NO_PROXY", "*", 1);
  CannedServer proxy({Answer("200 OK", "", "by proxy")});
  CurlOptions options;
  options.proxy = proxy.Url("");
  options.proxy.insert(options.proxy.find("127."), "user:se%40cret@");
  FetchRequest request;
  request.url = "http://wsus.invalid:8530/f";
  MemorySink sink(100);
  const auto answer = (*CurlFetcher::Create(options))->Fetch(request, sink, {});
  ::unsetenv("no_proxy");
  ::unsetenv("NO_PROXY");
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(AsText(sink.bytes()), "by proxy");
  const std::string& sent = proxy.requests().at(0);
  EXPECT_NE(sent.find("GET http://wsus.invalid:8530/f HTTP/1.1\r\n"), std::string::npos) << sent;
  EXPECT_NE(sent.find("Proxy-Authorization: Basic dXNlcjpzZUBjcmV0\r\n"), std::string::npos);
}

TEST(CurlFetcher, TakesNoProxyFromTheEnvironment) {
  CannedServer server({Answer("200 OK", "", "direct")});
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) {
    ::setenv(name, "http://127.0.0.1:1", 1);
  }
  FetchRequest request;
  request.url = server.Url("/f");
  MemorySink sink(100);
  const auto answer = Fetcher()->Fetch(request, sink, {});
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(AsText(sink.bytes()), "direct");
}

TEST(CurlFetcher, NamesAProxyThatRefusesWithoutItsPassword) {
  CannedServer proxy({Answer("407 Proxy Authentication Required", "", "who?"),
                      Answer("407 Proxy Authentication Required", "", "who?")});
  CurlOptions options;
  options.proxy = proxy.Url("");
  options.proxy.insert(options.proxy.find("127."), "user:secret@");
  const auto fetcher = *CurlFetcher::Create(options);
  for (const char* url : {"http://wsus.invalid/f", "https://wsus.invalid/f"}) {
    FetchRequest request;
    request.url = url;
    MemorySink sink(100);
    const auto refused = fetcher->Fetch(request, sink, {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
    EXPECT_EQ(refused.error().reason, "proxy-refused");
    EXPECT_EQ(refused.error().message, std::string("GET ") + url + ": proxy " + proxy.Url("") +
                                           " wants other credentials (HTTP status 407)");
  }
}

TEST(CurlFetcher, NamesAProxyThatIsNotThere) {
  CurlOptions options;
  options.proxy = "http://user:secret@127.0.0.1:1";  // nobody listens
  FetchRequest request;
  request.url = "http://wsus.example/";
  MemorySink sink(100);
  const auto refused = (*CurlFetcher::Create(options))->Fetch(request, sink, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kTransient);
  EXPECT_TRUE(
      refused.error().message.starts_with("GET http://wsus.example/: proxy http://127.0.0.1:1: "))
      << refused.error().message;
  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos);
}

TEST(Url, IsShownWithoutCredentialsAndQuery) {
  EXPECT_EQ(DisplayUrl("http://user:pw@host:80/a/b?c=d#e"), "http://host:80/a/b");
  EXPECT_EQ(DisplayUrl("https://host"), "https://host");
  EXPECT_EQ(DisplayUrl("nonsense?x"), "nonsense");
}

TEST(Url, IsResolvedAgainstTheRoot) {
  EXPECT_EQ(ResolveAgainstRoot("http://h:8530/A/b.asmx", "C/d.asmx"), "http://h:8530/C/d.asmx");
  EXPECT_EQ(ResolveAgainstRoot("http://h:8530", "/C"), "http://h:8530/C");
  EXPECT_EQ(ResolveAgainstRoot("http://h", "https://other/x"), "https://other/x");
}

}  // namespace
}  // namespace gapferry
