#include <fmt/format.h>

#include "mirror/catalog.h"
#include "mirror/decoded_revision.h"
#include "mirror/fragment_store.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

struct Work {
  RevisionId id;
  DocumentForm form;
};

/// The next revisions by id, also those of an open change.
Result<std::vector<Work>> NextBatch(Database& db, RevisionId after) {
  constexpr int kBatch = 256;
  TRY_ASSIGN(auto rows, db.Prepare("SELECT id, document_form FROM revision WHERE id > ? "
                                   "ORDER BY id LIMIT ?"));
  rows.BindAll(after, kBatch);
  std::vector<Work> batch;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return batch;
    batch.push_back({rows.Int32(0), static_cast<DocumentForm>(rows.Int32(1))});
  }
}

Result<void> RebuildBatch(Mirror& mirror, FragmentStore& store, const std::vector<Work>& batch) {
  for (const Work& work : batch) {
    TRY_ASSIGN(const Bytes bytes, mirror.catalog().ReadDocument(work.id));
    TRY_ASSIGN(const auto derived,
               DeriveDocument(work.form, bytes, mirror.config().import.max_document_bytes),
               fmt::format("revision id {}", work.id));
    TRY(store.Put(work.id, derived.fragments));
  }
  return {};
}

}  // namespace

Result<std::uint64_t> RebuildFragments(Mirror& mirror) {
  TRY_ASSIGN(FragmentStore* const store, mirror.fragments());
  std::uint64_t done = 0;
  RevisionId after = 0;
  for (;;) {
    TRY_ASSIGN(const auto batch, NextBatch(mirror.db(), after));
    if (batch.empty()) break;
    TRY(store->BeginBatch());
    if (const auto rebuilt = RebuildBatch(mirror, *store, batch); !rebuilt) {
      store->RollbackBatch();
      return std::unexpected(rebuilt.error());
    }
    TRY(store->CommitBatch());
    done += batch.size();
    after = batch.back().id;
  }
  TRY(store->SetDerivation(protocol::kFragmentDerivation, mirror.clock().Now()));
  return done;
}

}  // namespace gapferry::mirror
