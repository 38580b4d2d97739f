#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/commit.h"
#include "mirror/job_lock.h"
#include "mirror/state.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

class Mirror;

/// A revision as an upstream or a bundle delivers it.
struct IncomingRevision {
  protocol::UpdateId update;  ///< what the sender says; the document must agree
  DocumentForm form = DocumentForm::kPlain;
  Bytes bytes;  ///< as they came
  /// What a signed list says; checked when given.
  std::optional<Sha256Digest> expected_sha256;
  struct FileUrl {
    Sha1Digest sha1;
    std::string url;
  };
  std::vector<FileUrl> file_urls;
  std::vector<FileKey> file_keys;  ///< secret
};

/// A revision decoded, parsed and with its fragments derived: the expensive half of loading, free
/// of the database, so that several threads can do it.
class DecodedRevision {
 public:
  /// Fails with kCorrupt (not a document, another identity, another digest) or kUnsupported; the
  /// message names the update. Memory: the decoded document and its fragments. Thread-safe.
  static Result<DecodedRevision> Decode(IncomingRevision incoming,
                                        std::uint64_t max_document_bytes);
  DecodedRevision(DecodedRevision&&) noexcept;
  DecodedRevision& operator=(DecodedRevision&&) noexcept;
  ~DecodedRevision();
  const protocol::UpdateId& update() const;
  const Sha256Digest& sha256() const;
  /// About what it holds in memory: the document as it came, what was read from it, the fragments.
  std::uint64_t memory_bytes() const;

  struct Impl;  ///< known to the sources of mirror/ only

 private:
  friend class CatalogLoad;
  explicit DecodedRevision(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

enum class Added {
  kNew,    ///< stored in the open change
  kKnown,  ///< the same document was there, published or in the open change
};

/// The invisible half of a sync or an import. Rows go to fragments.db and then to catalog.db in
/// batches whose write lock is held for at most 250 ms; nothing is seen by readers until the
/// commit. One open change exists at most. A job that starts again with the same kind and key
/// adopts the rows of the one before it; any other removes them first.
///
/// Rows are collected and written together: an error of the database (a full disk) may come from a
/// later Add or Flush, which can be repeated.
///
/// Use: Open, Add..., Prepare, BeginCommit, (fill the commit), Finish of the commit. Hold the job
/// lock from Open to the end. After an error of Add nothing of that revision is kept and the load
/// may go on. Thread rule of its mirror.
class CatalogLoad {
 public:
  /// `kind`: "sync" or "import"; `key`: what makes a restart the same job, such as the bundle's
  /// manifest digest; empty for sync.
  static Result<CatalogLoad> Open(Mirror& mirror, const JobLock& lock, std::string_view kind,
                                  std::string_view key = {});
  CatalogLoad(CatalogLoad&&) noexcept;
  CatalogLoad& operator=(CatalogLoad&&) = delete;
  ~CatalogLoad();

  /// Fails with kCorrupt and reason "document-conflict" when the same (GUID, revision) is known
  /// with another text; nothing has changed then.
  Result<Added> Add(DecodedRevision revision);
  Result<Added> Add(IncomingRevision incoming);
  /// Remembers addresses and keys of files that come apart from their revisions; visible with the
  /// commit, like those given to Add.
  Result<void> AddFileUrls(std::vector<IncomingRevision::FileUrl> urls);
  Result<void> AddFileKeys(std::vector<FileKey> keys);

  /// Known with a document, published or in the open change.
  Result<bool> Has(const protocol::UpdateId& update);
  /// Those of `sorted` (ascending, distinct) that are neither; many at the cost of one pass.
  Result<std::vector<protocol::UpdateId>> Unknown(const std::vector<protocol::UpdateId>& sorted);
  /// Those of the open change that declare a file without a known address, ascending. Addresses
  /// come after the revisions they belong to, and an interruption may come between.
  Result<std::vector<protocol::UpdateId>> WithoutFileUrls();
  Result<std::optional<Sha256Digest>> KnownSha256(const protocol::UpdateId& update);
  /// Ends the batch that is open: its rows survive a crash.
  Result<void> Flush();
  /// The open change, for the questions of load_queries.h.
  ChangeId change() const;

  /// Marks revisions as no longer (or again) listed by the upstream; part of the commit.
  void Withdraw(const protocol::UpdateId& update);
  void ListAgain(const protocol::UpdateId& update);
  /// Withdraws a revision that a full bundle does not name: it stays and is served as withdrawn,
  /// but is no part of the documents tree any more, and so of no state digest.
  void Unlist(const protocol::UpdateId& update);
  /// As marked, unlisted ones included, ascending.
  std::vector<protocol::UpdateId> Withdrawn() const;

  struct Summary {
    std::uint64_t new_revisions = 0;  ///< adopted ones included
    std::uint64_t adopted_revisions = 0;
    std::uint64_t withdrawn = 0;
    std::uint64_t newly_expired = 0;
    std::uint64_t live_updates = 0;  ///< before the commit, the base of the 2 % rule
    std::uint64_t digest_conflicts = 0;
    /// Revisions of this load whose prerequisites or members are neither published nor loaded; at
    /// most 1,000.
    std::vector<Catalog::Dangling> dangling;
    /// Payload and EULA files that revisions of this load declare and content/ does not hold.
    std::uint64_t missing_files = 0;
    std::uint64_t missing_bytes = 0;
  };
  /// Updates offered now whose newest revision will be an expired one; their number is
  /// Summary::newly_expired.
  Result<std::vector<Guid>> NewlyExpired();
  /// Flushes and counts; changes nothing that is visible.
  Result<Summary> Summarize();
  /// Flushes and computes the digests of the documents, outside the commit. Fails with kNotFound
  /// when a withdrawn revision is not published.
  Result<void> Prepare();

  /// The revisions of the open change, ascending by id, for semantic checks and content plans.
  Result<void> ForEachLoaded(const std::function<Result<void>(RevisionRelations&)>& visit);

  /// Opens the commit; Prepare must have been called after the last Add or Withdraw. The load must
  /// outlive it. A commit rolled back leaves the load as it was.
  Result<CommitTransaction> BeginCommit(std::string_view kind);

  /// Removes everything loaded, in batches: an import refused after loading began.
  Result<void> Abandon();

 private:
  struct Impl;
  explicit CatalogLoad(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::mirror
