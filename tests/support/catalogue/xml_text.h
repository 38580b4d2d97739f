#pragma once

#include <string>
#include <string_view>

namespace gapferry::catalogue {

/// Appends XML in the spelling of the real documents: no white space between tags, a blank before
/// "/>". It is deliberately not the product's writer, which its output is used to test.
class XmlText {
 public:
  explicit XmlText(std::string& out) : out_(out) {}

  /// "<name"; attributes follow, then Close, CloseEmpty or OpenEnd.
  XmlText& Open(std::string_view name) {
    out_.append("<").append(name);
    return *this;
  }
  XmlText& Attribute(std::string_view name, std::string_view value) {
    out_.append(" ").append(name).append("=\"");
    Escape(value);
    out_.append("\"");
    return *this;
  }
  XmlText& Close() {
    out_.append(">");
    return *this;
  }
  XmlText& CloseEmpty() {
    out_.append(" />");
    return *this;
  }
  XmlText& End(std::string_view name) {
    out_.append("</").append(name).append(">");
    return *this;
  }
  XmlText& Element(std::string_view name, std::string_view text) {
    Open(name).Close();
    Escape(text);
    return End(name);
  }
  XmlText& Text(std::string_view text) {
    Escape(text);
    return *this;
  }

 private:
  void Escape(std::string_view text) {
    for (const char c : text) {
      switch (c) {
        case '&':
          out_.append("&amp;");
          break;
        case '<':
          out_.append("&lt;");
          break;
        case '>':
          out_.append("&gt;");
          break;
        case '"':
          out_.append("&quot;");
          break;
        default:
          out_.push_back(c);
      }
    }
  }

  std::string& out_;
};

}  // namespace gapferry::catalogue
