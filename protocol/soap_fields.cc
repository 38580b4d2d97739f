#include "protocol/soap_fields.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/text.h"

namespace gapferry::protocol {

bool ParseScalar(std::string_view text, std::string& out) {
  out.assign(text);
  return true;
}

bool ParseScalar(std::string_view text, bool& out) {
  const std::string_view word = TrimAscii(text);
  out = word == "true" || word == "1";
  return out || word == "false" || word == "0";
}

bool ParseScalar(std::string_view text, std::int32_t& out) {
  const auto value = ParseInt<std::int32_t>(TrimAscii(text));
  if (value) out = *value;
  return value.has_value();
}

bool ParseScalar(std::string_view text, std::int64_t& out) {
  const auto value = ParseInt<std::int64_t>(TrimAscii(text));
  if (value) out = *value;
  return value.has_value();
}

bool ParseScalar(std::string_view text, UtcTime& out) {
  const auto value = UtcTime::ParseXml(TrimAscii(text));
  if (value) out = *value;
  return value.has_value();
}

bool ParseScalar(std::string_view text, DateOnly& out) {
  std::string full(TrimAscii(text));
  if (full.size() == 10) full += "T00:00:00Z";
  return ParseScalar(full, out.time);
}

bool ParseScalar(std::string_view text, Guid& out) {
  const auto value = Guid::Parse(TrimAscii(text));
  if (value) out = *value;
  return value.has_value();
}

bool ParseScalar(std::string_view text, Bytes& out) {
  auto value = Base64Decode(text);
  if (value) out = std::move(*value);
  return value.has_value();
}

bool ParseScalar(std::string_view text, Sha1Digest& out) {
  const auto value = Sha1Digest::FromBase64(text);
  if (value) out = *value;
  return value.has_value();
}

std::string FormatScalar(const std::string& value) { return value; }
std::string FormatScalar(bool value) { return value ? "true" : "false"; }
std::string FormatScalar(std::int32_t value) { return std::to_string(value); }
std::string FormatScalar(std::int64_t value) { return std::to_string(value); }
std::string FormatScalar(const UtcTime& value) { return value.ToXml(); }
std::string FormatScalar(const DateOnly& value) { return value.time.ToDate(); }
std::string FormatScalar(const Guid& value) { return value.ToString(); }
std::string FormatScalar(const Bytes& value) { return Base64Encode(value); }
std::string FormatScalar(const Sha1Digest& value) { return value.ToBase64(); }

// ---- FieldReader -------------------------------------------------------------------------------

FieldReader::FieldReader(const SoapMessage& message)
    : message_(message), element_(BodyElement(message)) {}

Result<void> FieldReader::Finish() && {
  if (!failed_) return {};
  std::string path;
  for (const std::string_view name : path_) {
    path += name;
    path += '/';
  }
  return Fail(ErrorCode::kCorrupt, "soap-field", path + complaint_);
}

NodeRef FieldReader::Child(std::string_view name) {
  NodeRef found;
  for (NodeRef node = FirstElement(element_); node && !failed_; node = NextElement(node)) {
    if (LocalName(node) != name) continue;
    if (found) {
      Complain(name, "appears twice");
      return {};
    }
    found = node;
  }
  return failed_ ? NodeRef() : found;
}

NodeRef FieldReader::Required(std::string_view name) {
  const NodeRef child = Child(name);
  if (!child) Complain(name, "missing");
  return child;
}

void FieldReader::Complain(std::string_view name, std::string_view what) {
  if (failed_) return;
  failed_ = true;
  complaint_ = fmt::format("{}: {}", name, what);
}

void FieldReader::ComplainValue(std::string_view name, std::string_view text) {
  Complain(name, fmt::format("unexpected value '{}'", EscapeForDisplay(text, 80)));
}

void FieldReader::OptionalStored(std::string_view name, std::shared_ptr<const StoredBytes>& value) {
  std::optional<Bytes> bytes;
  Optional(name, bytes);
  if (bytes) value = StoreInMemory(std::move(*bytes));
}

// ---- FieldWriter -------------------------------------------------------------------------------

void FieldWriter::FlushLiteral() {
  xml_.Flush();
  if (!buffer_.empty()) body_.Append(std::exchange(buffer_, {}));
}

void FieldWriter::Text(std::string_view name, const TextValue& value) {
  xml_.Open(name);
  if (const auto* plain = std::get_if<PlainText>(&value)) {
    xml_.Text(plain->text);
  } else if (const auto* escaped = std::get_if<EscapedText>(&value)) {
    xml_.Raw(escaped->text);
  } else if (const auto* prepared = std::get_if<std::shared_ptr<const PreparedText>>(&value)) {
    FlushLiteral();
    body_.Append(*prepared);
  } else {
    FlushLiteral();
    body_.Append(
        StoredPiece{std::get<std::shared_ptr<const StoredBytes>>(value), Rendering::kEscapedText});
  }
  xml_.Close();
}

void FieldWriter::OptionalStored(std::string_view name,
                                 const std::shared_ptr<const StoredBytes>& value) {
  if (!value) return;
  xml_.Open(name);
  FlushLiteral();
  body_.Append(StoredPiece{value, Rendering::kBase64});
  xml_.Close();
}

void FieldWriter::Markup(std::string_view name, std::shared_ptr<const StoredBytes> markup) {
  xml_.Open(name);
  if (markup->size_bytes() > 0) {
    FlushLiteral();
    body_.Append(StoredPiece{std::move(markup), Rendering::kMarkup});
  }
  xml_.Close();
}

void FieldWriter::Pieces(const std::vector<AnswerPiece>& pieces) {
  xml_.ForceContent();
  FlushLiteral();
  for (const AnswerPiece& piece : pieces) body_.AppendPiece(piece);
}

// ---- Envelopes ---------------------------------------------------------------------------------

namespace {

constexpr std::string_view kEnvelope11 = "http://schemas.xmlsoap.org/soap/envelope/";
constexpr std::string_view kEnvelope12 = "http://www.w3.org/2003/05/soap-envelope";

void DeclareSchema(XmlWriter& xml) {
  xml.Attribute("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance");
  xml.Attribute("xmlns:xsd", "http://www.w3.org/2001/XMLSchema");
}

}  // namespace

EmptyElement EmptyElementOf(SoapStyle style) {
  return style == SoapStyle::kClassic ? EmptyElement::kSpaced : EmptyElement::kTight;
}

void OpenEnvelope(XmlWriter& xml, std::string& out, SoapStyle style, SoapVersion version) {
  const std::string_view envelope = version == SoapVersion::k11 ? kEnvelope11 : kEnvelope12;
  if (style == SoapStyle::kClassic) {
    out += R"(<?xml version="1.0" encoding="utf-8"?>)";
    xml.Open("soap:Envelope");
    xml.Attribute("xmlns:soap", envelope);
    DeclareSchema(xml);
    xml.Open("soap:Body");
    return;
  }
  xml.Open("s:Envelope");
  xml.Attribute("xmlns:s", envelope);
  xml.Open("s:Body");
}

AnswerBody WriteEnvelope(const MessageName& name, SoapVersion version,
                         void (*write)(FieldWriter&, const void*), const void* message) {
  AnswerBody body;
  std::string declaration;
  FieldWriter writer(body, EmptyElementOf(name.style));
  XmlWriter& xml = writer.xml();
  OpenEnvelope(xml, declaration, name.style, version);
  if (name.style == SoapStyle::kClient) DeclareSchema(xml);
  xml.Open(name.element);
  xml.Attribute("xmlns", name.name_space);
  if (!declaration.empty()) body.Append(std::move(declaration));
  write(writer, message);
  for (int i = 0; i < 3; ++i) xml.Close();
  writer.Finish();
  return body;
}

std::string JoinLiterals(const AnswerBody& body) {
  std::string out;
  for (const AnswerPiece& piece : body.pieces()) {
    const auto* literal = std::get_if<std::string>(&piece);
    if (literal == nullptr) std::abort();  // our bug: EncodeBody is the function to call
    out += *literal;
  }
  return out;
}

Result<void> CheckName(const SoapMessage& message, const MessageName& expected) {
  if (message.name() == expected.element && message.name_space() == expected.name_space) return {};
  return Fail(ErrorCode::kUnsupported, "soap-operation",
              fmt::format("soap body: expected {{{}}}{}, got {{{}}}{}", expected.name_space,
                          expected.element, EscapeForDisplay(message.name_space()),
                          EscapeForDisplay(message.name())));
}

}  // namespace gapferry::protocol
