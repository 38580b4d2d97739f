#pragma once

#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "tests/support/catalogue/catalogue.h"

namespace gapferry::catalogue {

/// A document in the form in which an update server sends it: a cabinet when its UTF-16 text is
/// larger than 5,120 bytes, else plain UTF-8.
struct WireDocument {
  bool is_cabinet = false;
  Bytes bytes;
};
Result<WireDocument> ToWire(const std::string& document);

/// "AB/<SHA1>.<ext>", as update servers lay content out.
std::string StoreName(const FileSpec& file);

/// Writes the bytes of `file` to `path`.
Result<void> WriteContent(std::uint64_t seed, const FileSpec& file,
                          const std::filesystem::path& path);

/// Fills `directory` (created) with documents/<guid>-r<revision>.{xml,cab}, content/AB/<SHA1>.<ext>
/// and catalogue.json. Memory: one document or file piece per thread.
Result<void> WriteCatalogue(const Catalogue& catalogue, const std::filesystem::path& directory,
                            unsigned threads);

}  // namespace gapferry::catalogue
