#pragma once

// Private to the HTTP server: the life of one connection over a plain or a TLS stream.

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "server/http_io.h"

namespace gapferry::server::internal {

namespace http = boost::beast::http;

/// Counts body bytes against the server's budget until destruction.
class BodyCharge {
 public:
  explicit BodyCharge(Shared& shared) : shared_(shared) {}
  ~BodyCharge() { shared_.buffered_bytes -= charged_; }
  BodyCharge(const BodyCharge&) = delete;
  BodyCharge& operator=(const BodyCharge&) = delete;

  bool RaiseTo(std::uint64_t bytes) {
    if (bytes <= charged_) return true;
    const std::uint64_t more = bytes - charged_;
    if (shared_.buffered_bytes.fetch_add(more) + more > shared_.options.buffered_bodies_bytes) {
      shared_.buffered_bytes -= more;
      return false;
    }
    charged_ = bytes;
    return true;
  }

 private:
  Shared& shared_;
  std::uint64_t charged_ = 0;
};

std::string BuildHead(const Reply& reply, const std::string& date, bool close, bool http10,
                      bool with_length);
/// Splits a request target (origin or absolute form) into path and query; false when malformed.
bool ParseTarget(std::string_view target, Request& request);
/// The line before a chunk of `size` bytes.
std::string ChunkHead(std::size_t size);
int StatusOfParseError(const error_code& error);

template <class Stream>
class StreamConnection : public Connection {
 public:
  static constexpr bool kTls = !std::is_same_v<Stream, Socket>;

  template <class... StreamArguments>
  StreamConnection(IoThread& io, Endpoints endpoints, StreamArguments&&... arguments)
      : Connection(io, std::move(endpoints)),
        stream_(std::forward<StreamArguments>(arguments)...) {}

  Awaitable<void> Run();
  void Abort() override {
    error_code ignored;
    LowestLayer().close(ignored);
  }

 private:
  using Parser = http::request_parser<http::string_body>;
  enum class ReadOutcome { kRequest, kRefused, kClosed };

  Socket& LowestLayer() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }
  const HttpServerOptions& Options() const { return io_.shared.options; }

  /// Reads what there is into buffer_; `expected` is how much is on its way, if that is known.
  Awaitable<bool> Fill(std::uint64_t expected = 0);
  Awaitable<ReadOutcome> ReadRequest(BodyCharge& charge);
  Awaitable<bool> ReadHeader();
  Awaitable<bool> ReadBody(BodyCharge& charge, std::uint64_t limit);
  Awaitable<void> Answer();
  Awaitable<void> RunOnWorker(std::move_only_function<void(WorkerContext&)> work,
                              std::move_only_function<void()> refused);
  Awaitable<bool> ProducePiece(StreamBody& body, std::string& piece);
  Awaitable<bool> WriteReply();
  Awaitable<bool> WriteAll(std::string_view first, std::string_view second);
  Awaitable<bool> WriteShared(std::string_view head, const SharedBody& body);
  Awaitable<bool> WriteFile(std::string_view head, const FileBody& body);
  Awaitable<bool> SendFile(const FileBody& body);
  Awaitable<bool> CopyFile(const FileBody& body);
  Awaitable<bool> WriteStream(std::string_view head, StreamBody& body);
  Awaitable<void> Finish();
  void Refuse(int status, std::string_view text);
  void BuildRequest();
  void BeginTransfer() {
    transfer_start_ = SteadyClock::now();
    transferred_ = 0;
    Progressed(0);
  }
  /// Moves the deadline: no progress within the stall timeout or an average below the minimum rate
  /// ends the connection.
  void Progressed(std::uint64_t bytes) {
    transferred_ += bytes;
    const auto allowed = std::chrono::milliseconds(
        transferred_ * 1000 / std::max<std::uint64_t>(1, Options().minimum_rate));
    deadline_ = std::min(SteadyClock::now() + Options().stall_timeout,
                         transfer_start_ + Options().rate_grace + allowed);
  }

  Stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  Request request_;
  Reply reply_;
  bool keep_alive_ = false;
  bool http10_ = false;
  std::size_t worker_ = 0;     // that made the current reply
  bool unread_input_ = false;  // the peer may still be sending what we do not want
  SteadyClock::time_point transfer_start_;
  std::uint64_t transferred_ = 0;
};

template <class Stream>
void Spawn(IoThread& io, std::unique_ptr<StreamConnection<Stream>> connection) {
  asio::co_spawn(
      io.context.get_executor(),
      [owned = std::move(connection)]() -> Awaitable<void> { co_await owned->Run(); },
      asio::detached);
}

template <class Stream>
Awaitable<void> StreamConnection<Stream>::Run() {
  if constexpr (kTls) {
    deadline_ = SteadyClock::now() + Options().header_timeout;
    auto [error] = co_await stream_.async_handshake(Stream::server, kToken);
    if (error) co_return;
  }
  while (true) {
    BodyCharge charge(io_.shared);
    const ReadOutcome outcome = co_await ReadRequest(charge);
    if (outcome == ReadOutcome::kClosed) break;
    if (outcome == ReadOutcome::kRequest) co_await Answer();
    keep_alive_ = keep_alive_ && !reply_.close && !io_.shared.draining;
    const bool written = co_await WriteReply();
    request_ = Request();
    reply_ = Reply();
    if (!written) co_return;
    if (!keep_alive_) break;
  }
  co_await Finish();
}

template <class Stream>
Awaitable<void> StreamConnection<Stream>::RunOnWorker(
    std::move_only_function<void(WorkerContext&)> work, std::move_only_function<void()> refused) {
  // The deadline rests while a worker is busy: the time is ours, not the peer's.
  deadline_ = SteadyClock::time_point::max();
  auto initiate = [this, &work, &refused](auto handler) {
    auto held = std::make_shared<decltype(handler)>(std::move(handler));
    const Executor executor = io_.context.get_executor();
    WorkerPool::Job job = [this, &work, held, executor](WorkerContext& context,
                                                        std::size_t worker) {
      worker_ = worker;
      work(context);
      asio::post(executor, std::move(*held));
    };
    if (!refused) {
      io_.shared.pool->SubmitTo(worker_, std::move(job));
    } else if (!io_.shared.pool->TrySubmit(job)) {
      refused();
      asio::post(executor, std::move(*held));
    }
  };
  constexpr asio::use_awaitable_t<Executor> token{};
  co_await asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(initiate, token);
}

template <class Stream>
Awaitable<void> StreamConnection<Stream>::Answer() {
  HttpHandler& handler = io_.shared.handler;
  if (std::optional<Reply> inline_reply = handler.HandleInline(request_)) {
    reply_ = std::move(*inline_reply);
    co_return;
  }
  auto work = [this, &handler](WorkerContext& worker) {
    try {
      reply_ = handler.Handle(request_, worker);
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "request handler threw",
          {{"path", EscapeForDisplay(request_.path)}, {"what", error.what()}});
      reply_ = PlainReply(500, "internal error");
      reply_.close = true;
    }
  };
  auto refused = [this] {
    reply_ = PlainReply(503, "the server is busy");
    reply_.headers.emplace_back("Retry-After", "30");
  };
  co_await RunOnWorker(std::move(work), std::move(refused));
}

template <class Stream>
Awaitable<void> StreamConnection<Stream>::Finish() {
  deadline_ = SteadyClock::now() + std::chrono::seconds(2);
  if constexpr (kTls) {
    co_await stream_.async_shutdown(kToken);
  } else {
    // Closing with unread input would reset the connection and may destroy the reply on its way.
    error_code error;
    LowestLayer().shutdown(Socket::shutdown_send, error);
    std::size_t drained = 0;
    while (!error && unread_input_ && drained < (1U << 20)) {
      buffer_.clear();
      const bool more = co_await Fill();
      if (!more) break;
      drained += buffer_.size();
    }
  }
  Abort();
}

}  // namespace gapferry::server::internal

// The members that read requests and write replies.
#include "server/http_connection_read.h"   // IWYU pragma: export
#include "server/http_connection_write.h"  // IWYU pragma: export
