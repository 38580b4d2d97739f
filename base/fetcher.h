#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry {

using HttpHeader = std::pair<std::string, std::string>;

struct FetchResponse;

/// One HTTP request. The body is a view: it must live until Fetch returns.
struct FetchRequest {
  std::string method = "GET";
  std::string url;  ///< http or https; credentials in it are used and never shown
  std::vector<HttpHeader> headers;
  ByteView body;

  /// Goes out once at most. A request whose kept connection ends without a byte of an answer is
  /// otherwise sent again on a new one, and may then have been carried out twice.
  bool once = false;

  /// Resume: asks for bytes from `range_first` (to `range_last`, inclusive, if given). With
  /// `if_range` (a strong ETag or a Last-Modified) the server sends the part only if the object is
  /// unchanged, else all of it with status 200. That is an error with reason "range-ignored" before
  /// any byte reaches the sink, unless `accept_whole` is set: the body begins with byte 0 then.
  std::uint64_t range_first = 0;
  std::optional<std::uint64_t> range_last;
  std::string if_range;
  bool accept_whole = false;

  /// Called once with status and headers of a 2xx answer before its first byte reaches the sink.
  /// Its error ends the transfer and is what Fetch returns.
  std::function<Result<void>(const FetchResponse&)> on_answer;

  /// The sink gets bodies of 2xx answers only; an error page is read and dropped.
  bool success_body_only = false;

  std::uint64_t max_body_bytes = 256ULL << 20;  ///< kCorrupt, reason "answer-too-large", beyond it
  std::chrono::seconds connect_timeout{30};
  std::chrono::seconds total_timeout{0};  ///< 0 = none; stalls are caught by the two below
  std::uint64_t low_speed_bytes_per_second = 64;
  std::chrono::seconds low_speed_time{120};
  int max_redirects = 3;  ///< followed for GET only, never from https to http
};

struct FetchResponse {
  int status = 0;
  std::vector<HttpHeader> headers;  ///< of the last answer, as received
  std::uint64_t body_bytes = 0;     ///< what the sink was given

  /// First header of that name, compared case-insensitively; empty if absent.
  std::string_view Header(std::string_view name) const;
  /// Bytes of the whole object: from Content-Range, else Content-Length of a 200.
  std::optional<std::uint64_t> TotalBytes() const;
};

/// Fetches over HTTP. Implementations: CurlFetcher, fakes of the tests. Thread-compatible.
class Fetcher {
 public:
  virtual ~Fetcher() = default;

  /// Sends `request` and streams the body of the final answer to `sink`, whatever its status: an
  /// HTTP error status is an answer, not a failure. Fails with
  ///   kTransient  no name, no connection, reset, time-out, stalled, truncated
  ///   kUntrusted  the peer's certificate is not accepted (reason "certificate-refused"), or ours
  ///               is asked for or refused ("client-certificate-refused")
  ///   kCorrupt    no HTTP, or more than max_body_bytes
  ///   kCancelled  `stop` was requested
  ///   kUsage      an URL that is none, or of another scheme; a proxy that wants other credentials
  ///               (reason "proxy-refused"); files of authorities ("ca-file") or of our certificate
  ///               ("client-certificate") that cannot be read
  /// or with the sink's own error. Messages carry the URL without credentials.
  virtual Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                                      std::stop_token stop) = 0;
};

/// `url` without user, password, query and fragment: fit for messages and logs.
std::string DisplayUrl(std::string_view url);

/// Resolves `reference` (absolute URL, absolute path, or path relative to the server's root)
/// against scheme and authority of `base`.
std::string ResolveAgainstRoot(std::string_view base, std::string_view reference);

}  // namespace gapferry
