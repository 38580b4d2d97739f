#include "mirror/content_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "mirror/digest_tree.h"
#include "mirror/load_digests.h"

namespace gapferry::mirror {

namespace {

constexpr std::size_t kReadPiece = 1 << 20;

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string ElementLine(const ContentFile& file) {
  return fmt::format("{} {} {}\n", file.sha1.ToHex(), file.sha256.ToHex(), file.size_bytes);
}

ContentFile ReadContent(Statement& row) {
  ContentFile file;
  file.sha1 = row.DigestAt<Sha1Digest>(0);
  file.sha256 = row.DigestAt<Sha256Digest>(1);
  file.size_bytes = static_cast<std::uint64_t>(row.Int(2));
  file.extension = row.String(3);
  return file;
}

/// What is wrong with `found`, empty when nothing is.
std::string Difference(const ContentHashes& found, const Sha1Digest& sha1,
                       const std::optional<Sha256Digest>& sha256, std::uint64_t size_bytes) {
  if (found.size_bytes != size_bytes) {
    return fmt::format("size mismatch: expected {}, got {}", size_bytes, found.size_bytes);
  }
  if (found.sha1 != sha1) {
    return fmt::format("digest mismatch: expected sha1:{}, got sha1:{}", sha1.ToHex(),
                       found.sha1.ToHex());
  }
  if (sha256 && found.sha256 != *sha256) {
    return fmt::format("digest mismatch: expected sha256:{}, got sha256:{}", sha256->ToHex(),
                       found.sha256.ToHex());
  }
  return {};
}

}  // namespace

Result<ContentHashes> HashContent(const std::filesystem::path& path, std::stop_token stop) {
  TRY_ASSIGN(File file, File::OpenRead(path));
  Sha1Hasher sha1;
  Sha256Hasher sha256;
  ContentHashes hashes;
  Bytes piece(kReadPiece);
  for (;;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
    TRY_ASSIGN(const std::size_t size, file.Read(piece));
    if (size == 0) break;
    sha1.Update(ByteView(piece).first(size));
    sha256.Update(ByteView(piece).first(size));
    hashes.size_bytes += size;
  }
  hashes.sha1 = sha1.Finish();
  hashes.sha256 = sha256.Finish();
  return hashes;
}

std::string DifferenceOf(const ContentHashes& found, const ContentExpectation& expected) {
  return Difference(found, expected.sha1, expected.sha256, expected.size_bytes);
}

std::optional<ContentName> ParseContentName(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos || !IsContentExtension(name.substr(dot + 1))) {
    return std::nullopt;
  }
  const auto sha1 = Sha1Digest::FromHex(name.substr(0, dot));
  if (!sha1) return std::nullopt;
  return ContentName{*sha1, std::string(name.substr(dot + 1))};
}

bool IsContentExtension(std::string_view extension) {
  constexpr std::size_t kMaxExtension = 16;
  return !extension.empty() && extension.size() <= kMaxExtension &&
         std::all_of(extension.begin(), extension.end(), IsAlphanumeric);
}

std::string ContentPath(const Sha1Digest& sha1, std::string_view extension) {
  const std::string hex = sha1.ToHex(HexCase::kUpper);
  return fmt::format("{}/{}.{}", hex.substr(hex.size() - 2), hex, extension);
}

// ---- Reading -----------------------------------------------------------------------------------

Result<std::optional<ContentFile>> ContentStore::Find(const Sha1Digest& sha1) {
  TRY_ASSIGN(auto row, db_.Prepare("SELECT sha1, sha256, size_bytes, extension FROM content "
                                   "WHERE sha1 = ?"));
  row.BindAll(sha1);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<ContentFile>();
  ContentFile file = ReadContent(row);
  TRY(row.Check());
  return std::optional<ContentFile>(std::move(file));
}

bool ContentStore::Holds(const Sha1Digest& sha1) {
  const auto file = Find(sha1);
  return file.has_value() && file->has_value();
}

Result<File> ContentStore::Open(const Sha1Digest& sha1) {
  TRY_ASSIGN(const auto file, Find(sha1));
  if (!file) {
    return Fail(ErrorCode::kNotFound, fmt::format("content {} is not held", sha1.ToHex()));
  }
  return File::OpenRead(PathOf(*file));
}

std::filesystem::path ContentStore::PathOf(const ContentFile& file) const {
  return mirror_ / "content" / ContentPath(file.sha1, file.extension);
}

Result<std::vector<ContentExpectation>> ContentStore::Declared(const Sha1Digest& sha1) {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT f.sha256, f.size_bytes, min(f.extension) FROM revision_file f "
                         "JOIN revision r ON r.id = f.revision_id WHERE f.sha1 = ? "
                         "GROUP BY f.sha256, f.size_bytes "
                         "ORDER BY min(r.has_digest_conflict), f.sha256 IS NULL LIMIT 8"));
  rows.BindAll(sha1);
  std::vector<ContentExpectation> declared;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    ContentExpectation one;
    one.sha1 = sha1;
    one.sha256 = rows.OptionalDigest<Sha256Digest>(0);
    one.size_bytes = static_cast<std::uint64_t>(rows.Int(1));
    one.extension = rows.String(2);
    declared.push_back(std::move(one));
  }
  TRY(rows.Check());
  return declared;
}

Result<void> ContentStore::ForEach(const std::function<Result<void>(const ContentFile&)>& visit) {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT sha1, sha256, size_bytes, extension, sequence FROM content "
                         "ORDER BY sha1"));
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    ContentFile file = ReadContent(rows);
    file.sequence = rows.Int(4);
    TRY(rows.Check());
    TRY(visit(file));
  }
}

Result<std::vector<RevisionId>> ContentStore::DigestConflicts() {
  TRY_ASSIGN(auto rows,
             db_.Prepare("SELECT r.id FROM revision r JOIN change c ON c.id = r.change_id "
                         "WHERE r.has_digest_conflict = 1 AND c.generation IS NOT NULL "
                         "ORDER BY r.id"));
  std::vector<RevisionId> ids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    ids.push_back(rows.Int32(0));
  }
  TRY(rows.Check());
  return ids;
}

Result<std::int64_t> ContentStore::Sequence() {
  TRY_ASSIGN(const auto sequence, db_.QueryInt("SELECT content_sequence FROM mirror"));
  return sequence.value_or(0);
}

Result<ContentStore::Totals> ContentStore::Count() {
  TRY_ASSIGN(auto row, db_.Prepare("SELECT count(*), coalesce(sum(size_bytes), 0) FROM content"));
  TRY(row.Step());
  const Totals totals{static_cast<std::uint64_t>(row.Int(0)),
                      static_cast<std::uint64_t>(row.Int(1))};
  TRY(row.Check());
  return totals;
}

Result<Sha256Digest> ContentStore::Digest() {
  TRY_ASSIGN(const auto buckets, ReadBuckets(db_, Tree::kContent));
  return RootOf(buckets);
}

// ---- Filling -----------------------------------------------------------------------------------

Result<std::filesystem::path> ContentStore::StagedPath(const ContentExpectation& expected) const {
  if (!IsContentExtension(expected.extension)) {
    return Fail(ErrorCode::kCorrupt, fmt::format("content {}: '{}' is no extension",
                                                 expected.sha1.ToHex(), expected.extension));
  }
  const auto folder = mirror_ / "staging" / "content";
  TRY(CreateDirectories(folder));
  return folder / fmt::format("{}.{}", expected.sha1.ToHex(HexCase::kUpper), expected.extension);
}

Result<VerifiedContent> ContentStore::AcceptHashed(const std::filesystem::path& staged,
                                                   const ContentExpectation& expected,
                                                   const Sha1Digest& sha1,
                                                   const Sha256Digest& sha256,
                                                   std::uint64_t size_bytes) {
  if (!IsContentExtension(expected.extension)) {
    return Fail(ErrorCode::kCorrupt, fmt::format("content {}: '{}' is no extension",
                                                 expected.sha1.ToHex(), expected.extension));
  }
  const std::string wrong =
      Difference({sha1, sha256, size_bytes}, expected.sha1, expected.sha256, expected.size_bytes);
  if (!wrong.empty()) {
    TRY(RemoveFile(staged));
    return Fail(ErrorCode::kCorrupt, "content-mismatch",
                fmt::format("content {}: {}", expected.sha1.ToHex(), wrong));
  }
  return VerifiedContent({sha1, sha256, size_bytes, expected.extension}, staged);
}

Result<VerifiedContent> ContentStore::VerifyStaged(const std::filesystem::path& staged,
                                                   const ContentExpectation& expected) {
  TRY_ASSIGN(const ContentHashes found, HashContent(staged));
  return AcceptHashed(staged, expected, found.sha1, found.sha256, found.size_bytes);
}

namespace {

Result<void> EnterRow(Database& db, const ContentFile& file, std::set<std::size_t>& touched) {
  TRY(
      db.Run("INSERT INTO content (sha1, sha256, size_bytes, extension, sequence) "
             "SELECT ?, ?, ?, ?, content_sequence FROM mirror",
             file.sha1, file.sha256, file.size_bytes, file.extension));
  TRY(db.Run("DELETE FROM content_wanted WHERE sha1 = ?", file.sha1));
  TRY(db.Run("DELETE FROM content_lost WHERE sha1 = ?", file.sha1));

  // What declared something else under this SHA-1 is withheld from now on.
  TRY(
      db.Run("UPDATE revision SET has_digest_conflict = 1 WHERE has_digest_conflict = 0 AND id IN "
             "(SELECT revision_id FROM revision_file WHERE sha1 = ?1 AND (size_bytes <> ?2 OR "
             "(sha256 IS NOT NULL AND sha256 <> ?3)))",
             file.sha1, file.size_bytes, file.sha256));
  // What was withheld in favour of a declaration that proved wrong is free again, unless another of
  // its files is contested too.
  TRY(
      db.Run("UPDATE revision SET has_digest_conflict = 0 WHERE has_digest_conflict = 1 AND id IN "
             "(SELECT revision_id FROM revision_file WHERE sha1 = ?1) AND NOT EXISTS ("
             "SELECT 1 FROM revision_file f LEFT JOIN content h ON h.sha1 = f.sha1 "
             "WHERE f.revision_id = revision.id AND ("
             "(h.sha1 IS NOT NULL AND (h.size_bytes <> f.size_bytes OR "
             "(f.sha256 IS NOT NULL AND f.sha256 <> h.sha256))) OR "
             "(h.sha1 IS NULL AND EXISTS (SELECT 1 FROM revision_file o JOIN revision q "
             "ON q.id = o.revision_id AND q.has_digest_conflict = 0 "
             "WHERE o.sha1 = f.sha1 AND o.revision_id <> f.revision_id "
             "AND (o.size_bytes <> f.size_bytes OR (o.sha256 IS NOT NULL AND f.sha256 IS NOT NULL "
             "AND o.sha256 <> f.sha256))))))",
             file.sha1));
  touched.insert(BucketOf(file.sha1.View()));
  return {};
}

Result<Sha256Digest> ComputeContentBucket(Database& db, std::size_t bucket) {
  TRY_ASSIGN(auto rows, db.Prepare("SELECT sha1, sha256, size_bytes, extension FROM content "
                                   "WHERE sha1 >= ?1 AND sha1 < CASE WHEN ?3 THEN "
                                   "x'ffffffffffffffffffffffffffffffffffffffffff' "
                                   "ELSE ?2 END"));
  // 16-byte keys order before the 20-byte digests that begin with them.
  rows.BindAll(FirstKeyOf(bucket), FirstKeyOf(bucket + 1), bucket + 1 == kBuckets ? 1 : 0);
  std::vector<std::string> lines;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return BucketDigest(lines);
    lines.push_back(ElementLine(ReadContent(rows)));
  }
}

Result<void> UpdateContentBuckets(Database& db, const std::set<std::size_t>& touched) {
  std::map<std::size_t, Sha256Digest> changed;
  for (const std::size_t bucket : touched) {
    TRY_ASSIGN(changed[bucket], ComputeContentBucket(db, bucket));
  }
  return WriteBuckets(db, Tree::kContent, changed);
}

}  // namespace

Result<std::vector<Sha256Digest>> ComputeContentBuckets(Database& db) {
  std::vector<Sha256Digest> buckets;
  for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
    TRY_ASSIGN(const auto digest, ComputeContentBucket(db, bucket));
    buckets.push_back(digest);
  }
  return buckets;
}

Result<void> ContentStore::Publish(std::vector<VerifiedContent> batch) {
  if (batch.empty()) return {};
  std::vector<ContentFile> fresh;
  std::set<Sha1Digest> seen;
  std::vector<const VerifiedContent*> moves;
  for (const auto& item : batch) {
    TRY_ASSIGN(const auto held, Find(item.file().sha1));
    if (!held && seen.insert(item.file().sha1).second) {
      moves.push_back(&item);
      continue;
    }
    if (held &&
        (held->sha256 != item.file().sha256 || held->size_bytes != item.file().size_bytes)) {
      return Fail(ErrorCode::kCorrupt, "digest-conflict",
                  fmt::format("content {}: held with sha256:{}, got sha256:{}", held->sha1.ToHex(),
                              held->sha256.ToHex(), item.file().sha256.ToHex()));
    }
    TRY(RemoveFile(item.staged_path()));
  }
  if (moves.empty()) return {};
  const auto root = mirror_ / "content";
  TRY(CreateDirectories(root));
  TRY(SyncFileSystem(root));  // the bytes before their names
  std::set<std::filesystem::path> folders{root};
  for (const auto* item : moves) {
    const auto target = PathOf(item->file());
    TRY(CreateDirectories(target.parent_path()));
    TRY(Rename(item->staged_path(), target));
    folders.insert(target.parent_path());
    fresh.push_back(item->file());
  }
  for (const auto& folder : folders) TRY(SyncDirectory(folder));
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE mirror SET content_sequence = content_sequence + 1"));
  std::set<std::size_t> touched;
  for (const auto& file : fresh) TRY(EnterRow(db_, file, touched));
  TRY(UpdateContentBuckets(db_, touched));
  return tx.Commit();
}

Result<void> ContentStore::Drop(const Sha1Digest& sha1) {
  TRY_ASSIGN(const auto file, Find(sha1));
  if (!file) {
    return Fail(ErrorCode::kNotFound, fmt::format("content {} is not held", sha1.ToHex()));
  }
  {
    TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
    TRY(db_.Run("UPDATE mirror SET content_sequence = content_sequence + 1"));
    TRY(db_.Run("DELETE FROM content WHERE sha1 = ?", sha1));
    TRY(UpdateContentBuckets(db_, {BucketOf(sha1.View())}));
    const UtcTime now = SystemClock().Now();
    TRY(db_.Run("INSERT OR IGNORE INTO content_wanted (sha1, asked_at) VALUES (?, ?)", sha1, now));
    TRY(db_.Run("INSERT OR REPLACE INTO content_lost (sha1, lost_at) VALUES (?, ?)", sha1, now));
    TRY(tx.Commit());
  }
  // The row first: a file without a row is taken over or moved aside by Recover, never served.
  return RemoveFile(PathOf(*file));
}

Result<std::vector<Sha1Digest>> ContentStore::Lost() {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1 FROM content_lost ORDER BY sha1"));
  std::vector<Sha1Digest> lost;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    lost.push_back(rows.DigestAt<Sha1Digest>(0));
  }
  TRY(rows.Check());
  return lost;
}

Result<void> ContentStore::ForgetLost(UtcTime up_to) {
  return db_.Run("DELETE FROM content_lost WHERE lost_at <= ?", up_to);
}

// ---- Recovery ----------------------------------------------------------------------------------

namespace {

struct NamedFile {
  std::filesystem::path path;
  std::optional<Sha1Digest> sha1;  ///< of a name that fits its folder
  std::string extension;
};

NamedFile ParseName(const std::filesystem::path& folder, const std::string& name) {
  NamedFile file{folder / name, std::nullopt, {}};
  const auto parsed = ParseContentName(name);
  if (parsed &&
      ContentPath(parsed->sha1, parsed->extension) == folder.filename().string() + "/" + name) {
    file.sha1 = parsed->sha1;
    file.extension = parsed->extension;
  }
  return file;
}

Result<void> MoveAside(const std::filesystem::path& mirror, const std::filesystem::path& path) {
  const auto folder = mirror / "staging" / "aside";
  TRY(CreateDirectories(folder));
  Log(LogLevel::kWarning, "moved a file out of the content store that is none of ours",
      {{"file", path.string()}});
  return Rename(path, folder / path.filename());
}

}  // namespace

Result<std::vector<ContentFile>> ContentStore::Recover() {
  const auto root = mirror_ / "content";
  std::vector<VerifiedContent> found;
  TRY_ASSIGN(const auto folders, ListDirectory(root));
  for (const auto& folder_name : folders) {
    const auto folder = root / folder_name;
    if (!std::filesystem::is_directory(folder)) {
      TRY(MoveAside(mirror_, folder));
      continue;
    }
    TRY_ASSIGN(const auto names, ListDirectory(folder));
    for (const auto& name : names) {
      const NamedFile file = ParseName(folder, name);
      if (file.sha1) {
        TRY_ASSIGN(const auto held, Find(*file.sha1));
        if (held && PathOf(*held) == file.path) continue;
        const auto hashes = HashContent(file.path);
        if (!held && hashes && hashes->sha1 == *file.sha1) {
          found.push_back(VerifiedContent(
              {hashes->sha1, hashes->sha256, hashes->size_bytes, file.extension}, file.path));
          continue;
        }
      }
      TRY(MoveAside(mirror_, file.path));
    }
  }
  TRY(Publish(std::move(found)));  // the rename onto itself does nothing
  std::vector<ContentFile> missing;
  TRY(ForEach([&](const ContentFile& file) -> Result<void> {
    std::error_code ignored;
    if (!std::filesystem::exists(PathOf(file), ignored)) missing.push_back(file);
    return {};
  }));
  for (const auto& file : missing) TRY(Drop(file.sha1));
  return missing;
}

Result<std::vector<ContentStore::Damage>> ContentStore::Check(bool deep, Progress& progress,
                                                              std::stop_token stop) {
  TRY_ASSIGN(const Totals totals, Count());
  std::vector<ContentFile> files;
  files.reserve(totals.files);
  TRY(ForEach([&](const ContentFile& file) -> Result<void> {
    files.push_back(file);
    return {};
  }));
  progress.Begin(deep ? "hashing content" : "looking at content", totals.files,
                 deep ? totals.bytes : 0);
  std::vector<Damage> damage;
  for (const auto& file : files) {
    const auto path = PathOf(file);
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) {
      damage.push_back({file, "missing"});
    } else if (size != file.size_bytes) {
      damage.push_back({file, fmt::format("size {}, expected {}", size, file.size_bytes)});
    } else if (deep) {
      const auto found = HashContent(path, stop);
      if (!found && found.error().code == ErrorCode::kCancelled) {
        return std::unexpected(found.error());
      }
      std::string wrong = found ? Difference(*found, file.sha1, file.sha256, file.size_bytes)
                                : found.error().message;
      if (!wrong.empty()) damage.push_back({file, std::move(wrong)});
    }
    progress.Advance(1, deep ? file.size_bytes : 0);
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
  }
  progress.End();
  return damage;
}

// ---- Wanted ------------------------------------------------------------------------------------

Result<void> ContentStore::AddWanted(const std::vector<Sha1Digest>& sha1s) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  const UtcTime now = SystemClock().Now();
  for (const auto& sha1 : sha1s) {
    TRY(
        db_.Run("INSERT INTO content_wanted (sha1, asked_at) SELECT ?1, ?2 WHERE NOT EXISTS "
                "(SELECT 1 FROM content WHERE sha1 = ?1) ON CONFLICT DO NOTHING",
                sha1, now));
  }
  return tx.Commit();
}

Result<std::vector<Sha1Digest>> ContentStore::Wanted() {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT sha1 FROM content_wanted ORDER BY sha1"));
  std::vector<Sha1Digest> wanted;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    wanted.push_back(rows.DigestAt<Sha1Digest>(0));
  }
  TRY(rows.Check());
  return wanted;
}

Result<void> ContentStore::ForgetWanted(const std::vector<Sha1Digest>& sha1s) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  for (const auto& sha1 : sha1s) TRY(db_.Run("DELETE FROM content_wanted WHERE sha1 = ?", sha1));
  return tx.Commit();
}

}  // namespace gapferry::mirror
