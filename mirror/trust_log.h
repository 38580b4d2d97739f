#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// What signed documents said about whom to trust, in the order in which it was accepted, and by
/// which key the sender signed each bundle that was imported. Kept in catalog.db, so that it
/// becomes lasting with the commit of the import that brought it. All may be called inside a write
/// transaction.
struct AcceptedTrust {
  Guid holder;
  std::uint64_t number = 0;
  std::string text;  ///< the document, as manifests/trust_document.h reads it
};

Result<void> KeepTrustDocument(Database& catalog, const AcceptedTrust& document, UtcTime at);
/// In the order of acceptance.
Result<std::vector<std::string>> AcceptedTrustDocuments(Database& catalog);
/// A person decided anew for this holder: what documents said before does not count.
Result<void> ForgetTrustDocuments(Database& catalog, const Guid& holder);

/// The key id (hex) that signed as origin.
Result<void> RecordOriginKey(Database& catalog, const Sha256Digest& manifest, std::string_view key);
/// Nullopt for bundles of which it was not noted.
Result<std::optional<std::string>> OriginKeyOf(Database& catalog, const Sha256Digest& manifest);

}  // namespace gapferry::mirror
