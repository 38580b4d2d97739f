#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry::protocol {

/// XML-escaped text that is kept already framed in xpress blocks (protocol/xpress.h), so that a
/// fragment of 47 MB is sent without being compressed, or held whole, again. Thread-compatible.
class PreparedText {
 public:
  virtual ~PreparedText() = default;
  virtual std::uint64_t encoded_bytes() const = 0;  ///< xpress blocks, as stored
  virtual std::uint64_t decoded_bytes() const = 0;  ///< escaped text
  /// The blocks, front to back, in pieces of the reader's size. The source may outlive this object.
  virtual Result<std::unique_ptr<Source>> OpenEncoded() const = 0;
  /// The blocks when they are in memory anyway, as long as this object; else nothing.
  virtual ByteView InMemory() const { return {}; }
};

/// Keeps xpress blocks in memory; `decoded_bytes` is what they decode to.
std::shared_ptr<const PreparedText> PrepareInMemory(std::string blocks,
                                                    std::uint64_t decoded_bytes);

/// Bytes too large to be held: a document or a cabinet. Thread-compatible.
class StoredBytes {
 public:
  virtual ~StoredBytes() = default;
  virtual std::uint64_t size_bytes() const = 0;
  virtual Result<std::unique_ptr<Source>> Open() const = 0;
  /// What is in memory as long as this object is.
  virtual std::uint64_t held_bytes() const { return 0; }
  /// The bytes when they are in memory anyway, as long as this object; else nothing.
  virtual ByteView InMemory() const { return {}; }
};

/// StoredBytes in memory.
std::shared_ptr<const StoredBytes> StoreInMemory(Bytes bytes);

/// How stored bytes appear in the body.
enum class Rendering {
  kEscapedText,
  kBase64,
  kMarkup,  ///< as they are
};

struct StoredPiece {
  std::shared_ptr<const StoredBytes> bytes;
  Rendering rendering = Rendering::kEscapedText;
};

using AnswerPiece = std::variant<std::string, std::shared_ptr<const PreparedText>, StoredPiece>;

/// The body of one answer as a list of pieces, in order. Copying copies literal bytes and shares
/// the rest. Not thread-safe.
class AnswerBody {
 public:
  AnswerBody() = default;
  explicit AnswerBody(std::string literal) { Append(std::move(literal)); }

  void Append(std::string literal);
  void Append(std::shared_ptr<const PreparedText> text);
  void Append(StoredPiece piece);
  void AppendPiece(AnswerPiece piece);

  const std::vector<AnswerPiece>& pieces() const { return pieces_; }
  std::vector<AnswerPiece> TakePieces() && { return std::move(pieces_); }
  /// What the body keeps in memory.
  std::uint64_t HeldBytes() const;
  /// Size as identity; nothing when a piece must be read to know it (escaped stored text).
  std::optional<std::uint64_t> DecodedBytes() const;

 private:
  std::vector<AnswerPiece> pieces_;
};

enum class ContentEncoding { kIdentity, kXpress };

/// Bytes as they go over the wire, and what keeps them alive.
struct SharedPiece {
  std::shared_ptr<const void> owner;
  ByteView bytes;
};

/// A body that is wholly in memory, as it goes over the wire: what is prepared is shared, not
/// copied; with kXpress the literal runs between are compressed. Nothing, and `body` as it was,
/// when a piece has to be read or coded otherwise: then an AnswerSource streams it.
std::optional<std::vector<SharedPiece>> ShareBody(AnswerBody& body, ContentEncoding encoding);

/// Streams a body as it goes over the wire. Holds one block at a time beside the literal pieces.
class AnswerSource : public Source {
 public:
  /// Takes the body. With kXpress the literal runs between prepared pieces are compressed at once
  /// (so that size_bytes is known), stored pieces while they are read.
  static Result<std::unique_ptr<AnswerSource>> Create(AnswerBody body, ContentEncoding encoding);
  ~AnswerSource() override;

  Result<std::size_t> Read(std::span<std::uint8_t> out) override;
  /// Bytes that all reads will give; nothing when not known before (then send chunked).
  std::optional<std::uint64_t> size_bytes() const;

 private:
  struct Impl;
  explicit AnswerSource(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The whole body as identity, for tests and small answers; kCorrupt beyond `limit_bytes`.
Result<std::string> Flatten(const AnswerBody& body, std::uint64_t limit_bytes);

/// Undoes Content-Encoding of a received body: "" or "identity" gives it back, "xpress" decodes it,
/// others are kUnsupported. Fails with kCorrupt beyond `limit_bytes`.
Result<std::string> DecodeContent(Bytes body, std::string_view content_encoding,
                                  std::uint64_t limit_bytes);

}  // namespace gapferry::protocol
