#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/result.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

namespace gapferry::mirror {

/// What is known of a content file before it is here.
struct ContentExpectation {
  Sha1Digest sha1;
  std::optional<Sha256Digest> sha256;
  std::uint64_t size_bytes = 0;
  std::string extension;  ///< 1 to 16 of [A-Za-z0-9]
};

/// A held file.
struct ContentFile {
  Sha1Digest sha1;
  Sha256Digest sha256;
  std::uint64_t size_bytes = 0;
  std::string extension;
  std::int64_t sequence = 0;  ///< of the store when it came; 0 where it was not read
};

/// Bytes in staging/content/ whose size and digests were checked while they were written or by
/// VerifyStaged: the only thing Publish takes.
class VerifiedContent {
 public:
  const ContentFile& file() const { return file_; }
  const std::filesystem::path& staged_path() const { return path_; }

 private:
  friend class ContentStore;
  VerifiedContent(ContentFile file, std::filesystem::path path)
      : file_(std::move(file)), path_(std::move(path)) {}
  ContentFile file_;
  std::filesystem::path path_;
};

/// "AB/<40 upper-case hex digits>.<ext>", AB = the last two digits.
std::string ContentPath(const Sha1Digest& sha1, std::string_view extension);
bool IsContentExtension(std::string_view extension);

/// Size and digests of a file as it is.
struct ContentHashes {
  Sha1Digest sha1;
  Sha256Digest sha256;
  std::uint64_t size_bytes = 0;
};
/// Reads the whole of `path`; kCancelled when stopped.
Result<ContentHashes> HashContent(const std::filesystem::path& path, std::stop_token stop = {});

/// What is wrong with `found`, with both values; empty when it is as expected.
std::string DifferenceOf(const ContentHashes& found, const ContentExpectation& expected);

/// "<40 hex digits>.<ext>" in any case, as content files are called; nothing for other names.
struct ContentName {
  Sha1Digest sha1;
  std::string extension;
};
std::optional<ContentName> ParseContentName(std::string_view name);

/// DIR/content: one file per content file, as WSUS lays it out. A file exists there only after its
/// digests were verified: stage, verify, syncfs, rename, sync the folders, then the `content` row.
/// Thread rule of its mirror; VerifyStaged and StagedPath are thread-safe.
class ContentStore {
 public:
  ContentStore(Database& catalog, std::filesystem::path mirror)
      : db_(catalog), mirror_(std::move(mirror)) {}

  // Reading.
  Result<std::optional<ContentFile>> Find(const Sha1Digest& sha1);
  bool Holds(const Sha1Digest& sha1);  ///< false also when the catalogue cannot be read
  /// By SHA-1 whatever extension it is kept under; kNotFound when it is not held.
  Result<File> Open(const Sha1Digest& sha1);
  std::filesystem::path PathOf(const ContentFile& file) const;
  /// What revisions declare under this SHA-1, each contradiction once, those of revisions without a
  /// digest conflict first; at most 8.
  Result<std::vector<ContentExpectation>> Declared(const Sha1Digest& sha1);
  Result<void> ForEach(const std::function<Result<void>(const ContentFile&)>& visit);
  /// Visible revisions whose files contradict what is held or declared earlier, ascending.
  Result<std::vector<RevisionId>> DigestConflicts();
  /// Held files that were published or dropped after `sequence`; call with 0 for all.
  Result<std::int64_t> Sequence();
  struct Totals {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
  };
  Result<Totals> Count();
  Result<Sha256Digest> Digest();  ///< content_digest: a tree over 4,096 buckets by SHA-1

  // Filling.
  /// Where the bytes of a file are collected: staging/content/<SHA1>.<ext>. The same for every run,
  /// so that an interrupted download goes on. Creates the folder.
  Result<std::filesystem::path> StagedPath(const ContentExpectation& expected) const;
  /// Reads the staged file and checks size, SHA-1 and SHA-256; kCorrupt naming both values (the
  /// file is removed then).
  static Result<VerifiedContent> VerifyStaged(const std::filesystem::path& staged,
                                              const ContentExpectation& expected);
  /// For writers that hashed while writing to `staged`.
  static Result<VerifiedContent> AcceptHashed(const std::filesystem::path& staged,
                                              const ContentExpectation& expected,
                                              const Sha1Digest& sha1, const Sha256Digest& sha256,
                                              std::uint64_t size_bytes);
  /// Moves a batch into the store: syncfs, renames, folders synced, rows. All or some: files that
  /// were renamed before a failure are taken over by the next Publish or Recover. One that is held
  /// already is dropped from staging. Never replaces a held file: the same SHA-1 with another
  /// SHA-256 or size is kCorrupt, reason "digest-conflict". Revisions that declared otherwise get
  /// their conflict mark in the same transaction, and those that were marked only because somebody
  /// declared otherwise lose it.
  Result<void> Publish(std::vector<VerifiedContent> batch);
  /// Files in content/ without a row (a crash between rename and row): hashed and entered, or moved
  /// aside to staging/ when their name does not fit. Rows without file are dropped and returned.
  /// Call at the start of a job.
  Result<std::vector<ContentFile>> Recover();
  /// Forgets and deletes a held file that was found damaged or missing; it is wanted again.
  Result<void> Drop(const Sha1Digest& sha1);
  /// Files that were dropped and did not come again, ascending: whoever sends bundles believes that
  /// they are here, until it is told.
  Result<std::vector<Sha1Digest>> Lost();
  /// The sender knows of those that were lost up to then.
  Result<void> ForgetLost(UtcTime up_to);

  struct Damage {
    ContentFile file;
    std::string what;  ///< "missing", "size 12, expected 13", "sha256 mismatch: ..."
  };
  /// Presence and sizes; with `deep` all digests. Stops when asked.
  Result<std::vector<Damage>> Check(bool deep, Progress& progress, std::stop_token stop);

  // Wanted by downstream servers or by this mirror.
  Result<void> AddWanted(const std::vector<Sha1Digest>& sha1s);
  Result<std::vector<Sha1Digest>> Wanted();
  Result<void> ForgetWanted(const std::vector<Sha1Digest>& sha1s);

 private:
  Database& db_;  // must outlive
  std::filesystem::path mirror_;
};

}  // namespace gapferry::mirror
