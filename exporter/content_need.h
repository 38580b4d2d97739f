#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "mirror/content_store.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// A file that this mirror should hold and does not.
struct NeededFile {
  mirror::ContentExpectation expected;
  /// What other revisions declare under the same SHA-1 that contradicts `expected`: at most one of
  /// all is right, and only the bytes tell which.
  std::vector<mirror::ContentExpectation> others;
  std::optional<std::string> vendor_url;

  /// Bytes of the largest declaration: what has to fit on the disk.
  std::uint64_t LargestBytes() const;
  /// `expected`, or one of the others, that fits; null when none does.
  const mirror::ContentExpectation* Match(const Sha256Digest& sha256,
                                          std::uint64_t size_bytes) const;
  bool HasSize(std::uint64_t size_bytes) const;
};

/// What the configuration asks for: payload of updates with an effective approval for installation
/// or uninstallation and of what they bundle (or of everything), licence texts of all live updates,
/// and what downstream servers asked for. Each file once, by SHA-1, ascending. Files of declined
/// updates are left out; of revisions with a digest conflict only those files are needed that
/// decide it: what all revisions declare under a SHA-1 is tried, what is withheld last.
Result<std::vector<NeededFile>> FindNeededFiles(mirror::Mirror& mirror);

}  // namespace gapferry::exporter
