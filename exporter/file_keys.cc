#include "exporter/file_keys.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocol/soap.h"

namespace gapferry::exporter {

using protocol::UpdateId;

namespace {

/// Revisions of one load that need keys, with their encrypted files.
using Needs = std::vector<std::pair<UpdateId, std::vector<Sha1Digest>>>;

Result<Needs> FindNeeds(mirror::CatalogLoad& load) {
  Needs needs;
  TRY(load.ForEachLoaded([&](mirror::RevisionRelations& revision) -> Result<void> {
    if (!revision.row.needs_file_keys) return {};
    std::vector<Sha1Digest> files;
    const bool flagged = std::any_of(revision.files.begin(), revision.files.end(),
                                     [](const auto& file) { return file.is_encrypted; });
    for (const auto& file : revision.files) {
      if (file.is_encrypted || !flagged) files.push_back(file.sha1);
    }
    needs.emplace_back(revision.row.update, std::move(files));
    return {};
  }));
  return needs;
}

}  // namespace

Result<std::uint64_t> LoadFileKeys(Upstream& upstream, mirror::CatalogLoad& load, std::size_t limit,
                                   Progress& progress, std::stop_token stop) {
  TRY_ASSIGN(const Needs needs, FindNeeds(load));
  if (needs.empty()) return std::uint64_t{0};
  progress.Begin("keys of encrypted files", needs.size(), 0);
  std::uint64_t without = 0;
  for (std::size_t first = 0; first < needs.size(); first += limit) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "sync: stopped");
    const std::size_t last = std::min(needs.size(), first + limit);
    std::vector<UpdateId> ids;
    std::unordered_set<Sha1Digest> wanted;
    for (std::size_t i = first; i < last; ++i) {
      ids.push_back(needs[i].first);
      wanted.insert(needs[i].second.begin(), needs[i].second.end());
    }
    TRY_ASSIGN(const auto answer, upstream.GetUpdateDecryptionData(ids));
    std::vector<mirror::FileKey> keys;
    std::unordered_set<Sha1Digest> came;
    for (const auto& update : answer.updates) {
      for (const auto& file : update.files) {
        const std::size_t size = file.decryption_key ? file.decryption_key->size() : 0;
        if (size == 0 || size > mirror::kMaxFileKeyBytes) continue;
        if (!wanted.contains(file.file_digest) || !came.insert(file.file_digest).second) continue;
        keys.push_back({file.file_digest, *file.decryption_key});
      }
    }
    TRY(load.AddFileKeys(std::move(keys)));
    for (std::size_t i = first; i < last; ++i) {
      const auto& files = needs[i].second;
      const bool complete = std::all_of(files.begin(), files.end(),
                                        [&](const auto& sha1) { return came.contains(sha1); });
      if (!complete) ++without;
    }
    progress.Advance(last - first, 0);
  }
  progress.End();
  TRY(load.Flush());
  return without;
}

}  // namespace gapferry::exporter
