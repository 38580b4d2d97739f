#include "mirror/exchange/record_reader.h"

#include <algorithm>

namespace gapferry::mirror::exchange {
namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;

std::unexpected<Error> Malformed(std::uint64_t line, const std::string& problem) {
  return Fail(ErrorCode::kCorrupt, "record-malformed",
              "line " + std::to_string(line) + ": " + problem);
}

}  // namespace

Result<bool> RecordReader::Fill() {
  if (at_ < buffer_.size()) return true;
  buffer_.resize(kBufferBytes);
  at_ = 0;
  auto count = source_.Read(buffer_);
  buffer_.resize(count ? *count : 0);
  if (!count) return std::unexpected(std::move(count.error()));
  return !buffer_.empty();
}

Result<std::optional<std::string>> RecordReader::Line(std::size_t max_bytes) {
  std::string line;
  for (;;) {
    TRY_ASSIGN(const bool more, Fill());
    if (!more) {
      if (line.empty()) return std::optional<std::string>();
      return Malformed(lines_ + 1, "the line does not end");
    }
    const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at_);
    const auto end = std::find(begin, buffer_.end(), std::uint8_t{'\n'});
    if (line.size() + static_cast<std::size_t>(end - begin) > max_bytes) {
      return Malformed(lines_ + 1, "longer than " + std::to_string(max_bytes) + " bytes");
    }
    line.append(begin, end);
    at_ = static_cast<std::size_t>(end - buffer_.begin());
    if (end == buffer_.end()) continue;
    ++at_;
    ++lines_;
    return std::optional(std::move(line));
  }
}

Result<Bytes> RecordReader::Take(std::uint64_t count) {
  Bytes out;
  while (out.size() < count) {
    TRY_ASSIGN(const bool more, Fill());
    if (!more) return Malformed(lines_, "the bytes behind it end early");
    const std::size_t now =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size() - at_, count - out.size()));
    const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at_);
    out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(now));
    at_ += now;
  }
  return out;
}

}  // namespace gapferry::mirror::exchange
