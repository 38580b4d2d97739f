#include "protocol/cabinet.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/core.h>

#include <memory>
#include <string_view>

#include "base/text.h"

namespace gapferry::protocol {

namespace {

constexpr std::string_view kMemberName = "blob";

struct ArchiveDeleter {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using ArchiveRead = std::unique_ptr<archive, ArchiveDeleter>;

std::unexpected<Error> FailArchive(archive* reader, std::string_view what) {
  const char* text = archive_error_string(reader);
  return Fail(ErrorCode::kCorrupt,
              fmt::format("metadata cabinet: {}: {}", what,
                          EscapeForDisplay(text == nullptr ? "unknown error" : text)));
}

// UTF-16LE in, UTF-8 out; a unit or a pair cut by the end of a piece waits for the next one.
class Utf16Converter {
 public:
  Utf16Converter(Sink& out, std::uint64_t limit_bytes) : out_(out), limit_bytes_(limit_bytes) {}

  Result<void> Write(ByteView piece) {
    rest_.insert(rest_.end(), piece.begin(), piece.end());
    std::size_t usable = rest_.size() & ~std::size_t{1};
    if (usable >= 2 && (rest_[usable - 1] & 0xFC) == 0xD8) usable -= 2;
    TRY(Convert(usable));
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(usable));
    return {};
  }

  Result<std::uint64_t> Finish() {
    if (!rest_.empty()) {
      return Fail(ErrorCode::kCorrupt, "metadata cabinet: the text ends inside a character");
    }
    return written_;
  }

 private:
  Result<void> Convert(std::size_t size) {
    TRY_ASSIGN(const std::string text, Utf16LeToUtf8(ByteView(rest_).first(size)),
               "metadata cabinet");
    written_ += text.size();
    if (written_ > limit_bytes_) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("metadata cabinet: the text is larger than {} bytes", limit_bytes_));
    }
    return text.empty() ? Result<void>() : out_.Write(AsBytes(text));
  }

  Sink& out_;
  const std::uint64_t limit_bytes_;
  std::uint64_t written_ = 0;
  Bytes rest_;
};

Result<ArchiveRead> OpenCabinet(ByteView cabinet) {
  ArchiveRead reader(archive_read_new());
  if (!reader) return Fail(ErrorCode::kInternal, "metadata cabinet: out of memory");
  if (archive_read_support_format_cab(reader.get()) != ARCHIVE_OK ||
      archive_read_open_memory(reader.get(), cabinet.data(), cabinet.size()) != ARCHIVE_OK) {
    return FailArchive(reader.get(), "cannot be opened");
  }
  return reader;
}

Result<void> OpenMember(archive* reader) {
  archive_entry* entry = nullptr;
  if (archive_read_next_header(reader, &entry) != ARCHIVE_OK) {
    return FailArchive(reader, "has no readable member");
  }
  const char* name = archive_entry_pathname(entry);
  if (name == nullptr || name != kMemberName || archive_entry_filetype(entry) != AE_IFREG) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("metadata cabinet: member '{}', expected '{}'",
                            EscapeForDisplay(name == nullptr ? "" : name, 60), kMemberName));
  }
  return {};
}

Result<void> ReadMember(archive* reader, Utf16Converter& text) {
  std::uint64_t position = 0;
  for (;;) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(reader, &block, &size, &offset);
    if (status == ARCHIVE_EOF) return {};
    // A warning means that the data are not what the cabinet says they are.
    if (status != ARCHIVE_OK) return FailArchive(reader, "is damaged");
    if (static_cast<std::uint64_t>(offset) != position) {
      return Fail(ErrorCode::kCorrupt, "metadata cabinet: has a hole");
    }
    TRY(text.Write({static_cast<const std::uint8_t*>(block), size}));
    position += size;
  }
}

}  // namespace

Result<std::uint64_t> DecodeMetadataCabinet(ByteView cabinet, Sink& text,
                                            std::uint64_t limit_bytes) {
  TRY_ASSIGN(const ArchiveRead reader, OpenCabinet(cabinet));
  TRY(OpenMember(reader.get()));
  Utf16Converter converter(text, limit_bytes);
  TRY(ReadMember(reader.get(), converter));
  archive_entry* second = nullptr;
  if (archive_read_next_header(reader.get(), &second) != ARCHIVE_EOF) {
    return Fail(ErrorCode::kCorrupt, "metadata cabinet: has more than one member");
  }
  return converter.Finish();
}

Result<std::string> DecodeMetadataCabinet(ByteView cabinet, std::uint64_t limit_bytes) {
  struct StringSink : Sink {
    Result<void> Write(ByteView bytes) override {
      text.append(AsText(bytes));
      return {};
    }
    std::string text;
  } sink;
  TRY(DecodeMetadataCabinet(cabinet, sink, limit_bytes));
  return std::move(sink.text);
}

}  // namespace gapferry::protocol
