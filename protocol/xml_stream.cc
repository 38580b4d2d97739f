#include "protocol/xml_stream.h"

#include <expat.h>
#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/text.h"

namespace gapferry::protocol {

namespace {

constexpr std::size_t kFeedBytes = 64 << 10;
constexpr std::size_t kMaxDeclarations = 4096;  // in scope at once
constexpr std::string_view kXmlNamespace = "http://www.w3.org/XML/1998/namespace";

struct Declaration {
  std::size_t depth;
  std::string prefix;
  std::string uri;
};

struct SplitName {
  std::string_view prefix;
  std::string_view local;
};

SplitName SplitQualified(std::string_view name) {
  const std::size_t colon = name.find(':');
  if (colon == std::string_view::npos) return {{}, name};
  return {name.substr(0, colon), name.substr(colon + 1)};
}

}  // namespace

const std::string_view* XmlElement::Find(std::string_view attribute) const {
  for (const XmlAttribute& candidate : attributes) {
    if (candidate.prefix.empty() && candidate.name == attribute) return &candidate.value;
  }
  return nullptr;
}

struct XmlStream::Impl {
  Impl(XmlHandler& h, const XmlStreamLimits& l)
      : handler(h), limits(l), parser(XML_ParserCreate("UTF-8")) {
    if (parser == nullptr) throw std::bad_alloc();
    XML_SetUserData(parser, this);
    XML_SetElementHandler(
        parser,
        [](void* self, const XML_Char* name, const XML_Char** attributes) {
          static_cast<Impl*>(self)->OnStart(name, attributes);
        },
        [](void* self, const XML_Char* name) { static_cast<Impl*>(self)->OnEnd(name); });
    XML_SetCharacterDataHandler(parser, [](void* self, const XML_Char* text, int size) {
      auto* impl = static_cast<Impl*>(self);
      if (!impl->error) {
        impl->Check(impl->handler.Text({text, static_cast<std::size_t>(size)}));
      }
    });
    XML_SetStartDoctypeDeclHandler(
        parser, [](void* self, const XML_Char*, const XML_Char*, const XML_Char*, int) {
          static_cast<Impl*>(self)->Refuse("document type declarations are not accepted");
        });
  }
  ~Impl() { XML_ParserFree(parser); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // The first failure wins; expat is told to stop, and calls that still arrive are dropped.
  void Check(Result<void> result) {
    if (result || error) return;
    error = std::move(result).error();
    XML_StopParser(parser, XML_FALSE);
  }
  void Refuse(std::string_view what) {
    Check(Fail(ErrorCode::kCorrupt, Where() + std::string(what)));
  }

  std::string Where() const {
    return fmt::format("line {}, column {}: ", XML_GetCurrentLineNumber(parser),
                       XML_GetCurrentColumnNumber(parser));
  }

  // Reads the attributes into `kept` and opens the declarations of this element.
  bool ReadAttributes(const XML_Char** attributes) {
    kept.clear();
    for (std::size_t i = 0; attributes[i] != nullptr; i += 2) {
      if (i / 2 >= limits.attributes) {
        Refuse(fmt::format("more than {} attributes in one element", limits.attributes));
        return false;
      }
      const std::string_view raw = attributes[i];
      const std::string_view value = attributes[i + 1];
      const SplitName name = SplitQualified(raw);
      if (raw != "xmlns" && name.prefix != "xmlns") {
        kept.push_back({name.prefix, name.local, value});
        continue;
      }
      if (value.size() > limits.namespace_bytes || scope.size() >= kMaxDeclarations) {
        Refuse("too many or too long namespace declarations");
        return false;
      }
      if (raw == "xmlns") kept.push_back({{}, "xmlns", value});
      scope.push_back({depth, std::string(raw == "xmlns" ? "" : name.local), std::string(value)});
    }
    return true;
  }

  std::optional<std::string_view> Resolve(std::string_view prefix) const {
    for (auto it = scope.rbegin(); it != scope.rend(); ++it) {
      if (it->prefix == prefix) return it->uri;
    }
    if (prefix.empty()) return std::string_view();
    if (prefix == "xml") return kXmlNamespace;
    return std::nullopt;
  }

  void OnStart(std::string_view raw, const XML_Char** attributes) {
    if (error) return;
    if (++depth > limits.depth) return Refuse(fmt::format("more than {} levels", limits.depth));
    if (raw.size() > limits.name_bytes) return Refuse("an element's name is too long");
    if (!ReadAttributes(attributes)) return;
    const SplitName name = SplitQualified(raw);
    const auto ns = Resolve(name.prefix);
    if (!ns) return RefusePrefix(name.prefix);
    for (const XmlAttribute& attribute : kept) {
      if (attribute.name.size() > limits.name_bytes)
        return Refuse("an attribute's name is too long");
      if (!attribute.prefix.empty() && !Resolve(attribute.prefix)) {
        return RefusePrefix(attribute.prefix);
      }
    }
    Check(handler.Start({*ns, name.local, kept}));
  }

  void RefusePrefix(std::string_view prefix) {
    Refuse(fmt::format("prefix '{}' is not declared", EscapeForDisplay(prefix, 60)));
  }

  void OnEnd(std::string_view raw) {
    if (error) return;
    const SplitName name = SplitQualified(raw);
    Check(handler.End({Resolve(name.prefix).value_or(std::string_view()), name.local, {}}));
    while (!scope.empty() && scope.back().depth == depth) scope.pop_back();
    --depth;
  }

  Result<void> Parse(std::string_view piece, bool is_final) {
    if (error) return std::unexpected(*error);
    const auto status =
        XML_Parse(parser, piece.data(), static_cast<int>(piece.size()), is_final ? 1 : 0);
    if (error) return std::unexpected(*error);
    if (status != XML_STATUS_OK) {
      Refuse(fmt::format("not well-formed: {}", XML_ErrorString(XML_GetErrorCode(parser))));
      return std::unexpected(*error);
    }
    fed += piece.size();
    // What expat holds back is one unfinished tag: bounded here, since it has no bound of its own.
    const auto done =
        static_cast<std::uint64_t>(std::max<XML_Index>(0, XML_GetCurrentByteIndex(parser)));
    if (!is_final && fed - std::min(fed, done) > limits.token_bytes) {
      Refuse(fmt::format("one tag is longer than {} bytes", limits.token_bytes));
      return std::unexpected(*error);
    }
    return {};
  }

  XmlHandler& handler;
  const XmlStreamLimits limits;
  XML_Parser parser;
  std::vector<Declaration> scope;
  std::vector<XmlAttribute> kept;
  std::size_t depth = 0;
  std::uint64_t fed = 0;
  std::optional<Error> error;
};

XmlStream::XmlStream(XmlHandler& handler, const XmlStreamLimits& limits)
    : impl_(std::make_unique<Impl>(handler, limits)) {}
XmlStream::~XmlStream() = default;
XmlStream::XmlStream(XmlStream&&) noexcept = default;

Result<void> XmlStream::Feed(std::string_view utf8) {
  while (!utf8.empty()) {
    const std::string_view piece = utf8.substr(0, kFeedBytes);
    if (impl_->fed + piece.size() > impl_->limits.document_bytes) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("document is larger than {} bytes", impl_->limits.document_bytes));
    }
    TRY(impl_->Parse(piece, /*is_final=*/false));
    utf8.remove_prefix(piece.size());
  }
  return {};
}

Result<void> XmlStream::Finish() { return impl_->Parse({}, /*is_final=*/true); }

}  // namespace gapferry::protocol
