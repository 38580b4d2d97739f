// GetUpdateData and GetUpdateDecryptionData, MS-WSUSSS 3.1.4.6 and 3.1.4.18.
#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "mirror/catalog.h"
#include "protocol/xml_writer.h"
#include "server/sync_service.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::uint64_t kAnswerBytes = 2'000'000;  // MS-WSUSSS note 37
// Markup around what is counted exactly: an update, a digest, the place of a file.
constexpr std::uint64_t kUpdateBytes = 230;
constexpr std::uint64_t kDigestBytes = 60;
constexpr std::uint64_t kPlaceBytes = 140;

/// What a document takes in the answer; nothing for more than `limit`, which is not read to its
/// end.
Result<std::optional<std::uint64_t>> SentBytes(const protocol::StoredBytes& document, bool cabinet,
                                               std::uint64_t limit) {
  const std::uint64_t stored = document.size_bytes();
  const std::uint64_t least = cabinet ? (stored + 2) / 3 * 4 : stored;
  if (least > limit) return std::optional<std::uint64_t>();
  if (cabinet) return std::optional(least);
  TRY_ASSIGN(const auto source, document.Open());
  std::array<std::uint8_t, 32 * 1024> piece;
  std::uint64_t total = 0;
  while (total <= limit) {
    TRY_ASSIGN(const std::size_t count, source->Read(piece));
    if (count == 0) return std::optional(total);
    total += protocol::EscapedTextSize(AsText(ByteView(piece).first(count)));
  }
  return std::optional<std::uint64_t>();
}

/// Adds updates to an answer until it is full.
class UpdateCollector {
 public:
  explicit UpdateCollector(CallContext& call) : call_(call) {}

  /// False when it did not fit. The first one always does: fewer than asked is legal, none is not.
  Result<bool> Add(RevisionOrdinal r) {
    const CatalogIndex& catalog = call_.index->catalog();
    const mirror::RevisionId id = catalog.revisions()[r].id;
    TRY_ASSIGN(const auto info, call_.worker.mirror.catalog().Document(id));
    TRY_ASSIGN(auto document, call_.worker.documents.Find(id));
    const bool cabinet = info.form == mirror::DocumentForm::kCabinet;
    const std::uint64_t room = kAnswerBytes > bytes_ ? kAnswerBytes - bytes_ : 0;
    TRY_ASSIGN(const auto size, SentBytes(*document, cabinet, room));
    if (!size && !answer_.updates.empty()) return false;
    bytes_ += size.value_or(kAnswerBytes) + kUpdateBytes;

    protocol::UpdateData data;
    data.id = catalog.NameOf(r);
    if (cabinet) {
      data.compressed_blob = std::move(document);
    } else {
      data.blob = std::move(document);
    }
    std::set<Sha1Digest> own;
    for (const FileOrdinal f : catalog.Payloads(r)) {
      const Sha1Digest& sha1 = catalog.files()[f].sha1;
      if (!own.insert(sha1).second) continue;
      data.file_digests.push_back(sha1);
      bytes_ += kDigestBytes;
      TRY(AddPlace(sha1));
    }
    answer_.updates.push_back(std::move(data));
    return true;
  }
  protocol::GetUpdateDataResponse Take() { return std::move(answer_); }

 private:
  /// One entry for each file of the answer, whether its address is known or not.
  Result<void> AddPlace(const Sha1Digest& sha1) {
    if (!placed_.insert(sha1).second) return {};
    protocol::FileUrl place;
    place.file_digest = sha1;
    TRY_ASSIGN(place.mu_url, call_.worker.mirror.catalog().FileUrl(sha1));
    bytes_ += kPlaceBytes + (place.mu_url ? place.mu_url->size() : 0);
    answer_.file_urls.push_back(std::move(place));
    return {};
  }

  CallContext& call_;
  protocol::GetUpdateDataResponse answer_;
  std::set<Sha1Digest> placed_;
  std::uint64_t bytes_ = 0;
};

Result<void> CheckIds(const std::vector<protocol::UpdateId>& ids, bool present) {
  constexpr auto kLimit = static_cast<std::size_t>(SyncService::kMaxUpdatesPerRequest);
  if (present && ids.size() <= kLimit) return {};
  return FailFault(FaultCode::kInvalidParameters, "updateIds");
}

/// The whole call fails for an id that is not held, as with the real server; its callers bisect.
Result<std::vector<RevisionOrdinal>> FindAll(const CatalogIndex& catalog,
                                             const std::vector<protocol::UpdateId>& ids) {
  std::vector<RevisionOrdinal> revisions;
  for (const protocol::UpdateId& id : ids) {
    const RevisionOrdinal r = catalog.Find(id);
    if (r == kNone) return FailFault(FaultCode::kInternalServerError);
    revisions.push_back(r);
  }
  return revisions;
}

}  // namespace

Result<protocol::GetUpdateDataResponse> SyncService::GetUpdateData(
    CallContext& call, const protocol::GetUpdateDataRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  TRY(CheckIds(ask.update_ids, ask.has_update_ids));
  TRY_ASSIGN(const auto revisions, FindAll(call.index->catalog(), ask.update_ids));
  UpdateCollector collector(call);
  for (const RevisionOrdinal r : revisions) {
    TRY_ASSIGN(const bool added, collector.Add(r));
    if (!added) break;
  }
  return collector.Take();
}

Result<protocol::GetUpdateDecryptionDataResponse> SyncService::GetUpdateDecryptionData(
    CallContext& call, const protocol::GetUpdateDecryptionDataRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  TRY(CheckIds(ask.update_ids, ask.has_update_ids));
  TRY_ASSIGN(const auto revisions, FindAll(call.index->catalog(), ask.update_ids));
  protocol::GetUpdateDecryptionDataResponse answer;
  for (std::size_t i = 0; i < revisions.size(); ++i) {
    const mirror::RevisionId id = call.index->catalog().revisions()[revisions[i]].id;
    TRY_ASSIGN(const auto row, call.worker.mirror.catalog().FindById(id));
    if (!row || !row->needs_file_keys) continue;
    TRY_ASSIGN(const auto keys, call.worker.mirror.catalog().FileKeys(id));
    protocol::UpdateFileDecryption update;
    update.update_id = ask.update_ids[i];
    std::set<Sha1Digest> listed;
    for (const FileOrdinal f : call.index->catalog().Payloads(revisions[i])) {
      const Sha1Digest& sha1 = call.index->catalog().files()[f].sha1;
      if (!listed.insert(sha1).second) continue;
      const auto key = std::ranges::find(keys, sha1, &mirror::FileKey::sha1);
      update.files.push_back(
          {sha1, key == keys.end() ? std::nullopt : std::optional<Bytes>(key->key)});
    }
    answer.updates.push_back(std::move(update));
  }
  return answer;
}

}  // namespace gapferry::server
