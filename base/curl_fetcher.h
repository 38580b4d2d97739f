#pragma once

#include <memory>
#include <string>

#include "base/fetcher.h"

namespace gapferry {

struct CurlOptions {
  std::string user_agent = "gapferry";
  /// URL, may carry credentials; empty: direct. Everything goes by it, name look-ups of the servers
  /// included. The environment is never consulted.
  std::string proxy;
  std::string ca_file;             ///< PEM; empty: the system's store
  std::string client_certificate;  ///< PEM; empty: none
  std::string client_key;          ///< PEM; empty: in the file of the certificate
};

/// Fetcher over libcurl (HTTP/1.1). Connections are kept between calls. No name is looked up for an
/// address literal; no proxy, netrc or cookie of the environment is used. Content encodings are
/// left to the caller (xpress is none of curl's business). Thread-compatible: one per thread.
class CurlFetcher : public Fetcher {
 public:
  static Result<std::unique_ptr<CurlFetcher>> Create(CurlOptions options);
  ~CurlFetcher() override;

  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                              std::stop_token stop) override;

 private:
  struct Impl;
  explicit CurlFetcher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry
