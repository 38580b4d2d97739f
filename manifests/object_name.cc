#include "manifests/object_name.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"

namespace gapferry::manifests {
namespace {

constexpr std::string_view kMetadata = "metadata/";
constexpr std::string_view kAttachments = "attachments/";
constexpr std::string_view kContent = "content/";

/// Exactly `digits` decimal digits, value at least 1.
std::uint32_t Number(std::string_view text, std::size_t digits) {
  if (text.size() != digits) return 0;
  return ParseInt<std::uint32_t>(text).value_or(0);
}

std::string Padded(std::uint32_t number, int digits) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), "%0*u", digits, number);
  return buffer;
}

bool ParseContent(std::string_view rest, ObjectName& name) {
  // AB/<40 digits>.<ext>[.partNNNN]
  if (rest.size() < 45 || rest[2] != '/' || rest[43] != '.') return false;
  const std::string_view digits = rest.substr(3, 40);
  const auto sha1 = Sha1Digest::FromHex(digits);
  if (!sha1 || sha1->ToHex(HexCase::kUpper) != digits || rest.substr(0, 2) != digits.substr(38)) {
    return false;
  }
  std::string_view extension = rest.substr(44);
  if (const std::size_t dot = extension.find('.'); dot != std::string_view::npos) {
    const std::string_view part = extension.substr(dot);
    if (!part.starts_with(".part")) return false;
    name.part = Number(part.substr(5), 4);
    if (name.part == 0) return false;
    extension = extension.substr(0, dot);
  }
  name.kind = ObjectKind::kContent;
  name.sha1 = *sha1;
  name.extension = extension;
  return IsFileExtension(extension);
}

}  // namespace

bool IsFileExtension(std::string_view text) {
  return !text.empty() && text.size() <= 16 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

ObjectName ObjectName::Metadata(std::uint32_t number) {
  ObjectName name;
  name.kind = ObjectKind::kMetadata;
  name.number = number;
  return name;
}

ObjectName ObjectName::Attachment(std::uint32_t number) {
  ObjectName name;
  name.kind = ObjectKind::kAttachment;
  name.number = number;
  return name;
}

ObjectName ObjectName::Content(const Sha1Digest& sha1, std::string extension) {
  ObjectName name;
  name.kind = ObjectKind::kContent;
  name.sha1 = sha1;
  name.extension = std::move(extension);
  return name;
}

Result<ObjectName> ObjectName::Parse(std::string_view text) {
  ObjectName name;
  bool ok = false;
  if (text == "intent") {
    ok = true;
  } else if (text.starts_with(kMetadata)) {
    name = Metadata(Number(text.substr(kMetadata.size()), 6));
    ok = name.number != 0;
  } else if (text.starts_with(kAttachments)) {
    name = Attachment(Number(text.substr(kAttachments.size()), 3));
    ok = name.number != 0;
  } else if (text.starts_with(kContent)) {
    ok = ParseContent(text.substr(kContent.size()), name);
  }
  if (!ok) {
    return Fail(ErrorCode::kCorrupt, "object-name",
                "'" + EscapeForDisplay(text, 100) + "' is no object name");
  }
  return name;
}

std::string ObjectName::ToString() const {
  switch (kind) {
    case ObjectKind::kIntent:
      return "intent";
    case ObjectKind::kMetadata:
      return std::string(kMetadata) + Padded(number, 6);
    case ObjectKind::kAttachment:
      return std::string(kAttachments) + Padded(number, 3);
    case ObjectKind::kContent:
      break;
  }
  const std::string digits = sha1.ToHex(HexCase::kUpper);
  std::string out = std::string(kContent) + digits.substr(38) + "/" + digits + "." + extension;
  if (part != 0) out += ".part" + Padded(part, 4);
  return out;
}

ObjectName ObjectName::Whole() const {
  ObjectName whole = *this;
  whole.part = 0;
  return whole;
}

}  // namespace gapferry::manifests
