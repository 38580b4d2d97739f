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

  Awaitable<bool> Fill();
  Awaitable<ReadOutcome> ReadRequest(BodyCharge& charge);
  Awaitable<bool> ReadHeader();
  Awaitable<bool> ReadBody(BodyCharge& charge, std::uint64_t limit);
  Awaitable<void> Answer();
  Awaitable<void> RunOnWorker(std::move_only_function<void(WorkerContext&)> work,
                              std::move_only_function<void()> refused);
  Awaitable<bool> ProducePiece(StreamBody& body, std::string& piece);
  Awaitable<bool> WriteReply();
  Awaitable<bool> WriteAll(std::string_view first, std::string_view second);
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
Awaitable<bool> StreamConnection<Stream>::Fill() {
  constexpr std::size_t kReadBytes = 16 * 1024;
  auto [error, count] = co_await stream_.async_read_some(buffer_.prepare(kReadBytes), kToken);
  if (error) co_return false;
  buffer_.commit(count);
  co_return true;
}

template <class Stream>
void StreamConnection<Stream>::Refuse(int status, std::string_view text) {
  reply_ = PlainReply(status, text);
  reply_.close = true;
  keep_alive_ = false;
  unread_input_ = true;
}

template <class Stream>
auto StreamConnection<Stream>::ReadRequest(BodyCharge& charge) -> Awaitable<ReadOutcome> {
  if (buffer_.size() == 0) {
    // An idle connection holds no buffer; TLS may have bytes decrypted already and cannot wait on
    // the socket.
    idle_ = true;
    deadline_ = SteadyClock::now() + Options().idle_timeout;
    if (io_.shared.draining) co_return ReadOutcome::kClosed;
    if constexpr (!kTls) {
      buffer_.shrink_to_fit();
      auto [error] = co_await stream_.async_wait(Socket::wait_read, kToken);
      if (error) co_return ReadOutcome::kClosed;
    }
    const bool more = co_await Fill();
    idle_ = false;
    if (!more) co_return ReadOutcome::kClosed;
  }
  parser_.emplace();
  parser_->header_limit(Options().header_limit_bytes);
  parser_->body_limit(boost::none);  // set by path, below
  parser_->eager(false);
  reply_ = Reply();
  const bool header = co_await ReadHeader();
  if (!header) co_return reply_.close ? ReadOutcome::kRefused : ReadOutcome::kClosed;

  BuildRequest();
  if (reply_.close) co_return ReadOutcome::kRefused;
  const std::uint64_t limit = io_.shared.handler.BodyLimit(request_);
  if (!parser_->is_done()) {
    const bool body = co_await ReadBody(charge, limit);
    if (!body) co_return reply_.close ? ReadOutcome::kRefused : ReadOutcome::kClosed;
  }
  request_.body = std::move(parser_->get().body());
  parser_.reset();
  co_return ReadOutcome::kRequest;
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::ReadHeader() {
  deadline_ = SteadyClock::now() + Options().header_timeout;
  while (true) {
    error_code error;
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    if (parser_->is_header_done()) co_return true;
    if (error && error != http::error::need_more) {
      const int status = StatusOfParseError(error);
      Refuse(status, std::string(ReasonPhrase(status)) + ": " + error.message());
      co_return false;
    }
    const bool more = co_await Fill();
    if (!more) co_return false;
  }
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::ReadBody(BodyCharge& charge, std::uint64_t limit) {
  const auto length = parser_->content_length();
  if (length && *length > limit) {
    Refuse(413, "the request body has " + std::to_string(*length) + " bytes, at most " +
                    std::to_string(limit) + " are allowed here");
    co_return false;
  }
  if (!charge.RaiseTo(length.value_or(0))) {
    Refuse(503, "too many request bodies at once");
    co_return false;
  }
  parser_->body_limit(limit);
  parser_->eager(true);
  BeginTransfer();
  if (const std::string* expect = request_.Header("Expect");
      expect != nullptr && EqualsIgnoreCase(*expect, "100-continue") && buffer_.size() == 0) {
    const bool written = co_await WriteAll("HTTP/1.1 100 Continue\r\n\r\n", {});
    if (!written) co_return false;
    BeginTransfer();
  }
  while (true) {
    if (buffer_.size() > 0) {
      error_code error;
      const std::size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (parser_->is_done()) co_return true;
      if (error && error != http::error::need_more) {
        const int status = StatusOfParseError(error);
        Refuse(status, std::string(ReasonPhrase(status)) + ": " + error.message());
        co_return false;
      }
      if (!charge.RaiseTo(parser_->get().body().capacity())) {
        Refuse(503, "too many request bodies at once");
        co_return false;
      }
    }
    const std::size_t before = buffer_.size();
    const bool more = co_await Fill();
    if (!more) co_return false;
    Progressed(buffer_.size() - before);
  }
}

template <class Stream>
void StreamConnection<Stream>::BuildRequest() {
  const auto& message = parser_->get();
  request_ = Request();
  request_.method = std::string(message.method_string());
  for (const auto& field : message) {
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  request_.peer_address = endpoints_.peer_address;
  request_.local_address = endpoints_.local_address;
  request_.local_port = endpoints_.local_port;
  request_.tls = kTls;
  keep_alive_ = message.keep_alive();
  http10_ = message.version() < 11;
  const std::string_view target(message.target().data(), message.target().size());
  if (!ParseTarget(target, request_)) Refuse(400, "Bad Request: malformed target");
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
Awaitable<bool> StreamConnection<Stream>::WriteReply() {
  BeginTransfer();
  const bool bodiless = request_.method == "HEAD" || reply_.status == 304 || reply_.status == 204;
  const bool with_length = reply_.status != 304 && reply_.status != 204;
  if (http10_ && !reply_.BodySize()) keep_alive_ = false;  // the end of the connection is the end
  const std::string head = BuildHead(reply_, io_.date, !keep_alive_, http10_, with_length);
  if (bodiless) co_return co_await WriteAll(head, {});
  if (const auto* text = std::get_if<std::string>(&reply_.body)) {
    co_return co_await WriteAll(head, *text);
  }
  if (const auto* file = std::get_if<FileBody>(&reply_.body)) {
    co_return co_await WriteFile(head, *file);
  }
  co_return co_await WriteStream(head, std::get<StreamBody>(reply_.body));
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::WriteAll(std::string_view first,
                                                   std::string_view second) {
  while (!first.empty() || !second.empty()) {
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(first.data(), first.size()),
                                                    asio::buffer(second.data(), second.size())};
    auto [error, count] = co_await stream_.async_write_some(buffers, kToken);
    if (error) co_return false;
    Progressed(count);
    const std::size_t from_first = std::min(count, first.size());
    first.remove_prefix(from_first);
    second.remove_prefix(count - from_first);
  }
  co_return true;
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::WriteFile(std::string_view head, const FileBody& body) {
  if constexpr (kTls) {
    const bool written = co_await WriteAll(head, {});
    if (!written) co_return false;
    co_return co_await CopyFile(body);
  } else {
    // MSG_MORE: header and first bytes of the file share a packet although Nagle is off.
    const ::ssize_t sent = ::send(LowestLayer().native_handle(), head.data(), head.size(),
                                  MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) head.remove_prefix(static_cast<std::size_t>(sent));
    const bool written = co_await WriteAll(head, {});
    if (!written) co_return false;
    co_return co_await SendFile(body);
  }
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::SendFile(const FileBody& body) {
  constexpr std::uint64_t kChunkBytes = 1 << 20;
  constexpr unsigned kChunksPerTurn = 4;
  ::off_t offset = static_cast<::off_t>(body.offset);
  std::uint64_t left = body.size_bytes;
  unsigned turn = 0;
  while (left > 0) {
    const ::ssize_t sent = ::sendfile(LowestLayer().native_handle(), body.file->fd(), &offset,
                                      static_cast<std::size_t>(std::min(left, kChunkBytes)));
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      auto [error] = co_await LowestLayer().async_wait(Socket::wait_write, kToken);
      if (error) co_return false;
      turn = 0;
      continue;
    }
    if (sent <= 0) co_return false;  // 0: the file became shorter than announced
    left -= static_cast<std::uint64_t>(sent);
    Progressed(static_cast<std::uint64_t>(sent));
    if (++turn % kChunksPerTurn == 0) {
      // A fast reader must not keep the thread from its other connections.
      co_await asio::post(io_.context.get_executor(), asio::use_awaitable_t<Executor>{});
      if (!LowestLayer().is_open()) co_return false;
    }
  }
  co_return true;
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::CopyFile(const FileBody& body) {
  constexpr std::uint64_t kChunkBytes = 128 * 1024;
  std::string chunk;
  std::uint64_t done = 0;
  while (done < body.size_bytes) {
    chunk.resize(static_cast<std::size_t>(std::min(kChunkBytes, body.size_bytes - done)));
    const Result<std::size_t> count = body.file->ReadAt(
        body.offset + done, {reinterpret_cast<std::uint8_t*>(chunk.data()), chunk.size()});
    if (!count.has_value() || *count != chunk.size()) co_return false;
    const bool written = co_await WriteAll(chunk, {});
    if (!written) co_return false;
    done += chunk.size();
  }
  co_return true;
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::ProducePiece(StreamBody& body, std::string& piece) {
  Result<void> produced;
  auto work = [&produced, &piece, &body](WorkerContext& worker) {
    try {
      produced = body.stream->Next(worker, piece);
    } catch (const std::exception& error) {
      produced = Fail(ErrorCode::kInternal, error.what());
    }
  };
  co_await RunOnWorker(std::move(work), {});
  Progressed(0);
  if (produced.has_value()) co_return true;
  Log(LogLevel::kError, "answer cut short",
      {{"path", EscapeForDisplay(request_.path)}, {"error", produced.error().message}});
  co_return false;
}

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::WriteStream(std::string_view head, StreamBody& body) {
  const bool chunked = !body.size_bytes && !http10_;
  std::uint64_t done = 0;
  std::string piece;
  std::string before(head);
  while (!body.size_bytes || done < *body.size_bytes) {
    const bool produced = co_await ProducePiece(body, piece);
    if (!produced) co_return false;
    if (body.size_bytes && (piece.empty() || piece.size() > *body.size_bytes - done)) {
      Log(LogLevel::kError, "answer has another size than announced",
          {{"path", EscapeForDisplay(request_.path)}});
      co_return false;
    }
    if (piece.empty()) break;
    done += piece.size();
    if (chunked) {
      before += ChunkHead(piece.size());
      piece += "\r\n";
    }
    const bool written = co_await WriteAll(before, piece);
    if (!written) co_return false;
    before.clear();
  }
  if (chunked) before += "0\r\n\r\n";
  co_return co_await WriteAll(before, {});
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
