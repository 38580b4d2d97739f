#include "protocol/answer_body.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "protocol/xml_writer.h"
#include "protocol/xpress.h"

namespace gapferry::protocol {
namespace {

class MemoryBytes : public StoredBytes {
 public:
  explicit MemoryBytes(Bytes bytes) : bytes_(std::make_shared<const Bytes>(std::move(bytes))) {}
  std::uint64_t size_bytes() const override { return bytes_->size(); }
  std::uint64_t held_bytes() const override { return bytes_->size(); }
  Result<std::unique_ptr<Source>> Open() const override {
    return std::unique_ptr<Source>(std::make_unique<Reader>(bytes_));
  }
  ByteView InMemory() const override { return *bytes_; }

 private:
  class Reader : public Source {
   public:
    explicit Reader(std::shared_ptr<const Bytes> bytes) : bytes_(std::move(bytes)) {}
    Result<std::size_t> Read(std::span<std::uint8_t> out) override {
      const std::size_t n = std::min(out.size(), bytes_->size() - used_);
      if (n > 0) std::memcpy(out.data(), bytes_->data() + used_, n);
      used_ += n;
      return n;
    }

   private:
    std::shared_ptr<const Bytes> bytes_;
    std::size_t used_ = 0;
  };

  std::shared_ptr<const Bytes> bytes_;
};

// A source over a string that it shares.
class TextSource : public Source {
 public:
  explicit TextSource(std::shared_ptr<const std::string> text) : text_(std::move(text)) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    const std::size_t n = std::min(out.size(), text_->size() - used_);
    if (n > 0) std::memcpy(out.data(), text_->data() + used_, n);
    used_ += n;
    return n;
  }

 private:
  std::shared_ptr<const std::string> text_;
  std::size_t used_ = 0;
};

class MemoryText : public PreparedText {
 public:
  MemoryText(std::string blocks, std::uint64_t decoded)
      : blocks_(std::make_shared<const std::string>(std::move(blocks))), decoded_(decoded) {}
  std::uint64_t encoded_bytes() const override { return blocks_->size(); }
  std::uint64_t decoded_bytes() const override { return decoded_; }
  Result<std::unique_ptr<Source>> OpenEncoded() const override {
    return std::unique_ptr<Source>(std::make_unique<TextSource>(blocks_));
  }
  ByteView InMemory() const override { return AsBytes(*blocks_); }

 private:
  std::shared_ptr<const std::string> blocks_;
  std::uint64_t decoded_;
};

// Its tables are large: one for all answers of a thread.
XpressEncoder& ThreadEncoder() {
  thread_local XpressEncoder encoder;
  return encoder;
}

// Stored bytes as they appear in the body.
class RenderingSource : public Source {
 public:
  RenderingSource(std::unique_ptr<Source> in, Rendering rendering)
      : in_(std::move(in)), rendering_(rendering) {}

  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    while (used_ == rendered_.size()) {
      TRY_ASSIGN(const bool more, Refill());
      if (!more) return 0;
    }
    const std::size_t n = std::min(out.size(), rendered_.size() - used_);
    std::memcpy(out.data(), rendered_.data() + used_, n);
    used_ += n;
    return n;
  }

 private:
  Result<bool> Refill() {
    // A multiple of three, so that base64 needs no padding before the end.
    std::size_t filled = 0;
    while (filled < raw_.size()) {
      TRY_ASSIGN(const std::size_t n, in_->Read(std::span(raw_).subspan(filled)));
      if (n == 0) break;
      filled += n;
    }
    rendered_.clear();
    used_ = 0;
    const ByteView piece(raw_.data(), filled);
    if (rendering_ == Rendering::kBase64) {
      rendered_ = Base64Encode(piece);
    } else if (rendering_ == Rendering::kMarkup) {
      rendered_ = AsText(piece);
    } else {
      AppendEscapedText(rendered_, AsText(piece));
    }
    return filled > 0;
  }

  std::unique_ptr<Source> in_;
  Rendering rendering_;
  std::array<std::uint8_t, 3 * 4096> raw_{};
  std::string rendered_;
  std::size_t used_ = 0;
};

// Decodes xpress blocks of a source it owns.
class DecodedSource : public Source {
 public:
  explicit DecodedSource(std::unique_ptr<Source> in) : in_(std::move(in)), xpress_(*in_) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override { return xpress_.Read(out); }

 private:
  std::unique_ptr<Source> in_;
  XpressSource xpress_;
};

// Encodes a source into xpress blocks.
class EncodingSource : public Source {
 public:
  explicit EncodingSource(std::unique_ptr<Source> in)
      : in_(std::move(in)), block_(kXpressBlockBytes) {}

  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    if (used_ == encoded_.size()) {
      encoded_.clear();
      used_ = 0;
      std::size_t filled = 0;
      while (filled < block_.size()) {
        TRY_ASSIGN(const std::size_t n, in_->Read(std::span(block_).subspan(filled)));
        if (n == 0) break;
        filled += n;
      }
      if (filled == 0) return 0;
      encoder_.AppendBlock(ByteView(block_.data(), filled), encoded_);
    }
    const std::size_t n = std::min(out.size(), encoded_.size() - used_);
    std::memcpy(out.data(), encoded_.data() + used_, n);
    used_ += n;
    return n;
  }

 private:
  std::unique_ptr<Source> in_;
  Bytes block_;
  XpressEncoder encoder_;
  std::string encoded_;
  std::size_t used_ = 0;
};

std::uint64_t Base64Size(std::uint64_t bytes) { return (bytes + 2) / 3 * 4; }

}  // namespace

std::shared_ptr<const StoredBytes> StoreInMemory(Bytes bytes) {
  return std::make_shared<MemoryBytes>(std::move(bytes));
}

std::shared_ptr<const PreparedText> PrepareInMemory(std::string blocks,
                                                    std::uint64_t decoded_bytes) {
  return std::make_shared<MemoryText>(std::move(blocks), decoded_bytes);
}

void AnswerBody::Append(std::string literal) {
  if (literal.empty()) return;
  if (!pieces_.empty()) {
    if (auto* last = std::get_if<std::string>(&pieces_.back())) {
      *last += literal;
      return;
    }
  }
  pieces_.emplace_back(std::move(literal));
}

void AnswerBody::Append(std::shared_ptr<const PreparedText> text) {
  pieces_.emplace_back(std::move(text));
}

void AnswerBody::Append(StoredPiece piece) { pieces_.emplace_back(std::move(piece)); }

void AnswerBody::AppendPiece(AnswerPiece piece) {
  std::visit([this](auto&& one) { Append(std::forward<decltype(one)>(one)); }, std::move(piece));
}

std::optional<std::uint64_t> AnswerBody::DecodedBytes() const {
  std::uint64_t total = 0;
  for (const AnswerPiece& piece : pieces_) {
    if (const auto* literal = std::get_if<std::string>(&piece)) {
      total += literal->size();
    } else if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
      total += (*prepared)->decoded_bytes();
    } else {
      const auto& stored = std::get<StoredPiece>(piece);
      if (stored.rendering == Rendering::kEscapedText) return std::nullopt;
      const std::uint64_t size = stored.bytes->size_bytes();
      total += stored.rendering == Rendering::kBase64 ? Base64Size(size) : size;
    }
  }
  return total;
}

std::uint64_t AnswerBody::HeldBytes() const {
  std::uint64_t total = 0;
  for (const AnswerPiece& piece : pieces_) {
    if (const auto* literal = std::get_if<std::string>(&piece)) total += literal->size();
    if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
      total += (*prepared)->InMemory().size();
    }
    if (const auto* stored = std::get_if<StoredPiece>(&piece)) total += stored->bytes->held_bytes();
  }
  return total;
}

// ---- Bodies in memory --------------------------------------------------------------------------

namespace {

bool IsShareable(const AnswerPiece& piece, ContentEncoding encoding) {
  if (std::holds_alternative<std::string>(piece)) return true;
  if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
    return encoding == ContentEncoding::kXpress && !(*prepared)->InMemory().empty();
  }
  const auto& stored = std::get<StoredPiece>(piece);
  return encoding == ContentEncoding::kIdentity && stored.rendering == Rendering::kMarkup &&
         !stored.bytes->InMemory().empty();
}

SharedPiece ShareLiteral(std::string literal, ContentEncoding encoding) {
  std::string text;
  if (encoding == ContentEncoding::kXpress) {
    ThreadEncoder().AppendBlocks(AsBytes(literal), text);
  } else {
    text = std::move(literal);
  }
  auto owner = std::make_shared<const std::string>(std::move(text));
  const ByteView bytes = AsBytes(*owner);
  return {std::move(owner), bytes};
}

}  // namespace

std::optional<std::vector<SharedPiece>> ShareBody(AnswerBody& body, ContentEncoding encoding) {
  const bool all = std::ranges::all_of(
      body.pieces(), [encoding](const AnswerPiece& piece) { return IsShareable(piece, encoding); });
  if (!all) return std::nullopt;
  std::vector<SharedPiece> shared;
  shared.reserve(body.pieces().size());
  std::vector<AnswerPiece> pieces = std::move(body).TakePieces();
  for (AnswerPiece& piece : pieces) {
    if (auto* literal = std::get_if<std::string>(&piece)) {
      shared.push_back(ShareLiteral(std::move(*literal), encoding));
    } else if (auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
      const ByteView bytes = (*prepared)->InMemory();
      shared.push_back({std::move(*prepared), bytes});
    } else {
      auto& stored = std::get<StoredPiece>(piece);
      const ByteView bytes = stored.bytes->InMemory();
      shared.push_back({std::move(stored.bytes), bytes});
    }
  }
  return shared;
}

// ---- AnswerSource ------------------------------------------------------------------------------

struct AnswerSource::Impl {
  std::vector<AnswerPiece> pieces;  // literal pieces are encoded already
  ContentEncoding encoding = ContentEncoding::kIdentity;
  std::optional<std::uint64_t> size;
  std::size_t next = 0;
  std::unique_ptr<Source> current;

  Result<std::unique_ptr<Source>> Open(AnswerPiece& piece) const {
    const bool xpress = encoding == ContentEncoding::kXpress;
    if (auto* literal = std::get_if<std::string>(&piece)) {
      return std::unique_ptr<Source>(
          std::make_unique<TextSource>(std::make_shared<const std::string>(std::move(*literal))));
    }
    if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
      TRY_ASSIGN(std::unique_ptr<Source> blocks, (*prepared)->OpenEncoded());
      if (xpress) return blocks;
      return std::unique_ptr<Source>(std::make_unique<DecodedSource>(std::move(blocks)));
    }
    const auto& stored = std::get<StoredPiece>(piece);
    TRY_ASSIGN(std::unique_ptr<Source> raw, stored.bytes->Open());
    auto rendered = std::make_unique<RenderingSource>(std::move(raw), stored.rendering);
    if (!xpress) return std::unique_ptr<Source>(std::move(rendered));
    return std::unique_ptr<Source>(std::make_unique<EncodingSource>(std::move(rendered)));
  }
};

AnswerSource::AnswerSource(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AnswerSource::~AnswerSource() = default;

Result<std::unique_ptr<AnswerSource>> AnswerSource::Create(AnswerBody body,
                                                           ContentEncoding encoding) {
  auto impl = std::make_unique<Impl>();
  impl->encoding = encoding;
  if (encoding == ContentEncoding::kIdentity) impl->size = body.DecodedBytes();
  impl->pieces = std::move(body).TakePieces();
  if (encoding == ContentEncoding::kXpress) {
    XpressEncoder& encoder = ThreadEncoder();
    std::uint64_t total = 0;
    bool known = true;
    for (AnswerPiece& piece : impl->pieces) {
      if (auto* literal = std::get_if<std::string>(&piece)) {
        std::string encoded;
        encoder.AppendBlocks(AsBytes(*literal), encoded);
        total += encoded.size();
        *literal = std::move(encoded);
      } else if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&piece)) {
        total += (*prepared)->encoded_bytes();
      } else {
        known = false;
      }
    }
    if (known) impl->size = total;
  }
  return std::unique_ptr<AnswerSource>(new AnswerSource(std::move(impl)));
}

Result<std::size_t> AnswerSource::Read(std::span<std::uint8_t> out) {
  if (out.empty()) return 0;
  while (true) {
    if (!impl_->current) {
      if (impl_->next == impl_->pieces.size()) return 0;
      TRY_ASSIGN(impl_->current, impl_->Open(impl_->pieces[impl_->next++]));
    }
    TRY_ASSIGN(const std::size_t n, impl_->current->Read(out));
    if (n > 0) return n;
    impl_->current.reset();
  }
}

std::optional<std::uint64_t> AnswerSource::size_bytes() const { return impl_->size; }

Result<std::string> Flatten(const AnswerBody& body, std::uint64_t limit_bytes) {
  TRY_ASSIGN(const auto source, AnswerSource::Create(body, ContentEncoding::kIdentity));
  MemorySink sink(limit_bytes);
  TRY(Copy(*source, sink, limit_bytes));
  return std::string(AsText(sink.bytes()));
}

Result<std::string> DecodeContent(Bytes body, std::string_view content_encoding,
                                  std::uint64_t limit_bytes) {
  const std::string coding = ToLowerAscii(TrimAscii(content_encoding));
  if (coding == "xpress") return XpressDecode(body, limit_bytes);
  if (!coding.empty() && coding != "identity") {
    return Fail(ErrorCode::kUnsupported, "content-encoding",
                "answer: content encoding '" + EscapeForDisplay(coding) + "' is not supported");
  }
  if (body.size() > limit_bytes) {
    return Fail(ErrorCode::kCorrupt, "answer-too-large",
                "answer: " + std::to_string(body.size()) + " bytes, at most " +
                    std::to_string(limit_bytes) + " are allowed");
  }
  return std::string(AsText(body));
}

}  // namespace gapferry::protocol
