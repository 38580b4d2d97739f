#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/canonical_json.h"
#include "base/clock.h"
#include "base/result.h"
#include "importer/import_damage.h"
#include "manifests/manifest.h"
#include "manifests/signature.h"
#include "mirror/exchange/return_records.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// What an import knows that evidence will tell.
struct ImportFacts {
  const manifests::Manifest& manifest;
  Sha256Digest digest;  ///< of the manifest
  const manifests::SignatureReport& signatures;
  std::string policy;  ///< "origin + 1 release"
  std::vector<std::filesystem::path> media;
  JsonValue::Object contents;  ///< mirror/bundle_event.h
  JsonValue::Object scanner;
  JsonValue::Object counts;
  std::string repaired;  ///< MendedText
  UtcTime started;
  UtcTime ended;
  std::string actor;
};

/// Writes the event of an import, the head of the sender's audit chain as this bundle tells it, and
/// what the sender says it saw of ours. Belongs into the import's commit. Returns the digest of the
/// event for the audit record.
Result<Sha256Digest> RecordImportFacts(mirror::Mirror& mirror, const ImportFacts& facts);

/// Writes the event of an import of which media are still to come.
Result<void> RecordImportMedium(mirror::Mirror& mirror, const Sha256Digest& manifest,
                                const std::vector<std::filesystem::path>& media,
                                const std::string& actor);

/// "3 blocks of volume-0001.tar and README.txt were restored"; empty: nothing was.
std::string MendedText(const MendedDamage& damage);

/// The same heads as a return tells them, whether it is applied, late or was seen before.
Result<void> RecordReturnHeads(mirror::Mirror& mirror, const mirror::exchange::ReturnHeader& header,
                               const Sha256Digest& document);

/// The signers of a document for evidence: role, name, holder and key of each that counted, keys of
/// the others.
JsonValue::Object SignersOf(const manifests::SignatureReport& report);

/// Fails with kUntrusted (reason "medium-not-allowed") when gapferry.yaml lists media and `path` is
/// on none of them.
Result<void> CheckMedium(mirror::Mirror& mirror, const std::filesystem::path& path);

}  // namespace gapferry::importer
