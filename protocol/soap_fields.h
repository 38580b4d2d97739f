#pragma once

// Internal to the codecs: one description of a message's fields serves both directions.
//
//   template <class Io> void Fields(Io& io, Ref<Io, Cookie> cookie) {
//     io.Value("Expiration", cookie.expiration);
//     io.NonEmpty("EncryptedData", cookie.encrypted_data);
//   }
//
// With FieldReader the members are filled, with FieldWriter they are written in the order given.

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "protocol/answer_body.h"
#include "protocol/common_messages.h"
#include "protocol/soap.h"
#include "protocol/soap_codec.h"
#include "protocol/xml_writer.h"

namespace gapferry::protocol {

template <class Io, class T>
using Ref = std::conditional_t<Io::kReads, T&, const T&>;

/// A date without time on the wire.
struct DateOnly {
  UtcTime time;
};

// ---- Scalars: false when `text` is none -----------------------------------------------------
bool ParseScalar(std::string_view text, std::string& out);
bool ParseScalar(std::string_view text, bool& out);
bool ParseScalar(std::string_view text, std::int32_t& out);
bool ParseScalar(std::string_view text, std::int64_t& out);
bool ParseScalar(std::string_view text, UtcTime& out);
bool ParseScalar(std::string_view text, DateOnly& out);
bool ParseScalar(std::string_view text, Guid& out);
bool ParseScalar(std::string_view text, Bytes& out);
bool ParseScalar(std::string_view text, Sha1Digest& out);
std::string FormatScalar(const std::string& value);
std::string FormatScalar(bool value);
std::string FormatScalar(std::int32_t value);
std::string FormatScalar(std::int64_t value);
std::string FormatScalar(const UtcTime& value);
std::string FormatScalar(const DateOnly& value);
std::string FormatScalar(const Guid& value);
std::string FormatScalar(const Bytes& value);
std::string FormatScalar(const Sha1Digest& value);

template <class T>
concept Scalar = requires(T& value, const T& constant) {
  { ParseScalar(std::string_view(), value) } -> std::same_as<bool>;
  { FormatScalar(constant) } -> std::same_as<std::string>;
};

enum class EmptyList { kOmit, kWrite };

/// A node of a parsed message; the parser's type stays in soap.cc.
struct NodeRef {
  void* node = nullptr;
  explicit operator bool() const { return node != nullptr; }
};
NodeRef BodyElement(const SoapMessage& message);
std::string_view LocalName(NodeRef element);
NodeRef FirstElement(NodeRef parent);
NodeRef NextElement(NodeRef element);
std::string ElementText(NodeRef element);
/// The numbers of the elements <int> that begin with `element`, when they were read as one run;
/// the tree has only the first of them then.
std::span<const std::int32_t> RunAt(const SoapMessage& message, NodeRef element);
std::optional<std::string> AttributeText(NodeRef element, std::string_view name);
bool IsNil(NodeRef element);

class FieldReader {
 public:
  static constexpr bool kReads = true;
  /// `message` must outlive the reader.
  explicit FieldReader(const SoapMessage& message);

  /// The first error met; what was read after it is meaningless.
  Result<void> Finish() &&;

  template <Scalar T>
  void Value(std::string_view name, T& value) {
    if (const NodeRef child = Required(name)) ReadScalar(child, name, value);
  }
  /// Present in what we write, tolerated when missing.
  template <Scalar T>
  void Lenient(std::string_view name, T& value) {
    const NodeRef child = Child(name);
    if (child && !IsNil(child)) ReadScalar(child, name, value);
  }
  template <Scalar T>
  void NonEmpty(std::string_view name, T& value) {
    Lenient(name, value);
  }
  template <Scalar T>
  void Optional(std::string_view name, std::optional<T>& value) {
    const NodeRef child = Child(name);
    if (child && !IsNil(child)) ReadScalar(child, name, value.emplace());
  }
  /// As Optional; what cannot be read is not shown.
  template <Scalar T>
  void Secret(std::string_view name, std::optional<T>& value) {
    const NodeRef child = Child(name);
    if (!child || IsNil(child)) return;
    if (!ParseScalar(ElementText(child), value.emplace())) Complain(name, "unexpected value");
  }
  template <Scalar T>
  void Attribute(std::string_view name, T& value) {
    ReadAttribute(name, value, /*required=*/true);
  }
  template <Scalar T>
  void LenientAttribute(std::string_view name, T& value) {
    ReadAttribute(name, value, /*required=*/false);
  }
  template <class T>
  void Struct(std::string_view name, T& value) {
    if (const NodeRef child = Required(name)) Inside(child, name, [&] { Fields(*this, value); });
  }
  template <class T>
  void LenientStruct(std::string_view name, T& value) {
    const NodeRef child = Child(name);
    if (child && !IsNil(child)) Inside(child, name, [&] { Fields(*this, value); });
  }
  template <class T>
  void OptionalStruct(std::string_view name, std::optional<T>& value) {
    const NodeRef child = Child(name);
    if (child && !IsNil(child)) {
      Inside(child, name, [&] { Fields(*this, value.emplace()); });
    }
  }
  template <class Function>
  void Group(std::string_view name, Function function) {
    if (const NodeRef child = Required(name)) Inside(child, name, function);
  }
  template <class Function>
  void LenientGroup(std::string_view name, bool& present, Function function) {
    const NodeRef child = Child(name);
    present = child && !IsNil(child);
    if (present) Inside(child, name, function);
  }
  template <class T>
  void List(std::string_view name, std::string_view item, std::vector<T>& values, EmptyList) {
    const NodeRef child = Child(name);
    if (child) Inside(child, name, [&] { Items(item, values); });
  }
  void Text(std::string_view name, TextValue& value) {
    if (const NodeRef child = Required(name)) value = PlainText{ElementText(child)};
  }
  void OptionalText(std::string_view name, std::optional<TextValue>& value) {
    const NodeRef child = Child(name);
    if (child && !IsNil(child)) value = PlainText{ElementText(child)};
  }
  void OptionalStored(std::string_view name, std::shared_ptr<const StoredBytes>& value);
  bool Has(std::string_view name) { return static_cast<bool>(Child(name)); }

 private:
  NodeRef Child(std::string_view name);
  NodeRef Required(std::string_view name);
  void Complain(std::string_view name, std::string_view what);
  void ComplainValue(std::string_view name, std::string_view text);

  template <class T>
  void ReadScalar(NodeRef node, std::string_view name, T& value) {
    const std::string text = ElementText(node);
    if (!ParseScalar(text, value)) ComplainValue(name, text);
  }
  template <class T>
  void ReadAttribute(std::string_view name, T& value, bool required) {
    const std::optional<std::string> text = AttributeText(element_, name);
    if (!text) {
      if (required) Complain(name, "attribute missing");
    } else if (!ParseScalar(*text, value)) {
      ComplainValue(name, *text);
    }
  }
  template <class T>
  void Items(std::string_view item, std::vector<T>& values) {
    for (NodeRef node = FirstElement(element_); node; node = NextElement(node)) {
      if (failed_ || LocalName(node) != item || IsNil(node)) continue;
      if constexpr (std::same_as<T, std::int32_t>) {
        const std::span<const std::int32_t> run = RunAt(message_, node);
        if (values.size() + run.size() > kMaxArrayItems) return Complain(item, "too many items");
        values.insert(values.end(), run.begin(), run.end());
        if (!run.empty()) continue;
      }
      if (values.size() == kMaxArrayItems) return Complain(item, "too many items");
      if constexpr (Scalar<T>) {
        ReadScalar(node, item, values.emplace_back());
      } else {
        Inside(node, item, [&] { Fields(*this, values.emplace_back()); });
      }
    }
  }
  template <class Function>
  void Inside(NodeRef node, std::string_view name, Function function) {
    if (failed_) return;
    const NodeRef outer = std::exchange(element_, node);
    path_.push_back(name);
    function();
    if (!failed_) path_.pop_back();  // an error keeps the path to where it happened
    element_ = outer;
  }

  const SoapMessage& message_;
  NodeRef element_;
  std::vector<std::string_view> path_;
  bool failed_ = false;
  std::string complaint_;
};

class FieldWriter {
 public:
  static constexpr bool kReads = false;
  FieldWriter(AnswerBody& body, EmptyElement empty) : body_(body), xml_(buffer_, empty) {}

  XmlWriter& xml() { return xml_; }
  /// Hands what is buffered to the body.
  void Finish() { FlushLiteral(); }

  template <Scalar T>
  void Value(std::string_view name, const T& value) {
    xml_.Element(name, FormatScalar(value));
  }
  template <Scalar T>
  void Lenient(std::string_view name, const T& value) {
    Value(name, value);
  }
  template <Scalar T>
  void NonEmpty(std::string_view name, const T& value) {
    if (!value.empty()) Value(name, value);
  }
  template <Scalar T>
  void Optional(std::string_view name, const std::optional<T>& value) {
    if (value) Value(name, *value);
  }
  template <Scalar T>
  void Secret(std::string_view name, const std::optional<T>& value) {
    Optional(name, value);
  }
  template <Scalar T>
  void Attribute(std::string_view name, const T& value) {
    xml_.Attribute(name, FormatScalar(value));
  }
  template <Scalar T>
  void LenientAttribute(std::string_view name, const T& value) {
    Attribute(name, value);
  }
  template <class T>
  void Struct(std::string_view name, const T& value) {
    Group(name, [&] { Fields(*this, value); });
  }
  template <class T>
  void LenientStruct(std::string_view name, const T& value) {
    Struct(name, value);
  }
  template <class T>
  void OptionalStruct(std::string_view name, const std::optional<T>& value) {
    if (value) Struct(name, *value);
  }
  template <class Function>
  void Group(std::string_view name, Function function) {
    xml_.Open(name);
    function();
    xml_.Close();
  }
  template <class Function>
  void LenientGroup(std::string_view name, const bool& present, Function function) {
    if (present) Group(name, function);
  }
  template <class T>
  void List(std::string_view name, std::string_view item, const std::vector<T>& values,
            EmptyList empty) {
    if (values.empty() && empty == EmptyList::kOmit) return;
    Group(name, [&] {
      for (const auto& value : values) {
        if constexpr (Scalar<T>) {
          Value(item, static_cast<const T&>(value));
        } else {
          Struct(item, value);
        }
      }
    });
  }
  void Text(std::string_view name, const TextValue& value);
  void OptionalText(std::string_view name, const std::optional<TextValue>& value) {
    if (value) Text(name, *value);
  }
  void OptionalStored(std::string_view name, const std::shared_ptr<const StoredBytes>& value);
  /// An element whose content is that markup.
  void Markup(std::string_view name, std::shared_ptr<const StoredBytes> markup);
  /// Markup that was written before, as content of the open element.
  void Pieces(const std::vector<AnswerPiece>& pieces);

 private:
  void FlushLiteral();

  AnswerBody& body_;
  std::string buffer_;
  XmlWriter xml_;
};

void OpenEnvelope(XmlWriter& xml, std::string& out, SoapStyle style, SoapVersion version);
EmptyElement EmptyElementOf(SoapStyle style);
Result<void> CheckName(const SoapMessage& message, const MessageName& expected);
AnswerBody WriteEnvelope(const MessageName& name, SoapVersion version,
                         void (*write)(FieldWriter&, const void*), const void* message);
/// All pieces must be literal.
std::string JoinLiterals(const AnswerBody& body);

// ---- Types of several services ---------------------------------------------------------------
template <class Io>
void Fields(Io& io, Ref<Io, Cookie> m) {
  io.Lenient("Expiration", m.expiration);
  if constexpr (!Io::kReads) {
    // The dummy cookie of rollups has the element, without content (MS-WSUSSS 3.2.4.5); an agent's
    // first oldCookie has none.
    if (m.expiration == kEndOfTime) return io.Value("EncryptedData", m.encrypted_data);
  }
  io.NonEmpty("EncryptedData", m.encrypted_data);
}
template <class Io>
void Fields(Io& io, Ref<Io, AuthorizationCookie> m) {
  io.Lenient("PlugInId", m.plug_in_id);
  io.Lenient("CookieData", m.cookie_data);
}
template <class Io>
void Fields(Io& io, Ref<Io, AuthPlugIn> m) {
  io.Lenient("PlugInID", m.plug_in_id);
  io.Lenient("ServiceUrl", m.service_url);
  io.Lenient("Parameter", m.parameter);
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateId> m) {
  io.Value("UpdateID", m.guid);
  io.Value("RevisionNumber", m.revision);
}

}  // namespace gapferry::protocol

/// Instantiates the functions of soap_codec.h for one message.
#define GAPFERRY_SOAP_MESSAGE(Message, name_space, element, style)              \
  template <>                                                                   \
  MessageName NameOf<Message>() {                                               \
    return {name_space, element, style};                                        \
  }                                                                             \
  template <>                                                                   \
  Result<Message> Decode<Message>(const SoapMessage& message) {                 \
    TRY(CheckName(message, NameOf<Message>()));                                 \
    FieldReader reader(message);                                                \
    Message out;                                                                \
    Fields(reader, out);                                                        \
    TRY(std::move(reader).Finish(), element);                                   \
    return out;                                                                 \
  }                                                                             \
  template <>                                                                   \
  AnswerBody EncodeBody<Message>(const Message& message, SoapVersion version) { \
    return WriteEnvelope(                                                       \
        NameOf<Message>(), version,                                             \
        [](FieldWriter& writer, const void* m) {                                \
          Fields(writer, *static_cast<const Message*>(m));                      \
        },                                                                      \
        &message);                                                              \
  }                                                                             \
  template <>                                                                   \
  std::string Encode<Message>(const Message& message, SoapVersion version) {    \
    return JoinLiterals(EncodeBody<Message>(message, version));                 \
  }
