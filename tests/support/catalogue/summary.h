#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "tests/support/catalogue/catalogue.h"

namespace gapferry::catalogue {

struct Summary {
  std::map<std::string_view, std::uint64_t> revisions_by_kind;
  std::uint64_t expired = 0;
  std::uint64_t older_revisions = 0;
  std::uint64_t superseded_edges = 0;
  std::uint64_t document_bytes = 0;  ///< UTF-8
  std::uint64_t largest_document = 0;
  std::uint64_t median_document = 0;
  std::uint64_t percentile_99_document = 0;
  std::uint64_t documents_over_1_mb = 0;
  std::uint64_t documents_over_32_mb = 0;
  std::uint64_t file_count = 0;
  std::uint64_t file_bytes = 0;
  /// Over every document and every file's digests: two machines that agree here agree on every
  /// byte.
  Sha256Digest digest;
};

/// Renders every document. Memory: one document per thread.
Summary Summarize(const Catalogue& catalogue, unsigned threads);

/// Calls `work` for 0 to count - 1 from `threads` threads, the caller's among them. The first error
/// stops the others and is returned.
Result<void> ParallelFor(std::size_t count, unsigned threads,
                         const std::function<Result<void>(std::size_t)>& work);

}  // namespace gapferry::catalogue
