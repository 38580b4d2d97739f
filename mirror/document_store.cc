#include "mirror/document_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "mirror/catalog_rows.h"

namespace gapferry::mirror {

class DocumentStore::Shared {
 public:
  explicit Shared(Database database) : db_(std::move(database)) {}

  Result<std::uint64_t> StoredBytes(RevisionId id) {
    const std::lock_guard lock(mutex_);
    TRY_ASSIGN(const auto size,
               db_.QueryInt("SELECT r.stored_bytes FROM revision r JOIN change c "
                            "ON c.id = r.change_id WHERE r.id = ? AND c.generation IS NOT NULL",
                            id));
    if (!size) return Fail(ErrorCode::kNotFound, fmt::format("revision id {} is not known", id));
    return static_cast<std::uint64_t>(*size);
  }

  Result<Bytes> ReadPart(RevisionId id, std::int64_t part) {
    const std::lock_guard lock(mutex_);
    TRY_ASSIGN(auto row, db_.Prepare("SELECT bytes FROM document_part WHERE id = ?"));
    row.BindAll(PartId(id, part));
    TRY_ASSIGN(const bool found, row.Step());
    if (!found) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("document of revision id {}: part {} is missing", id, part));
    }
    const ByteView view = row.Blob(0);
    Bytes bytes(view.begin(), view.end());
    TRY(row.Check());
    return bytes;
  }

 private:
  std::mutex mutex_;  // guards the connection: SQL is the I/O that this lock is for
  Database db_;
};

namespace {

template <class Shared>
class DocumentSource : public Source {
 public:
  DocumentSource(std::shared_ptr<Shared> shared, RevisionId id, std::uint64_t size)
      : shared_(std::move(shared)), id_(id), rest_(size) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    if (out.empty() || rest_ == 0) return std::size_t{0};
    if (used_ == part_.size()) {
      TRY_ASSIGN(part_, shared_->ReadPart(id_, next_part_++));
      used_ = 0;
      if (part_.empty() || part_.size() > rest_) {
        return Fail(ErrorCode::kCorrupt, fmt::format("document of revision id {}: part {} has {} "
                                                     "bytes, {} are left",
                                                     id_, next_part_ - 1, part_.size(), rest_));
      }
    }
    const std::size_t size = std::min(out.size(), part_.size() - used_);
    std::copy_n(part_.begin() + static_cast<std::ptrdiff_t>(used_), size, out.begin());
    used_ += size;
    rest_ -= size;
    return size;
  }

 private:
  std::shared_ptr<Shared> shared_;
  RevisionId id_;
  std::uint64_t rest_;
  std::int64_t next_part_ = 0;
  Bytes part_;
  std::size_t used_ = 0;
};

template <class Shared>
class LargeDocument : public protocol::StoredBytes {
 public:
  LargeDocument(std::shared_ptr<Shared> shared, RevisionId id, std::uint64_t size)
      : shared_(std::move(shared)), id_(id), size_(size) {}
  std::uint64_t size_bytes() const override { return size_; }
  Result<std::unique_ptr<Source>> Open() const override {
    return std::make_unique<DocumentSource<Shared>>(shared_, id_, size_);
  }

 private:
  std::shared_ptr<Shared> shared_;
  RevisionId id_;
  std::uint64_t size_;
};

}  // namespace

Result<DocumentStore> DocumentStore::Open(const std::filesystem::path& mirror,
                                          const DatabaseOptions& options) {
  TRY_ASSIGN(auto db, Database::Open(mirror / "catalog.db", options));
  return DocumentStore(std::make_shared<Shared>(std::move(db)));
}

Result<std::shared_ptr<const protocol::StoredBytes>> DocumentStore::Find(RevisionId id) const {
  TRY_ASSIGN(const std::uint64_t size, shared_->StoredBytes(id));
  if (size > kPartBytes) return std::make_shared<LargeDocument<Shared>>(shared_, id, size);
  TRY_ASSIGN(Bytes bytes, shared_->ReadPart(id, 0));
  return protocol::StoreInMemory(std::move(bytes));
}

}  // namespace gapferry::mirror
