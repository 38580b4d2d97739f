#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "protocol/fragments.h"
#include "protocol/xml_stream.h"

namespace gapferry::protocol {

/// A fragment that is made of sections in a fixed order which the document may give in any order.
/// A section whose predecessors are all closed goes straight to the receiver; one that comes too
/// early is held, up to `reorder_bytes`; then its missing predecessors are taken as absent.
class OrderedFragment {
 public:
  OrderedFragment(FragmentReceiver& receiver, FragmentKey key, std::size_t reorder_bytes)
      : receiver_(receiver), key_(std::move(key)), reorder_bytes_(reorder_bytes) {}

  /// Fails with kUnsupported when later sections have been sent already.
  Result<void> Open(std::size_t section);
  Result<void> Append(std::string_view text);
  Result<void> Close();
  /// Sends what is held: no section follows.
  Result<void> Finish();

 private:
  static constexpr std::size_t kSections = 4;
  Result<void> SendHeldUpTo(std::size_t section);
  Result<void> Send(std::string_view text);
  Result<void> Flush();

  FragmentReceiver& receiver_;
  const FragmentKey key_;
  const std::size_t reorder_bytes_;
  std::array<std::string, kSections> held_;
  std::array<bool, kSections> closed_{};
  std::size_t next_ = 0;  // first section that has not been sent
  std::size_t open_ = 0;
  std::size_t held_bytes_ = 0;
  std::string out_;  // small writes gathered
};

/// Derives the fragments of one document from its parse events (metadata notes, section 4). Not
/// thread-safe; `receiver` must outlive it.
class FragmentBuilder {
 public:
  FragmentBuilder(FragmentReceiver& receiver, std::size_t reorder_bytes, std::size_t text_bytes);

  Result<void> Start(const XmlElement& element);
  Result<void> End(const XmlElement& element);
  Result<void> Text(std::string_view text);
  Result<void> Finish();

 private:
  enum class Target { kNone, kCore, kExtended, kBuffer };

  Result<void> StartSection(const XmlElement& element);
  Result<void> StartProperties(const XmlElement& element);
  Result<void> StartLocalized(const XmlElement& element);
  Result<void> EndLocalized();
  Result<void> Write(std::string_view text);
  Result<void> WriteStart(const XmlElement& element, std::string_view name);
  Result<void> WriteEnd(std::string_view prefix, std::string_view name);
  Result<void> CloseTag();

  FragmentReceiver& receiver_;
  OrderedFragment core_;
  OrderedFragment extended_;
  const std::size_t text_bytes_;
  Target target_ = Target::kNone;
  std::size_t depth_ = 0;
  std::size_t skip_from_ = 0;  // depth of an element whose content is left out, 0 for none
  bool in_localized_ = false;
  bool tag_open_ = false;  // a start tag still lacks its ">" or " />"
  bool in_language_ = false;
  FragmentKey buffer_key_;
  std::set<FragmentKey> sent_;
  std::string buffer_;
  std::string scratch_;
};

}  // namespace gapferry::protocol
