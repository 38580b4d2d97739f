#include "protocol/xml_writer.h"

#include <cassert>
#include <cstdint>

#include "protocol/text_escape.h"

namespace gapferry::protocol {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

constexpr TextEscapes kTextEscapes(
    {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\r', "&#xD;"}, {'\n', "\n"}, {'\t', "\t"}},
    kReplacement);
constexpr TextEscapes kAttributeEscapes({{'&', "&amp;"},
                                         {'<', "&lt;"},
                                         {'>', "&gt;"},
                                         {'"', "&quot;"},
                                         {'\r', "&#xD;"},
                                         {'\n', "&#xA;"},
                                         {'\t', "&#x9;"}},
                                        kReplacement);

}  // namespace

void AppendEscapedText(std::string& out, std::string_view text) { kTextEscapes.Append(out, text); }

void AppendEscapedAttribute(std::string& out, std::string_view text) {
  kAttributeEscapes.Append(out, text);
}

std::size_t EscapedTextSize(std::string_view text) { return kTextEscapes.SizeOf(text); }

void XmlWriter::Open(std::string_view name) {
  CloseStartTag();
  out_ += '<';
  out_ += name;
  names_.emplace_back(name);
  start_tag_open_ = true;
}

void XmlWriter::Attribute(std::string_view name, std::string_view value) {
  assert(start_tag_open_);
  out_ += ' ';
  out_ += name;
  out_ += "=\"";
  AppendEscapedAttribute(out_, value);
  out_ += '"';
}

void XmlWriter::Text(std::string_view text) {
  if (text.empty()) return;
  CloseStartTag();
  AppendEscapedText(out_, text);
}

void XmlWriter::Raw(std::string_view xml) {
  if (xml.empty()) return;
  CloseStartTag();
  out_ += xml;
}

void XmlWriter::Close() {
  assert(!names_.empty());
  if (start_tag_open_) {
    out_ += empty_ == EmptyElement::kTight ? "/>" : " />";
    start_tag_open_ = false;
  } else {
    out_ += "</";
    out_ += names_.back();
    out_ += '>';
  }
  names_.pop_back();
}

void XmlWriter::Element(std::string_view name, std::string_view text) {
  Open(name);
  Text(text);
  Close();
}

void XmlWriter::CloseStartTag() {
  if (!start_tag_open_) return;
  out_ += '>';
  start_tag_open_ = false;
}

}  // namespace gapferry::protocol
