#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file.h"
#include "server/http_message.h"

namespace gapferry::server {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

enum class RangeKind { kWhole, kPart, kUnsatisfiable };

struct RangeChoice {
  RangeKind kind = RangeKind::kWhole;
  ByteRange range;  ///< of kPart
};

/// What a Range header asks of a file of `size` bytes: one range of bytes, closed, open or suffix.
/// What RFC 9110 section 14.2 lets a server ignore (other units, several ranges, malformed text) is
/// kWhole.
RangeChoice ChooseRange(std::string_view header, std::uint64_t size);

/// An HTTP date of the preferred form ("Sun, 04 Oct 2026 15:03:36 GMT"); others give nothing, which
/// makes a condition not hold.
std::optional<UtcTime> ParseHttpDate(std::string_view text);

/// What is said of a file beside its bytes.
struct FileFacts {
  std::string etag;  ///< with its quotes, strong: equal means the same bytes
  UtcTime last_modified;
  std::string content_type;
};

/// The answer to a GET or HEAD for a file: 200, 206, 304, 412 or 416 by RFC 9110 sections 13
/// and 14. Other methods give 405.
Reply ServeFile(const Request& request, std::shared_ptr<const File> file, std::uint64_t size_bytes,
                const FileFacts& facts);

/// "application/octet-stream" for update payloads, as the real server says of them; types of texts
/// and pictures by extension (without dot, any case).
std::string_view MimeType(std::string_view extension);

}  // namespace gapferry::server
