#include "server/http_connection.h"

#include <charconv>

namespace gapferry::server::internal {

Connection::Connection(IoThread& io, Endpoints endpoints)
    : io_(io), endpoints_(std::move(endpoints)) {
  position_ = io_.connections.insert(io_.connections.end(), this);
}

Connection::~Connection() {
  io_.connections.erase(position_);
  {
    auto counts = io_.shared.per_address.Lock();
    const auto found = counts->find(endpoints_.peer_address);
    if (found != counts->end() && --found->second == 0) counts->erase(found);
  }
  --io_.shared.connections;
}

std::string BuildHead(const Reply& reply, const std::string& date, bool close, bool http10,
                      bool with_length) {
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " ";
  head += ReasonPhrase(reply.status);
  head += "\r\n";
  for (const auto& [name, value] : reply.headers) {
    head += name;
    head += ": ";
    head += value;
    head += "\r\n";
  }
  head += "Date: " + date + "\r\n";
  if (const auto size = reply.BodySize(); with_length && size) {
    head += "Content-Length: " + std::to_string(*size) + "\r\n";
  } else if (with_length && !http10) {
    head += "Transfer-Encoding: chunked\r\n";
  }
  if (close) {
    head += "Connection: close\r\n";
  } else if (http10) {
    head += "Connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

bool ParseTarget(std::string_view target, Request& request) {
  if (target.starts_with("http://") || target.starts_with("https://")) {
    target.remove_prefix(target.find("//") + 2);
    const std::size_t slash = target.find('/');
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  const std::size_t fragment = target.find('#');
  if (fragment != std::string_view::npos) target = target.substr(0, fragment);
  const std::size_t question = target.find('?');
  if (question != std::string_view::npos) {
    request.query = std::string(target.substr(question + 1));
    target = target.substr(0, question);
  }
  std::optional<std::string> path = DecodePath(target);
  if (!path) return false;
  request.path = std::move(*path);
  return true;
}

std::string ChunkHead(std::size_t size) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), size, 16).ptr;
  return std::string(digits.data(), end) + "\r\n";
}

int StatusOfParseError(const error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  if (error == http::error::bad_version) return 505;
  return 400;
}

void StartPlain(IoThread& io, Socket socket, Endpoints endpoints) {
  Spawn(io,
        std::make_unique<StreamConnection<Socket>>(io, std::move(endpoints), std::move(socket)));
}

}  // namespace gapferry::server::internal
