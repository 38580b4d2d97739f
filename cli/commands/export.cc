// gapferry export: bundles for sites, and returns to the sender of bundles.
#include "exporter/export.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/return_commands.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

/// What fits a medium beside the file system's own needs and the bundle's small files.
Result<std::uint64_t> ParseVolumeSize(const std::optional<std::string>& text) {
  if (!text) return 0;
  if (*text == "fat32") return 4'294'966'784;  // the largest file there, in whole tar blocks
  if (*text == "dvd") return 4'600'000'000;
  if (*text == "bd25") return 24'900'000'000;
  const auto bytes = ParseInt<std::uint64_t>(*text);
  if (bytes && *bytes > 0) return *bytes;
  return Fail(ErrorCode::kUsage,
              "--volume-size takes a number of bytes, fat32, dvd or bd25, not '" +
                  EscapeForDisplay(*text, 40) + "'");
}

std::unexpected<Error> WithNext(Error error, const std::string& site) {
  if (error.reason == "diverged" || error.reason == "history-changed") {
    error.next = "gapferry export --full --to DIR --for " + site;
  } else if (error.reason == "unfinished-export") {
    error.next =
        "repeat the command with the options it was begun with, or give the bundle up: "
        "gapferry bundle abandon " +
        site;
  } else if (error.reason == "site-unknown") {
    error.next = "gapferry site add CARD";
  } else if (error.reason == "read-back" || error.code == ErrorCode::kNoSpace) {
    error.next = "the same command goes on where it stopped; take another medium with --to";
  }
  return std::unexpected(std::move(error));
}

json PlanToJson(const exporter::ExportPlan& plan) {
  return {{"site", plan.site.stream},
          {"sequence", plan.site.last_sequence + 1},
          {"scope", plan.full ? "full" : "delta"},
          {"base", plan.base.name.generation},
          {"target", plan.target.name.generation},
          {"revisions_listed", plan.revisions_listed},
          {"revisions_carried", plan.revisions_carried},
          {"document_bytes", plan.document_bytes},
          {"groups", plan.intent.intent.groups.size()},
          {"deployments", plan.intent.intent.deployments.size()},
          {"deployments_ended", plan.intent.intent.dead_deployments.size()},
          {"declined", plan.intent.intent.declined.size()},
          {"content_files", plan.content.size()},
          {"content_bytes", plan.content_bytes},
          {"held_by_site", plan.believed_files},
          {"missing_files", plan.missing_files},
          {"dangling", plan.dangling.size()}};
}

void PrintPlan(Context& context, const exporter::ExportPlan& plan) {
  context.Print(fmt::format(
      "bundle {} for {}: {}, from generation {} to {}\n"
      "  documents   {} of {} ({} that the site holds are named only)\n"
      "  approvals   {} now, {} ended\n"
      "  files       {}, {}; {} that the site holds are left out\n"
      "  not held    {} files that approvals need are not here",
      plan.site.last_sequence + 1, EscapeForDisplay(plan.site.name, 64),
      plan.full ? "full" : "delta", plan.base.name.generation, plan.target.name.generation,
      plan.revisions_carried, FormatByteCount(plan.document_bytes),
      plan.revisions_listed - plan.revisions_carried, plan.intent.intent.deployments.size(),
      plan.intent.intent.dead_deployments.size(), plan.content.size(),
      FormatByteCount(plan.content_bytes), plan.believed_files, plan.missing_files));
  context.Emit(PlanToJson(plan));
}

void PrintResult(Context& context, const exporter::ExportResult& result) {
  const auto& manifest = result.manifest;
  std::string how = result.repeated  ? "nothing has changed since it was written: it is named again"
                    : result.resumed ? "an unfinished one, now complete"
                                     : "new";
  if (!result.repeated) how += fmt::format("; {}", manifests::ReadBackName(result.read_back));
  context.Print(fmt::format(
      "{}\n{} bundle, generation {} to {}: {} documents, {} files, {} in {} "
      "volumes ({})",
      result.path.string(), manifests::ScopeName(manifest.scope), manifest.base.generation,
      manifest.target.generation, manifest.totals.revisions, manifest.totals.content_files,
      FormatByteCount(result.bytes), manifest.volumes.size(), how));
  if (result.missing_files > 0) {
    context.Warn(
        fmt::format("{} files that approvals need are not held here; their updates wait at "
                    "the site until a later bundle brings them",
                    result.missing_files));
  }
  if (result.dangling > 0) {
    context.Warn(
        fmt::format("{} updates need others that this mirror does not hold", result.dangling));
  }
  context.Emit(
      {{"bundle", result.path.string()},
       {"sequence", manifest.sequence},
       {"scope", manifests::ScopeName(manifest.scope)},
       {"base", manifest.base.generation},
       {"target", manifest.target.generation},
       {"manifest_sha256", result.manifest_sha256.ToHex()},
       {"revisions", manifest.totals.revisions},
       {"content_files", manifest.totals.content_files},
       {"content_bytes", manifest.totals.content_bytes},
       {"volumes", manifest.volumes.size()},
       {"bytes", result.bytes},
       {"read_back", result.read_back == manifests::ReadBack::kDirect ? "direct" : "dropped"},
       {"resumed", result.resumed},
       {"repeated", result.repeated},
       {"missing_files", result.missing_files},
       {"dangling", result.dangling}});
}

Result<ExitCode> Export(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  const auto to = context.args().Text("to");
  if (!to && !context.args().Has("dry-run")) {
    return Fail(ErrorCode::kUsage,
                "--to DIR says where the folder of the bundle or return is made");
  }
  if (context.args().Has("return")) return ExportReturn(context, mirror);
  exporter::ExportRequest request;
  request.site = context.args().TextOr("for", "");
  if (request.site.empty()) {
    return Fail(ErrorCode::kUsage, "--for SITE says for whom the bundle is");
  }
  request.full = context.args().Has("full");
  request.since = context.args().Number("since");
  if (request.full && request.since) {
    return Fail(ErrorCode::kUsage, "--full and --since exclude each other");
  }
  TRY_ASSIGN(request.volume_bytes, ParseVolumeSize(context.args().Text("volume-size")));
  if (context.args().Has("dry-run")) {
    auto plan = exporter::PlanExport(mirror, request);
    if (!plan) return WithNext(std::move(plan.error()), request.site);
    PrintPlan(context, *plan);
    return ExitCode::kDone;
  }
  exporter::ExportOptions options;
  options.to = std::filesystem::absolute(*to);
  options.actor = mirror::CurrentActor();
  options.progress = &context.progress();
  options.stop = context.stop();
  auto result = exporter::RunExport(mirror, request, options);
  if (!result) return WithNext(std::move(result.error()), request.site);
  PrintResult(context, *result);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> ExportCommands() {
  return {
      {.path = {"export"},
       .summary = "write a bundle for a site, or a return to the sender of bundles",
       .description =
           "A bundle brings a site from the last state it acknowledged to the present one; without "
           "a "
           "receipt it is a full one. Repeating the command after an interruption finishes the "
           "same "
           "bundle. With --return: receipt and status of this site, shown line by line before it "
           "leaves; return.level in gapferry.yaml says how much.",
       .examples = {{"gapferry export --to /media/stick --for plant", "the next bundle"},
                    {"gapferry export --for plant --dry-run", "what it would carry"},
                    {"gapferry export --return --to /media/stick", "behind the gap: the way back"}},
       .options = {{"--to", Takes::kText, "DIR", "where the new folder or file is made"},
                   {"--for", Takes::kText, "SITE", "stream, name or GUID of a site"},
                   {"--full", Takes::kNothing, {}, "from nothing, whatever was acknowledged"},
                   {"--since", Takes::kNumber, "SEQ", "from where this bundle led"},
                   {"--volume-size", Takes::kText, "SIZE",
                    "largest volume: bytes, fat32, dvd or bd25 (default: one volume)"},
                   {"--dry-run", Takes::kNothing, {}, "show the plan, write nothing"},
                   {"--return", Takes::kNothing, {}, "write a return instead of a bundle"},
                   {"--include",
                    Takes::kList,
                    "FIELD",
                    "with --return, also: names, addresses, hardware of computers",
                    false,
                    {"names", "addresses", "hardware"}}},
       .asks = true,
       .exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt, ExitCode::kNoSpace},
       .run = Export}};
}

}  // namespace gapferry::cli
