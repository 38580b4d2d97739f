#include "protocol/soap.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <pugixml.hpp>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "protocol/soap_fields.h"

namespace gapferry::protocol {
namespace {

constexpr std::string_view kEnvelope11 = "http://schemas.xmlsoap.org/soap/envelope/";
constexpr std::string_view kEnvelope12 = "http://www.w3.org/2003/05/soap-envelope";

std::unexpected<Error> Refuse(std::string message) {
  return Fail(ErrorCode::kCorrupt, "soap-malformed", "soap message: " + std::move(message));
}

// Numbers that stood one after the other in elements <int>, taken out of the text. A computer lists
// tens of thousands of ids in each call, so most of a large message is read here, once, and the
// tree holds only the first of each run.
struct NumberRuns {
  struct Run {
    std::size_t at = 0;  // where the digits of the first one are in the text that is left
    std::size_t first = 0;
    std::size_t count = 0;
  };
  std::vector<std::int32_t> numbers;
  std::vector<Run> runs;  // ascending
};

// Reads `<int>N</int>` at the front of `text`, N as ParseScalar takes it but without sign; its
// length, 0 when there is something else.
std::size_t ReadNumber(std::string_view text, std::int32_t& number) {
  constexpr std::size_t kStart = sizeof("<int>") - 1;
  constexpr std::size_t kEnd = sizeof("</int>") - 1;
  constexpr std::size_t kMostDigits = 10;
  // Behind a body there is always more than this: its end tags.
  if (text.size() < kStart + kMostDigits + kEnd) return 0;
  const char* const begin = text.data();
  if (std::memcmp(begin, "<int>", kStart) != 0) return 0;
  std::uint64_t value = 0;
  const char* at = begin + kStart;
  for (; *at >= '0' && *at <= '9'; ++at) {
    if (at == begin + kStart + kMostDigits) return 0;
    value = value * 10 + static_cast<std::uint64_t>(*at - '0');
  }
  if (at == begin + kStart || value > INT32_MAX || std::memcmp(at, "</int>", kEnd) != 0) return 0;
  number = static_cast<std::int32_t>(value);
  return static_cast<std::size_t>(at - begin) + kEnd;
}

// Bounds what the tree builder will allocate and refuses what it would not look at (document types
// and entities: MS-WUSP messages have none, and expansion bombs need them). Takes runs of numbers
// out of the text.
class PreCheck {
 public:
  PreCheck(std::string& text, const SoapLimits& limits, NumberRuns& numbers)
      : whole_(text), text_(text), limits_(limits), numbers_(numbers) {}

  Result<void> Run() {
    if (text_.size() > limits_.max_bytes) {
      return Refuse(
          fmt::format("{} bytes, at most {} are allowed", text_.size(), limits_.max_bytes));
    }
    while ((at_ = text_.find('<', at_)) != std::string_view::npos) TRY(Markup());
    if (depth_ != 0) return Refuse("ends inside an element");
    CutRuns();
    for (const char c : whole_) {
      if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') {
        return Refuse("contains a control character");
      }
    }
    if (!IsValidUtf8(whole_)) return Refuse("not UTF-8");
    return {};
  }

 private:
  // True when the elements from here on are a run; it ends at at_ then.
  Result<bool> TakeRun() {
    constexpr std::size_t kShortest = 8;
    const std::size_t first = numbers_.numbers.size();
    std::size_t end = at_;
    std::size_t rest = 0;  // where the second one begins
    std::int32_t number = 0;
    while (const std::size_t length = ReadNumber(text_.substr(end), number)) {
      end += length;
      if (rest == 0) rest = end;
      numbers_.numbers.push_back(number);
    }
    const std::size_t count = numbers_.numbers.size() - first;
    if (count < kShortest) {
      numbers_.numbers.resize(first);
      return false;
    }
    TRY(Count(2 * count));
    numbers_.runs.push_back({at_ + 5 - cut_bytes_, first, count});
    cuts_.emplace_back(rest, end);
    cut_bytes_ += end - rest;
    at_ = end;
    return true;
  }

  void CutRuns() {
    if (cuts_.empty()) return;
    std::size_t to = cuts_[0].first;
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
      const std::size_t from = cuts_[i].second;
      const std::size_t end = i + 1 < cuts_.size() ? cuts_[i + 1].first : whole_.size();
      std::memmove(whole_.data() + to, whole_.data() + from, end - from);
      to += end - from;
    }
    whole_.resize(to);
  }

  Result<void> Markup() {
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("<?")) return SkipTo("?>");
    if (rest.starts_with("<!--")) return SkipTo("-->");
    if (rest.starts_with("<![CDATA[")) {
      TRY(Count(1));
      return SkipTo("]]>");
    }
    if (rest.starts_with("<!")) return Refuse("document types are not allowed");
    if (rest.starts_with("</")) {
      if (--depth_ < 0) return Refuse("end tag without start tag");
      return SkipTo(">");
    }
    return StartTag();
  }

  Result<void> StartTag() {
    if (text_.substr(at_).starts_with("<int>")) {
      TRY_ASSIGN(const bool taken, TakeRun());
      if (taken) return {};
    }
    TRY(Count(2));  // the element and the text after its tag
    char quote = 0;
    std::size_t i = at_ + 1;
    for (; i < text_.size(); ++i) {
      const char c = text_[i];
      if (quote != 0) {
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
        TRY(Count(1));
      } else if (c == '>') {
        break;
      } else if (c == '<') {
        return Refuse("'<' inside a tag");
      }
    }
    if (i == text_.size()) return Refuse("ends inside a tag");
    if (text_[i - 1] != '/' && ++depth_ > limits_.max_depth) {
      return Refuse(fmt::format("elements nested deeper than {}", limits_.max_depth));
    }
    at_ = i + 1;
    return {};
  }

  Result<void> SkipTo(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) return Refuse("ends inside markup");
    at_ = found + end.size();
    return {};
  }

  Result<void> Count(std::size_t nodes) {
    nodes_ += nodes;
    if (nodes_ <= limits_.max_nodes) return {};
    return Refuse(fmt::format("more than {} nodes", limits_.max_nodes));
  }

  std::string& whole_;
  std::string_view text_;  // as it came
  const SoapLimits& limits_;
  NumberRuns& numbers_;
  std::vector<std::pair<std::size_t, std::size_t>> cuts_;
  std::size_t cut_bytes_ = 0;
  std::size_t at_ = 0;
  std::size_t nodes_ = 0;
  int depth_ = 0;
};

std::string_view Prefix(std::string_view qualified) {
  const std::size_t colon = qualified.find(':');
  return colon == std::string_view::npos ? std::string_view() : qualified.substr(0, colon);
}

std::string_view Local(std::string_view qualified) {
  const std::size_t colon = qualified.find(':');
  return colon == std::string_view::npos ? qualified : qualified.substr(colon + 1);
}

// The namespace of an element: prefixes are resolved, never compared.
std::string_view NamespaceOf(pugi::xml_node element) {
  const std::string_view prefix = Prefix(element.name());
  const std::string declaration =
      prefix.empty() ? std::string("xmlns") : "xmlns:" + std::string(prefix);
  for (pugi::xml_node node = element; node; node = node.parent()) {
    if (const pugi::xml_attribute found = node.attribute(declaration.c_str())) return found.value();
  }
  return {};
}

pugi::xml_node NextElementNode(pugi::xml_node node) {
  while (node && node.type() != pugi::node_element) node = node.next_sibling();
  return node;
}
pugi::xml_node FirstChildElement(pugi::xml_node node) {
  return NextElementNode(node.first_child());
}

pugi::xml_node Node(NodeRef ref) {
  return pugi::xml_node(static_cast<pugi::xml_node_struct*>(ref.node));
}
NodeRef RefOf(pugi::xml_node node) { return {node.internal_object()}; }

}  // namespace

struct SoapMessage::Impl {
  std::string text;  // the tree points into it
  NumberRuns numbers;
  pugi::xml_document document;
  pugi::xml_node element;
  SoapVersion version = SoapVersion::k11;
  std::string name;
  std::string name_space;
  bool fault = false;

  Result<void> Load();
};

Result<void> SoapMessage::Impl::Load() {
  constexpr unsigned kOptions = pugi::parse_cdata | pugi::parse_escapes | pugi::parse_eol |
                                pugi::parse_wconv_attribute | pugi::parse_ws_pcdata_single;
  const pugi::xml_parse_result parsed =
      document.load_buffer_inplace(text.data(), text.size(), kOptions, pugi::encoding_utf8);
  if (!parsed) {
    return Refuse(fmt::format("no well-formed XML: {} at byte {}", parsed.description(),
                              static_cast<std::int64_t>(parsed.offset)));
  }
  const pugi::xml_node envelope = FirstChildElement(document);
  const std::string_view envelope_space = NamespaceOf(envelope);
  if (Local(envelope.name()) != "Envelope" ||
      (envelope_space != kEnvelope11 && envelope_space != kEnvelope12)) {
    return Refuse(fmt::format("no SOAP envelope but '{}'", EscapeForDisplay(envelope.name(), 80)));
  }
  version = envelope_space == kEnvelope11 ? SoapVersion::k11 : SoapVersion::k12;
  pugi::xml_node body = FirstChildElement(envelope);
  while (body && !(Local(body.name()) == "Body" && NamespaceOf(body) == envelope_space)) {
    body = NextElementNode(body.next_sibling());
  }
  if (!body) return Refuse("envelope without body");
  element = FirstChildElement(body);
  if (!element) return Refuse("empty body");
  if (NextElementNode(element.next_sibling())) return Refuse("more than one element in the body");
  name = Local(element.name());
  name_space = NamespaceOf(element);
  fault = name == "Fault" && name_space == envelope_space;
  return {};
}

SoapMessage::SoapMessage(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SoapMessage::SoapMessage(SoapMessage&&) noexcept = default;
SoapMessage& SoapMessage::operator=(SoapMessage&&) noexcept = default;
SoapMessage::~SoapMessage() = default;

Result<SoapMessage> SoapMessage::Parse(std::string text, const SoapLimits& limits) {
  auto impl = std::make_unique<Impl>();
  impl->text = std::move(text);
  if (impl->text.starts_with("\xEF\xBB\xBF")) impl->text.erase(0, 3);
  TRY(PreCheck(impl->text, limits, impl->numbers).Run());
  TRY(impl->Load());
  return SoapMessage(std::move(impl));
}

SoapVersion SoapMessage::version() const { return impl_->version; }
const std::string& SoapMessage::name() const { return impl_->name; }
const std::string& SoapMessage::name_space() const { return impl_->name_space; }
bool SoapMessage::IsFault() const { return impl_->fault; }

// ---- Nodes for the field readers ---------------------------------------------------------------

NodeRef BodyElement(const SoapMessage& message) { return RefOf(message.impl().element); }
std::string_view LocalName(NodeRef element) { return Local(Node(element).name()); }
NodeRef FirstElement(NodeRef parent) { return RefOf(FirstChildElement(Node(parent))); }
NodeRef NextElement(NodeRef element) {
  return RefOf(NextElementNode(Node(element).next_sibling()));
}

std::string ElementText(NodeRef element) {
  std::string text;  // comments and CDATA sections may cut it into pieces
  for (const pugi::xml_node child : Node(element).children()) {
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      text += child.value();
    }
  }
  return text;
}

std::span<const std::int32_t> RunAt(const SoapMessage& message, NodeRef element) {
  const NumberRuns& numbers = message.impl().numbers;
  if (numbers.runs.empty()) return {};
  // Told by where its text is: what the sender writes cannot look like it.
  const pugi::char_t* const text = Node(element).first_child().value();
  const char* const begin = message.impl().text.data();
  if (text < begin || text >= begin + message.impl().text.size()) return {};
  const auto run = std::ranges::lower_bound(numbers.runs, static_cast<std::size_t>(text - begin),
                                            {}, [](const NumberRuns::Run& one) { return one.at; });
  if (run == numbers.runs.end() || run->at != static_cast<std::size_t>(text - begin)) return {};
  return std::span(numbers.numbers).subspan(run->first, run->count);
}

std::optional<std::string> AttributeText(NodeRef element, std::string_view name) {
  for (const pugi::xml_attribute attribute : Node(element).attributes()) {
    if (Local(attribute.name()) == name) return attribute.value();
  }
  return std::nullopt;
}

bool IsNil(NodeRef element) {
  for (const pugi::xml_attribute attribute : Node(element).attributes()) {
    if (Local(attribute.name()) != "nil") continue;
    const std::string_view value = attribute.value();
    return value == "true" || value == "1";
  }
  return false;
}

// ---- SOAPAction --------------------------------------------------------------------------------

std::optional<SoapAction> ParseSoapAction(std::string_view header) {
  header = TrimAscii(header);
  if (header.size() >= 2 && header.front() == '"' && header.back() == '"') {
    header = header.substr(1, header.size() - 2);
  }
  const std::size_t slash = header.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return SoapAction{header.substr(0, slash), header.substr(slash + 1)};
}

std::string SoapActionHeader(std::string_view name_space, std::string_view operation) {
  return fmt::format("\"{}/{}\"", name_space, operation);
}

std::string_view SoapContentType(SoapVersion version) {
  return version == SoapVersion::k11 ? "text/xml; charset=utf-8"
                                     : "application/soap+xml; charset=utf-8";
}

// ---- Faults ------------------------------------------------------------------------------------

namespace {

constexpr std::array<std::pair<FaultCode, std::string_view>, 14> kFaultNames{{
    {FaultCode::kConfigChanged, "ConfigChanged"},
    {FaultCode::kCookieExpired, "CookieExpired"},
    {FaultCode::kFileDigestsMissing, "FileDigestsMissing"},
    {FaultCode::kFileLocationChanged, "FileLocationChanged"},
    {FaultCode::kIncompatibleProtocolVersion, "IncompatibleProtocolVersion"},
    {FaultCode::kInternalServerError, "InternalServerError"},
    {FaultCode::kInvalidAuthorizationCookie, "InvalidAuthorizationCookie"},
    {FaultCode::kInvalidCookie, "InvalidCookie"},
    {FaultCode::kInvalidParameters, "InvalidParameters"},
    {FaultCode::kRegistrationNotRequired, "RegistrationNotRequired"},
    {FaultCode::kRegistrationRequired, "RegistrationRequired"},
    {FaultCode::kServerBusy, "ServerBusy"},
    {FaultCode::kServerChanged, "ServerChanged"},
    {FaultCode::kTooManyIds, "TooManyIds"},
}};
constexpr std::string_view kUnknownFault = "UnknownFault";

void WriteDetail(XmlWriter& xml, std::string_view element, const SoapFault& fault) {
  xml.Open(element);
  xml.Element("ErrorCode", FaultCodeName(fault.code));
  xml.Open("Message");
  xml.ForceContent();  // real servers write <Message></Message>
  xml.Text(fault.message);
  xml.Close();
  xml.Element("ID", fault.id.ToString());
  xml.Element("Method", fault.method);
  xml.Close();
}

void WriteFault11(XmlWriter& xml, const SoapFault& fault, SoapStyle style) {
  const std::string prefix = style == SoapStyle::kClassic ? "soap:" : "s:";
  const bool ours = fault.code == FaultCode::kInternalServerError;
  xml.Open(prefix + "Fault");
  xml.Element("faultcode", prefix + (ours ? "Server" : "Client"));
  xml.Element("faultstring", "Fault occurred");
  if (style == SoapStyle::kClassic) xml.Element("faultactor", fault.actor);
  WriteDetail(xml, "detail", fault);
  xml.Close();
}

// [MS-WSUSSS] 2.2.9.2: a Detail child without namespace beside SOAP's own one, which other callers
// look at.
void WriteFault12(XmlWriter& xml, const SoapFault& fault, SoapStyle style) {
  const std::string prefix = style == SoapStyle::kClassic ? "soap:" : "s:";
  const bool ours = fault.code == FaultCode::kInternalServerError;
  xml.Open(prefix + "Fault");
  xml.Open(prefix + "Code");
  xml.Element(prefix + "Value", prefix + (ours ? "Receiver" : "Sender"));
  xml.Close();
  xml.Open(prefix + "Reason");
  xml.Open(prefix + "Text");
  xml.Attribute("xml:lang", "en");
  xml.Text("Fault occurred");
  xml.Close();
  xml.Close();
  if (!fault.actor.empty()) xml.Element(prefix + "Node", fault.actor);
  WriteDetail(xml, prefix + "Detail", fault);
  WriteDetail(xml, "Detail", fault);
  xml.Close();
}

std::string ChildText(pugi::xml_node parent, std::string_view name) {
  for (const pugi::xml_node child : parent.children()) {
    if (child.type() == pugi::node_element && Local(child.name()) == name) {
      return ElementText(RefOf(child));
    }
  }
  return {};
}

void ReadDetail(pugi::xml_node detail, SoapFault& fault) {
  const std::string code = ChildText(detail, "ErrorCode");
  if (code.empty() && fault.code != FaultCode::kUnknown) return;
  fault.code = FaultCodeFromName(TrimAscii(code));
  fault.code_text = TrimAscii(code);
  fault.message = ChildText(detail, "Message");
  fault.method = ChildText(detail, "Method");
  if (const auto id = Guid::Parse(TrimAscii(ChildText(detail, "ID")))) fault.id = *id;
}

}  // namespace

std::string_view FaultCodeName(FaultCode code) {
  for (const auto& [value, name] : kFaultNames) {
    if (value == code) return name;
  }
  return kUnknownFault;
}

FaultCode FaultCodeFromName(std::string_view name) {
  for (const auto& [value, known] : kFaultNames) {
    if (known == name) return value;
  }
  return FaultCode::kUnknown;
}

std::string EncodeFault(const SoapFault& fault, SoapStyle style, SoapVersion version) {
  std::string out;
  XmlWriter xml(out, EmptyElementOf(style));
  OpenEnvelope(xml, out, style, version);
  if (version == SoapVersion::k11) {
    WriteFault11(xml, fault, style);
  } else {
    WriteFault12(xml, fault, style);
  }
  xml.Close();
  xml.Close();
  return out;
}

Result<SoapFault> DecodeFault(const SoapMessage& message) {
  if (!message.IsFault()) {
    return Refuse(fmt::format("expected a fault, got '{}'", EscapeForDisplay(message.name(), 80)));
  }
  SoapFault fault;
  for (const pugi::xml_node child : message.impl().element.children()) {
    if (child.type() != pugi::node_element) continue;
    const std::string_view name = Local(child.name());
    if (name == "faultstring") fault.text = ElementText(RefOf(child));
    if (name == "Reason") fault.text = ChildText(child, "Text");
    if (name == "faultactor" || name == "Node") fault.actor = ElementText(RefOf(child));
    if (name == "detail" || name == "Detail") ReadDetail(child, fault);
  }
  return fault;
}

Error FaultError(const SoapFault& fault, std::string_view operation) {
  const auto code = [&] {
    switch (fault.code) {
      case FaultCode::kServerBusy:
      case FaultCode::kInternalServerError:
        return ErrorCode::kTransient;
      case FaultCode::kCookieExpired:
      case FaultCode::kInvalidCookie:
      case FaultCode::kInvalidAuthorizationCookie:
      case FaultCode::kConfigChanged:
      case FaultCode::kServerChanged:
        return ErrorCode::kExpired;
      case FaultCode::kIncompatibleProtocolVersion:
        return ErrorCode::kUnsupported;
      case FaultCode::kInvalidParameters:
      case FaultCode::kTooManyIds:
        return ErrorCode::kUsage;
      default:
        return ErrorCode::kInternal;
    }
  }();
  const std::string name(FaultCodeName(fault.code));
  const bool is_new = fault.code == FaultCode::kUnknown && !fault.code_text.empty();
  std::string message = fmt::format("{}: server answered {}", operation,
                                    is_new ? EscapeForDisplay(fault.code_text, 60) : name);
  if (!fault.message.empty()) message += fmt::format(" ({})", EscapeForDisplay(fault.message));
  if (fault.code == FaultCode::kUnknown && !fault.text.empty()) {
    message += fmt::format(": {}", EscapeForDisplay(fault.text));
  }
  return Error{code, std::move(message), name, {}};
}

std::optional<FaultCode> FaultCodeOf(const Error& error) {
  if (error.reason == kUnknownFault) return FaultCode::kUnknown;
  const FaultCode code = FaultCodeFromName(error.reason);
  if (code == FaultCode::kUnknown) return std::nullopt;
  return code;
}

}  // namespace gapferry::protocol
