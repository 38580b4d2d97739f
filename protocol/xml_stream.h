#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gapferry::protocol {

/// An attribute as written, in document order. Declarations of prefixes are consumed by the reader;
/// a default-namespace declaration appears as the attribute "xmlns".
struct XmlAttribute {
  std::string_view prefix;  ///< empty for most, declared otherwise
  std::string_view name;    ///< without its prefix
  std::string_view value;   ///< references resolved
};

/// A start or end tag with its namespace resolved; views live for the call only.
struct XmlElement {
  std::string_view ns;    ///< URI, empty where no default is in scope
  std::string_view name;  ///< without its prefix
  std::span<const XmlAttribute> attributes;

  /// The value of an attribute without prefix, null when absent.
  const std::string_view* Find(std::string_view attribute) const;
};

/// What the reader calls, in document order. Text comes in pieces. An error ends the parse.
class XmlHandler {
 public:
  virtual ~XmlHandler() = default;
  virtual Result<void> Start(const XmlElement& element) = 0;
  virtual Result<void> End(const XmlElement& element) = 0;  ///< without attributes
  virtual Result<void> Text(std::string_view text) = 0;
};

struct XmlStreamLimits {
  std::uint64_t document_bytes = 256ULL << 20;
  std::size_t token_bytes = 4U << 20;
  std::size_t depth = 256;
  std::size_t attributes = 256;
  std::size_t name_bytes = 512;
  std::size_t namespace_bytes = 1024;
};

/// A pull-free, namespace-aware XML reader over expat for documents of any size: UTF-8 only, no
/// document type declaration, no external anything, every count bounded. Names are matched by
/// namespace URI in scope. Not thread-safe; `handler` must outlive it.
class XmlStream {
 public:
  XmlStream(XmlHandler& handler, const XmlStreamLimits& limits);
  ~XmlStream();
  XmlStream(XmlStream&&) noexcept;

  /// Fails with kCorrupt, naming line and column, on text that is not well-formed or breaks a
  /// limit; and with whatever the handler returned. Unusable afterwards.
  Result<void> Feed(std::string_view utf8);
  Result<void> Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::protocol
