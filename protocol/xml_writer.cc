#include "protocol/xml_writer.h"

#include <cassert>
#include <cstdint>

namespace gapferry::protocol {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What replaces `c`, or an empty view when it stays.
std::string_view TextReference(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '\r':
      return "&#xD;";
    case '\n':
    case '\t':
      return {};
    default:
      return static_cast<unsigned char>(c) < 0x20 ? kReplacement : std::string_view();
  }
}

std::string_view AttributeReference(char c) {
  switch (c) {
    case '"':
      return "&quot;";
    case '\n':
      return "&#xA;";
    case '\t':
      return "&#x9;";
    default:
      return TextReference(c);
  }
}

template <class Reference>
void AppendEscaped(std::string& out, std::string_view text, Reference reference_of) {
  std::size_t clean = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view reference = reference_of(text[i]);
    if (reference.empty()) continue;
    out.append(text, clean, i - clean);
    out.append(reference);
    clean = i + 1;
  }
  out.append(text, clean);
}

}  // namespace

void AppendEscapedText(std::string& out, std::string_view text) {
  AppendEscaped(out, text, TextReference);
}

void AppendEscapedAttribute(std::string& out, std::string_view text) {
  AppendEscaped(out, text, AttributeReference);
}

std::size_t EscapedTextSize(std::string_view text) {
  std::size_t size = text.size();
  for (const char c : text) {
    const std::string_view reference = TextReference(c);
    if (!reference.empty()) size += reference.size() - 1;
  }
  return size;
}

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
