#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"

namespace gapferry::manifests {

/// The order of the kinds is the order of objects in a bundle: what is needed for the plan first.
enum class ObjectKind { kIntent, kMetadata, kAttachment, kContent };

/// What an object of a bundle is called: `intent`, `metadata/NNNNNN`, `attachments/NNN` or
/// `content/AB/<SHA1>.<ext>` with `.partNNNN` behind it for a part. AB is the last byte of the
/// SHA-1; hex digits are upper case; numbers start at 1. Nothing else can be expressed, so no name
/// can leave a folder. The order is the order in a bundle.
struct ObjectName {
  ObjectKind kind = ObjectKind::kIntent;
  std::uint32_t number = 0;  ///< metadata 1 to 999,999; attachments 1 to 999; else 0
  Sha1Digest sha1;           ///< content only
  std::string extension;     ///< content only: 1 to 16 of [A-Za-z0-9]
  std::uint32_t part = 0;    ///< 0: the whole file; parts are 1 to 9,999

  static ObjectName Intent() { return {}; }
  static ObjectName Metadata(std::uint32_t number);
  static ObjectName Attachment(std::uint32_t number);
  static ObjectName Content(const Sha1Digest& sha1, std::string extension);

  /// Fails with kCorrupt (reason "object-name").
  static Result<ObjectName> Parse(std::string_view text);
  std::string ToString() const;
  /// The same object without its part number.
  ObjectName Whole() const;
  bool IsContent() const { return kind == ObjectKind::kContent; }

  std::strong_ordering operator<=>(const ObjectName&) const = default;
};

/// 1 to 16 of [A-Za-z0-9].
bool IsFileExtension(std::string_view text);

}  // namespace gapferry::manifests
