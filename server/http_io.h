#pragma once

// Private to the HTTP server: the only header of the folder that shows Asio.

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/guarded.h"
#include "server/http_server.h"
#include "server/worker_pool.h"

namespace gapferry::server::internal {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<Tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<Tcp, Executor>;
using SteadyClock = std::chrono::steady_clock;
using Timer = asio::basic_waitable_timer<SteadyClock, asio::wait_traits<SteadyClock>, Executor>;
template <class T>
using Awaitable = asio::awaitable<T, Executor>;
/// Every operation gives (error_code, ...) as a tuple: no exceptions.
inline constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> kToken{
    asio::use_awaitable_t<Executor>{}};

/// Counters and settings that all I/O threads share.
struct Shared {
  Shared(const HttpServerOptions& o, HttpHandler& h) : options(o), handler(h) {}

  const HttpServerOptions options;
  HttpHandler& handler;
  std::unique_ptr<WorkerPool> pool;
  std::atomic<bool> draining{false};
  std::atomic<std::size_t> connections{0};
  std::atomic<std::uint64_t> buffered_bytes{0};
  Guarded<std::unordered_map<std::string, std::size_t>> per_address;
  Guarded<std::shared_ptr<asio::ssl::context>> tls;
};

class Connection;

/// One thread's world: used by that thread alone, except where noted.
struct IoThread {
  explicit IoThread(Shared& s) : shared(s) {}

  Shared& shared;
  std::list<Connection*> connections;  // outlives `context`, whose end destroys connections
  std::string date;                    // value of the Date header, renewed by the sweep
  asio::io_context context{1};
  asio::executor_work_guard<Executor> guard{context.get_executor()};
  std::list<Acceptor> acceptors;
  Timer sweep{context.get_executor()};
  std::thread thread;
};

/// Where one connection came from and arrived at.
struct Endpoints {
  std::string peer_address;
  std::string local_address;
  std::uint16_t local_port = 0;
};

/// What the sweep and the drain know of a connection. Owned by its coroutine.
class Connection {
 public:
  Connection(IoThread& io, Endpoints endpoints);
  virtual ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Closes the socket; whatever waits on it ends with an error.
  virtual void Abort() = 0;
  SteadyClock::time_point deadline() const { return deadline_; }
  bool idle() const { return idle_; }

 protected:
  IoThread& io_;
  const Endpoints endpoints_;
  SteadyClock::time_point deadline_ = SteadyClock::time_point::max();
  bool idle_ = false;

 private:
  std::list<Connection*>::iterator position_;
};

/// Serves one accepted connection to its end.
void StartPlain(IoThread& io, Socket socket, Endpoints endpoints);
void StartTls(IoThread& io, Socket socket, Endpoints endpoints,
              std::shared_ptr<asio::ssl::context> tls);

/// Reads certificate chain and key into a fresh context. Fails with kCorrupt.
Result<std::shared_ptr<asio::ssl::context>> LoadTls(const std::string& certificate_file,
                                                    const std::string& key_file);

}  // namespace gapferry::server::internal
