#include "tests/support/catalogue/fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/text.h"
#include "mirror/audit.h"
#include "mirror/catalog_load.h"
#include "mirror/content_store.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/mirror.h"
#include "tests/support/catalogue/export_files.h"
#include "tests/support/catalogue/summary.h"

namespace gapferry::catalogue {
namespace {

constexpr std::size_t kRevisionsPerChunk = 256;
constexpr std::size_t kFilesPerBatch = 1000;
constexpr std::uint64_t kMaxDocumentBytes = 256ULL << 20;

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

std::string ExtensionOf(const FileSpec& file) { return file.name.substr(file.name.rfind('.') + 1); }

// Decodes chunk after chunk ahead of the thread that stores them: one chunk is being stored while
// the next is made.
class Decoder {
 public:
  Decoder(const Catalogue& catalogue, std::vector<std::size_t> wanted, unsigned threads)
      : catalogue_(catalogue), wanted_(std::move(wanted)), threads_(threads) {
    StartNext();
  }

  /// The next revisions in order; empty at the end.
  Result<std::vector<mirror::DecodedRevision>> Next() {
    std::vector<mirror::DecodedRevision> chunk;
    if (worker_.joinable()) worker_.join();
    if (!outcome_.has_value()) return std::unexpected(std::move(outcome_).error());
    chunk.reserve(made_.size());
    for (auto& revision : made_) chunk.push_back(std::move(*revision));
    made_.clear();
    StartNext();
    return chunk;
  }

  std::uint64_t document_bytes() const { return document_bytes_; }

 private:
  void StartNext() {
    const std::size_t begin = next_;
    const std::size_t count = std::min(kRevisionsPerChunk, wanted_.size() - begin);
    next_ += count;
    if (count == 0) return;
    made_.resize(count);
    worker_ = std::jthread([this, begin, count] {
      outcome_ = ParallelFor(count, threads_, [this, begin](std::size_t i) {
        return Make(wanted_[begin + i], made_[i]);
      });
    });
  }

  Result<void> Make(std::size_t index, std::optional<mirror::DecodedRevision>& out) {
    const Revision& revision = catalogue_.revisions()[index];
    const std::string document = Document(catalogue_, revision);
    document_bytes_ += document.size();
    TRY_ASSIGN(WireDocument wire, ToWire(document));
    mirror::IncomingRevision incoming;
    incoming.update = revision.id;
    incoming.form = wire.is_cabinet ? mirror::DocumentForm::kCabinet : mirror::DocumentForm::kPlain;
    incoming.bytes = std::move(wire.bytes);
    TRY_ASSIGN(out, mirror::DecodedRevision::Decode(std::move(incoming), kMaxDocumentBytes));
    return {};
  }

  const Catalogue& catalogue_;
  const std::vector<std::size_t> wanted_;
  const unsigned threads_;
  std::size_t next_ = 0;
  std::vector<std::optional<mirror::DecodedRevision>> made_;
  Result<void> outcome_;
  std::atomic<std::uint64_t> document_bytes_ = 0;
  std::jthread worker_;
};

Result<void> LoadRevisions(const Catalogue& catalogue, mirror::CatalogLoad& load, unsigned threads,
                           FillReport& report) {
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < catalogue.revisions().size(); ++i) {
    TRY_ASSIGN(const bool known, load.Has(catalogue.revisions()[i].id));
    if (!known) wanted.push_back(i);
  }
  report.known_revisions = catalogue.revisions().size() - wanted.size();
  report.new_revisions = wanted.size();
  Decoder decoder(catalogue, std::move(wanted), threads);
  while (true) {
    TRY_ASSIGN(std::vector<mirror::DecodedRevision> chunk, decoder.Next());
    if (chunk.empty()) break;
    for (mirror::DecodedRevision& revision : chunk) {
      TRY_ASSIGN(const mirror::Added added, load.Add(std::move(revision)));
      static_cast<void>(added);  // new or adopted, both are wanted
    }
  }
  report.document_bytes = decoder.document_bytes();
  return load.Flush();
}

Result<void> StageFile(const Catalogue& catalogue, const mirror::ContentStore& store,
                       const FileSpec& file, std::optional<mirror::VerifiedContent>& out) {
  const mirror::ContentExpectation expected{.sha1 = file.digests.sha1,
                                            .sha256 = file.digests.sha256,
                                            .size_bytes = file.size_bytes,
                                            .extension = ExtensionOf(file)};
  TRY_ASSIGN(const fs::path staged, store.StagedPath(expected));
  TRY(WriteContent(catalogue.options().seed, file, staged));
  // The digests were computed from these very bytes when the catalogue was made.
  TRY_ASSIGN(out, mirror::ContentStore::AcceptHashed(staged, expected, file.digests.sha1,
                                                     file.digests.sha256, file.size_bytes));
  return {};
}

Result<void> StoreContent(const Catalogue& catalogue, mirror::ContentStore& store, unsigned threads,
                          FillReport& report) {
  std::vector<const FileSpec*> wanted;
  std::unordered_set<Sha1Digest> seen;
  for (const FileSpec& file : catalogue.files()) {
    if (!seen.insert(file.digests.sha1).second || store.Holds(file.digests.sha1)) continue;
    wanted.push_back(&file);
    report.file_bytes += file.size_bytes;
  }
  report.new_files = wanted.size();
  for (std::size_t begin = 0; begin < wanted.size(); begin += kFilesPerBatch) {
    std::vector<std::optional<mirror::VerifiedContent>> staged(
        std::min(kFilesPerBatch, wanted.size() - begin));
    const auto stage = [&](std::size_t i) {
      return StageFile(catalogue, store, *wanted[begin + i], staged[i]);
    };
    TRY(ParallelFor(staged.size(), threads, stage));
    std::vector<mirror::VerifiedContent> batch;
    batch.reserve(staged.size());
    for (auto& file : staged) batch.push_back(std::move(*file));
    TRY(store.Publish(std::move(batch)));
  }
  return {};
}

Result<void> Commit(const Catalogue& catalogue, mirror::CatalogLoad& load, FillReport& report) {
  TRY(load.Prepare());
  TRY_ASSIGN(mirror::CommitTransaction commit, load.BeginCommit("sync"));
  const Options& options = catalogue.options();
  const nlohmann::json detail{{"seed", options.seed},
                              {"size", options.size},
                              {"step", options.step},
                              {"new_revisions", report.new_revisions}};
  TRY(commit.Audit({.actor = mirror::CurrentActor(),
                    .action = "sync.commit",
                    .object = "generated catalogue",
                    .detail = detail.dump()}));
  TRY_ASSIGN(const mirror::StateName state, commit.Finish());
  report.generation = state.generation;
  return {};
}

Result<FillReport> FillLocked(const Catalogue& catalogue, mirror::Mirror& mirror,
                              const mirror::JobLock& lock, const FillOptions& options) {
  FillReport report;
  auto start = SteadyClock::now();
  TRY_ASSIGN(mirror::CatalogLoad load, mirror::CatalogLoad::Open(mirror, lock, "sync"));
  TRY(LoadRevisions(catalogue, load, options.threads, report));
  report.metadata_seconds = SecondsSince(start);
  start = SteadyClock::now();
  if (options.with_content) {
    TRY(StoreContent(catalogue, mirror.content(), options.threads, report));
  }
  report.content_seconds = SecondsSince(start);
  start = SteadyClock::now();
  TRY(Commit(catalogue, load, report));
  report.metadata_seconds += SecondsSince(start);
  return report;
}

nlohmann::json ReportJson(const FillReport& report) {
  return {{"new_revisions", report.new_revisions},
          {"known_revisions", report.known_revisions},
          {"document_bytes", report.document_bytes},
          {"new_files", report.new_files},
          {"file_bytes", report.file_bytes},
          {"generation", report.generation},
          {"metadata_seconds", report.metadata_seconds},
          {"content_seconds", report.content_seconds}};
}

}  // namespace

Result<FillReport> FillMirror(const Catalogue& catalogue, const std::filesystem::path& directory,
                              const FillOptions& options) {
  TRY_ASSIGN(mirror::Mirror mirror, mirror::Mirror::Open(directory));
  TRY_ASSIGN(const mirror::JobLock lock, mirror::JobLock::Acquire(directory, "sync"));
  TRY_ASSIGN(const std::int64_t job, mirror.jobs().Start("sync"));
  Result<FillReport> report = FillLocked(catalogue, mirror, lock, options);
  if (!report.has_value()) {
    const nlohmann::json detail{{"error", report.error().message}};
    TRY(mirror.jobs().End(job, mirror::JobResult::kFailed, std::nullopt, detail.dump()));
    return report;
  }
  TRY(mirror.jobs().End(job, mirror::JobResult::kDone, report->generation,
                        ReportJson(*report).dump()));
  return report;
}

std::string FillReportText(const FillReport& report) {
  return fmt::format(
      "{} revisions loaded ({} were there), {} of documents, in {:.1f} s\n"
      "{} files stored, {}, in {:.1f} s\n"
      "generation {}\n",
      report.new_revisions, report.known_revisions, FormatByteCount(report.document_bytes),
      report.metadata_seconds, report.new_files, FormatByteCount(report.file_bytes),
      report.content_seconds, report.generation);
}

std::string FillReportJson(const FillReport& report) { return ReportJson(report).dump() + "\n"; }

}  // namespace gapferry::catalogue
