#include "server/http_content.h"

#include <array>
#include <utility>

#include "base/text.h"

namespace gapferry::server {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Whether a list of entity tags names `etag`. `strong` refuses weak tags (RFC 9110 8.8.3.2).
bool ListNames(std::string_view list, std::string_view etag, bool strong) {
  if (TrimAscii(list) == "*") return true;
  for (std::string_view item : Split(list, ',')) {
    item = TrimAscii(item);
    if (item.starts_with("W/")) {
      if (strong) continue;
      item.remove_prefix(2);
    }
    if (item == etag) return true;
  }
  return false;
}

bool NotModifiedSince(std::string_view header, UtcTime last_modified) {
  const std::optional<UtcTime> since = ParseHttpDate(header);
  return since && last_modified.UnixSeconds() <= since->UnixSeconds();
}

/// 0 to go on, else the status that the preconditions give (RFC 9110 13.2.2).
int CheckConditions(const Request& request, const FileFacts& facts) {
  if (const auto* match = request.Header("If-Match")) {
    if (!ListNames(*match, facts.etag, /*strong=*/true)) return 412;
  } else if (const auto* since = request.Header("If-Unmodified-Since")) {
    if (ParseHttpDate(*since) && !NotModifiedSince(*since, facts.last_modified)) return 412;
  }
  if (const auto* none = request.Header("If-None-Match")) {
    if (ListNames(*none, facts.etag, /*strong=*/false)) return 304;
  } else if (const auto* since = request.Header("If-Modified-Since")) {
    if (NotModifiedSince(*since, facts.last_modified)) return 304;
  }
  return 0;
}

/// If-Range: the range counts only for the very same bytes (RFC 9110 13.1.5).
bool RangeApplies(const Request& request, const FileFacts& facts) {
  const auto* condition = request.Header("If-Range");
  if (condition == nullptr) return true;
  const std::string_view value = TrimAscii(*condition);
  if (value.starts_with('"')) return value == facts.etag;
  const std::optional<UtcTime> date = ParseHttpDate(value);
  return date && date->UnixSeconds() == facts.last_modified.UnixSeconds();
}

RangeChoice ChooseSuffix(std::string_view digits, std::uint64_t size) {
  const auto count = ParseInt<std::uint64_t>(digits);
  if (!count) return {};
  if (*count == 0 || size == 0) return {RangeKind::kUnsatisfiable, {}};
  const std::uint64_t length = std::min(*count, size);
  return {RangeKind::kPart, {size - length, length}};
}

}  // namespace

RangeChoice ChooseRange(std::string_view header, std::uint64_t size) {
  header = TrimAscii(header);
  const std::size_t equals = header.find('=');
  if (equals == std::string_view::npos) return {};
  if (!EqualsIgnoreCase(TrimAscii(header.substr(0, equals)), "bytes")) return {};
  const std::string_view range = TrimAscii(header.substr(equals + 1));
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos || range.find(',') != std::string_view::npos) return {};
  const std::string_view first_text = TrimAscii(range.substr(0, dash));
  const std::string_view last_text = TrimAscii(range.substr(dash + 1));
  if (first_text.empty()) return ChooseSuffix(last_text, size);

  const auto first = ParseInt<std::uint64_t>(first_text);
  if (!first) return {};
  std::uint64_t last = UINT64_MAX;
  if (!last_text.empty()) {
    const auto given = ParseInt<std::uint64_t>(last_text);
    if (!given || *given < *first) return {};
    last = *given;
  }
  if (*first >= size) return {RangeKind::kUnsatisfiable, {}};
  last = std::min(last, size - 1);
  return {RangeKind::kPart, {*first, last - *first + 1}};
}

std::optional<UtcTime> ParseHttpDate(std::string_view text) {
  text = TrimAscii(text);
  // Sun, 04 Oct 2026 15:03:36 GMT
  if (text.size() != 29 || text.substr(3, 2) != ", " || !text.ends_with(" GMT")) {
    return std::nullopt;
  }
  std::size_t month = 0;
  while (month < kMonths.size() && kMonths[month] != text.substr(8, 3)) ++month;
  if (month == kMonths.size()) return std::nullopt;
  const std::string number = (month < 9 ? "0" : "") + std::to_string(month + 1);
  std::string iso(text.substr(12, 4));
  iso += "-" + number + "-";
  iso += text.substr(5, 2);
  iso += "T";
  iso += text.substr(17, 8);
  iso += "Z";
  Result<UtcTime> time = UtcTime::ParseXml(iso);
  if (!time.has_value()) return std::nullopt;
  return *time;
}

Reply ServeFile(const Request& request, std::shared_ptr<const File> file, std::uint64_t size_bytes,
                const FileFacts& facts) {
  const bool head = request.method == "HEAD";
  if (!head && request.method != "GET") {
    Reply reply = PlainReply(405, "only GET and HEAD are possible here");
    reply.headers.emplace_back("Allow", "GET, HEAD");
    return reply;
  }
  Reply reply;
  reply.headers.emplace_back("Content-Type", facts.content_type);
  reply.headers.emplace_back("Last-Modified", facts.last_modified.ToHttp());
  reply.headers.emplace_back("Accept-Ranges", "bytes");
  reply.headers.emplace_back("ETag", facts.etag);
  if (const int status = CheckConditions(request, facts); status != 0) {
    reply.status = status;
    return reply;
  }
  RangeChoice choice;
  // RFC 9110 14.2: Range means something for GET only.
  if (const auto* range = request.Header("Range");
      range != nullptr && !head && RangeApplies(request, facts)) {
    choice = ChooseRange(*range, size_bytes);
  }
  const std::string total = std::to_string(size_bytes);
  switch (choice.kind) {
    case RangeKind::kUnsatisfiable:
      reply.status = 416;
      reply.headers.emplace_back("Content-Range", "bytes */" + total);
      return reply;
    case RangeKind::kPart:
      reply.status = 206;
      reply.headers.emplace_back(
          "Content-Range", "bytes " + std::to_string(choice.range.offset) + "-" +
                               std::to_string(choice.range.offset + choice.range.size_bytes - 1) +
                               "/" + total);
      reply.body = FileBody{std::move(file), choice.range.offset, choice.range.size_bytes};
      return reply;
    case RangeKind::kWhole:
      break;
  }
  reply.body = FileBody{std::move(file), 0, size_bytes};
  return reply;
}

std::string_view MimeType(std::string_view extension) {
  static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
      {"txt", "text/plain; charset=utf-8"},
      {"htm", "text/html; charset=utf-8"},
      {"html", "text/html; charset=utf-8"},
      {"css", "text/css; charset=utf-8"},
      {"js", "text/javascript"},
      {"json", "application/json"},
      {"xml", "text/xml"},
      {"svg", "image/svg+xml"},
      {"png", "image/png"},
      {"rtf", "application/rtf"},
  };
  for (const auto& [known, type] : kTypes) {
    if (EqualsIgnoreCase(extension, known)) return type;
  }
  return "application/octet-stream";
}

}  // namespace gapferry::server
