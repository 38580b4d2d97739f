#include "exporter/bundle_objects.h"

#include <algorithm>
#include <optional>

#include "base/file.h"
#include "manifests/zstd_stream.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/exchange/metadata_batch.h"

namespace gapferry::exporter {
namespace {

using manifests::ObjectName;

constexpr std::uint64_t kBatchDocuments = 1000;
constexpr std::uint64_t kBatchBytes = 16 << 20;

/// A file from an offset to its end.
class FileTail : public Source {
 public:
  FileTail(File file, std::uint64_t offset) : file_(std::move(file)), at_(offset) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    TRY_ASSIGN(const std::size_t count, file_.ReadAt(at_, out));
    at_ += count;
    return count;
  }

 private:
  File file_;
  std::uint64_t at_;
};

/// One object file while it is written: compressed, hashed, counted.
class ObjectFile {
 public:
  explicit ObjectFile(File file)
      : file_(std::move(file)),
        sink_(file_),
        counted_(sink_, count_),
        hashed_(hash_, counted_),
        zstd_(hashed_) {}

  ObjectFile(const ObjectFile&) = delete;  // its sinks refer to each other
  ObjectFile& operator=(const ObjectFile&) = delete;

  Sink& sink() { return zstd_; }

  Result<manifests::PlannedObject> Finish(const ObjectName& name) {
    TRY(zstd_.Finish());
    TRY(file_.Close());
    return manifests::PlannedObject{name, count_.count(), hash_.Finish()};
  }

 private:
  File file_;
  FileSink sink_;
  CountingSink count_;
  HashingSink<Sha256Digest> hash_;
  TeeSink counted_;
  TeeSink hashed_;
  manifests::ZstdSink zstd_;
};

}  // namespace

Result<BundleObjects> BundleObjects::Build(mirror::Mirror& mirror, const mirror::BundleOut& bundle,
                                           std::uint64_t volume_bytes, std::filesystem::path folder,
                                           std::stop_token stop) {
  TRY(CreateDirectories(folder));
  BundleObjects objects(mirror, std::move(folder));
  TRY(objects.WriteIntent(bundle));
  const std::uint64_t batch =
      volume_bytes == 0 ? kBatchBytes : std::min(kBatchBytes, volume_bytes / 2);
  TRY(objects.WriteMetadata(batch, stop));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto pins, ledger.Pins(bundle.site, bundle.sequence));
  for (const mirror::PinnedFile& pin : pins) {
    objects.plan_.push_back(
        {ObjectName::Content(pin.sha1, pin.extension), pin.size_bytes, pin.sha256});
  }
  return objects;
}

std::filesystem::path BundleObjects::PathOf(const ObjectName& name) const {
  std::string flat = name.ToString();
  std::ranges::replace(flat, '/', '-');
  return folder_ / flat;
}

Result<void> BundleObjects::WriteIntent(const mirror::BundleOut& bundle) {
  mirror::Ledger ledger(mirror_->db());
  TRY_ASSIGN(File file, File::Create(PathOf(ObjectName::Intent())));
  FileSink out(file);
  CountingSink count;
  HashingSink<Sha256Digest> hash;
  TeeSink counted(out, count);
  TeeSink hashed(hash, counted);
  TRY(ledger.CopyIntentObject(bundle.site, bundle.sequence, hashed));
  TRY(file.Close());
  plan_.push_back({ObjectName::Intent(), count.count(), hash.Finish()});
  return {};
}

Result<void> BundleObjects::WriteMetadata(std::uint64_t batch_bytes, std::stop_token stop) {
  TRY_ASSIGN(File stored, File::OpenRead(PathOf(ObjectName::Intent())));
  FileSource source(stored);
  manifests::ZstdSource decoded(source, mirror::exchange::kMaxIntentBytes);
  TRY_ASSIGN(const auto intent, mirror::exchange::ReadIntentObject(decoded));

  mirror::Catalog& catalog = mirror_->catalog();
  // One view for an object: begun and ended for every document it would take longer than reading.
  std::optional<mirror::Catalog::ReadView> view;
  std::optional<ObjectFile> object;
  std::uint32_t number = 0;
  std::uint64_t documents = 0, bytes = 0;
  const auto finish = [&]() -> Result<void> {
    if (!object) return {};
    TRY_ASSIGN(const auto planned, object->Finish(ObjectName::Metadata(number)));
    plan_.push_back(planned);
    object.reset();
    view.reset();
    return {};
  };
  for (const auto& line : intent.revisions) {
    if (!line.carried) continue;
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while preparing");
    if (!view) {
      TRY_ASSIGN(view, catalog.BeginRead());
    }
    TRY_ASSIGN(const auto row, catalog.Find(line.update));
    if (!row || row->document_sha256 != line.sha256) {
      return Fail(ErrorCode::kCorrupt, "plan-lost",
                  "document of " + line.update.ToString() + " is not what was planned");
    }
    TRY_ASSIGN(const auto info, catalog.Document(row->id));
    if (object && (documents == kBatchDocuments || bytes + info.stored_bytes > batch_bytes)) {
      TRY(finish());
    }
    if (!object) {
      TRY_ASSIGN(File file, File::Create(PathOf(ObjectName::Metadata(++number))));
      object.emplace(std::move(file));
      documents = bytes = 0;
    }
    TRY(mirror::exchange::WriteMetadataRecord(catalog, *row, object->sink()));
    ++documents;
    bytes += info.stored_bytes;
  }
  return finish();
}

Result<std::unique_ptr<Source>> BundleObjects::Open(const ObjectName& name, std::uint64_t offset) {
  if (!name.IsContent()) {
    TRY_ASSIGN(File file, File::OpenRead(PathOf(name)));
    return std::unique_ptr<Source>(std::make_unique<FileTail>(std::move(file), offset));
  }
  TRY_ASSIGN(File file, mirror_->content().Open(name.sha1), name.ToString());
  return std::unique_ptr<Source>(std::make_unique<FileTail>(std::move(file), offset));
}

}  // namespace gapferry::exporter
