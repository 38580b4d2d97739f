#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/fetcher.h"
#include "base/progress.h"
#include "base/result.h"
#include "exporter/list_compare.h"
#include "exporter/sync.h"
#include "exporter/sync_filter.h"
#include "exporter/update_stream.h"
#include "exporter/upstream.h"
#include "mirror/catalog_load.h"
#include "mirror/intent.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// The metadata of one sync, up to its commit; see Sync. Everything given must outlive it. Not
/// thread-safe.
class MetadataSync {
 public:
  MetadataSync(mirror::Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
               const SyncOptions& options, Progress& progress, std::stop_token stop);

  /// With `lock` null nothing is stored: a dry run.
  Result<void> Run(const mirror::JobLock* lock);
  /// Asks for complete lists and commits once more; `drop_anchors`: the upstream is another one, so
  /// its configuration and deployments too. The report then covers both.
  Result<void> Again(const mirror::JobLock* lock, bool drop_anchors);

  /// Whether the upstream does not know other files (of report().content) than those that complete
  /// lists were asked for before; if so, Again keeps which they are.
  Result<bool> NoteUnknownFiles();

  const protocol::GetConfigDataResponse& upstream_config() const { return config_; }
  SyncReport& report() { return report_; }
  SyncReport Take() { return std::move(report_); }

 private:
  Result<void> Once(const mirror::JobLock* lock);
  void Reset();
  Result<std::string> LoadKey();
  Result<std::optional<std::string>> Anchor(std::string_view kind, std::string_view filter);
  Result<void> ReadConfig();
  Result<std::vector<protocol::UpdateId>> Unknown(const std::vector<protocol::UpdateId>& sorted);
  Result<std::vector<protocol::UpdateId>> Ask(protocol::SyncFilter filter, std::string& anchor);
  enum class Named { kInList, kElsewhere };  // who says that the upstream has them
  Result<LoadOutcome> Fetch(const std::vector<protocol::UpdateId>& ids, std::string_view step,
                            Named named);
  Result<void> Load(const std::vector<protocol::UpdateId>& ids, std::string_view step,
                    Named named = Named::kInList);
  Result<void> Addresses();
  Result<void> Categories();
  Result<bool> FullListDue();
  Result<void> Updates();
  Result<void> Members();
  Result<void> Compare();
  Result<void> Deployments();
  Result<void> ApprovedRevisions();
  Result<void> Guard();
  Result<void> Commit();
  Result<void> PutAnchors(mirror::CommitTransaction& commit);

  mirror::Mirror& mirror_;
  Upstream& upstream_;
  const FetcherFactory& fetchers_;
  const SyncOptions& options_;
  Progress& progress_;
  std::stop_token stop_;
  std::vector<std::unique_ptr<Fetcher>> connections_;  // for documents

  bool forget_anchors_ = false;  // all of them: the upstream does not know our place any more
  bool full_ = false;            // complete lists
  bool sent_anchor_ = false;     // with the call under way
  std::optional<mirror::CatalogLoad> load_;
  protocol::GetConfigDataResponse config_;
  UpdateFilter filter_;
  std::string filter_digest_;
  std::string categories_anchor_;
  std::string updates_anchor_;
  std::vector<protocol::UpdateId> listed_;  // the updates, ascending
  std::vector<protocol::UpdateId> unknown_updates_;
  std::vector<protocol::UpdateId> unknown_categories_;
  std::optional<mirror::IntentImport> intent_;
  std::string deployments_anchor_;
  std::string unknown_files_;  // a digest over them; empty: not to be kept
  std::vector<Guid> new_declines_;
  SyncReport report_;
};

}  // namespace gapferry::exporter
