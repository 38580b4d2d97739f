#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/canonical_json.h"
#include "base/result.h"

namespace gapferry::manifests {

/// The kinds of document that are signed. Each begins with `{"_type":"<name>/<version>"`, so that a
/// signature over one kind can never pass for another (docs/format.md, "Signed documents").
enum class DocumentType { kCard, kManifest, kDetails, kReturn, kRotation, kRevocation, kEvidence };
std::string_view DocumentTypeName(DocumentType type);  ///< "gapferry-manifest"

/// What this program writes; it reads this version and the two before.
inline constexpr int kFormatVersion = 1;
std::string TypeField(DocumentType type);  ///< "gapferry-manifest/1"

/// Looks at the first bytes only: fails with kCorrupt (reason "document-type") when `bytes` begins
/// otherwise or is of another kind, with kUnsupported (reason "document-version") when the version
/// is not one that this program reads. Returns the version.
Result<int> CheckDocumentType(ByteView bytes, DocumentType expected);

/// One canonical JSON object and LF of the expected type: CheckDocumentType, then the parse.
Result<JsonValue> ParseDocument(ByteView bytes, DocumentType expected);

}  // namespace gapferry::manifests
