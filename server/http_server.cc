#include "server/http_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "server/http_io.h"

namespace gapferry::server {
namespace internal {
namespace {

using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;

std::string AddressText(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  return address.to_string();
}

std::string EndpointText(const Tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  const std::string host = endpoint.address().is_v6() ? "[" + address + "]" : address;
  return host + ":" + std::to_string(endpoint.port());
}

/// Opens and binds; `shared_port` lets several acceptors of ours share it.
Result<void> OpenAcceptor(Acceptor& acceptor, const Tcp::endpoint& endpoint, bool shared_port) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Acceptor::reuse_address(true), error);
  if (!error && shared_port) acceptor.set_option(ReusePort(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return {};
  const bool in_use = error == asio::error::address_in_use;
  return Fail(in_use ? ErrorCode::kBusy : ErrorCode::kUsage,
              "cannot listen on " + EndpointText(endpoint) + ": " + error.message());
}

/// Shares a socket that the service manager opened: each acceptor has a descriptor of its own.
Result<void> AdoptAcceptor(Acceptor& acceptor, Listener& listener) {
  ::sockaddr_storage name{};
  ::socklen_t size = sizeof(name);
  if (::getsockname(listener.inherited_fd, reinterpret_cast<::sockaddr*>(&name), &size) != 0) {
    return FailErrno(errno, "inherited socket");
  }
  if (name.ss_family != AF_INET && name.ss_family != AF_INET6) {
    return Fail(ErrorCode::kUsage, "inherited socket " + std::to_string(listener.inherited_fd) +
                                       " is neither IPv4 nor IPv6");
  }
  const int own = ::fcntl(listener.inherited_fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return FailErrno(errno, "inherited socket");
  error_code error;
  acceptor.assign(name.ss_family == AF_INET6 ? Tcp::v6() : Tcp::v4(), own, error);
  if (error) {
    ::close(own);
    return Fail(ErrorCode::kUsage, "inherited socket: " + error.message());
  }
  const Tcp::endpoint endpoint = acceptor.local_endpoint(error);
  listener.address = endpoint.address().to_string();
  listener.port = endpoint.port();
  return {};
}

/// Counts the newcomer; false when a limit is reached.
bool Admit(Shared& shared, const std::string& peer_address) {
  if (shared.connections.load() >= shared.options.max_connections) return false;
  auto counts = shared.per_address.Lock();
  std::size_t& count = (*counts)[peer_address];
  if (count >= shared.options.max_connections_per_address) return false;
  ++count;
  ++shared.connections;
  return true;
}

/// Makes room for a newcomer at the total limit: the connection that has idled longest goes.
void EvictIdle(IoThread& io) {
  Connection* oldest = nullptr;
  for (Connection* connection : io.connections) {
    if (!connection->idle()) continue;
    if (oldest == nullptr || connection->deadline() < oldest->deadline()) oldest = connection;
  }
  if (oldest != nullptr) oldest->Abort();
}

void StartConnection(IoThread& io, Socket socket, bool tls) {
  error_code error;
  const Tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;
  const Tcp::endpoint local = socket.local_endpoint(error);
  if (error) return;
  Endpoints endpoints{AddressText(peer.address()), AddressText(local.address()), local.port()};
  if (io.shared.connections.load() >= io.shared.options.max_connections) EvictIdle(io);
  if (!Admit(io.shared, endpoints.peer_address)) return;
  socket.set_option(Tcp::no_delay(true), error);
  socket.native_non_blocking(true, error);
  if (tls) {
    std::shared_ptr<asio::ssl::context> context = *io.shared.tls.Lock();
    StartTls(io, std::move(socket), std::move(endpoints), std::move(context));
  } else {
    StartPlain(io, std::move(socket), std::move(endpoints));
  }
}

Awaitable<void> AcceptLoop(IoThread& io, Acceptor& acceptor, bool tls) {
  while (acceptor.is_open()) {
    auto [error, socket] = co_await acceptor.async_accept(kToken);
    if (!error) {
      StartConnection(io, std::move(socket), tls);
      continue;
    }
    if (error == asio::error::operation_aborted || !acceptor.is_open()) co_return;
    // Out of descriptors or memory: waiting lets connections end instead of spinning.
    Timer pause(io.context.get_executor());
    pause.expires_after(std::chrono::milliseconds(100));
    co_await pause.async_wait(kToken);
  }
}

std::chrono::milliseconds SweepInterval(const HttpServerOptions& options) {
  const auto shortest = std::min(
      {options.header_timeout, options.idle_timeout, options.stall_timeout, options.rate_grace});
  return std::clamp(shortest / 4, std::chrono::milliseconds(10), std::chrono::milliseconds(1000));
}

/// One timer per thread instead of one per connection.
Awaitable<void> SweepLoop(IoThread& io) {
  const auto interval = SweepInterval(io.shared.options);
  while (true) {
    io.date = SystemClock().Now().ToHttp();
    const auto now = SteadyClock::now();
    for (Connection* connection : io.connections) {
      if (connection->deadline() <= now) connection->Abort();
    }
    io.sweep.expires_after(interval);
    auto [error] = co_await io.sweep.async_wait(kToken);
    if (error) co_return;
  }
}

}  // namespace
}  // namespace internal

using internal::Acceptor;
using internal::IoThread;
using internal::SteadyClock;
using internal::Tcp;
namespace asio = boost::asio;

struct HttpServer::Impl {
  Impl(HttpServerOptions options, HttpHandler& handler) : shared(options, handler) {
    listeners = std::move(options.listeners);
  }
  Result<void> BindAll();
  Result<void> MakePool();
  void StopThreads();

  internal::Shared shared;
  std::vector<Listener> listeners;
  std::vector<std::unique_ptr<IoThread>> threads;
  bool running = false;
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler& handler)
    : impl_(std::make_unique<Impl>(std::move(options), handler)) {}

HttpServer::~HttpServer() { Stop(); }

Result<void> HttpServer::Impl::BindAll() {
  for (Listener& listener : listeners) {
    if (listener.inherited_fd >= 0) {
      for (auto& io : threads) {
        Acceptor& acceptor = io->acceptors.emplace_back(io->context.get_executor());
        TRY(internal::AdoptAcceptor(acceptor, listener));
        asio::co_spawn(io->context.get_executor(),
                       internal::AcceptLoop(*io, acceptor, listener.tls), asio::detached);
      }
      ::close(listener.inherited_fd);
      listener.inherited_fd = -1;
      continue;
    }
    internal::error_code error;
    const auto address = asio::ip::make_address(listener.address, error);
    if (error) {
      return Fail(ErrorCode::kUsage,
                  "listen address '" + listener.address + "' is not an IPv4 or IPv6 address");
    }
    Tcp::endpoint endpoint(address, listener.port);
    if (listener.port != 0) {
      // With SO_REUSEPORT alone a second server would quietly take half of the connections.
      Acceptor probe(threads.front()->context.get_executor());
      TRY(internal::OpenAcceptor(probe, endpoint, /*shared_port=*/false));
    }
    for (auto& io : threads) {
      Acceptor& acceptor = io->acceptors.emplace_back(io->context.get_executor());
      TRY(internal::OpenAcceptor(acceptor, endpoint, /*shared_port=*/true));
      if (endpoint.port() == 0) {
        endpoint.port(acceptor.local_endpoint(error).port());
        listener.port = endpoint.port();
      }
      asio::co_spawn(io->context.get_executor(), internal::AcceptLoop(*io, acceptor, listener.tls),
                     asio::detached);
    }
  }
  return {};
}

Result<void> HttpServer::Impl::MakePool() {
  std::vector<std::unique_ptr<WorkerContext>> contexts;
  for (unsigned i = 0; i < std::max(1U, shared.options.worker_threads); ++i) {
    TRY_ASSIGN(std::unique_ptr<WorkerContext> context, shared.handler.MakeWorker());
    contexts.push_back(std::move(context));
  }
  shared.pool = std::make_unique<WorkerPool>(std::move(contexts), shared.options.worker_queue);
  return {};
}

Result<void> HttpServer::Start() {
  const bool tls =
      std::ranges::any_of(impl_->listeners, [](const Listener& listener) { return listener.tls; });
  if (tls) TRY(ReloadCertificate());
  for (unsigned i = 0; i < std::max(1U, impl_->shared.options.io_threads); ++i) {
    impl_->threads.push_back(std::make_unique<IoThread>(impl_->shared));
  }
  Result<void> ready = impl_->BindAll();
  if (ready.has_value()) ready = impl_->MakePool();
  if (!ready.has_value()) {
    impl_->threads.clear();
    return ready;
  }
  for (auto& io : impl_->threads) {
    io->date = SystemClock().Now().ToHttp();
    asio::co_spawn(io->context.get_executor(), internal::SweepLoop(*io), asio::detached);
    io->thread = std::thread([raw = io.get()] { raw->context.run(); });
  }
  impl_->running = true;
  return {};
}

const std::vector<Listener>& HttpServer::listeners() const { return impl_->listeners; }

Result<void> HttpServer::ReloadCertificate() {
  const HttpServerOptions& options = impl_->shared.options;
  if (options.certificate_file.empty() || options.key_file.empty()) {
    return Fail(ErrorCode::kUsage, "a TLS listener needs a certificate and a key file");
  }
  TRY_ASSIGN(auto context, internal::LoadTls(options.certificate_file, options.key_file));
  *impl_->shared.tls.Lock() = std::move(context);
  return {};
}

std::size_t HttpServer::connections() const { return impl_->shared.connections.load(); }

void HttpServer::Stop() {
  if (!impl_->running) return;
  impl_->running = false;
  impl_->shared.draining = true;
  for (auto& io : impl_->threads) {
    asio::post(io->context, [raw = io.get()] {
      internal::error_code ignored;
      for (Acceptor& acceptor : raw->acceptors) acceptor.close(ignored);
      for (internal::Connection* connection : raw->connections) {
        if (connection->idle()) connection->Abort();
      }
    });
  }
  const auto until = SteadyClock::now() + impl_->shared.options.drain_timeout;
  while (connections() > 0 && SteadyClock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  impl_->StopThreads();
}

void HttpServer::Impl::StopThreads() {
  // I/O threads end before the pool: jobs that are dropped destroy coroutines, which no I/O thread
  // may be using then.
  for (auto& io : threads) io->context.stop();
  for (auto& io : threads) {
    if (io->thread.joinable()) io->thread.join();
  }
  shared.pool->Stop();
  threads.clear();
  shared.pool.reset();
}

}  // namespace gapferry::server
