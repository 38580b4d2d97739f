// What peers put into headers, paths, anchors and cookies. The first byte chooses the reader.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/cookie_box.h"
#include "server/http_content.h"
#include "server/http_message.h"
#include "server/sync_anchor.h"

using namespace gapferry;

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void Range(std::string_view text) {
  for (const std::uint64_t size : {0ULL, 1ULL, 1000ULL, 14'800'000'000ULL}) {
    const server::RangeChoice choice = server::ChooseRange(text, size);
    if (choice.kind != server::RangeKind::kPart) continue;
    Require(choice.range.size_bytes > 0);
    Require(choice.range.offset < size);
    Require(choice.range.size_bytes <= size - choice.range.offset);
  }
}

void Cookies(ByteView bytes) {
  mirror::CookieKey key{};
  const server::CookieBox box(key);
  Require(!box.Open(server::CookiePurpose::kClient, bytes).has_value());
  const auto client = server::DecodeClientCookie(bytes);
  if (client.has_value()) {
    Require(*server::DecodeClientCookie(server::EncodeCookie(*client)) == *client);
  }
  const auto other = server::DecodeServerCookie(bytes);
  if (other.has_value()) {
    Require(*server::DecodeServerCookie(server::EncodeCookie(*other)) == *other);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  const std::string_view text = AsText(bytes);
  switch (data[0]) {
    case 'r':
      Range(text);
      break;
    case 'd':
      if (const auto date = server::ParseHttpDate(text)) {
        Require(server::ParseHttpDate(date->ToHttp()) == date);
      }
      break;
    case 'p':
      if (const auto path = server::DecodePath(text)) {
        Require(!path->empty() && path->size() <= text.size() && path->front() == '/');
      }
      break;
    case 'a':
      if (const auto anchor = server::SyncAnchor::Parse(text)) {
        const auto again = server::SyncAnchor::Parse(anchor->ToString());
        Require(again && again->generation == anchor->generation &&
                again->committed_at == anchor->committed_at);
      }
      break;
    default:
      Cookies(bytes);
      break;
  }
  return 0;
}
