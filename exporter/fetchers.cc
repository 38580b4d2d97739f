#include "exporter/fetchers.h"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "base/curl_fetcher.h"

namespace gapferry::exporter {
namespace {

// Absolute names stay as they are.
std::string InMirror(const mirror::Mirror& mirror, const std::filesystem::path& file) {
  return file.empty() ? std::string() : (mirror.path() / file).string();
}

}  // namespace

FetcherFactory HttpFetchers(const mirror::Mirror& mirror) {
  const auto& upstream = mirror.config().upstream;
  CurlOptions options;
  options.proxy = upstream.proxy;
  options.ca_file = InMirror(mirror, upstream.ca_file);
  options.client_certificate = InMirror(mirror, upstream.client_certificate);
  options.client_key = InMirror(mirror, upstream.client_key);
  return [options = std::move(options)]() -> Result<std::unique_ptr<Fetcher>> {
    TRY_ASSIGN(auto fetcher, CurlFetcher::Create(options));
    return std::unique_ptr<Fetcher>(std::move(fetcher));
  };
}

}  // namespace gapferry::exporter
