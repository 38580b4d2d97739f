#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tests/support/catalogue/model.h"

namespace gapferry::catalogue {

struct Options {
  std::uint64_t seed = 1;
  std::string size = "S";              ///< S, M, L or an exact number of revisions (at least 600)
  std::uint32_t step = 0;              ///< publications after the first state
  bool big = false;                    ///< adds one update with a document of 47 MB
  bool real_tail = false;              ///< CBS manifests as large as observed (M and L always)
  std::uint64_t largest_manifest = 0;  ///< bytes; larger ones are left out; 0: the size's own
  std::uint64_t file_median = 0;       ///< bytes; 0: the size's own
  std::uint64_t huge_file = 0;         ///< bytes of one more file; 0: none
};

/// Digests of content files cost generating every file; kSkip is for those who only look at
/// relations and rules (documents are then not to be made).
enum class FileDigests { kCompute, kSkip };

/// Identities that the well-known parts of a catalogue have; see metadata.md 2.1.
struct WellKnown {
  static Guid Microsoft();
  static Guid Windows();
  static Guid Windows11();
  static Guid Defender();
  static Guid SecurityUpdates();
  static Guid DefinitionUpdates();
  static Guid Updates();
  static Guid Drivers();
  static Guid Tools();
};

/// A whole catalogue: every revision with its relations, in an order in which each refers to
/// earlier ones only (superseded updates apart from nothing). The same options give the same
/// catalogue on every machine; step n + 1 is step n with revisions added at the end.
class Catalogue {
 public:
  /// Fails with kUsage when an option makes no sense. File digests are computed with `threads`.
  static Result<Catalogue> Make(const Options& options, unsigned threads,
                                FileDigests digests = FileDigests::kCompute);

  const Options& options() const { return options_; }
  const std::vector<Revision>& revisions() const { return revisions_; }
  const std::vector<FileSpec>& files() const { return files_; }
  /// Revisions before this index were there before the first step.
  std::size_t base_count() const { return base_count_; }
  /// The index of the newest revision of `guid`; kNotFound.
  Result<std::size_t> Newest(const Guid& guid) const;
  /// True for the newest revision of its update.
  bool IsNewest(std::size_t index) const;

 private:
  friend class Builder;
  Catalogue() = default;
  Options options_;
  std::vector<Revision> revisions_;
  std::vector<FileSpec> files_;
  std::vector<std::pair<Guid, std::size_t>> newest_;  ///< sorted
  std::size_t base_count_ = 0;
};

/// The document of a revision, UTF-8, shaped like the real ones.
std::string Document(const Catalogue& catalogue, const Revision& revision);

}  // namespace gapferry::catalogue
