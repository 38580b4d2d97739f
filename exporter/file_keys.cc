#include "exporter/file_keys.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "mirror/load_queries.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using mirror::MissingKeys;

namespace {

class KeyRun {
 public:
  KeyRun(Upstream& upstream, mirror::Mirror& mirror, mirror::CatalogLoad& load,
         std::stop_token stop)
      : upstream_(upstream), mirror_(mirror), load_(load), stop_(std::move(stop)) {}

  Result<void> Ask(std::span<const MissingKeys> batch) {
    if (batch.empty()) return {};
    if (stop_.stop_requested()) return Fail(ErrorCode::kCancelled, "sync: stopped");
    std::vector<protocol::UpdateId> ids;
    for (const MissingKeys& one : batch) ids.push_back(one.update);
    const auto answer = upstream_.GetUpdateDecryptionData(std::move(ids));
    if (answer) return Take(batch, *answer);
    const auto fault = protocol::FaultCodeOf(answer.error());
    if (fault != protocol::FaultCode::kInternalServerError) {
      return std::unexpected(answer.error());
    }
    if (batch.size() == 1) {
      ++without_;
      return {};
    }
    TRY(Ask(batch.first(batch.size() / 2)));
    return Ask(batch.subspan(batch.size() / 2));
  }

  std::uint64_t without() const { return without_; }

 private:
  Result<void> Take(std::span<const MissingKeys> batch,
                    const protocol::GetUpdateDecryptionDataResponse& answer) {
    std::unordered_map<Sha1Digest, const Bytes*> given;
    for (const auto& update : answer.updates) {
      for (const auto& file : update.files) {
        const std::size_t size = file.decryption_key ? file.decryption_key->size() : 0;
        if (size == 0 || size > mirror::kMaxFileKeyBytes) continue;
        given.emplace(file.file_digest, &*file.decryption_key);
      }
    }
    std::vector<mirror::FileKey> loaded;
    std::vector<mirror::FileKey> published;
    for (const MissingKeys& one : batch) {
      bool complete = true;
      for (const Sha1Digest& sha1 : one.files) {
        const auto key = given.find(sha1);
        complete = complete && key != given.end();
        if (key != given.end())
          (one.is_loaded ? loaded : published).push_back({sha1, *key->second});
      }
      if (!complete) ++without_;
    }
    TRY(mirror::PublishFileKeys(mirror_, published));
    return load_.AddFileKeys(std::move(loaded));
  }

  Upstream& upstream_;
  mirror::Mirror& mirror_;
  mirror::CatalogLoad& load_;
  std::stop_token stop_;
  std::uint64_t without_ = 0;
};

}  // namespace

Result<std::uint64_t> LoadFileKeys(Upstream& upstream, mirror::Mirror& mirror,
                                   mirror::CatalogLoad& load, std::size_t limit, Progress& progress,
                                   std::stop_token stop) {
  TRY_ASSIGN(const std::vector<MissingKeys> missing, mirror::FindMissingKeys(mirror, load));
  if (missing.empty()) return std::uint64_t{0};
  progress.Begin("keys of encrypted files", missing.size(), 0);
  KeyRun run(upstream, mirror, load, std::move(stop));
  const std::span<const MissingKeys> all(missing);
  for (std::size_t first = 0; first < all.size(); first += limit) {
    const std::size_t count = std::min(limit, all.size() - first);
    TRY(run.Ask(all.subspan(first, count)));
    progress.Advance(count, 0);
  }
  progress.End();
  TRY(load.Flush());
  return run.without();
}

}  // namespace gapferry::exporter
