#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/stream.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/exchange/record_reader.h"

namespace gapferry::mirror::exchange {

/// A metadata object decoded (docs/format.md, "Metadata objects"): records, ascending by update and
/// revision, each a line of canonical JSON that tells size and digest, LF, the document's bytes as
/// they came, LF.
inline constexpr std::size_t kMaxMetadataHeaderBytes = 256 * 1024;
inline constexpr std::size_t kMaxUrlsPerRevision = 1000;

/// Streams the record of one revision.
Result<void> WriteMetadataRecord(Catalog& catalog, const RevisionRow& row, Sink& sink);

class MetadataBatchReader {
 public:
  /// `decoded` must outlive it. A document of more than `max_document_bytes` as stored is refused.
  MetadataBatchReader(Source& decoded, std::uint64_t max_document_bytes)
      : reader_(decoded), max_document_bytes_(max_document_bytes) {}

  /// Nullopt at the end. Fails with kCorrupt (reason "metadata-malformed"). The document itself is
  /// not looked at: DecodedRevision checks it against expected_sha256.
  Result<std::optional<IncomingRevision>> Next();

 private:
  RecordReader reader_;
  std::uint64_t max_document_bytes_;
  std::optional<protocol::UpdateId> last_;
};

}  // namespace gapferry::mirror::exchange
