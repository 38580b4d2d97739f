#include "importer/loader.h"

#include <algorithm>
#include <atomic>
#include <future>

#include "base/file.h"
#include "importer/whole_object.h"
#include "manifests/zstd_stream.h"
#include "mirror/catalog.h"
#include "mirror/exchange/metadata_batch.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/load_queries.h"

namespace gapferry::importer {
namespace {

using mirror::exchange::IntentObject;
using mirror::exchange::RevisionLine;
using protocol::UpdateId;

constexpr std::size_t kDecoders = 2;
constexpr std::size_t kBatchDocuments = 128;
constexpr std::uint64_t kBatchBytes = 32 << 20;
/// Of decoded documents that wait to be written: a cabinet may hold a thousand times its size.
constexpr std::uint64_t kDecodedBytes = 64 << 20;

/// Decodes a batch on several threads; the rows are written by one.
class Decoder {
 public:
  Decoder(mirror::CatalogLoad& load, std::uint64_t max_document_bytes, Progress& progress)
      : load_(load), max_document_bytes_(max_document_bytes), progress_(progress) {}

  Result<void> Add(mirror::IncomingRevision revision) {
    bytes_ += revision.bytes.size();
    waiting_.push_back(std::move(revision));
    if (waiting_.size() < kBatchDocuments && bytes_ < kBatchBytes) return {};
    return Flush();
  }

  Result<void> Flush() {
    for (std::size_t begin = 0; begin < waiting_.size();) {
      TRY_ASSIGN(begin, DecodeFrom(begin));
    }
    waiting_.clear();
    bytes_ = 0;
    return {};
  }

 private:
  /// Decodes documents in order until too much is held decoded, adds them, and tells where to go
  /// on.
  Result<std::size_t> DecodeFrom(std::size_t begin) {
    std::vector<std::optional<Result<mirror::DecodedRevision>>> decoded(waiting_.size() - begin);
    std::atomic<std::size_t> next = 0;
    std::atomic<std::uint64_t> held = 0;
    const auto work = [&] {
      while (held < kDecodedBytes) {
        const std::size_t i = next++;
        if (i >= decoded.size()) return;
        decoded[i].emplace(
            mirror::DecodedRevision::Decode(std::move(waiting_[begin + i]), max_document_bytes_));
        if (*decoded[i]) held += (*decoded[i])->memory_bytes();
      }
    };
    std::vector<std::future<void>> workers;
    for (std::size_t worker = 0; worker < kDecoders; ++worker) {
      workers.push_back(std::async(std::launch::async, work));
    }
    for (auto& worker : workers) worker.get();
    const std::size_t done = std::min(next.load(), decoded.size());
    for (std::size_t i = 0; i < done; ++i) {
      if (!*decoded[i]) return std::unexpected(std::move(decoded[i]->error()));
      TRY(load_.Add(std::move(**decoded[i])));
      progress_.Advance(1, 0);
    }
    return begin + done;
  }

  mirror::CatalogLoad& load_;
  std::uint64_t max_document_bytes_;
  Progress& progress_;
  std::vector<mirror::IncomingRevision> waiting_;
  std::uint64_t bytes_ = 0;
};

const RevisionLine* FindLine(const IntentObject& intent, const UpdateId& update) {
  const auto found = std::ranges::lower_bound(intent.revisions, update, {}, &RevisionLine::update);
  return found == intent.revisions.end() || found->update != update ? nullptr : &*found;
}

Result<void> LoadObject(mirror::Mirror& mirror, const std::filesystem::path& path,
                        const IntentObject& intent, std::uint64_t max_document_bytes,
                        mirror::CatalogLoad& load, Decoder& decoder, const std::stop_token& stop) {
  TRY_ASSIGN(File file, File::OpenRead(path));
  FileSource stored(file);
  manifests::ZstdSource decoded(stored, kMaxMetadataObjectBytes);
  mirror::exchange::MetadataBatchReader reader(decoded, max_document_bytes);
  for (;;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while loading");
    TRY_ASSIGN(auto revision, reader.Next());
    if (!revision) return {};
    const RevisionLine* line = FindLine(intent, revision->update);
    if (line == nullptr || !line->carried || line->sha256 != *revision->expected_sha256) {
      return Fail(ErrorCode::kCorrupt, "metadata-unlisted",
                  "document of " + revision->update.ToString() + " is not what the bundle lists");
    }
    TRY_ASSIGN(const auto known, load.KnownSha256(revision->update));
    if (known && *known == line->sha256) {
      // Keys that the upstream gave late come with a document that is here already.
      TRY(mirror::PublishFileKeys(mirror, revision->file_keys));
      continue;
    }
    TRY(decoder.Add(std::move(*revision)));
  }
}

/// Every listed revision is known with the listed text, and marked as the list says.
Result<void> CheckRevisions(mirror::Mirror& mirror, const IntentObject& intent,
                            mirror::CatalogLoad& load) {
  for (const RevisionLine& line : intent.revisions) {
    TRY_ASSIGN(const auto known, load.KnownSha256(line.update));
    if (!known) {
      return Fail(
          ErrorCode::kCorrupt, "metadata-missing",
          "the document of " + line.update.ToString() + " is neither here nor in the bundle");
    }
    if (*known != line.sha256) {
      return Fail(ErrorCode::kCorrupt, "document-conflict",
                  "update " + line.update.ToString() + " is known with another text: sha256:" +
                      known->ToHex() + ", the bundle says sha256:" + line.sha256.ToHex());
    }
    TRY_ASSIGN(const auto row, mirror.catalog().Find(line.update));
    const bool withdrawn = row && row->is_withdrawn;
    const bool unlisted = row && row->is_unlisted;
    if (line.withdrawn && (!withdrawn || unlisted)) load.Withdraw(line.update);
    if (!line.withdrawn && withdrawn) load.ListAgain(line.update);
  }
  return {};
}

/// A full bundle names every revision its sender holds. What it does not name is withdrawn and left
/// out of the state: the sender was made anew or restored, or this mirror has diverged.
Result<void> UnlistOthers(mirror::Mirror& mirror, const IntentObject& intent,
                          mirror::CatalogLoad& load) {
  return mirror.catalog().ForEachRevision([&](const mirror::RevisionRow& row) -> Result<void> {
    if (!row.is_unlisted && FindLine(intent, row.update) == nullptr) load.Unlist(row.update);
    return {};
  });
}

}  // namespace

Result<IntentObject> ReadStagedIntent(const Staging& staging) {
  auto file = File::OpenRead(staging.PathOf(manifests::ObjectName::Intent()));
  if (!file && file.error().code == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kCorrupt, "intent-malformed", "the bundle has no object 'intent'");
  }
  if (!file) return std::unexpected(std::move(file.error()));
  FileSource stored(*file);
  manifests::ZstdSource decoded(stored, mirror::exchange::kMaxIntentBytes);
  return mirror::exchange::ReadIntentObject(decoded);
}

Result<mirror::CatalogLoad::Summary> LoadDocuments(mirror::Mirror& mirror,
                                                   const manifests::VerifiedIndex& index,
                                                   const Staging& staging,
                                                   const IntentObject& intent,
                                                   mirror::CatalogLoad& load, Progress& progress,
                                                   std::stop_token stop) {
  const std::uint64_t max_bytes = mirror.config().import.max_document_bytes;
  const auto carried = static_cast<std::uint64_t>(
      std::ranges::count(intent.revisions, true, &RevisionLine::carried));
  progress.Begin("loading", carried, 0);
  Decoder decoder(load, max_bytes, progress);
  for (const auto& line : index.lines()) {
    if (line.name.kind != manifests::ObjectKind::kMetadata) continue;
    TRY(LoadObject(mirror, staging.PathOf(line.name), intent, max_bytes, load, decoder, stop),
        "object '" + line.name.ToString() + "' in " + manifests::VolumeName(line.volume));
  }
  TRY(decoder.Flush());
  TRY(load.Flush());
  progress.End();
  TRY(CheckRevisions(mirror, intent, load));
  if (intent.full) TRY(UnlistOthers(mirror, intent, load));
  TRY(load.Prepare());
  TRY_ASSIGN(auto summary, load.Summarize());
  if (summary.dangling.size() > intent.dangling) {
    return Fail(ErrorCode::kCorrupt, "closure",
                "update " + summary.dangling.front().update.ToString() + " needs " +
                    summary.dangling.front().what + ", which is neither here nor in the bundle");
  }
  return summary;
}

Result<void> CheckDeclarations(mirror::Mirror& mirror, const manifests::VerifiedIndex& index) {
  for (const auto& line : index.lines()) {
    if (!line.name.IsContent() || line.name.part > 1) continue;
    TRY_ASSIGN(const auto declared, mirror::exchange::DeclarationsOf(mirror, line.name.sha1));
    if (declared.empty()) {
      return Fail(ErrorCode::kCorrupt, "content-undeclared",
                  "object '" + line.name.ToString() + "' is no file of any update");
    }
    const bool fits = std::ranges::any_of(declared, [&](const auto& one) {
      return one.size_bytes == line.full_size && (!one.sha256 || *one.sha256 == line.file_sha256());
    });
    if (!fits) {
      return Fail(ErrorCode::kCorrupt, "content-mismatch",
                  "object '" + line.name.ToString() + "' has " + std::to_string(line.full_size) +
                      " bytes and sha256:" + line.file_sha256().ToHex() +
                      ", no update declares it so");
    }
  }
  return {};
}

}  // namespace gapferry::importer
