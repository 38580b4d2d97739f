#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "mirror/catalog_load.h"
#include "mirror/fragment_store.h"
#include "protocol/update_document.h"

// For the sources of mirror/ only.

namespace gapferry::mirror {

struct DecodedRevision::Impl {
  IncomingRevision incoming;
  Sha256Digest sha256;
  std::uint64_t document_bytes = 0;  ///< decoded
  protocol::UpdateDocument document;
  std::vector<FragmentToStore> fragments;
};

/// Decodes and derives; what Decode and the rebuild of fragments share.
struct DerivedDocument {
  protocol::UpdateDocument document;
  std::vector<FragmentToStore> fragments;
  Sha256Digest sha256;
  std::uint64_t document_bytes = 0;
};
Result<DerivedDocument> DeriveDocument(DocumentForm form, ByteView bytes,
                                       std::uint64_t max_document_bytes);

}  // namespace gapferry::mirror
