#include "mirror/self_check.h"

#include <fmt/format.h>

#include <optional>

#include "mirror/catalog.h"
#include "mirror/catalog_rows.h"
#include "mirror/commit_impl.h"
#include "mirror/content_store.h"
#include "mirror/digest_tree.h"
#include "mirror/fragment_store.h"
#include "mirror/load_digests.h"
#include "mirror/mirror.h"
#include "protocol/cabinet.h"

namespace gapferry::mirror {

namespace {

constexpr std::size_t kMostFindings = 100;

class Checker {
 public:
  Checker(Mirror& mirror, Progress& progress, std::stop_token stop)
      : mirror_(mirror), db_(mirror.db()), progress_(progress), stop_(std::move(stop)) {}

  Result<std::vector<Inconsistency>> Run(bool deep) {
    {
      TRY_ASSIGN(const auto view, Transaction::Begin(db_, TransactionKind::kRead));
      TRY(CheckHistory());
      TRY(CheckPublished());
      if (deep) {
        TRY(CheckTrees());
        TRY(CheckCounts());
      }
    }
    if (deep) TRY(CheckDocuments());
    return std::move(findings_);
  }

 private:
  void Find(std::string where, std::string what) {
    if (findings_.size() < kMostFindings) {
      findings_.push_back({std::move(where), std::move(what)});
    }
  }

  Result<void> CheckHistory() {
    TRY_ASSIGN(auto rows, db_.Prepare("SELECT generation, chain, change_digest, committed_at "
                                      "FROM generation_log ORDER BY generation"));
    Sha256Digest chain;
    std::optional<UtcTime> before;
    Generation last = -1;
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) break;
      const Generation generation = rows.Int(0);
      const auto stored = rows.DigestAt<Sha256Digest>(1);
      const auto expected = NextChain(chain, rows.DigestAt<Sha256Digest>(2));
      if (stored != expected) {
        Find("history", fmt::format("generation {}: chain mismatch: expected {}, got {}",
                                    generation, expected.ToHex(), stored.ToHex()));
      }
      const UtcTime at = rows.Time(3);
      if (before && at <= *before) {
        Find("history", fmt::format("generation {}: its commit time is not later than the one "
                                    "before",
                                    generation));
      }
      chain = stored;
      before = at;
      last = generation;
    }
    TRY(rows.Check());
    TRY_ASSIGN(const auto published, db_.QueryInt("SELECT published FROM mirror"));
    if (published != last) {
      Find("history", fmt::format("generation {} is published, the last one is {}",
                                  published.value_or(-1), last));
    }
    return {};
  }

  void Compare(std::string_view where, const Sha256Digest& expected, const Sha256Digest& got) {
    if (expected == got) return;
    Find(std::string(where), fmt::format("digest mismatch: the published state says {}, its tree "
                                         "gives {}",
                                         expected.ToHex(), got.ToHex()));
  }

  Result<void> CheckPublished() {
    TRY_ASSIGN(const auto state, mirror_.catalog().Published());
    TRY_ASSIGN(const auto documents, ReadBuckets(db_, Tree::kDocuments));
    Compare("documents", state.documents_digest, RootOf(documents));
    // Changing what a mirror follows in its configuration shows with the next commit.
    Compare("state", state.state_digest, StateDigest(state.documents_digest, state.intent_digest));
    return {};
  }

  void CompareTree(std::string_view where, const std::vector<Sha256Digest>& stored,
                   const std::vector<Sha256Digest>& computed) {
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      if (stored[bucket] == computed[bucket]) continue;
      Find(std::string(where),
           fmt::format("bucket {:03x}: digest mismatch: kept {}, its rows give "
                       "{}",
                       bucket, stored[bucket].ToHex(), computed[bucket].ToHex()));
    }
  }

  Result<void> CheckTrees() {
    progress_.Begin("comparing digests", 5, 0);
    TRY_ASSIGN(const auto documents, ReadBuckets(db_, Tree::kDocuments));
    TRY_ASSIGN(const auto computed, ComputeDocumentBuckets(db_));
    CompareTree("documents", documents, computed);
    progress_.Advance(1, 0);
    for (const auto origin :
         {IntentOrigin::kLocal, IntentOrigin::kUpstream, IntentOrigin::kFollowed}) {
      // Remains of a hold that ended, or copies for one that did not begin, are nobody's intent.
      TRY_ASSIGN(const auto held, db_.QueryInt("SELECT is_held FROM mirror"));
      if (origin == IntentOrigin::kFollowed && held.value_or(0) == 0) continue;
      TRY_ASSIGN(const auto stored, ReadBuckets(db_, IntentTree(origin)));
      std::vector<Sha256Digest> fresh;
      for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
        TRY_ASSIGN(auto lines, IntentBucketLines(db_, origin, bucket));
        fresh.push_back(BucketDigest(lines));
      }
      CompareTree("intent", stored, fresh);
      progress_.Advance(1, 0);
    }
    TRY_ASSIGN(const auto content, ReadBuckets(db_, Tree::kContent));
    TRY_ASSIGN(const auto held, ComputeContentBuckets(db_));
    CompareTree("content digest", content, held);
    progress_.Advance(1, 0);
    progress_.End();
    return {};
  }

  Result<void> CheckCounts() {
    TRY_ASSIGN(const auto kept, ReadCounts(db_));
    TRY_ASSIGN(const auto counted, ComputeCounts(db_));
    if (kept == counted) return {};
    Find("counts", fmt::format("{} revisions and {} updates are kept, counting gives {} and {}",
                               kept.revisions, kept.updates, counted.revisions, counted.updates));
    return {};
  }

  /// Reads in batches: no transaction is held for the time that reading everything takes.
  Result<void> CheckDocuments() {
    TRY_ASSIGN(const auto counts, ReadCounts(db_));
    TRY_ASSIGN(FragmentStore* const fragments, mirror_.fragments());
    progress_.Begin("reading documents", counts.revisions, 0);
    RevisionId after = 0;
    for (;;) {
      TRY_ASSIGN(const auto batch, NextRevisions(after));
      if (batch.empty()) break;
      for (const RevisionRow& row : batch) {
        if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
        TRY(CheckDocument(row));
        TRY_ASSIGN(const auto core, fragments->FindCore(row.id));
        if (!core) Find("fragments", fmt::format("{} has no core", row.update.ToString()));
        progress_.Advance(1, row.document_bytes);
      }
      after = batch.back().id;
    }
    progress_.End();
    return {};
  }

  Result<std::vector<RevisionRow>> NextRevisions(RevisionId after) {
    TRY_ASSIGN(auto rows, db_.Prepare(RevisionSelect(Sight::kPublished,
                                                     "AND r.id > ? ORDER BY r.id LIMIT 256")));
    rows.BindAll(after);
    std::vector<RevisionRow> batch;
    for (;;) {
      TRY_ASSIGN(const bool row, rows.Step());
      if (!row) return batch;
      batch.push_back(ReadRevision(rows));
    }
  }

  Result<void> CheckDocument(const RevisionRow& row) {
    const std::string name = row.update.ToString();
    HashingSink<Sha256Digest> hash;
    TRY_ASSIGN(const auto info, mirror_.catalog().Document(row.id));
    Result<void> read;
    if (info.form == DocumentForm::kPlain) {
      read = mirror_.catalog().CopyDocument(row.id, hash);
    } else {
      auto bytes = mirror_.catalog().ReadDocument(row.id);
      if (!bytes) {
        read = std::unexpected(std::move(bytes).error());
      } else if (auto text = protocol::DecodeMetadataCabinet(*bytes, hash); !text) {
        read = std::unexpected(std::move(text).error());
      }
    }
    if (!read) {
      if (read.error().code != ErrorCode::kCorrupt) return read;
      Find("documents", fmt::format("{}: {}", name, read.error().message));
      return {};
    }
    const auto got = hash.Finish();
    if (got != info.sha256) {
      Find("documents", fmt::format("{}: digest mismatch: expected sha256:{}, got sha256:{}", name,
                                    info.sha256.ToHex(), got.ToHex()));
    }
    return {};
  }

  Mirror& mirror_;
  Database& db_;
  Progress& progress_;
  std::stop_token stop_;
  std::vector<Inconsistency> findings_;
};

}  // namespace

Result<std::vector<Inconsistency>> CheckCatalog(Mirror& mirror, bool deep, Progress& progress,
                                                std::stop_token stop) {
  return Checker(mirror, progress, std::move(stop)).Run(deep);
}

}  // namespace gapferry::mirror
