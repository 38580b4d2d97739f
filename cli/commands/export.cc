// gapferry export: bundles for sites, and returns to the sender of bundles.
#include "exporter/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/export_plan_view.h"
#include "cli/media_support.h"
#include "cli/return_commands.h"
#include "cli/site_view.h"
#include "exporter/medium_label.h"
#include "exporter/repair_bundle.h"
#include "manifests/index.h"
#include "manifests/parity.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

std::unexpected<Error> WithNext(Error error, const std::string& site) {
  if (error.reason == "diverged" || error.reason == "history-changed" ||
      error.reason == "since-void" || error.reason == "since-unfinished") {
    error.next = "gapferry export --full --to DIR --for " + site;
  } else if (error.reason == "unfinished-export") {
    error.next =
        "repeat the command with the options it was begun with, or give the bundle up: "
        "gapferry bundle abandon " +
        site;
  } else if (error.reason == "bundle-unknown") {
    error.next = "gapferry bundle list";
  } else if (error.reason == "group-empty") {
    error.next = "gapferry site group add " + site + " SITE...";
  } else if (error.reason == "medium-not-allowed") {
    error.next = "take a medium of the list, or add this one to media.allowed in gapferry.yaml";
  } else if (error.reason == "site-unknown") {
    error.next = "gapferry site add CARD";
  } else if (error.reason == "file-too-large-for-medium") {
    error.next = "smaller volumes: gapferry export --for " + site +
                 " --to DIR --volume-size fat32 (or bytes, dvd, bd25); or take a larger medium";
  } else if (error.reason == "medium-too-small") {
    error.next = "take a larger medium; or smaller volumes: gapferry export --for " + site +
                 " --to DIR --volume-size BYTES (at least 1048576; or fat32, dvd, bd25)";
  } else if (error.reason == "read-back" || error.reason == "medium-failed" ||
             error.code == ErrorCode::kNoSpace) {
    error.next =
        "on the same medium or another one, this goes on where it stopped: gapferry export "
        "--for " +
        site + " --to DIR";
  } else if (error.reason == "volume-too-small") {
    error.next = "larger volumes: gapferry export --for " + site + " --to DIR --volume-size BYTES";
  } else if (error.reason == "medium-unknown") {
    error.next = "gapferry bundle list";
  }
  return std::unexpected(std::move(error));
}

std::string MediaText(const exporter::ExportResult& result) {
  std::string text;
  for (const auto& medium : result.media) {
    text +=
        fmt::format("\nmedium {}: {} has volumes {} of {}, {}{} ({})", medium.number, medium.path,
                    exporter::NumberRanges(medium.volumes), result.volumes,
                    FormatByteCount(medium.bytes), medium.has_manifest ? ", and the manifest" : "",
                    medium.read_back.empty() ? "no volume" : medium.read_back);
  }
  return text;
}

json MediaToJson(const exporter::ExportResult& result) {
  json media = json::array();
  for (const auto& medium : result.media) {
    media.push_back({{"medium", medium.number},
                     {"path", medium.path},
                     {"volumes", medium.volumes},
                     {"bytes", medium.bytes},
                     {"manifest", medium.has_manifest},
                     {"read_back", medium.read_back},
                     {"label", medium.label}});
  }
  return media;
}

std::string HowWritten(const exporter::ExportResult& result) {
  if (result.repeated) return "nothing has changed since it was written: it is named again";
  return fmt::format("{}; {}", result.resumed ? "an unfinished one, now complete" : "new",
                     manifests::ReadBackName(result.read_back));
}

void PrintResult(Context& context, const exporter::ExportResult& result, const std::string& next) {
  const auto& manifest = result.manifest;
  std::string text = result.path.string();
  if (result.complete) {
    text += fmt::format(
        "\n{} bundle, generation {} to {}: {} documents, {} files, {} in {} volume{} ({})",
        manifests::ScopeName(manifest.scope), manifest.base.generation, manifest.target.generation,
        manifest.totals.revisions, manifest.totals.content_files, FormatByteCount(result.bytes),
        result.volumes, result.volumes == 1 ? "" : "s", HowWritten(result));
  } else {
    const std::string rest =
        result.pending.empty()
            ? "index and manifest"
            : fmt::format("volumes {} of {}", exporter::NumberRanges(result.pending),
                          result.volumes);
    text += fmt::format("\nbundle {} of stream {} is not complete: {} have no place yet\nnext: {}",
                        manifest.sequence, manifest.stream, rest, next);
  }
  if (result.media.size() > 1 || !result.complete) text += MediaText(result);
  context.Print(text);
  for (const auto& medium : result.media) {
    context.Say(
        fmt::format("label for the courier, also beside the bundle's folder:\n\n{}", medium.label));
  }
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
       {"complete", result.complete},
       {"sequence", manifest.sequence},
       {"encrypted", result.sealed},
       {"parity", manifest.parity},
       {"scope", manifests::ScopeName(manifest.scope)},
       {"base", manifest.base.generation},
       {"target", manifest.target.generation},
       {"manifest_sha256", result.complete ? result.manifest_sha256.ToHex() : ""},
       {"revisions", manifest.totals.revisions},
       {"content_files", manifest.totals.content_files},
       {"content_bytes", manifest.totals.content_bytes},
       {"volumes", result.volumes},
       {"pending_volumes", result.pending},
       {"media", MediaToJson(result)},
       {"next", result.complete ? "" : next},
       {"bytes", result.bytes},
       {"read_back", result.read_back == manifests::ReadBack::kDirect ? "direct" : "dropped"},
       {"resumed", result.resumed},
       {"repeated", result.repeated},
       {"missing_files", result.missing_files},
       {"dangling", result.dangling}});
}

Result<std::uint64_t> SizeOption(Context& context, const std::string& name) {
  const auto text = context.args().Text(name);
  if (!text) return 0;
  return ParseMediaSize("--" + name, *text);
}

/// Four volumes on a medium, with their repair files, leave room for index and manifest on the last
/// one.
std::uint64_t VolumesFor(std::uint64_t medium_bytes, unsigned parity) {
  const std::uint64_t bytes =
      medium_bytes / (100 + parity) * 24 / manifests::kTarBlock * manifests::kTarBlock;
  return std::max(bytes, manifests::kMinVolumeBytes);
}

Result<std::optional<unsigned>> ParityOption(Context& context) {
  const auto percent = context.args().Number("parity");
  if (!percent) return std::optional<unsigned>();
  if (*percent <= manifests::kMaxParityPercent) return static_cast<unsigned>(*percent);
  return Fail(ErrorCode::kUsage, fmt::format("--parity takes 0 to {} percent, not {}",
                                             manifests::kMaxParityPercent, *percent));
}

Result<unsigned> ParityOf(mirror::Mirror& mirror, const exporter::ExportRequest& request) {
  if (request.parity) return *request.parity;
  mirror::Ledger ledger(mirror.db());
  auto site = ledger.FindDestination(request.site);
  if (!site) return WithNext(std::move(site.error()), request.site);
  return exporter::ParityFor(mirror.config(), *site);
}

/// What the last returns of the recipients could not read of earlier bundles: an ordinary bundle
/// does not bring these blocks.
Result<void> SayWhatWaits(Context& context, mirror::Mirror& mirror, const std::string& name) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto destination, ledger.FindDestination(name));
  for (const mirror::Site& site : destination.recipients) {
    TRY_ASSIGN(const auto asked, FindAskedRepair(ledger, site));
    if (asked) {
      context.Warn(asked->text + "; next: " + NextCommand(context, asked->command));
    }
  }
  return {};
}

Result<std::optional<std::uint32_t>> MediumOption(Context& context) {
  const auto number = context.args().Number("again");
  if (!number) return std::optional<std::uint32_t>();
  if (*number == 0 || *number > UINT32_MAX) {
    return Fail(ErrorCode::kUsage, "--again takes the number of a medium, from 1");
  }
  return std::optional(static_cast<std::uint32_t>(*number));
}

Result<std::vector<manifests::RepairRequest>> RepairRequests(Context& context,
                                                             mirror::Mirror& mirror) {
  if (context.args().Has("repair-asked")) {
    if (!context.args().Has("for")) {
      return Fail(ErrorCode::kUsage, "--repair-asked takes --for SITE: whose return asked");
    }
    return exporter::AskedRepairs(mirror, context.args().TextOr("for", ""));
  }
  const std::string file = *context.args().Text("repair");
  TRY_ASSIGN(const std::string text, ReadTextFile(file, manifests::kMaxRepairRequestBytes));
  TRY_ASSIGN(auto request, manifests::DecodeRepairRequest(text), "'" + file + "'");
  return std::vector<manifests::RepairRequest>{std::move(request)};
}

std::unexpected<Error> WithRequestNext(Error error) {
  if (error.reason == "repair-nothing") {
    error.next = "at the site: gapferry repair-request BUNDLE --to DIR";
  } else if (error.reason == "site-unknown") {
    error.next = "gapferry site list";
  } else if (error.code != ErrorCode::kUsage) {
    error.next = "name the file that 'gapferry repair-request' wrote at the site";
  }
  return std::unexpected(std::move(error));
}

std::unexpected<Error> WithRepairNext(Error error, const std::string& stream) {
  if (error.reason == "repair-foreign" || error.reason == "repair-unknown") {
    error.next = "gapferry bundle list shows which bundles this mirror has written";
  } else if (error.reason == "repair-nothing") {
    error.next = "at the site: gapferry repair-request BUNDLE --to DIR";
  } else if (error.code != ErrorCode::kNoSpace && error.code != ErrorCode::kCancelled) {
    error.next = "send its content anew: gapferry export --to DIR --for " + stream;
  }
  return std::unexpected(std::move(error));
}

Result<ExitCode> ExportRepair(Context& context, mirror::Mirror& mirror) {
  auto asked = RepairRequests(context, mirror);
  if (!asked) return WithRequestNext(std::move(asked.error()));
  exporter::RepairOptions options;
  options.to = std::filesystem::absolute(context.args().List("to").front());
  options.actor = mirror::CurrentActor();
  options.progress = &context.progress();
  options.stop = context.stop();
  ExitCode code = ExitCode::kDone;
  for (const auto& request : *asked) {
    auto result = exporter::WriteRepairFolder(mirror, request, options);
    if (!result) return WithRepairNext(std::move(result.error()), request.stream);
    context.Print(fmt::format(
        "{}\n{} blocks and {} files for {}, {}; at the site: gapferry import BUNDLE --repair {}",
        result->path.string(), result->blocks, result->files, result->bundle,
        FormatByteCount(result->bytes), result->path.filename().string()));
    for (const std::string& name : result->missing_files) {
      context.Warn(name + " cannot be had any more as it was: take it from another copy");
      code = ExitCode::kPartlyDone;
    }
    context.Emit({{"repair", result->path.string()},
                  {"bundle", result->bundle},
                  {"blocks", result->blocks},
                  {"files", result->files},
                  {"bytes", result->bytes},
                  {"missing_files", result->missing_files}});
  }
  return code;
}

Result<ExitCode> Export(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  const auto to = context.args().Text("to");
  if (!to && !context.args().Has("dry-run")) {
    return Fail(ErrorCode::kUsage,
                "--to DIR says where the folder of the bundle or return is made");
  }
  if (!context.args().Has("dry-run")) {
    for (const std::string& one : context.args().List("to")) {
      TRY(CheckTargetFolder(std::filesystem::absolute(one)));
    }
  }
  if (context.args().Has("return")) return ExportReturn(context, mirror);
  if (to && (context.args().Has("repair") || context.args().Has("repair-asked"))) {
    return ExportRepair(context, mirror);
  }
  exporter::ExportRequest request;
  request.site = context.args().TextOr("for", "");
  if (request.site.empty()) {
    return Fail(ErrorCode::kUsage, "--for SITE says for whom the bundle is");
  }
  request.full = context.args().Has("full");
  request.since = context.args().Number("since");
  if (const auto since = context.args().Text("resend-since")) {
    TRY_ASSIGN(request.resend_since, ParseResendSince(*since, mirror.clock().Now()));
  }
  if (int{request.full} + int{request.since.has_value()} + int{request.resend_since.has_value()} >
      1) {
    return Fail(ErrorCode::kUsage, "--full, --since and --resend-since exclude each other");
  }
  if (context.args().Has("encrypt") || context.args().Has("no-encrypt")) {
    request.seal = context.args().Has("encrypt");
    if (*request.seal && context.args().Has("no-encrypt")) {
      return Fail(ErrorCode::kUsage, "--encrypt and --no-encrypt exclude each other");
    }
  }
  TRY_ASSIGN(request.parity, ParityOption(context));
  exporter::ExportOptions options;
  TRY_ASSIGN(request.volume_bytes, SizeOption(context, "volume-size"));
  TRY_ASSIGN(options.medium_bytes, SizeOption(context, "medium-size"));
  if (request.volume_bytes == 0 && options.medium_bytes != 0) {
    TRY_ASSIGN(const unsigned parity, ParityOf(mirror, request));
    request.volume_bytes = VolumesFor(options.medium_bytes, parity);
  }
  if (context.args().Has("dry-run")) {
    auto plan = exporter::PlanExport(mirror, request);
    if (!plan) return WithNext(std::move(plan.error()), request.site);
    TRY(PrintExportPlan(context, *plan, to ? std::filesystem::path(*to) : ""));
    return ExitCode::kDone;
  }
  for (const std::string& one : context.args().List("to")) {
    options.to.push_back(std::filesystem::absolute(one));
  }
  TRY_ASSIGN(options.again, MediumOption(context));
  options.next_medium = [&](const exporter::MediumWanted& wanted) {
    return AskForMedium(context,
                        fmt::format("The next medium is for volumes {}, {} in all.", wanted.volumes,
                                    FormatByteCount(wanted.bytes)),
                        options.to.back());
  };
  options.actor = mirror::CurrentActor();
  options.progress = &context.progress();
  options.stop = context.stop();
  auto result = exporter::RunExport(mirror, request, options);
  if (!result) return WithNext(std::move(result.error()), request.site);
  const std::string next = "gapferry export --for " + request.site + " --to DIR";
  PrintResult(context, *result, next);
  TRY(SayWhatWaits(context, mirror, request.site));
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  const auto target = static_cast<mirror::Generation>(result->manifest.target.generation);
  if (result->complete && result->resumed && target < state.name.generation) {
    context.Warn(
        fmt::format("this bundle was begun at generation {}; what changed here since, up "
                    "to generation {}, is not in it; next: {}",
                    target, state.name.generation, next));
  }
  return result->complete ? ExitCode::kDone : ExitCode::kPartlyDone;
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
                    {"gapferry export --for plant --to /media/a --to /media/b --volume-size fat32",
                     "over two sticks"},
                    {"gapferry export --return --to /media/stick", "behind the gap: the way back"}},
       .options = {{"--to", Takes::kList, "DIR",
                    "a folder that is there, for the new folder or file; several are filled one by "
                    "one"},
                   {"--for", Takes::kText, "SITE",
                    "stream, name or GUID of a site or of a group of sites"},
                   {"--full", Takes::kNothing, {}, "from nothing, whatever was acknowledged"},
                   {"--since", Takes::kNumber, "SEQ",
                    "from where this bundle led: you know that it has arrived"},
                   {"--resend-since", Takes::kText, "SEQ|DATE",
                    "as if bundles from this one on, or of this day and later, were lost"},
                   {"--volume-size", Takes::kText, "SIZE",
                    "largest volume: bytes, fat32, dvd or bd25 (default: one volume)"},
                   {"--parity", Takes::kNumber, "PERCENT",
                    "repair files beside the volumes; 5 mends one scratch over 4 % of a volume"},
                   {"--encrypt", Takes::kNothing, {}, "only the recipients can read it"},
                   {"--no-encrypt", Takes::kNothing, {}, "whatever export.encrypt says"},
                   {"--medium-size", Takes::kText, "SIZE",
                    "for burning: folders medium-1, medium-2, ... in DIR, none larger than this"},
                   {"--again", Takes::kNumber, "MEDIUM",
                    "this medium was lost or is bad: write what was on it again"},
                   {"--repair", Takes::kText, "FILE",
                    "answer a repair request: a folder with the blocks that it names"},
                   {"--repair-asked",
                    Takes::kNothing,
                    {},
                    "the same for what the last return of the site asked for"},
                   {"--dry-run", Takes::kNothing, {}, "show the plan, write nothing"},
                   {"--return", Takes::kNothing, {}, "write a return instead of a bundle"},
                   {"--review",
                    Takes::kNothing,
                    {},
                    "with --return: a reviewer signs it, with --key here or by 'gapferry sign'"},
                   {"--key", Takes::kText, "KEY", "with --return: the reviewer's private key"},
                   {"--include",
                    Takes::kList,
                    "FIELD",
                    "with --return, also: names, addresses, hardware of computers",
                    false,
                    {"names", "addresses", "hardware"}}},
       .asks = true,
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt,
                 ExitCode::kNoSpace},
       .run = Export}};
}

}  // namespace gapferry::cli
