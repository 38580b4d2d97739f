#include "server/http_message.h"

#include <charconv>

#include "base/text.h"

namespace gapferry::server {
namespace {

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Host is copied into answers as part of URLs: only what a host and port can consist of.
bool IsPlausibleHost(std::string_view host) {
  if (host.empty() || host.size() > 260) return false;
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && std::string_view(".-_:[]%").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

}  // namespace

const std::string* FindHeader(const HeaderList& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoreCase(key, name)) return &value;
  }
  return nullptr;
}

std::string Request::BaseUrl() const {
  const std::string scheme = tls ? "https://" : "http://";
  if (const std::string* host = Header("Host"); host != nullptr && IsPlausibleHost(*host)) {
    return scheme + *host;
  }
  const bool v6 = local_address.find(':') != std::string::npos;
  return scheme + (v6 ? "[" + local_address + "]" : local_address) + ":" +
         std::to_string(local_port);
}

bool Request::AcceptsCoding(std::string_view coding) const {
  for (const auto& [name, value] : headers) {
    if (!EqualsIgnoreCase(name, "Accept-Encoding")) continue;
    for (const std::string_view item : Split(value, ',')) {
      const std::vector<std::string_view> parts = Split(item, ';');
      if (!EqualsIgnoreCase(TrimAscii(parts[0]), coding)) continue;
      if (parts.size() == 1) return true;
      std::string_view weight = TrimAscii(parts[1]);
      if (!weight.starts_with("q=") && !weight.starts_with("Q=")) return true;
      weight.remove_prefix(2);
      return weight.find_first_not_of("0.") != std::string_view::npos;
    }
  }
  return false;
}

std::optional<std::uint64_t> Reply::BodySize() const {
  if (const auto* text = std::get_if<std::string>(&body)) return text->size();
  if (const auto* file = std::get_if<FileBody>(&body)) return file->size_bytes;
  if (const auto* shared = std::get_if<SharedBody>(&body)) return shared->size_bytes;
  return std::get<StreamBody>(body).size_bytes;
}

Reply PlainReply(int status, std::string_view text) {
  Reply reply;
  reply.status = status;
  reply.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  reply.body = std::string(text) + "\n";
  return reply;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

std::optional<std::string> DecodePath(std::string_view raw) {
  if (raw.empty() || raw.front() != '/') return std::nullopt;
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      if (i + 2 >= raw.size()) return std::nullopt;
      const int high = HexValue(raw[i + 1]);
      const int low = HexValue(raw[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    out += c;
  }
  return out;
}

}  // namespace gapferry::server
