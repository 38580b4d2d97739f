#include "exporter/sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"
#include "cli/command.h"
#include "cli/content_report.h"
#include "cli/context.h"
#include "cli/upstream_next.h"
#include "exporter/fetchers.h"
#include "mirror/catalog.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using exporter::SyncOptions;
using exporter::SyncReport;
using nlohmann::json;

constexpr std::size_t kShown = 10;

json ToJson(const SyncReport& report, bool dry_run) {
  json withdrawn = json::array();
  for (const auto& id : report.withdrawn) withdrawn.push_back(id.ToString());
  json refused = json::array();
  for (const auto& one : report.refused) {
    refused.push_back({{"update", one.update.ToString()}, {"why", one.error.message}});
  }
  json gone = json::array();
  for (const auto& id : report.gone) gone.push_back(id.ToString());
  json out = {{"dry_run", dry_run},
              {"changed", report.changed},
              {"complete", report.complete()},
              {"full_list", report.full_list},
              {"listed", report.listed},
              {"new_categories", report.new_categories},
              {"new_revisions", report.new_revisions},
              {"expired", report.expired},
              {"withdrawn", std::move(withdrawn)},
              {"refused", std::move(refused)},
              {"gone", std::move(gone)},
              {"dangling", report.dangling},
              {"intent_changes", report.intent_changes},
              {"upstream_version", report.upstream_version},
              {"content", ContentAsJson(report.content)}};
  if (report.state) out["generation"] = report.state->generation;
  return out;
}

void Describe(Context& context, const SyncReport& report, bool dry_run) {
  const auto& content = report.content;
  context.Print(fmt::format("{} {} categories and detectoids, {} revisions{}",
                            dry_run ? "would fetch" : "fetched", report.new_categories,
                            report.new_revisions, report.full_list ? " (complete list)" : ""));
  if (report.expired > 0) context.Print(fmt::format("expired: {}", report.expired));
  if (!report.withdrawn.empty()) {
    context.Print(fmt::format("{}: {}", dry_run ? "would be marked withdrawn" : "marked withdrawn",
                              report.withdrawn.size()));
    for (std::size_t i = 0; i < std::min(kShown, report.withdrawn.size()); ++i) {
      context.Print("  " + report.withdrawn[i].ToString());
    }
  }
  if (report.intent_changes > 0) {
    context.Print(fmt::format("groups, approvals, declines changed: {}", report.intent_changes));
  }
  if (dry_run) {
    context.Print(fmt::format("content still needed by today's approvals: {} files, {}",
                              content.needed_files, FormatByteCount(content.needed_bytes)));
    return;
  }
  DescribeContent(context, content);
  if (report.state) {
    context.Print(report.changed
                      ? fmt::format("generation {} is published", report.state->generation)
                      : fmt::format("nothing new; generation {}", report.state->generation));
  }
}

void WarnOfProblems(Context& context, const SyncReport& report) {
  for (std::size_t i = 0; i < std::min(kShown, report.refused.size()); ++i) {
    context.Warn(fmt::format("refused: {}", report.refused[i].error.message));
  }
  if (report.refused.size() > kShown) {
    context.Warn(fmt::format("refused: {} in all", report.refused.size()));
  }
  if (!report.gone.empty()) {
    context.Warn(fmt::format("{} revisions were listed but not delivered, such as {}",
                             report.gone.size(), report.gone.front().ToString()));
  }
  if (!report.dangling.empty()) {
    context.Warn(fmt::format("{} revisions refer to what is not here, such as {}",
                             report.dangling.size(), report.dangling.front()));
  }
  WarnOfContent(context, report.content);
}

Result<ExitCode> RunSync(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  SyncOptions options;
  options.metadata_only = context.args().Has("metadata-only");
  options.categories_only = context.args().Has("categories-only");
  options.full = context.args().Has("full");
  options.dry_run = context.args().Has("dry-run");
  options.accept_removals = context.args().Number("accept-removals");
  TRY_ASSIGN(options.content, ContentChoicesOf(context));
  auto report = exporter::Sync(mirror, exporter::HttpFetchers(mirror), options, context.progress(),
                               context.stop());
  if (!report) return std::unexpected(WithUpstreamNext(context, std::move(report).error()));
  Describe(context, *report, options.dry_run);
  WarnOfProblems(context, *report);
  context.Emit(ToJson(*report, options.dry_run));
  return report->complete() ? ExitCode::kDone : ExitCode::kPartlyDone;
}

}  // namespace

std::vector<Command> SyncCommands() {
  Command sync;
  sync.path = {"sync"};
  sync.summary = "fetch metadata and content from the upstream update server";
  sync.description =
      "Asks the upstream (upstream.wsus in gapferry.yaml) what is new since the last time: first "
      "categories and detectoids, then the updates of the subscription, and on a replica the "
      "groups, approvals and declines. All of it becomes visible in one step. Then the content "
      "that approvals need is downloaded and verified. Interrupted, the same command goes on where "
      "it stopped.";
  sync.examples = {{"gapferry sync", "everything"},
                   {"gapferry sync --dry-run", "says what is new, changes nothing"},
                   {"gapferry sync --bandwidth 500K --now", "content at 500 KiB/s, at once"},
                   {"gapferry sync --full", "also finds what the upstream does not list any more"}};
  sync.options = {
      {.name = "--metadata-only", .help = "do not download content"},
      {.name = "--categories-only", .help = "fetch what a choice of products needs, nothing else"},
      {.name = "--full", .help = "ask for complete lists instead of what is new"},
      {.name = "--dry-run", .help = "say what would be fetched, change nothing"},
      {.name = "--accept-removals",
       .takes = Takes::kNumber,
       .value = "N",
       .help = "consent to withdrawing the N updates that a sync before has named"}};
  for (Option& option : ContentOptions()) sync.options.push_back(std::move(option));
  sync.exits = {ExitCode::kPartlyDone, ExitCode::kBusy, ExitCode::kCorrupt, ExitCode::kNoSpace};
  sync.run = RunSync;
  return {sync};
}

}  // namespace gapferry::cli
