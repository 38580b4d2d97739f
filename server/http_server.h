#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/http_message.h"

namespace gapferry::server {

/// What answers requests. Thread-safe: called from several threads at once.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  /// The largest body that `request` (its body still empty) may have.
  virtual std::uint64_t BodyLimit(const Request& request) const = 0;
  /// Runs on an I/O thread and must not wait for a database or a lock held for long: content and
  /// refusals. nullopt sends the request to a worker.
  virtual std::optional<Reply> HandleInline(const Request& request) = 0;
  /// Runs on a worker thread with that thread's context; may block and may take the body away.
  virtual Reply Handle(Request& request, WorkerContext& worker) = 0;
  /// Called once for each worker thread before it serves.
  virtual Result<std::unique_ptr<WorkerContext>> MakeWorker() = 0;
};

struct Listener {
  std::string address;     ///< a numeric IPv4 or IPv6 address
  std::uint16_t port = 0;  ///< 0 takes a free one
  bool tls = false;
  /// A socket that listens already, used instead of address and port (which Start then fills in);
  /// taken over by Start. -1: none.
  int inherited_fd = -1;
};

struct HttpServerOptions {
  std::vector<Listener> listeners;
  std::string certificate_file;  ///< PEM chain, needed for a TLS listener
  std::string key_file;          ///< PEM

  unsigned io_threads = 2;
  unsigned worker_threads = 4;
  std::size_t worker_queue = 1024;  ///< requests waiting for a worker; more are answered 503

  std::uint32_t header_limit_bytes = 32 * 1024;
  /// Bodies being received, in total; a request that would exceed it is answered 503.
  std::uint64_t buffered_bodies_bytes = 512ULL << 20;
  std::size_t max_connections = 16384;
  std::size_t max_connections_per_address = 1024;

  std::chrono::milliseconds header_timeout{30'000};  ///< first byte to end of header, handshake
  std::chrono::milliseconds idle_timeout{180'000};  ///< between requests (protocol: at least 120 s)
  std::chrono::milliseconds stall_timeout{60'000};  ///< no progress within a body
  std::chrono::milliseconds rate_grace{10'000};     ///< before the minimum rate counts
  std::uint64_t minimum_rate = 256;                 ///< bytes per second, either direction
  std::chrono::milliseconds drain_timeout{30'000};  ///< for requests in progress at Stop
};

/// The reason of errors about certificate and key.
inline constexpr const char* kBadCertificate = "bad-certificate";

/// An HTTP/1.1 server: one I/O thread per io_threads, each with its own acceptors (SO_REUSEPORT),
/// and a bounded pool of workers for what blocks. Memory per connection is bounded by the header
/// limit, the body limit and one body piece. Thread-safe after Start.
class HttpServer {
 public:
  /// `handler` must outlive the server.
  HttpServer(HttpServerOptions options, HttpHandler& handler);
  /// Stops as Stop does.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// Binds every listener, loads the certificate and starts the threads. Fails with kUsage for an
  /// address that is none, kBusy for one in use, kCorrupt for a certificate or key that does not
  /// fit; nothing runs then.
  Result<void> Start();
  /// The listeners with their real ports; valid after Start.
  const std::vector<Listener>& listeners() const;

  /// Reads certificate and key again; on failure the old pair stays in use.
  Result<void> ReloadCertificate();

  /// Accepts no more, lets requests in progress finish within the drain timeout, closes the rest
  /// and joins all threads. Idempotent.
  void Stop();

  std::size_t connections() const;  ///< open now

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::server
