#include "mirror/catalog_load.h"

#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <span>
#include <unordered_map>

#include "base/text.h"
#include "mirror/catalog_rows.h"
#include "mirror/commit_impl.h"
#include "mirror/decoded_revision.h"
#include "mirror/fragment_store.h"
#include "mirror/load_digests.h"
#include "mirror/mirror.h"
#include "mirror/revision_writer.h"
#include "mirror/short_writes.h"

namespace gapferry::mirror {

namespace {

/// Ends a batch well before the 250 ms that a write lock may be held: its fsync comes after.
constexpr auto kLockBudget = std::chrono::milliseconds(120);
/// Indexes by GUID and SHA-1 are hit all over: the more revisions share a batch, the fewer times
/// each of their pages is written. A batch that takes long is divided, by kLockBudget.
constexpr std::size_t kBufferedRevisions = 2048;
constexpr std::size_t kBufferedBytes = 16 << 20;
/// For the same reason the log grows to 48 MiB before it is written back, while something is
/// loaded.
constexpr const char* kLoadingCheckpoint = "PRAGMA wal_autocheckpoint=3072";
constexpr const char* kUsualCheckpoint = "PRAGMA wal_autocheckpoint=1000";  // SQLite's own
constexpr std::size_t kBufferedUrls = 4096;
constexpr std::size_t kUrlsAtOnce = 256;  // some milliseconds
/// Documents of more parts are written in transactions of their own.
constexpr std::size_t kPartsPerTransaction = 8;
constexpr std::int64_t kRemovedPerTransaction = 200;

class Stopwatch {
 public:
  bool Over(std::chrono::milliseconds budget) const {
    return std::chrono::steady_clock::now() - start_ > budget;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Removes up to one batch of the revisions of a change; false when none was left.
Result<bool> RemoveSome(Database& db, FragmentStore& fragments, ChangeId change) {
  std::vector<RevisionId> ids;
  {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT id FROM revision WHERE change_id = ? LIMIT ?"));
    rows.BindAll(change, kRemovedPerTransaction);
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      ids.push_back(rows.Int32(0));
    }
  }
  if (ids.empty()) return false;
  Stopwatch watch;
  std::size_t done = 0;
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  for (; done < ids.size() && (done == 0 || !watch.Over(kLockBudget)); ++done) {
    TRY(db.Run("DELETE FROM document_part WHERE id >= ? AND id < ?", PartId(ids[done], 0),
               PartId(ids[done] + std::int64_t{1}, 0)));
    TRY(db.Run("DELETE FROM revision WHERE id = ?", ids[done]));
  }
  TRY(tx.Commit());
  // Fragments of a revision that is not there harm nobody: they are replaced when it comes again.
  TRY(fragments.BeginBatch());
  for (std::size_t i = 0; i < done; ++i) TRY(fragments.Remove(ids[i]));
  TRY(fragments.CommitBatch());
  return true;
}

Result<void> RemoveFileUrls(Database& db, ChangeId change) {
  TRY(db.Run("DELETE FROM file_key WHERE change_id = ?", change));  // few
  for (;;) {
    TRY(
        db.Run("DELETE FROM file_url WHERE (sha1, change_id) IN (SELECT sha1, change_id "
               "FROM file_url WHERE change_id = ? LIMIT 2000)",
               change));
    if (db.ChangedRows() == 0) return {};
  }
}

Result<void> RemoveChange(Database& db, FragmentStore& fragments, ChangeId change) {
  TRY(RemoveFileUrls(db, change));
  for (;;) {
    TRY_ASSIGN(const bool more, RemoveSome(db, fragments, change));
    if (!more) return db.Run("DELETE FROM change WHERE id = ? AND generation IS NULL", change);
  }
}

/// A crash between the parts of a large document and its row leaves parts behind.
Result<void> RemoveOrphanedParts(Database& db) {
  std::vector<std::int64_t> ids;
  {
    TRY_ASSIGN(auto rows, db.Prepare("SELECT i.id FROM revision_identity i WHERE NOT EXISTS "
                                     "(SELECT 1 FROM revision r WHERE r.id = i.id) AND EXISTS "
                                     "(SELECT 1 FROM document_part p WHERE p.id >= i.id << 12 "
                                     "AND p.id < (i.id + 1) << 12)"));
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      ids.push_back(rows.Int(0));
    }
  }
  for (const std::int64_t id : ids) {
    TRY(db.Run("DELETE FROM document_part WHERE id >= ? AND id < ?", PartId(id, 0),
               PartId(id + 1, 0)));
  }
  return {};
}

struct OpenChange {
  ChangeId id = 0;
  std::string kind;
  std::string key;
};

Result<std::optional<OpenChange>> FindOpenChange(Database& db) {
  TRY_ASSIGN(auto row, db.Prepare("SELECT id, kind, key FROM change WHERE generation IS NULL"));
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<OpenChange>();
  OpenChange change{row.Int(0), row.String(1), row.String(2)};
  TRY(row.Check());
  return std::optional<OpenChange>(std::move(change));
}

}  // namespace

struct CatalogLoad::Impl {
  Impl(Mirror& m, FragmentStore& f) : mirror(m), fragments(f), db(m.db()) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    // It cannot fail, and if it did the log would be written back less often.
    static_cast<void>(db.ExecuteScript(kUsualCheckpoint).has_value());
  }

  Mirror& mirror;
  FragmentStore& fragments;
  Database& db;
  ChangeId change = 0;
  std::uint64_t adopted = 0;
  std::deque<DecodedRevision> buffer;
  std::vector<IncomingRevision::FileUrl> urls;
  std::vector<FileKey> keys;
  std::size_t buffered_bytes = 0;
  std::unordered_map<protocol::UpdateId, Sha256Digest> buffered;
  std::map<protocol::UpdateId, Listing> listings;  ///< as asked for
  std::optional<PreparedDocuments> prepared;
  bool published = false;

  Result<std::vector<RevisionId>> GiveIds();
  Result<void> WriteFragments(const std::vector<RevisionId>& ids);
  Result<void> WriteLargeDocument(RevisionId id, ByteView bytes);
  Result<void> WriteRows(const std::vector<RevisionId>& ids);
  Result<void> WriteBuffer();
  Result<void> WriteAddressesAndKeys();
};

CatalogLoad::CatalogLoad(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CatalogLoad::CatalogLoad(CatalogLoad&&) noexcept = default;
CatalogLoad::~CatalogLoad() = default;

Result<CatalogLoad> CatalogLoad::Open(Mirror& mirror, const JobLock&, std::string_view kind,
                                      std::string_view key) {
  TRY_ASSIGN(FragmentStore* const fragments, mirror.fragments());
  TRY_ASSIGN(const auto derivation, fragments->Derivation());
  if (derivation != protocol::kFragmentDerivation) TRY(RebuildFragments(mirror));
  auto impl = std::make_unique<Impl>(mirror, *fragments);
  Database& db = impl->db;
  TRY(db.ExecuteScript(kLoadingCheckpoint));
  TRY_ASSIGN(auto open, FindOpenChange(db));
  if (open) TRY(RemoveOrphanedParts(db));  // a load that ended well leaves none
  if (open && (open->kind != kind || open->key != key)) {
    TRY(RemoveChange(db, *fragments, open->id));
    open.reset();
  }
  if (open) {
    impl->change = open->id;
    TRY_ASSIGN(const auto count,
               db.QueryInt("SELECT count(*) FROM revision WHERE change_id = ?", open->id));
    impl->adopted = static_cast<std::uint64_t>(count.value_or(0));
  } else {
    TRY(db.Run("INSERT INTO change (kind, key, opened_at) VALUES (?, ?, ?)", kind, key,
               mirror.clock().Now()));
    impl->change = db.LastInsertRowId();
  }
  return CatalogLoad(std::move(impl));
}

ChangeId CatalogLoad::change() const { return impl_->change; }

// ---- Adding ------------------------------------------------------------------------------------

Result<std::optional<Sha256Digest>> CatalogLoad::KnownSha256(const protocol::UpdateId& update) {
  const auto place = impl_->buffered.find(update);
  if (place != impl_->buffered.end()) return std::optional(place->second);
  TRY_ASSIGN(auto row, impl_->db.Prepare("SELECT r.document_sha256 FROM revision_identity i "
                                         "JOIN revision r ON r.id = i.id "
                                         "WHERE i.guid = ? AND i.revision = ?"));
  row.BindAll(update.guid, update.revision);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<Sha256Digest>();
  const auto digest = row.DigestAt<Sha256Digest>(0);
  TRY(row.Check());
  return std::optional(digest);
}

Result<bool> CatalogLoad::Has(const protocol::UpdateId& update) {
  TRY_ASSIGN(const auto digest, KnownSha256(update));
  return digest.has_value();
}

Result<std::vector<protocol::UpdateId>> CatalogLoad::Unknown(
    const std::vector<protocol::UpdateId>& sorted) {
  TRY(Flush());
  return FindUnknown(impl_->db, Sight::kLoading, sorted);
}

Result<std::vector<protocol::UpdateId>> CatalogLoad::WithoutFileUrls() {
  TRY(Flush());
  TRY_ASSIGN(
      auto rows,
      impl_->db.Prepare(
          "SELECT i.guid, i.revision FROM revision r JOIN revision_identity i ON i.id = r.id "
          "WHERE r.change_id = ? AND EXISTS (SELECT 1 FROM revision_file f "
          "WHERE f.revision_id = r.id AND NOT EXISTS "
          "(SELECT 1 FROM file_url u WHERE u.sha1 = f.sha1)) ORDER BY i.guid, i.revision"));
  rows.BindAll(impl_->change);
  std::vector<protocol::UpdateId> updates;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    updates.push_back({rows.GuidAt(0), rows.Int32(1)});
  }
  TRY(rows.Check());
  return updates;
}

Result<Added> CatalogLoad::Add(IncomingRevision incoming) {
  TRY_ASSIGN(auto decoded,
             DecodedRevision::Decode(std::move(incoming),
                                     impl_->mirror.config().import.max_document_bytes));
  return Add(std::move(decoded));
}

Result<Added> CatalogLoad::Add(DecodedRevision revision) {
  Impl& impl = *impl_;
  if (impl.published) return Fail(ErrorCode::kInternal, "the load is published already");
  TRY_ASSIGN(const auto known, KnownSha256(revision.update()));
  if (known && *known != revision.sha256()) {
    return Fail(
        ErrorCode::kCorrupt, "document-conflict",
        fmt::format("revision {} is known with another text: held sha256:{}, got sha256:{}",
                    revision.update().ToString(), known->ToHex(), revision.sha256().ToHex()));
  }
  auto& urls = revision.impl_->incoming.file_urls;
  impl.urls.insert(impl.urls.end(), urls.begin(), urls.end());
  urls.clear();
  auto& keys = revision.impl_->incoming.file_keys;
  impl.keys.insert(impl.keys.end(), keys.begin(), keys.end());
  keys.clear();
  if (known) return Added::kKnown;
  if (revision.impl_->incoming.bytes.size() > kMaxPartsBytes) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("revision {}: document of {} bytes", revision.update().ToString(),
                            revision.impl_->incoming.bytes.size()));
  }
  impl.prepared.reset();
  impl.buffered.emplace(revision.update(), revision.sha256());
  impl.buffered_bytes += revision.memory_bytes();
  impl.buffer.push_back(std::move(revision));
  if (impl.buffer.size() >= kBufferedRevisions || impl.buffered_bytes >= kBufferedBytes) {
    TRY(Flush());
  }
  return Added::kNew;
}

Result<void> CatalogLoad::Flush() {
  Impl& impl = *impl_;
  // Before the revisions: one that is there is skipped when an interrupted load goes on.
  TRY(impl.WriteAddressesAndKeys());
  return impl.WriteBuffer();
}

Result<void> CatalogLoad::AddFileUrls(std::vector<IncomingRevision::FileUrl> urls) {
  auto& kept = impl_->urls;
  kept.insert(kept.end(), std::make_move_iterator(urls.begin()),
              std::make_move_iterator(urls.end()));
  return kept.size() >= kBufferedUrls ? Flush() : Result<void>();
}

Result<void> CatalogLoad::AddFileKeys(std::vector<FileKey> keys) {
  for (const FileKey& one : keys) {
    if (one.key.empty() || one.key.size() > kMaxFileKeyBytes) {
      return Fail(ErrorCode::kCorrupt, "bad-file-key",
                  fmt::format("key of file {}: {} bytes, expected 1 to {}", one.sha1.ToHex(),
                              one.key.size(), kMaxFileKeyBytes));
    }
  }
  impl_->keys.insert(impl_->keys.end(), keys.begin(), keys.end());
  return {};
}

/// Ids are given in a transaction of their own, so that fragments.db is written without holding the
/// lock of catalog.db.
Result<std::vector<RevisionId>> CatalogLoad::Impl::GiveIds() {
  std::vector<RevisionId> ids;
  ids.reserve(buffer.size());
  TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
  for (const auto& revision : buffer) {
    TRY_ASSIGN(const RevisionId id, GiveRevisionId(db, revision.update()));
    ids.push_back(id);
  }
  TRY(tx.Commit());
  return ids;
}

Result<void> CatalogLoad::Impl::WriteFragments(const std::vector<RevisionId>& ids) {
  TRY(fragments.BeginBatch());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto put = fragments.Put(ids[i], buffer[i].impl_->fragments);
    if (!put) {
      fragments.RollbackBatch();
      return put;
    }
  }
  return fragments.CommitBatch();
}

Result<void> CatalogLoad::Impl::WriteLargeDocument(RevisionId id, ByteView bytes) {
  TRY(db.Run("DELETE FROM document_part WHERE id >= ? AND id < ?", PartId(id, 0),
             PartId(id + std::int64_t{1}, 0)));
  for (std::size_t part = 0;; part += kPartsPerTransaction) {
    TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
    TRY_ASSIGN(const bool more, WriteDocumentParts(db, id, bytes, part, kPartsPerTransaction));
    TRY(tx.Commit());
    if (!more) return {};
  }
}

Result<void> CatalogLoad::Impl::WriteRows(const std::vector<RevisionId>& ids) {
  constexpr std::size_t kLarge = kPartBytes * kPartsPerTransaction;
  std::size_t done = 0;
  while (done < ids.size()) {
    const Stopwatch watch;
    const std::size_t first = done;
    TRY_ASSIGN(auto tx, Transaction::Begin(db, TransactionKind::kWrite));
    for (; done < ids.size() && !watch.Over(kLockBudget); ++done) {
      const auto& revision = *buffer[done - first].impl_;
      const ByteView bytes = revision.incoming.bytes;
      if (bytes.size() <= kLarge) TRY(WriteDocumentParts(db, ids[done], bytes, 0, kLarge));
      TRY(WriteRevisionRows(db, ids[done], change, revision));
    }
    TRY(tx.Commit());
    for (std::size_t i = first; i < done; ++i) {  // only what is durable leaves the buffer
      buffered.erase(buffer.front().update());
      buffer.pop_front();
    }
  }
  return {};
}

Result<void> CatalogLoad::Impl::WriteBuffer() {
  if (buffer.empty()) return {};
  TRY_ASSIGN(const auto ids, GiveIds());
  TRY(WriteFragments(ids));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const ByteView bytes = buffer[i].impl_->incoming.bytes;
    if (bytes.size() > kPartBytes * kPartsPerTransaction) TRY(WriteLargeDocument(ids[i], bytes));
  }
  TRY(WriteRows(ids));
  buffered_bytes = 0;
  return {};
}

Result<void> CatalogLoad::Impl::WriteAddressesAndKeys() {
  ShortWrites writes(db);
  for (std::span<const IncomingRevision::FileUrl> left = urls; !left.empty();) {
    const auto some = left.first(std::min(left.size(), kUrlsAtOnce));
    TRY(writes.Run([&] { return WriteFileUrls(db, change, some); }));
    left = left.subspan(some.size());
  }
  for (const FileKey& one : keys) {
    TRY(writes.Run([&] { return WriteFileKeys(db, change, {&one, 1}); }));
  }
  TRY(writes.Commit());
  urls.clear();
  keys.clear();
  return {};
}

// ---- Towards the commit ------------------------------------------------------------------------

void CatalogLoad::Withdraw(const protocol::UpdateId& update) {
  impl_->listings[update] = Listing::kWithdrawn;
  impl_->prepared.reset();
}

void CatalogLoad::ListAgain(const protocol::UpdateId& update) {
  impl_->listings[update] = Listing::kListed;
  impl_->prepared.reset();
}

void CatalogLoad::Unlist(const protocol::UpdateId& update) {
  impl_->listings[update] = Listing::kUnlisted;
  impl_->prepared.reset();
}

std::vector<protocol::UpdateId> CatalogLoad::Withdrawn() const {
  std::vector<protocol::UpdateId> ids;
  for (const auto& [update, listing] : impl_->listings) {
    if (listing != Listing::kListed) ids.push_back(update);
  }
  return ids;
}

Result<void> CatalogLoad::Prepare() {
  TRY(Flush());
  TRY_ASSIGN(auto prepared, PrepareDocuments(impl_->db, impl_->change, impl_->listings));
  impl_->prepared = std::move(prepared);
  return {};
}

Result<std::vector<Guid>> CatalogLoad::NewlyExpired() {
  TRY(Flush());
  TRY_ASSIGN(
      auto rows,
      impl_->db.Prepare(
          "SELECT i.guid FROM revision r JOIN revision_identity i ON i.id = r.id "
          "WHERE r.change_id = ? AND r.is_expired = 1 AND r.type IN (2, 3) AND NOT EXISTS ("
          "SELECT 1 FROM revision_identity j JOIN revision s ON s.id = j.id "
          "WHERE j.guid = i.guid AND j.revision > i.revision) AND 0 = (SELECT s.is_expired FROM "
          "revision_identity j JOIN revision s ON s.id = j.id JOIN change d ON d.id = s.change_id "
          "WHERE j.guid = i.guid AND d.generation IS NOT NULL ORDER BY j.revision DESC LIMIT 1)"));
  rows.BindAll(impl_->change);
  std::vector<Guid> expired;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return expired;
    expired.push_back(rows.GuidAt(0));
  }
}

Result<CatalogLoad::Summary> CatalogLoad::Summarize() {
  TRY(Flush());
  Database& db = impl_->db;
  const ChangeId change = impl_->change;
  Summary summary;
  const auto count = [&](std::uint64_t& out, std::string_view sql) -> Result<void> {
    TRY_ASSIGN(const auto value, db.QueryInt(sql, change));
    out = static_cast<std::uint64_t>(value.value_or(0));
    return {};
  };
  constexpr const char* kMissing =
      "FROM (SELECT f.sha1, max(f.size_bytes) AS size_bytes FROM revision r "
      "JOIN revision_file f ON f.revision_id = r.id WHERE r.change_id = ? "
      "AND NOT EXISTS (SELECT 1 FROM content h WHERE h.sha1 = f.sha1) GROUP BY f.sha1)";
  TRY(count(summary.new_revisions, "SELECT count(*) FROM revision WHERE change_id = ?"));
  TRY(count(summary.digest_conflicts,
            "SELECT count(*) FROM revision WHERE change_id = ? AND has_digest_conflict = 1"));
  TRY(count(summary.missing_files, std::string("SELECT count(*) ") + kMissing));
  TRY(count(summary.missing_bytes, std::string("SELECT sum(size_bytes) ") + kMissing));
  TRY_ASSIGN(const auto expired, NewlyExpired());
  summary.newly_expired = expired.size();
  TRY_ASSIGN(const auto counts, impl_->mirror.catalog().Counts());
  summary.live_updates = counts.live_updates;
  summary.adopted_revisions = impl_->adopted;
  for (const auto& [update, listing] : impl_->listings) {
    if (listing == Listing::kListed) continue;
    TRY_ASSIGN(const auto row, impl_->mirror.catalog().Find(update));
    if (row && !row->is_withdrawn) ++summary.withdrawn;
  }
  constexpr int kMaxDangling = 1000;
  TRY_ASSIGN(summary.dangling, FindDanglingIn(db, Sight::kLoading,
                                              fmt::format("AND c.id = {}", change), kMaxDangling));
  return summary;
}

Result<void> CatalogLoad::ForEachLoaded(
    const std::function<Result<void>(RevisionRelations&)>& visit) {
  TRY(Flush());
  TRY_ASSIGN(auto rows,
             impl_->db.Prepare(RevisionSelect(Sight::kLoading, "AND c.id = ? ORDER BY r.id")));
  rows.BindAll(impl_->change);
  TRY_ASSIGN(auto reader, RelationsReader::Open(impl_->db, RelationsReader::Pattern::kFew));
  RevisionRelations relations;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return {};
    relations.row = ReadRevision(rows);
    TRY(rows.Check());
    TRY(reader.Fill(relations));
    TRY(visit(relations));
  }
}

Result<CommitTransaction> CatalogLoad::BeginCommit(std::string_view kind) {
  if (!impl_->prepared || impl_->published) {
    return Fail(ErrorCode::kInternal, "the load is not prepared for its commit");
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(impl_->mirror, kind));
  commit.impl_->documents = &*impl_->prepared;
  commit.impl_->finished_flag = &impl_->published;
  return commit;
}

Result<void> CatalogLoad::Abandon() {
  impl_->buffer.clear();
  impl_->buffered.clear();
  impl_->buffered_bytes = 0;
  impl_->urls.clear();
  impl_->keys.clear();
  impl_->listings.clear();
  impl_->prepared.reset();
  if (impl_->published) return Fail(ErrorCode::kInternal, "the load is published already");
  impl_->published = true;  // nothing may be added any more
  TRY(RemoveOrphanedParts(impl_->db));
  return RemoveChange(impl_->db, impl_->fragments, impl_->change);
}

}  // namespace gapferry::mirror
