#include "exporter/sync.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "exporter/metadata_sync.h"
#include "mirror/job_history.h"
#include "mirror/running_job.h"

namespace gapferry::exporter {

using mirror::Mirror;

namespace {

// A DNS name made of the mirror's name: GetAuthorizationCookie wants one.
std::string DnsNameOf(std::string_view name) {
  std::string dns;
  for (const char c : name) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || (c == '-' && !dns.empty());
    if (fits) {
      dns += c;
    } else if (!dns.empty() && dns.back() != '-') {
      dns += '-';
    }
  }
  while (!dns.empty() && (dns.back() == '-' || dns.back() == '.')) dns.pop_back();
  return dns.empty() ? "gapferry" : dns.substr(0, 63);
}

std::string DetailJson(const SyncReport& report) {
  return nlohmann::json({{"listed", report.listed},
                         {"new_revisions", report.new_revisions},
                         {"new_categories", report.new_categories},
                         {"expired", report.expired},
                         {"withdrawn", report.withdrawn.size()},
                         {"refused", report.refused.size()},
                         {"gone", report.gone.size()},
                         {"without_keys", report.without_keys},
                         {"full_list", report.full_list},
                         {"announced_version", report.announced_version},
                         {"upstream_version", report.upstream_version},
                         {"lowered_from", report.lowered_from},
                         {"content_fetched", report.content.fetched_files},
                         {"content_bytes", report.content.fetched_bytes},
                         {"content_waiting", report.content.waiting_files},
                         {"content_failed", report.content.failed.size()}})
      .dump();
}

Result<void> ContentPhase(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                          bool catalog_only, const ContentChoices& choices, SyncReport& report,
                          Progress& progress, std::stop_token stop) {
  const ContentSyncOptions options = ContentOptionsOf(mirror, catalog_only, choices);
  TRY_ASSIGN(report.content,
             SyncContent(mirror, upstream, fetchers, options, progress, std::move(stop)));
  return {};
}

Result<SyncReport> SyncLocked(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                              const SyncOptions& options, Progress& progress,
                              const mirror::JobLock& lock, std::stop_token stop) {
  TRY(mirror.content().Recover());
  MetadataSync metadata(mirror, upstream, fetchers, options, progress, stop);
  TRY(metadata.Run(&lock));
  if (options.metadata_only || options.categories_only) return metadata.Take();
  const auto content = [&] {
    return ContentPhase(mirror, upstream, fetchers, metadata.upstream_config().catalog_only_sync,
                        options.content, metadata.report(), progress, stop);
  };
  static_cast<void>(upstream.TakeDemands());  // metadata has answered those of its own calls
  auto done = content();
  const Upstream::Demands demands = upstream.TakeDemands();
  bool again = demands.start_over;
  if (done && demands.list_again) {
    TRY_ASSIGN(const bool is_news, metadata.NoteUnknownFiles());
    again = again || is_news;
  }
  if (again) {  // once: an upstream may say so for ever
    TRY(metadata.Again(&lock, demands.start_over));
    done = content();
  }
  if (!done) return std::unexpected(std::move(done.error()));
  return metadata.Take();
}

Result<SyncReport> DryRun(Mirror& mirror, Upstream& upstream, const FetcherFactory& fetchers,
                          const SyncOptions& options, Progress& progress, std::stop_token stop) {
  MetadataSync metadata(mirror, upstream, fetchers, options, progress, std::move(stop));
  TRY(metadata.Run(nullptr));
  SyncReport report = metadata.Take();
  TRY_ASSIGN(const auto needed, FindNeededFiles(mirror));
  report.content.needed_files = needed.size();
  for (const NeededFile& file : needed) report.content.needed_bytes += file.LargestBytes();
  return report;
}

}  // namespace

Result<UpstreamOptions> UpstreamOptionsOf(const Mirror& mirror, Progress& progress) {
  if (mirror.config().upstream.wsus.empty()) {
    if (!mirror.config().upstream.gap) {
      return Fail(ErrorCode::kUsage, "no-upstream", "this mirror has no upstream");
    }
    return Fail(ErrorCode::kUsage, "fed-by-bundles",
                "this mirror is fed by bundles and has no upstream to sync with");
  }
  UpstreamOptions options;
  options.url = mirror.config().upstream.wsus;
  options.account_name = DnsNameOf(mirror.identity().name);
  options.account_guid = mirror.identity().guid;
  options.note = [&progress](const std::string& line) { progress.Note(line); };
  return options;
}

Result<SyncReport> Sync(Mirror& mirror, const FetcherFactory& fetchers, const SyncOptions& options,
                        Progress& progress, std::stop_token stop) {
  TRY_ASSIGN(UpstreamOptions upstream_options, UpstreamOptionsOf(mirror, progress));
  TRY_ASSIGN(const std::unique_ptr<Fetcher> fetcher, fetchers());
  Upstream upstream(*fetcher, mirror.clock(), std::move(upstream_options), stop);
  if (options.dry_run) return DryRun(mirror, upstream, fetchers, options, progress, stop);
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "sync", progress));
  auto report = SyncLocked(mirror, upstream, fetchers, options, job.progress(), job.lock(), stop);
  if (!report) {
    job.Fail(report.error());
    return report;
  }
  std::optional<mirror::Generation> generation;
  if (report->changed && report->state) generation = report->state->generation;
  TRY(job.End(report->complete() ? mirror::JobResult::kDone : mirror::JobResult::kPartly,
              generation, DetailJson(*report)));
  return report;
}

}  // namespace gapferry::exporter
