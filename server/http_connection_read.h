#pragma once

// Private to the HTTP server, part of http_connection.h: how a connection reads requests.

#include "server/http_connection.h"

namespace gapferry::server::internal {

template <class Stream>
Awaitable<bool> StreamConnection<Stream>::Fill(std::uint64_t expected) {
  constexpr std::uint64_t kLeastBytes = 16 * 1024;
  constexpr std::uint64_t kMostBytes = 96 * 1024;
  const auto bytes = static_cast<std::size_t>(std::clamp(expected, kLeastBytes, kMostBytes));
  auto [error, count] = co_await stream_.async_read_some(buffer_.prepare(bytes), kToken);
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
    // An idle connection holds no buffer (the last request left none); TLS may have bytes decrypted
    // already and cannot wait on the socket: it holds what the least read takes.
    idle_ = true;
    deadline_ = SteadyClock::now() + Options().idle_timeout;
    if (io_.shared.draining) co_return ReadOutcome::kClosed;
    if constexpr (!kTls) {
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
  // Not held while the request waits for a worker and is answered.
  if (buffer_.size() == 0) buffer_.shrink_to_fit();
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
    const auto rest = parser_->content_length_remaining();
    const bool more = co_await Fill(rest ? *rest : 0);
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

}  // namespace gapferry::server::internal
