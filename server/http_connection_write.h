#pragma once

// Private to the HTTP server, part of http_connection.h: how a connection writes replies.

#include "server/http_connection.h"

namespace gapferry::server::internal {

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
  if (const auto* shared = std::get_if<SharedBody>(&reply_.body)) {
    co_return co_await WriteShared(head, *shared);
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
Awaitable<bool> StreamConnection<Stream>::WriteShared(std::string_view head,
                                                      const SharedBody& body) {
  // As many pieces at once as one call takes; TLS takes one, so small ones are put together there.
  constexpr std::size_t kAtOnce = 64;
  constexpr std::size_t kRecordBytes = 16 * 1024;
  std::size_t next = 0;
  if constexpr (kTls) {
    std::string record(head);
    while (next < body.pieces.size()) {
      const std::string_view piece = body.pieces[next].bytes;
      if (record.size() + piece.size() <= kRecordBytes) {
        record += piece;
        ++next;
        continue;
      }
      const bool written = co_await WriteAll(record, record.empty() ? piece : std::string_view());
      if (!written) co_return false;
      if (record.empty()) ++next;
      record.clear();
    }
    co_return co_await WriteAll(record, {});
  } else {
    std::array<asio::const_buffer, kAtOnce> buffers;
    std::size_t used = 0;  // of the first piece that is not sent
    while (!head.empty() || next < body.pieces.size()) {
      std::size_t count = 0;
      if (!head.empty()) buffers[count++] = asio::buffer(head.data(), head.size());
      for (std::size_t i = next; i < body.pieces.size() && count < kAtOnce; ++i) {
        const std::string_view bytes = body.pieces[i].bytes.substr(i == next ? used : 0);
        buffers[count++] = asio::buffer(bytes.data(), bytes.size());
      }
      auto [error, sent] = co_await stream_.async_write_some(
          std::span<const asio::const_buffer>(buffers.data(), count), kToken);
      if (error) co_return false;
      Progressed(sent);
      const std::size_t from_head = std::min(sent, head.size());
      head.remove_prefix(from_head);
      used += sent - from_head;
      while (next < body.pieces.size() && used >= body.pieces[next].bytes.size()) {
        used -= body.pieces[next++].bytes.size();
      }
    }
    co_return true;
  }
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

}  // namespace gapferry::server::internal
