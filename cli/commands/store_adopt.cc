// gapferry store adopt: takes over the content folder of a WSUS.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/content_adopt.h"
#include "mirror/content_store.h"
#include "mirror/running_job.h"

namespace gapferry::cli {
namespace {

using mirror::AdoptLeft;
using mirror::AdoptMode;
using mirror::AdoptOptions;
using mirror::AdoptReport;
using nlohmann::json;

constexpr std::size_t kShown = 20;

Result<AdoptOptions> OptionsOf(const Context& context) {
  AdoptOptions options;
  const bool move = context.args().Has("move");
  const bool link = context.args().Has("link");
  if (int{move} + int{link} + int{context.args().Has("copy")} > 1) {
    return Fail(ErrorCode::kUsage, "--copy, --move and --link exclude each other");
  }
  options.mode = move ? AdoptMode::kMove : link ? AdoptMode::kLink : AdoptMode::kCopy;
  options.all = context.args().Has("all");
  options.dry_run = context.args().Has("dry-run");
  return options;
}

json ToJson(const AdoptReport& report, bool dry_run) {
  json left = json::array();
  for (const auto& one : report.left) {
    left.push_back({{"file", EscapeForDisplay(one.path, 1000)},
                    {"reason", AdoptLeftName(one.why)},
                    {"why", one.what}});
  }
  return {{"dry_run", dry_run},
          {"complete", report.complete()},
          {"seen_files", report.seen_files},
          {"taken_files", report.taken_files},
          {"taken_bytes", report.taken_bytes},
          {"held_files", report.held_files},
          {"undeclared_files", report.undeclared_files},
          {"foreign_files", report.foreign_files},
          {"damaged_files", report.damaged_files},
          {"unreadable_files", report.unreadable_files},
          {"not_removed_files", report.not_removed_files},
          {"left", std::move(left)}};
}

/// One line per count that is not zero.
void PrintCounts(Context& context, const AdoptReport& report, bool dry_run) {
  context.Print(fmt::format("{} {}, {}", dry_run ? "would take" : "took",
                            Plural(report.taken_files, "file"),
                            FormatByteCount(report.taken_bytes)));
  const std::pair<std::uint64_t, std::string_view> counts[] = {
      {report.held_files, "already here"},
      {report.undeclared_files, "declared by no update here, left there"},
      {report.foreign_files, "no content files, left there"},
      {report.damaged_files, "damaged, left there"},
      {report.unreadable_files, "not readable, left there"},
      {report.not_removed_files, "taken, but not removed there"}};
  for (const auto& [count, text] : counts) {
    if (count > 0) context.Print(fmt::format("{}: {}", text, count));
  }
}

void PrintLeft(Context& context, const AdoptReport& report) {
  std::size_t shown = 0;
  for (const auto& one : report.left) {
    if (one.why == AdoptLeft::kUndeclared && !context.global().verbose) continue;
    if (shown++ == kShown && context.global().verbose == 0) {
      context.Print("  ... ('-v' or '--json' shows more)");
      break;
    }
    context.Print(
        fmt::format("  {}: {}", EscapeForDisplay(one.path), EscapeForDisplay(one.what, 300)));
  }
}

void Explain(Context& context, const AdoptReport& report, const AdoptOptions& options) {
  if (report.undeclared_files > 0 && !options.all) {
    context.Say(
        "files that no update declares have no SHA-256 to be compared with: 'gapferry sync "
        "--metadata-only' first brings more declarations; --all takes them by their SHA-1 alone");
  }
}

Result<void> Record(mirror::Mirror& mirror, const std::string& directory,
                    const AdoptReport& report) {
  const json detail = {{"files", report.taken_files}, {"bytes", report.taken_bytes}};
  TRY(mirror::AppendAuditAlone(
      mirror.db(), mirror.clock().Now(),
      {mirror::CurrentActor(), "store.adopt", EscapeForDisplay(directory), detail.dump()}));
  return {};
}

Result<AdoptReport> AdoptLocked(Context& context, mirror::Mirror& mirror,
                                const std::string& directory, const AdoptOptions& options) {
  TRY_ASSIGN(auto job, mirror::RunningJob::Start(mirror, "store-adopt", context.progress()));
  auto report = [&]() -> Result<AdoptReport> {
    TRY(mirror.content().Recover());
    return AdoptContent(mirror, directory, options, job.progress(), context.stop());
  }();
  if (!report) {
    job.Fail(report.error());
    return report;
  }
  if (report->taken_files > 0) TRY(Record(mirror, directory, *report));
  json detail = ToJson(*report, false);
  detail.erase("left");
  TRY(job.End(report->complete() ? mirror::JobResult::kDone : mirror::JobResult::kPartly,
              std::nullopt, detail.dump()));
  return report;
}

Error WithAdoptNext(const Context& context, const std::string& directory, Error error) {
  if (!error.next.empty()) return error;
  const std::string again = "store adopt " + ShellWord(directory);
  if (error.reason == "no-content-folder" || error.reason == "no-folder") {
    error.next = "name the WsusContent folder of a WSUS, or the folder it lies in";
  } else if (error.reason == "other-file-system" || error.reason == "cannot-link") {
    error.next = NextCommand(context, again + " --copy");
  } else if (error.code == ErrorCode::kNoSpace) {
    error.next = NextCommand(context, again + " --link") + " takes no space on the same disk";
  } else if (error.code == ErrorCode::kCancelled) {
    error.next = "type the same command again: it goes on where it stopped";
  }
  return error;
}

Result<ExitCode> RunAdopt(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const AdoptOptions options, OptionsOf(context));
  const std::string directory = *context.args().Text("DIR");
  auto report = options.dry_run
                    ? AdoptContent(mirror, directory, options, context.progress(), context.stop())
                    : AdoptLocked(context, mirror, directory, options);
  if (!report) {
    return std::unexpected(WithAdoptNext(context, directory, std::move(report).error()));
  }
  PrintCounts(context, *report, options.dry_run);
  PrintLeft(context, *report);
  Explain(context, *report, options);
  context.Emit(ToJson(*report, options.dry_run));
  return report->complete() ? ExitCode::kDone : ExitCode::kPartlyDone;
}

}  // namespace

std::vector<Command> StoreAdoptCommands() {
  return {
      {.path = {"store", "adopt"},
       .summary = "take over the content folder of a WSUS",
       .description =
           "Takes the files of an existing WsusContent folder (AB/<SHA-1>.<ext>) into the mirror, "
           "so that they are\nnot downloaded again. DIR is that folder or the one it lies in; it "
           "may be read-only.\nEvery file is read: its SHA-1 must be the one in its name, its size "
           "and SHA-256 those that an update\nin the catalogue declares. So sync the metadata "
           "first. Everything else is listed and left; symbolic\nlinks are not followed. Stop the "
           "WSUS first, so that nothing writes to its folder.\n\nFiles are copied, without using "
           "space where the file system can share blocks. --move takes them away\nthere, each one "
           "only after it is here. --link leaves them there too and uses no space: where blocks\n"
           "cannot be shared, both folders then hold the same file, and whoever writes to it there "
           "damages it here.\n\nInterrupted, the same command goes on where it stopped.",
       .examples = {{"gapferry store adopt /mnt/wsus/WsusContent --dry-run", "hashes and counts"},
                    {"gapferry store adopt /mnt/wsus/WsusContent"},
                    {"gapferry store adopt /srv/old/WsusContent --move"}},
       .options = {{"DIR", Takes::kText, {}, "the content folder, or the one it lies in", true},
                   {"--copy", Takes::kNothing, {}, "leave the files there (default)"},
                   {"--move", Takes::kNothing, {}, "take the files away there"},
                   {"--link", Takes::kNothing, {}, "share the files, on the same file system"},
                   {"--all",
                    Takes::kNothing,
                    {},
                    "also files that no update declares, by their SHA-1 alone"},
                   {"--dry-run", Takes::kNothing, {}, "hash and count, take nothing"}},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kNoSpace},
       .run = RunAdopt}};
}

}  // namespace gapferry::cli
