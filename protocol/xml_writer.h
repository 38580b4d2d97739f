#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gapferry::protocol {

/// Appends `text` to `out` as XML character data: & < > and carriage return become references;
/// quotes stay, as real servers leave them. Control characters that XML cannot carry become U+FFFD.
void AppendEscapedText(std::string& out, std::string_view text);
/// The same for a value between double quotes: also the quote, tab and line feed.
void AppendEscapedAttribute(std::string& out, std::string_view text);
/// Number of bytes that AppendEscapedText would append.
std::size_t EscapedTextSize(std::string_view text);

/// How an element without content is written: the two serializers of real servers differ.
enum class EmptyElement {
  kTight,   ///< <X/>   Client service, Windows Update Agent
  kSpaced,  ///< <X />  the older services, update metadata
};

/// Appends XML to a string it does not own. Names are taken as they are (they are ours); values are
/// escaped here and nowhere else. Deterministic: same calls, same bytes. Not thread-safe.
class XmlWriter {
 public:
  /// `out` must outlive the writer; it may be emptied by its owner between calls (see Flush).
  XmlWriter(std::string& out, EmptyElement empty) : out_(out), empty_(empty) {}

  void Open(std::string_view name);
  /// Only between Open and the first content of that element.
  void Attribute(std::string_view name, std::string_view value);
  void Text(std::string_view text);
  /// Markup or escaped text that is already right.
  void Raw(std::string_view xml);
  /// <X></X> instead of <X/>, as some real answers have it.
  void ForceContent() { CloseStartTag(); }
  void Close();

  /// Open, Text, Close.
  void Element(std::string_view name, std::string_view text);

  /// Ends an open start tag, so that `out` may be handed on and emptied.
  void Flush() { CloseStartTag(); }
  std::size_t depth() const { return names_.size(); }

 private:
  void CloseStartTag();

  std::string& out_;
  EmptyElement empty_;
  bool start_tag_open_ = false;
  std::vector<std::string> names_;
};

}  // namespace gapferry::protocol
