#include "exporter/rollup.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "cli/command.h"
#include "cli/context.h"
#include "cli/upstream_next.h"
#include "exporter/fetchers.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using exporter::RollupReport;

void Describe(Context& context, const RollupReport& report, bool dry_run) {
  if (!report.offered) {
    context.Print("the upstream takes no reports of computers: nothing was told, nothing is due");
    return;
  }
  const std::string_view verb = dry_run ? "would tell" : "told";
  context.Print(fmt::format("{} the upstream of {} servers with {} groups of computers", verb,
                            report.servers, report.client_summaries));
  if (!report.detailed) {
    context.Print("the upstream takes sums only; computers and their status stay here");
    return;
  }
  context.Print(fmt::format(
      "computers: {}, {} of them changed{}", report.computers, report.computers_changed,
      report.computers_again > 0 ? fmt::format(", {} told again in full", report.computers_again)
                                 : ""));
  context.Print(fmt::format("status: {} computers in full, {} with changes, {} states",
                            report.full_statuses, report.delta_statuses, report.states));
  if (report.everything_again) context.Print("the upstream asked for everything again");
  if (report.deleted_upstream > 0) {
    context.Print(
        fmt::format("{} computers were deleted at the upstream; they stay away until "
                    "they register again",
                    report.deleted_upstream));
  }
}

Result<ExitCode> RunRollup(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  exporter::RollupOptions options;
  options.dry_run = context.args().Has("dry-run");
  auto report = exporter::Rollup(mirror, exporter::HttpFetchers(mirror), options,
                                 context.progress(), context.stop());
  if (!report) return std::unexpected(WithUpstreamNext(context, std::move(report).error()));
  Describe(context, *report, options.dry_run);
  if (report->busy) context.Warn("the upstream stayed busy: the rest goes with the next rollup");
  if (report->uncertain_installs > 0) {
    context.Warn(fmt::format("{} installs may not have been counted by the upstream",
                             report->uncertain_installs));
  }
  context.Emit({{"dry_run", options.dry_run},
                {"offered", report->offered},
                {"detailed", report->detailed},
                {"everything_again", report->everything_again},
                {"servers", report->servers},
                {"client_summaries", report->client_summaries},
                {"installs", report->installs},
                {"computers", report->computers},
                {"computers_changed", report->computers_changed},
                {"computers_again", report->computers_again},
                {"deleted_upstream", report->deleted_upstream},
                {"full_statuses", report->full_statuses},
                {"delta_statuses", report->delta_statuses},
                {"states", report->states},
                {"busy", report->busy},
                {"uncertain_installs", report->uncertain_installs}});
  return report->busy ? ExitCode::kPartlyDone : ExitCode::kDone;
}

}  // namespace

std::vector<Command> RollupCommands() {
  Command rollup;
  rollup.path = {"rollup"};
  rollup.summary = "report computers and their status to the upstream";
  rollup.description =
      "Tells the upstream what this mirror knows of its own computers, of the update servers below "
      "it, and of everything that came back in return files. The upstream decides how much detail "
      "it wants. What it was told is remembered: the next rollup carries what has changed since.";
  rollup.examples = {{"gapferry rollup"},
                     {"gapferry rollup --dry-run", "says how much is due, asks nobody"}};
  rollup.options = {{.name = "--dry-run", .help = "say what would be told, tell nothing"}};
  rollup.exits = {ExitCode::kPartlyDone, ExitCode::kBusy};
  rollup.run = RunRollup;
  return {rollup};
}

}  // namespace gapferry::cli
