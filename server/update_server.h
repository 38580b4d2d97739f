#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "mirror/mirror.h"
#include "server/http_server.h"

namespace gapferry::server {

struct UpdateServerOptions {
  /// Listeners, certificate, limits; the handler's part (workers, bodies) comes from the mirror's
  /// configuration unless set.
  HttpServerOptions http;
  /// As gapferry.yaml was read before; nothing: it is read by Start, once.
  std::optional<mirror::Config> config;
};

/// A mirror's update server: WUSP for clients, WSUSSS for other servers, content for both. Sees
/// what other processes commit within half a second. Thread-safe after Start.
class UpdateServer {
 public:
  /// Opens what is needed, reads the index and listens. Fails as HttpServer::Start and
  /// Mirror::Open.
  static Result<std::unique_ptr<UpdateServer>> Start(const std::filesystem::path& mirror,
                                                     const mirror::MirrorOptions& mirror_options,
                                                     UpdateServerOptions options);
  ~UpdateServer();

  const std::vector<Listener>& listeners() const;
  const mirror::Identity& identity() const;
  /// For the line an operator sees: revisions in the index.
  std::size_t revisions() const;
  Result<void> ReloadCertificate();
  /// Lets requests in progress finish; idempotent.
  void Stop();

 private:
  struct Impl;
  explicit UpdateServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The listeners and limits that a configuration asks for.
HttpServerOptions HttpOptionsOf(const mirror::Config& config, const std::filesystem::path& mirror);

}  // namespace gapferry::server
