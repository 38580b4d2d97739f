#include "manifests/document.h"

#include <optional>

#include "base/text.h"

namespace gapferry::manifests {

std::string_view DocumentTypeName(DocumentType type) {
  switch (type) {
    case DocumentType::kCard:
      return "gapferry-card";
    case DocumentType::kManifest:
      return "gapferry-manifest";
    case DocumentType::kDetails:
      return "gapferry-details";
    case DocumentType::kReturn:
      return "gapferry-return";
    case DocumentType::kRotation:
      return "gapferry-rotation";
    case DocumentType::kRevocation:
      return "gapferry-revocation";
    case DocumentType::kEvidence:
      return "gapferry-evidence";
  }
  return "";
}

std::string TypeField(DocumentType type) {
  return std::string(DocumentTypeName(type)) + "/" + std::to_string(kFormatVersion);
}

Result<int> CheckDocumentType(ByteView bytes, DocumentType expected) {
  const std::string_view head = AsText(bytes.subspan(0, std::min<std::size_t>(bytes.size(), 64)));
  const std::string prefix = "{\"_type\":\"" + std::string(DocumentTypeName(expected)) + "/";
  const std::size_t end = head.find('"', prefix.size());
  if (!head.starts_with(prefix) || end == std::string_view::npos) {
    return Fail(ErrorCode::kCorrupt, "document-type",
                "is no " + std::string(DocumentTypeName(expected)) + " document: begins with \"" +
                    EscapeForDisplay(head, 40) + "\"");
  }
  const std::string_view spelled = head.substr(prefix.size(), end - prefix.size());
  const auto version = ParseInt<int>(spelled);
  if (!version || std::to_string(*version) != spelled || *version < 1) {
    return Fail(ErrorCode::kCorrupt, "document-type",
                "'" + EscapeForDisplay(spelled, 20) + "' is no document version");
  }
  if (*version > kFormatVersion || *version < kFormatVersion - 2) {
    return Fail(ErrorCode::kUnsupported, "document-version",
                std::string(DocumentTypeName(expected)) + " version " + std::to_string(*version) +
                    ", this program reads up to " + std::to_string(kFormatVersion));
  }
  return *version;
}

Result<JsonValue> ParseDocument(ByteView bytes, DocumentType expected) {
  TRY(CheckDocumentType(bytes, expected));
  const std::string_view text = AsText(bytes);
  if (!text.ends_with('\n')) {
    return Fail(ErrorCode::kCorrupt, "json-not-canonical", "does not end with a line end");
  }
  return ParseCanonicalJson(text.substr(0, text.size() - 1));
}

}  // namespace gapferry::manifests
