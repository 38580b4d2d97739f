#include "base/curl_fetcher.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/text.h"

namespace gapferry {
namespace {

struct CurlSlist {
  curl_slist* list = nullptr;
  CurlSlist() = default;
  CurlSlist(const CurlSlist&) = delete;
  CurlSlist& operator=(const CurlSlist&) = delete;
  ~CurlSlist() { curl_slist_free_all(list); }
  void Append(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

// Everything the callbacks touch during one transfer. They run inside curl, which must not be
// unwound through: failures are kept here and the callback tells curl to stop.
struct Transfer {
  const FetchRequest& request;
  Sink& sink;
  std::stop_token stop;
  CURL* easy;
  FetchResponse response;
  std::optional<Error> error;
  std::size_t sent = 0;
  std::size_t header_bytes = 0;
  bool body_started = false;
  bool answer_shown = false;

  void Abort(Error failure) {
    if (!error) error = std::move(failure);
  }
};

constexpr std::size_t kMaxHeaderBytes = 256 << 10;
constexpr std::uint64_t kMaxErrorPageBytes = 16 << 20;

std::string Shown(const FetchRequest& request) {
  return fmt::format("{} {}", request.method, DisplayUrl(request.url));
}

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool IsWebUrl(std::string_view url) {
  const std::string scheme = ToLowerAscii(url.substr(0, 8));
  return scheme.starts_with("http://") || scheme == "https://";
}

std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  std::string_view line(data, bytes);
  if (line.starts_with("HTTP/")) {
    transfer.response.headers.clear();  // of a redirect or a 100 Continue
    transfer.header_bytes = 0;
  }
  transfer.header_bytes += bytes;
  if (transfer.header_bytes > kMaxHeaderBytes) {
    transfer.Abort({ErrorCode::kCorrupt, "headers larger than 256 KiB", "answer-too-large", {}});
    return 0;
  }
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos) {
    transfer.response.headers.emplace_back(TrimAscii(line.substr(0, colon)),
                                           TrimAscii(line.substr(colon + 1)));
  }
  return bytes;
}

// Shows a 2xx answer to the caller, once.
bool ShowAnswer(Transfer& transfer) {
  if (transfer.answer_shown || transfer.response.status / 100 != 2) return true;
  transfer.answer_shown = true;
  if (!transfer.request.on_answer) return true;
  auto accepted = transfer.request.on_answer(transfer.response);
  if (accepted) return true;
  transfer.Abort(std::move(accepted).error());
  return false;
}

// Checks before the first byte of a body reaches the sink.
bool BodyMayStart(Transfer& transfer) {
  transfer.body_started = true;
  if (transfer.request.range_first > 0 && transfer.response.status == 200 &&
      !transfer.request.accept_whole) {
    transfer.Abort(
        {ErrorCode::kTransient, "server ignored the range asked for", "range-ignored", {}});
    return false;
  }
  if (transfer.response.status == 206) {
    const std::string expected = fmt::format("bytes {}-", transfer.request.range_first);
    const std::string_view range = transfer.response.Header("Content-Range");
    if (!range.starts_with(expected)) {
      transfer.Abort({ErrorCode::kCorrupt,
                      fmt::format("expected Content-Range from {}, got '{}'",
                                  transfer.request.range_first, EscapeForDisplay(range, 60)),
                      "range-mismatch",
                      {}});
      return false;
    }
  }
  return ShowAnswer(transfer);
}

std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::size_t bytes = size * count;
  if (bytes == 0) return 0;
  long status = 0;
  curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  if (!transfer.body_started && !BodyMayStart(transfer)) return 0;
  const bool dropped = transfer.request.success_body_only && status / 100 != 2;
  transfer.response.body_bytes += bytes;
  if (transfer.response.body_bytes >
      (dropped ? kMaxErrorPageBytes : transfer.request.max_body_bytes)) {
    transfer.Abort({ErrorCode::kCorrupt,
                    fmt::format("answer larger than {} bytes", transfer.request.max_body_bytes),
                    "answer-too-large",
                    {}});
    return 0;
  }
  if (dropped) return bytes;
  auto written = transfer.sink.Write({reinterpret_cast<const std::uint8_t*>(data), bytes});
  if (written) return bytes;
  transfer.Abort(std::move(written).error());
  return 0;
}

std::size_t OnRequestBody(char* out, std::size_t size, std::size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const ByteView rest = transfer.request.body.subspan(transfer.sent);
  const std::size_t n = std::min(size * count, rest.size());
  std::copy_n(rest.data(), n, reinterpret_cast<std::uint8_t*>(out));
  transfer.sent += n;
  return n;
}

int OnSeek(void* user, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_FAIL;
  transfer.sent = static_cast<std::size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->stop.stop_requested() ? 1 : 0;
}

ErrorCode CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return ErrorCode::kUsage;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_ISSUER_ERROR:
      return ErrorCode::kUntrusted;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return ErrorCode::kUsage;
    case CURLE_WEIRD_SERVER_REPLY:
      return ErrorCode::kCorrupt;
    case CURLE_TOO_MANY_REDIRECTS:
      return ErrorCode::kUnsupported;
    case CURLE_OUT_OF_MEMORY:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kTransient;
  }
}

// What a failure of curl means for the caller; text of the TLS library decides where its code is
// too coarse: a server that wants our certificate says so only when it is first read from.
Error FailureOf(CURLcode code, const std::string& text) {
  Error error{CodeOf(code), text, {}, {}};
  if (code == CURLE_PEER_FAILED_VERIFICATION) error.reason = "certificate-refused";
  if (code == CURLE_TOO_MANY_REDIRECTS) error.reason = "redirect";
  if (code == CURLE_SSL_CACERT_BADFILE) error.reason = "ca-file";
  if (code == CURLE_SSL_CERTPROBLEM) error.reason = "client-certificate";
  const bool alert = text.find("SSL routines") != std::string::npos &&
                     text.find(" alert ") != std::string::npos &&
                     (text.find("certificate") != std::string::npos ||
                      text.find("unknown ca") != std::string::npos);
  if (alert) {
    error.code = ErrorCode::kUntrusted;
    error.reason = "client-certificate-refused";
  }
  return error;
}

constexpr long kProxyAuthenticationRequired = 407;

}  // namespace

struct CurlFetcher::Impl {
  CurlOptions options;
  CURL* easy = nullptr;
  ~Impl() { curl_easy_cleanup(easy); }

  void Configure(const FetchRequest& request, Transfer& transfer, const CurlSlist& headers,
                 char* error_text);
  void ConfigureMethod(const FetchRequest& request, Transfer& transfer);
};

CurlFetcher::CurlFetcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CurlFetcher::~CurlFetcher() = default;

Result<std::unique_ptr<CurlFetcher>> CurlFetcher::Create(CurlOptions options) {
  static std::once_flag once;
  static CURLcode global = CURLE_OK;
  std::call_once(once, [] { global = curl_global_init(CURL_GLOBAL_DEFAULT); });
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  impl->easy = global == CURLE_OK ? curl_easy_init() : nullptr;
  if (impl->easy == nullptr) return Fail(ErrorCode::kInternal, "libcurl cannot be initialised");
  return std::unique_ptr<CurlFetcher>(new CurlFetcher(std::move(impl)));
}

void CurlFetcher::Impl::ConfigureMethod(const FetchRequest& request, Transfer& transfer) {
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    // Only on connections that were used before does the library repeat by itself.
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request.once ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, OnRequestBody);
    curl_easy_setopt(easy, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, OnSeek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, &transfer);
  } else if (request.max_redirects > 0) {
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
  }
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, static_cast<long>(request.max_redirects));
  const bool https = ToLowerAscii(request.url.substr(0, 6)) == "https:";
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
}

void CurlFetcher::Impl::Configure(const FetchRequest& request, Transfer& transfer,
                                  const CurlSlist& headers, char* error_text) {
  curl_easy_reset(easy);  // keeps connections
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(easy, CURLOPT_PROXY, options.proxy.c_str());  // "" switches the environment off
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "");  // else the environment's no_proxy counts
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  if (!options.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, options.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, nullptr);
  }
  if (!options.client_certificate.empty()) {
    curl_easy_setopt(easy, CURLOPT_SSLCERT, options.client_certificate.c_str());
    curl_easy_setopt(
        easy, CURLOPT_SSLKEY,
        (options.client_key.empty() ? options.client_certificate : options.client_key).c_str());
  }
  ConfigureMethod(request, transfer);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.list);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT,
                   static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT, static_cast<long>(request.total_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT,
                   static_cast<long>(request.low_speed_bytes_per_second));
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.low_speed_time.count()));
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
}

Result<FetchResponse> CurlFetcher::Fetch(const FetchRequest& request, Sink& sink,
                                         std::stop_token stop) {
  CurlSlist headers;
  for (const auto& [name, value] : request.headers) {
    headers.Append(value.empty() ? name + ";" : name + ": " + value);
  }
  headers.Append("Expect:");  // the real services do not answer 100 Continue
  if (request.range_first > 0 || request.range_last) {
    headers.Append(request.range_last
                       ? fmt::format("Range: bytes={}-{}", request.range_first, *request.range_last)
                       : fmt::format("Range: bytes={}-", request.range_first));
    if (!request.if_range.empty()) headers.Append("If-Range: " + request.if_range);
  }
  Transfer transfer{request, sink, std::move(stop), impl_->easy, {}, {}, 0, 0, false, false};
  char error_text[CURL_ERROR_SIZE] = "";
  impl_->Configure(request, transfer, headers, error_text);
  const CURLcode code = curl_easy_perform(impl_->easy);
  long status = 0;
  curl_easy_getinfo(impl_->easy, CURLINFO_RESPONSE_CODE, &status);
  long tunnel_status = 0;
  curl_easy_getinfo(impl_->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel_status);
  transfer.response.status = static_cast<int>(status);
  if (code == CURLE_OK) (void)ShowAnswer(transfer);  // of an empty body
  if (transfer.error) return WithContext(std::move(*transfer.error), Shown(request));
  if (code == CURLE_ABORTED_BY_CALLBACK) {
    return Fail(ErrorCode::kCancelled, fmt::format("{}: stopped", Shown(request)));
  }
  if (status == kProxyAuthenticationRequired || tunnel_status == kProxyAuthenticationRequired) {
    const std::string& proxy = impl_->options.proxy;
    return Fail(ErrorCode::kUsage, "proxy-refused",
                fmt::format("{}: {} wants other credentials (HTTP status 407)", Shown(request),
                            proxy.empty() ? "a proxy on the way" : "proxy " + DisplayUrl(proxy)));
  }
  if (code != CURLE_OK) {
    const char* text = error_text[0] != '\0' ? error_text : curl_easy_strerror(code);
    Error error = FailureOf(code, EscapeForDisplay(text));
    // Curl then names an address that the administrator may not know.
    if (!impl_->options.proxy.empty() &&
        (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_PROXY)) {
      error.message = fmt::format("proxy {}: {}", DisplayUrl(impl_->options.proxy), error.message);
    }
    // Of a request for http(s) only the peer can have spoken something else, or pointed there.
    if (code == CURLE_UNSUPPORTED_PROTOCOL && IsWebUrl(request.url)) {
      const bool pointed = IsRedirect(transfer.response.status);
      error.code = pointed ? ErrorCode::kUnsupported : ErrorCode::kCorrupt;
      error.reason = pointed ? "redirect" : "no-http";
    }
    return WithContext(std::move(error), Shown(request));
  }
  if (IsRedirect(transfer.response.status) && request.method != "GET") {
    const std::string target(transfer.response.Header("Location"));
    return Fail(ErrorCode::kUnsupported, "redirect",
                fmt::format("{}: server redirects ({}) to '{}'", Shown(request), status,
                            EscapeForDisplay(DisplayUrl(target), 200)));
  }
  return std::move(transfer.response);
}

}  // namespace gapferry
