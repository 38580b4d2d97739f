#include "exporter/sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"
#include "cli/admin_support.h"
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

json PreviewAsJson(const exporter::SyncPreview& preview) {
  json updates = json::array();
  for (const auto& one : preview.updates) {
    updates.push_back({{"update", one.id.ToString()},
                       {"title", one.title},
                       {"new", one.is_new},
                       {"expired", one.is_expired},
                       {"deployable", one.is_deployable}});
  }
  json products = json::array();
  for (const auto& one : preview.products) {
    products.push_back(
        {{"guid", one.guid.ToString()}, {"title", one.title}, {"updates", one.updates}});
  }
  json expired = json::array();
  for (const auto& id : preview.expired) expired.push_back(id.ToString());
  return {{"looked_at", preview.looked_at},
          {"of", preview.of},
          {"updates", std::move(updates)},
          {"products", std::move(products)},
          {"expired", std::move(expired)}};
}

json IntentAsJson(const exporter::IntentPlan& plan) {
  return {{"groups_added", plan.groups_added},       {"groups_removed", plan.groups_removed},
          {"approvals_added", plan.approvals_added}, {"approvals_changed", plan.approvals_changed},
          {"approvals_ended", plan.approvals_ended}, {"declined", plan.declined.size()},
          {"undeclined", plan.undeclined},           {"eulas_accepted", plan.eulas_accepted}};
}

json RemovalsAsJson(const mirror::RemovalVerdict& verdict) {
  json products = json::array();
  for (const auto& one : verdict.emptied_products) {
    products.push_back({{"guid", one.guid.ToString()}, {"title", one.title}});
  }
  return {{"count", verdict.removals},
          {"withdrawn", verdict.withdrawn},
          {"expired", verdict.expired},
          {"declined", verdict.declined},
          {"live", verdict.live},
          {"needs_consent", verdict.needs_consent},
          {"emptied_products", std::move(products)}};
}

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
              {"announced_version", report.announced_version},
              {"upstream_version", report.upstream_version},
              {"lowered_from", report.lowered_from},
              {"lost", report.lost},
              {"without_keys", report.without_keys},
              {"removals", RemovalsAsJson(report.removals)},
              {"content", ContentAsJson(report.content)}};
  if (report.preview) out["preview"] = PreviewAsJson(*report.preview);
  if (report.intent) out["intent"] = IntentAsJson(*report.intent);
  if (report.state) out["generation"] = report.state->generation;
  return out;
}

void DescribePreview(Context& context, const exporter::SyncPreview& preview) {
  if (preview.of == 0) return;
  context.Print(preview.looked_at == preview.of
                    ? std::string("new:")
                    : fmt::format("new, the first {} of {}:", preview.looked_at, preview.of));
  std::size_t shown = 0;
  for (const auto& one : preview.updates) {
    if (!one.is_deployable || shown++ >= kShown) continue;
    context.Print(fmt::format("  {} {}{}{}", one.id.ToString(), EscapeForDisplay(one.title, 100),
                              one.is_new ? "" : " (new revision)",
                              one.is_expired ? " (expired)" : ""));
  }
  if (shown > kShown) context.Print(fmt::format("  and {} more", shown - kShown));
  if (!preview.products.empty()) context.Print("by product:");
  for (const auto& one : preview.products) {
    context.Print(fmt::format("  {:>6} {}", one.updates, EscapeForDisplay(one.title, 100)));
  }
}

void DescribeIntent(Context& context, const exporter::IntentPlan& plan) {
  context.Print(fmt::format(
      "approvals: {} new, {} changed, {} ended; groups: {} new, {} removed; declined: {} more, {} "
      "less; licences accepted: {}",
      plan.approvals_added, plan.approvals_changed, plan.approvals_ended, plan.groups_added,
      plan.groups_removed, plan.declined.size(), plan.undeclined, plan.eulas_accepted));
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
  if (report.preview) DescribePreview(context, *report.preview);
  if (report.intent) DescribeIntent(context, *report.intent);
  if (dry_run) {
    if (report.removals.needs_consent) {
      context.Print(
          fmt::format("{} of {} live updates would go: the sync asks for "
                      "--accept-removals {}",
                      report.removals.removals, report.removals.live, report.removals.removals));
    }
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
    context.Warn(fmt::format("{} revisions were asked for but not delivered, such as {}",
                             report.gone.size(), report.gone.front().ToString()));
  }
  if (!report.dangling.empty()) {
    context.Warn(fmt::format("{} revisions refer to what is not here, such as {}",
                             report.dangling.size(), report.dangling.front()));
  }
  if (report.without_keys > 0) {
    context.Warn(fmt::format("{} revisions have encrypted files that the upstream gave no key for",
                             report.without_keys));
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
  if (!report) {
    // The command to type, with the mirror that this one was given.
    std::string& next = report.error().next;
    constexpr std::string_view kProgram = "gapferry ";
    if (next.starts_with(kProgram)) next = NextCommand(context, next.substr(kProgram.size()));
    return std::unexpected(WithUpstreamNext(context, std::move(report).error()));
  }
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
