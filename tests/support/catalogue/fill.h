#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"
#include "tests/support/catalogue/catalogue.h"

namespace gapferry::catalogue {

struct FillOptions {
  bool with_content = true;
  unsigned threads = 1;
};

struct FillReport {
  std::uint64_t new_revisions = 0;
  std::uint64_t known_revisions = 0;  ///< were there from an earlier fill
  std::uint64_t document_bytes = 0;   ///< UTF-8, of the new ones
  std::uint64_t new_files = 0;
  std::uint64_t file_bytes = 0;
  std::int64_t generation = 0;  ///< published at the end
  double metadata_seconds = 0;
  double content_seconds = 0;
};

/// Loads the catalogue into the existing mirror at `directory` as a sync would: documents in the
/// form that update servers send, content verified and published, then one commit. Filling again
/// with a later step adds what is new as another generation. Memory: some documents per thread.
/// Fails as the mirror's load does; what was loaded is adopted by the next fill.
Result<FillReport> FillMirror(const Catalogue& catalogue, const std::filesystem::path& directory,
                              const FillOptions& options);

std::string FillReportText(const FillReport& report);
std::string FillReportJson(const FillReport& report);

}  // namespace gapferry::catalogue
