#include "mirror/trust_log.h"

namespace gapferry::mirror {

Result<void> KeepTrustDocument(Database& catalog, const AcceptedTrust& document, UtcTime at) {
  return catalog.Run(
      "INSERT INTO trust_document (holder, number, text, accepted_at) VALUES (?, ?, ?, ?)",
      document.holder, document.number, document.text, at);
}

Result<std::vector<std::string>> AcceptedTrustDocuments(Database& catalog) {
  TRY_ASSIGN(auto rows, catalog.Prepare("SELECT text FROM trust_document ORDER BY id"));
  std::vector<std::string> texts;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    texts.push_back(rows.String(0));
  }
  TRY(rows.Check());
  return texts;
}

Result<void> ForgetTrustDocuments(Database& catalog, const Guid& holder) {
  return catalog.Run("DELETE FROM trust_document WHERE holder = ?", holder);
}

Result<void> RecordOriginKey(Database& catalog, const Sha256Digest& manifest,
                             std::string_view key) {
  return catalog.Run("INSERT OR REPLACE INTO bundle_in_key (manifest, origin_key) VALUES (?, ?)",
                     manifest, key);
}

Result<std::optional<std::string>> OriginKeyOf(Database& catalog, const Sha256Digest& manifest) {
  TRY_ASSIGN(auto rows, catalog.Prepare("SELECT origin_key FROM bundle_in_key WHERE manifest = ?"));
  rows.BindAll(manifest);
  TRY_ASSIGN(const bool row, rows.Step());
  std::optional<std::string> key;
  if (row) key = rows.String(0);
  TRY(rows.Check());
  return key;
}

}  // namespace gapferry::mirror
