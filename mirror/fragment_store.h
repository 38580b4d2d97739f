#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/answer_body.h"
#include "protocol/fragments.h"

namespace gapferry::mirror {

/// One fragment ready to be sent: XML text escaped for SOAP, either here (at most 16,352 bytes) or
/// prepared in xpress blocks.
struct StoredFragment {
  std::string escaped_text;
  std::shared_ptr<const protocol::PreparedText> prepared;  ///< null: escaped_text is all
  std::uint64_t decoded_bytes() const {
    return prepared ? prepared->decoded_bytes() : escaped_text.size();
  }
};

/// What one revision's fragments are before they are stored; made by DecodedRevision.
struct FragmentToStore {
  protocol::FragmentKey key;
  std::string bytes;  ///< escaped text, or xpress blocks
  bool is_prepared = false;
  std::uint64_t decoded_bytes = 0;
};

/// fragments.db: the core, extended, localized and EULA fragments by revision id. Everything in it
/// can be made again from the documents.
///
///   fragment(id, revision_id, kind, language, geo_id, form, decoded_bytes, stored_bytes, bytes)
///   fragment_part(fragment id << 12 | n, 256 KiB each) for those that do not fit the row
///
/// Reading is thread-safe (a lock around one connection; use several stores for parallel readers).
/// Texts that were given out stay readable after the store is gone.
class FragmentStore {
 public:
  static Result<FragmentStore> Open(const std::filesystem::path& path,
                                    const DatabaseOptions& options);
  FragmentStore(FragmentStore&&) noexcept;
  FragmentStore& operator=(FragmentStore&&) noexcept;
  ~FragmentStore();

  /// nullopt when the revision has no such fragment.
  Result<std::optional<StoredFragment>> Find(RevisionId id, const protocol::FragmentKey& key) const;
  Result<std::optional<StoredFragment>> FindCore(RevisionId id) const;
  Result<std::optional<StoredFragment>> FindExtended(RevisionId id) const;
  /// The languages (and regions) of one kind, in document order.
  Result<std::vector<protocol::FragmentKey>> Keys(RevisionId id, protocol::FragmentKind kind) const;
  /// By protocol::ChooseLanguage.
  Result<std::optional<StoredFragment>> FindLocalized(RevisionId id,
                                                      const std::vector<std::string>& locales,
                                                      std::string_view default_language) const;
  /// Decoded sizes of cores, for paging without reading them; 0 for ids that have none.
  Result<std::vector<std::uint64_t>> CoreBytes(const std::vector<RevisionId>& ids) const;

  // Writing: the job that holds the job lock. Replaces what the revision had.
  Result<void> BeginBatch();
  Result<void> Put(RevisionId id, const std::vector<FragmentToStore>& fragments);
  Result<void> CommitBatch();
  void RollbackBatch();
  Result<void> Remove(RevisionId id);
  /// The derivation every stored fragment was made with; rebuild when it is not
  /// protocol::kFragmentDerivation.
  Result<std::int32_t> Derivation() const;
  /// `since`: what clients were given before is of another derivation; kNever: nothing was.
  Result<void> SetDerivation(std::int32_t derivation, UtcTime since);
  Result<UtcTime> DerivedSince() const;

 private:
  class Shared;
  explicit FragmentStore(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;
};

class Mirror;
/// Makes all fragments again from the documents, in batches; readers see old or new ones. Returns
/// the number of revisions done.
Result<std::uint64_t> RebuildFragments(Mirror& mirror);

}  // namespace gapferry::mirror
