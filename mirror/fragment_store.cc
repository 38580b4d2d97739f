#include "mirror/fragment_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "mirror/catalog_rows.h"

namespace gapferry::mirror {

namespace {
/// Up to here the bytes are kept in the fragment's row.
constexpr std::size_t kInlineBytes = 64 * 1024;
}  // namespace

class FragmentStore::Shared {
 public:
  explicit Shared(Database database) : db(std::move(database)) {}
  // Guards the connection: SQL is the I/O that this lock is for.
  mutable std::mutex mutex;
  Database db;
  std::optional<Transaction> batch;

  Result<Bytes> ReadPart(std::int64_t fragment, std::int64_t part) {
    const std::lock_guard lock(mutex);
    TRY_ASSIGN(auto row, db.Prepare("SELECT bytes FROM fragment_part WHERE id = ?"));
    row.BindAll(PartId(fragment, part));
    TRY_ASSIGN(const bool found, row.Step());
    if (!found) {
      return Fail(ErrorCode::kTransient, "fragment-replaced",
                  fmt::format("fragment {}: part {} is gone", fragment, part));
    }
    const ByteView view = row.Blob(0);
    Bytes bytes(view.begin(), view.end());
    TRY(row.Check());
    return bytes;
  }
};

namespace {

/// Reads parts one by one, each in its own transaction.
template <class Reader>
class PartSource : public Source {
 public:
  PartSource(Reader reader, std::uint64_t size) : reader_(std::move(reader)), rest_(size) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    if (out.empty() || rest_ == 0) return std::size_t{0};
    if (used_ == part_.size()) {
      TRY_ASSIGN(part_, reader_(next_part_++));
      used_ = 0;
      if (part_.empty() || part_.size() > rest_) {
        return Fail(ErrorCode::kCorrupt, fmt::format("part {} has {} bytes, {} are left",
                                                     next_part_ - 1, part_.size(), rest_));
      }
    }
    const std::size_t size = std::min(out.size(), part_.size() - used_);
    std::copy_n(part_.begin() + static_cast<std::ptrdiff_t>(used_), size, out.begin());
    used_ += size;
    rest_ -= size;
    return size;
  }

 private:
  Reader reader_;
  std::uint64_t rest_;
  std::int64_t next_part_ = 0;
  Bytes part_;
  std::size_t used_ = 0;
};

class SharedBytesSource : public Source {
 public:
  explicit SharedBytesSource(std::shared_ptr<const Bytes> bytes)
      : bytes_(std::move(bytes)), source_(*bytes_) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override { return source_.Read(out); }

 private:
  std::shared_ptr<const Bytes> bytes_;
  MemorySource source_;
};

class InlineText : public protocol::PreparedText {
 public:
  InlineText(Bytes bytes, std::uint64_t decoded)
      : bytes_(std::make_shared<const Bytes>(std::move(bytes))), decoded_(decoded) {}
  std::uint64_t encoded_bytes() const override { return bytes_->size(); }
  std::uint64_t decoded_bytes() const override { return decoded_; }
  Result<std::unique_ptr<Source>> OpenEncoded() const override {
    return std::make_unique<SharedBytesSource>(bytes_);
  }
  ByteView InMemory() const override { return *bytes_; }

 private:
  std::shared_ptr<const Bytes> bytes_;
  std::uint64_t decoded_;
};

template <class Shared>
class StoredText : public protocol::PreparedText {
 public:
  StoredText(std::shared_ptr<Shared> shared, std::int64_t id, std::uint64_t encoded,
             std::uint64_t decoded)
      : shared_(std::move(shared)), id_(id), encoded_(encoded), decoded_(decoded) {}
  std::uint64_t encoded_bytes() const override { return encoded_; }
  std::uint64_t decoded_bytes() const override { return decoded_; }
  Result<std::unique_ptr<Source>> OpenEncoded() const override {
    auto read = [shared = shared_, id = id_](std::int64_t part) {
      return shared->ReadPart(id, part);
    };
    return std::make_unique<PartSource<decltype(read)>>(std::move(read), encoded_);
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::int64_t id_;
  std::uint64_t encoded_;
  std::uint64_t decoded_;
};

}  // namespace

FragmentStore::FragmentStore(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
FragmentStore::FragmentStore(FragmentStore&&) noexcept = default;
FragmentStore& FragmentStore::operator=(FragmentStore&&) noexcept = default;
FragmentStore::~FragmentStore() = default;

Result<FragmentStore> FragmentStore::Open(const std::filesystem::path& path,
                                          const DatabaseOptions& options) {
  DatabaseOptions own = options;
  own.create = true;  // rebuildable, so it may be missing
  TRY_ASSIGN(auto db, Database::Open(path, own));
  TRY(BringToCurrentSchema(db, FragmentsSchema()));
  TRY_ASSIGN(const auto derivation, db.QueryInt("SELECT version FROM derivation"));
  if (!derivation) {
    // A new file under a mirror that holds revisions is rebuilt: version 0 says so.
    TRY(db.Run("INSERT OR IGNORE INTO derivation (id, version) VALUES (1, 0)"));
  }
  return FragmentStore(std::make_shared<Shared>(std::move(db)));
}

Result<std::optional<StoredFragment>> FragmentStore::Find(RevisionId id,
                                                          const protocol::FragmentKey& key) const {
  const std::lock_guard lock(shared_->mutex);
  TRY_ASSIGN(auto row, shared_->db.Prepare(
                           "SELECT id, form, decoded_bytes, stored_bytes, bytes FROM fragment "
                           "WHERE revision_id = ? AND kind = ? AND language = ? AND geo_id = ?"));
  row.BindAll(id, static_cast<int>(key.kind), key.language, key.geo_id);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<StoredFragment>();
  StoredFragment fragment;
  const auto decoded = static_cast<std::uint64_t>(row.Int(2));
  if (row.Int(1) == 0) {
    fragment.escaped_text = AsText(row.Blob(4));
  } else if (row.IsNull(4)) {
    fragment.prepared = std::make_shared<StoredText<Shared>>(
        shared_, row.Int(0), static_cast<std::uint64_t>(row.Int(3)), decoded);
  } else {
    const ByteView bytes = row.Blob(4);
    fragment.prepared = std::make_shared<InlineText>(Bytes(bytes.begin(), bytes.end()), decoded);
  }
  TRY(row.Check());
  return std::optional<StoredFragment>(std::move(fragment));
}

Result<std::optional<StoredFragment>> FragmentStore::FindCore(RevisionId id) const {
  return Find(id, {protocol::FragmentKind::kCore, "", ""});
}
Result<std::optional<StoredFragment>> FragmentStore::FindExtended(RevisionId id) const {
  return Find(id, {protocol::FragmentKind::kExtended, "", ""});
}

Result<std::vector<protocol::FragmentKey>> FragmentStore::Keys(RevisionId id,
                                                               protocol::FragmentKind kind) const {
  const std::lock_guard lock(shared_->mutex);
  TRY_ASSIGN(auto rows, shared_->db.Prepare("SELECT language, geo_id FROM fragment "
                                            "WHERE revision_id = ? AND kind = ? ORDER BY id"));
  rows.BindAll(id, static_cast<int>(kind));
  std::vector<protocol::FragmentKey> keys;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return keys;
    keys.push_back({kind, rows.String(0), rows.String(1)});
  }
}

Result<std::optional<StoredFragment>> FragmentStore::FindLocalized(
    RevisionId id, const std::vector<std::string>& locales,
    std::string_view default_language) const {
  TRY_ASSIGN(const auto keys, Keys(id, protocol::FragmentKind::kLocalizedProperties));
  std::vector<std::string> languages;
  for (const auto& key : keys) languages.push_back(key.language);
  const int chosen = protocol::ChooseLanguage(languages, locales, default_language);
  if (chosen < 0) return std::optional<StoredFragment>();
  return Find(id, keys[static_cast<std::size_t>(chosen)]);
}

Result<std::vector<std::uint64_t>> FragmentStore::CoreBytes(
    const std::vector<RevisionId>& ids) const {
  const std::lock_guard lock(shared_->mutex);
  std::vector<std::uint64_t> sizes;
  sizes.reserve(ids.size());
  TRY_ASSIGN(auto row, shared_->db.Prepare("SELECT decoded_bytes FROM fragment "
                                           "WHERE revision_id = ? AND kind = 0"));
  for (const RevisionId id : ids) {
    row.Reset();
    row.BindAll(id);
    TRY_ASSIGN(const bool found, row.Step());
    sizes.push_back(found ? static_cast<std::uint64_t>(row.Int(0)) : 0);
  }
  TRY(row.Check());
  return sizes;
}

// ---- Writing -----------------------------------------------------------------------------------

Result<void> FragmentStore::BeginBatch() {
  const std::lock_guard lock(shared_->mutex);
  TRY_ASSIGN(auto batch, Transaction::Begin(shared_->db, TransactionKind::kWrite));
  shared_->batch.emplace(std::move(batch));
  return {};
}

Result<void> FragmentStore::CommitBatch() {
  const std::lock_guard lock(shared_->mutex);
  if (!shared_->batch) return Fail(ErrorCode::kInternal, "no batch of fragments is open");
  const auto done = shared_->batch->Commit();
  shared_->batch.reset();
  return done;
}

void FragmentStore::RollbackBatch() {
  const std::lock_guard lock(shared_->mutex);
  shared_->batch.reset();
}

namespace {

Result<void> DeleteFragments(Database& db, RevisionId id) {
  TRY(
      db.Run("DELETE FROM fragment_part WHERE id >= (SELECT min(id) << 12 FROM fragment "
             "WHERE revision_id = ?1) AND id < (SELECT (max(id) + 1) << 12 FROM fragment "
             "WHERE revision_id = ?1) AND id >> 12 IN (SELECT id FROM fragment "
             "WHERE revision_id = ?1)",
             id));
  return db.Run("DELETE FROM fragment WHERE revision_id = ?", id);
}

Result<void> InsertFragment(Database& db, RevisionId id, const FragmentToStore& fragment) {
  const ByteView bytes = AsBytes(fragment.bytes);
  if (bytes.size() > kMaxPartsBytes) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("fragment of {} bytes is too large", bytes.size()));
  }
  const bool parts = bytes.size() > kInlineBytes;
  TRY(
      db.Run("INSERT INTO fragment (revision_id, kind, language, geo_id, form, decoded_bytes, "
             "stored_bytes, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
             id, static_cast<int>(fragment.key.kind), fragment.key.language, fragment.key.geo_id,
             fragment.is_prepared ? 1 : 0, fragment.decoded_bytes, bytes.size(),
             parts ? std::optional<ByteView>() : std::optional<ByteView>(bytes)));
  if (!parts) return {};
  const std::int64_t row = db.LastInsertRowId();
  for (std::size_t offset = 0, part = 0; offset < bytes.size(); offset += kPartBytes, ++part) {
    TRY(db.Run("INSERT INTO fragment_part (id, bytes) VALUES (?, ?)",
               PartId(row, static_cast<std::int64_t>(part)),
               bytes.subspan(offset, std::min(kPartBytes, bytes.size() - offset))));
  }
  return {};
}

}  // namespace

Result<void> FragmentStore::Put(RevisionId id, const std::vector<FragmentToStore>& fragments) {
  const std::lock_guard lock(shared_->mutex);
  TRY(DeleteFragments(shared_->db, id));
  for (const auto& fragment : fragments) TRY(InsertFragment(shared_->db, id, fragment));
  return {};
}

Result<void> FragmentStore::Remove(RevisionId id) {
  const std::lock_guard lock(shared_->mutex);
  return DeleteFragments(shared_->db, id);
}

Result<std::int32_t> FragmentStore::Derivation() const {
  const std::lock_guard lock(shared_->mutex);
  TRY_ASSIGN(const auto version, shared_->db.QueryInt("SELECT version FROM derivation"));
  return static_cast<std::int32_t>(version.value_or(0));
}

Result<void> FragmentStore::SetDerivation(std::int32_t derivation, UtcTime since) {
  const std::lock_guard lock(shared_->mutex);
  return shared_->db.Run("UPDATE derivation SET version = ?, since = ?", derivation, since.ticks);
}

Result<UtcTime> FragmentStore::DerivedSince() const {
  const std::lock_guard lock(shared_->mutex);
  TRY_ASSIGN(const auto since, shared_->db.QueryInt("SELECT since FROM derivation"));
  return UtcTime{since.value_or(0)};
}

}  // namespace gapferry::mirror
