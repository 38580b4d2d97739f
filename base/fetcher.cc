#include "base/fetcher.h"

#include "base/text.h"

namespace gapferry {
namespace {

struct UrlParts {
  std::string_view scheme;     // "http"
  std::string_view authority;  // host:port, without credentials
  std::string_view rest;       // from the path's slash on
};

UrlParts SplitUrl(std::string_view url) {
  UrlParts parts;
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) {
    parts.rest = url;
    return parts;
  }
  parts.scheme = url.substr(0, scheme_end);
  std::string_view after = url.substr(scheme_end + 3);
  const std::size_t path = after.find_first_of("/?#");
  parts.authority = after.substr(0, path);
  parts.rest = path == std::string_view::npos ? std::string_view() : after.substr(path);
  const std::size_t at = parts.authority.rfind('@');
  if (at != std::string_view::npos) parts.authority.remove_prefix(at + 1);
  return parts;
}

}  // namespace

std::string_view FetchResponse::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoreCase(key, name)) return value;
  }
  return {};
}

std::optional<std::uint64_t> FetchResponse::TotalBytes() const {
  const std::string_view range = Header("Content-Range");
  if (!range.empty()) {
    const std::size_t slash = range.rfind('/');
    if (slash == std::string_view::npos) return std::nullopt;
    return ParseInt<std::uint64_t>(TrimAscii(range.substr(slash + 1)));
  }
  if (status != 200) return std::nullopt;
  return ParseInt<std::uint64_t>(TrimAscii(Header("Content-Length")));
}

std::string DisplayUrl(std::string_view url) {
  const UrlParts parts = SplitUrl(url);
  const std::string_view path = parts.rest.substr(0, parts.rest.find_first_of("?#"));
  std::string shown;
  if (!parts.scheme.empty()) shown = std::string(parts.scheme) + "://";
  shown += parts.authority;
  shown += path;
  return EscapeForDisplay(shown, 300);
}

std::string ResolveAgainstRoot(std::string_view base, std::string_view reference) {
  if (reference.find("://") != std::string_view::npos) return std::string(reference);
  const std::size_t scheme_end = base.find("://");
  const std::size_t from = scheme_end == std::string_view::npos ? 0 : scheme_end + 3;
  const std::string_view root = base.substr(0, base.find_first_of("/?#", from));
  while (!reference.empty() && reference.front() == '/') reference.remove_prefix(1);
  return std::string(root) + "/" + std::string(reference);
}

}  // namespace gapferry
