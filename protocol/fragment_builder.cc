#include "protocol/fragment_builder.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/text.h"
#include "protocol/text_escape.h"
#include "protocol/update_namespaces.h"

namespace gapferry::protocol {

namespace {

constexpr std::size_t kFlushBytes = 32 << 10;

// Sections in the order in which a fragment has them.
enum CoreSection : std::size_t { kIdentity, kCoreProperties, kRelationships, kRules };
enum ExtendedSection : std::size_t { kExtendedProperties, kFiles, kHandlerData };

constexpr std::string_view kCoreAttributes[] = {"UpdateType", "ExplicitlyDeployable",
                                                "AutoSelectOnWebSites", "OSUpgrade", "EulaID"};
constexpr std::string_view kNotExtendedAttributes[] = {"UpdateType",
                                                       "ExplicitlyDeployable",
                                                       "AutoSelectOnWebSites",
                                                       "EulaID",
                                                       "PublicationState",
                                                       "PublisherID",
                                                       "CreationDate",
                                                       "IsPublic",
                                                       "LegacyName",
                                                       "DetectoidType",
                                                       "OSUpgrade"};

template <std::size_t N>
bool Contains(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Attributes of Properties that say what holds anyway are left out by the real server.
bool IsDefault(const XmlAttribute& attribute) {
  const bool is_false = attribute.value == "false" || attribute.value == "0";
  const bool is_true = attribute.value == "true" || attribute.value == "1";
  if (attribute.name == "IsPublic") return is_true;
  return is_false && (attribute.name == "ExplicitlyDeployable" || attribute.name == "PerUser" ||
                      attribute.name == "AutoSelectOnWebSites" || attribute.name == "OSUpgrade");
}

// Plain white space would become blanks when the attribute is read again.
constexpr TextEscapes kAttributeEscapes({{'&', "&amp;"},
                                         {'<', "&lt;"},
                                         {'>', "&gt;"},
                                         {'"', "&quot;"},
                                         {'\t', "&#x9;"},
                                         {'\n', "&#xA;"},
                                         {'\r', "&#xD;"}});
// A plain carriage return would be read as a line feed.
constexpr TextEscapes kTextEscapes({{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\r', "&#xD;"}});

void AppendAttribute(std::string& out, const XmlAttribute& attribute) {
  out += ' ';
  out += attribute.name;
  out += "=\"";
  kAttributeEscapes.Append(out, attribute.value);
  out += '"';
}

}  // namespace

Result<void> OrderedFragment::Open(std::size_t section) {
  if (section < next_) {
    return Fail(ErrorCode::kUnsupported, "a part of the " +
                                             std::string(FragmentKindName(key_.kind)) +
                                             " fragment comes after later parts that are too large "
                                             "to be held back");
  }
  open_ = section;
  return {};
}

Result<void> OrderedFragment::Append(std::string_view text) {
  if (open_ == next_) return Send(text);
  held_[open_] += text;
  held_bytes_ += text.size();
  if (held_bytes_ <= reorder_bytes_) return {};
  return SendHeldUpTo(open_);
}

Result<void> OrderedFragment::Close() {
  closed_[open_] = true;
  std::size_t until = next_;
  while (until < kSections && closed_[until]) ++until;
  return until == next_ ? Result<void>() : SendHeldUpTo(until);
}

// Sends everything held before `section` and what `section` has so far; it is the next then.
Result<void> OrderedFragment::SendHeldUpTo(std::size_t section) {
  for (; next_ < section; ++next_) {
    TRY(Send(held_[next_]));
    std::string().swap(held_[next_]);
  }
  if (section < kSections) {
    TRY(Send(held_[section]));
    std::string().swap(held_[section]);
  }
  held_bytes_ = 0;
  for (const std::string& held : held_) held_bytes_ += held.size();
  return {};
}

Result<void> OrderedFragment::Send(std::string_view text) {
  out_ += text;
  return out_.size() < kFlushBytes ? Result<void>() : Flush();
}

Result<void> OrderedFragment::Flush() {
  if (out_.empty()) return {};
  TRY(receiver_.Append(key_, out_));
  out_.clear();
  return {};
}

Result<void> OrderedFragment::Finish() {
  TRY(SendHeldUpTo(kSections));
  return Flush();
}

FragmentBuilder::FragmentBuilder(FragmentReceiver& receiver, std::size_t reorder_bytes,
                                 std::size_t text_bytes)
    : receiver_(receiver),
      core_(receiver, {FragmentKind::kCore, {}, {}}, reorder_bytes),
      extended_(receiver, {FragmentKind::kExtended, {}, {}}, reorder_bytes),
      text_bytes_(text_bytes) {}

Result<void> FragmentBuilder::Start(const XmlElement& element) {
  ++depth_;
  if (depth_ == 1) return {};
  if (depth_ == 2) return StartSection(element);
  if (in_localized_ && depth_ == 3) return StartLocalized(element);
  if (target_ == Target::kNone || skip_from_ != 0) return {};
  in_language_ = buffer_key_.kind == FragmentKind::kLocalizedProperties && depth_ == 4 &&
                 target_ == Target::kBuffer && element.ns == update_ns::kUpdate &&
                 element.name == "Language";
  if (target_ == Target::kCore && element.ns == update_ns::kDriver &&
      element.name == "WindowsDriverMetaData") {
    skip_from_ = depth_;  // servers match with the children; clients are sent the attributes
  }
  return WriteStart(element, element.name);
}

Result<void> FragmentBuilder::StartSection(const XmlElement& element) {
  if (element.ns != update_ns::kUpdate) return {};
  const auto open = [&](Target target, std::size_t section) -> Result<void> {
    target_ = target;
    TRY((target == Target::kCore ? core_ : extended_).Open(section));
    return WriteStart(element, element.name);
  };
  if (element.name == "UpdateIdentity") return open(Target::kCore, kIdentity);
  if (element.name == "Relationships") return open(Target::kCore, kRelationships);
  if (element.name == "ApplicabilityRules") return open(Target::kCore, kRules);
  if (element.name == "Files") return open(Target::kExtended, kFiles);
  if (element.name == "HandlerSpecificData") return open(Target::kExtended, kHandlerData);
  if (element.name == "Properties") return StartProperties(element);
  in_localized_ = element.name == "LocalizedPropertiesCollection";
  return {};
}

// Core gets the element without children, Extended gets the rest under another name.
Result<void> FragmentBuilder::StartProperties(const XmlElement& element) {
  std::vector<XmlAttribute> core;
  std::vector<XmlAttribute> extended;
  for (const std::string_view name : kCoreAttributes) {
    for (const XmlAttribute& attribute : element.attributes) {
      if (attribute.name == name && !IsDefault(attribute)) core.push_back(attribute);
    }
  }
  for (const XmlAttribute& attribute : element.attributes) {
    if (!Contains(kNotExtendedAttributes, attribute.name) && !IsDefault(attribute)) {
      extended.push_back(attribute);
    }
  }
  target_ = Target::kCore;
  TRY(core_.Open(kCoreProperties));
  TRY(WriteStart({element.ns, element.name, core}, element.name));
  TRY(WriteEnd({}, element.name));
  TRY(core_.Close());
  target_ = Target::kExtended;
  TRY(extended_.Open(kExtendedProperties));
  return WriteStart({element.ns, element.name, extended}, "ExtendedProperties");
}

Result<void> FragmentBuilder::StartLocalized(const XmlElement& element) {
  if (element.ns != update_ns::kUpdate) return {};
  buffer_.clear();
  buffer_key_ = {};
  if (element.name == "LocalizedProperties") {
    buffer_key_.kind = FragmentKind::kLocalizedProperties;
  } else if (element.name == "EulaFile") {
    buffer_key_.kind = FragmentKind::kEula;
    if (const auto* language = element.Find("Language")) buffer_key_.language = *language;
    if (const auto* geo_id = element.Find("GeoId")) buffer_key_.geo_id = *geo_id;
  } else {
    return {};
  }
  target_ = Target::kBuffer;
  return WriteStart(element, element.name);
}

Result<void> FragmentBuilder::EndLocalized() {
  target_ = Target::kNone;
  buffer_key_.language = ToLowerAscii(TrimAscii(buffer_key_.language));
  // A repeated language is refused by the reader; of repeated EULAs the first one counts.
  if (!sent_.insert(buffer_key_).second) return {};
  return receiver_.Append(buffer_key_, buffer_);
}

Result<void> FragmentBuilder::End(const XmlElement& element) {
  const std::size_t depth = depth_--;
  if (target_ == Target::kNone) {
    if (depth == 2) in_localized_ = false;
    return {};
  }
  if (skip_from_ != 0 && depth > skip_from_) return {};
  skip_from_ = 0;
  in_language_ = false;
  // The one element that is sent under another name than it came.
  const bool renamed = depth == 2 && element.name == "Properties";
  TRY(WriteEnd(update_ns::FragmentPrefix(element.ns),
               renamed ? std::string_view("ExtendedProperties") : element.name));
  if (depth == 3 && target_ == Target::kBuffer) return EndLocalized();
  if (depth != 2) return {};
  const Target closing = std::exchange(target_, Target::kNone);
  return (closing == Target::kCore ? core_ : extended_).Close();
}

Result<void> FragmentBuilder::Text(std::string_view text) {
  if (target_ == Target::kNone || skip_from_ != 0) return {};
  TRY(CloseTag());
  if (in_language_) buffer_key_.language += text;
  scratch_.clear();
  kTextEscapes.Append(scratch_, text);
  return Write(scratch_);
}

Result<void> FragmentBuilder::WriteStart(const XmlElement& element, std::string_view name) {
  TRY(CloseTag());
  scratch_ = "<";
  scratch_ += update_ns::FragmentPrefix(element.ns);
  scratch_ += name;
  for (const XmlAttribute& attribute : element.attributes) AppendAttribute(scratch_, attribute);
  tag_open_ = true;
  return Write(scratch_);
}

Result<void> FragmentBuilder::WriteEnd(std::string_view prefix, std::string_view name) {
  if (std::exchange(tag_open_, false)) return Write(" />");
  scratch_ = "</";
  scratch_ += prefix;
  scratch_ += name;
  scratch_ += '>';
  return Write(scratch_);
}

Result<void> FragmentBuilder::CloseTag() {
  return std::exchange(tag_open_, false) ? Write(">") : Result<void>();
}

Result<void> FragmentBuilder::Write(std::string_view text) {
  if (target_ == Target::kCore) return core_.Append(text);
  if (target_ == Target::kExtended) return extended_.Append(text);
  buffer_ += text;
  if (buffer_.size() <= 2 * text_bytes_) return {};
  return Fail(ErrorCode::kCorrupt,
              fmt::format("the {} of one language is larger than {} bytes",
                          FragmentKindName(buffer_key_.kind), 2 * text_bytes_));
}

Result<void> FragmentBuilder::Finish() {
  TRY(core_.Finish());
  return extended_.Finish();
}

}  // namespace gapferry::protocol
