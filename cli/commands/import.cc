// gapferry import: bundles behind the gap, returns on the connected side.
#include "importer/import.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/bundle_paths.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/damage_view.h"
#include "cli/media_support.h"
#include "cli/plan_view.h"
#include "cli/return_commands.h"
#include "cli/trust_next.h"
#include "importer/import_return.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

std::unexpected<Error> WithNext(Error error, const std::string& path) {
  if (error.reason == "no-trust" || error.reason == "signature-unknown-key") {
    error.next = "if this sender is to be trusted: gapferry trust add CARD";
  } else if (error.reason == "scanner-rejected") {
    error.next =
        "look at the file on the medium; a false alarm is for the scanner's settings, then: "
        "gapferry import " +
        path + "; 'import.scanner.on_reject: withhold' in gapferry.yaml keeps single files out";
  } else if (error.reason == "scanner-unusable") {
    error.next = "correct import.scanner.command in gapferry.yaml, then: gapferry import " + path;
  } else if (error.reason == "medium-not-allowed") {
    error.next = "take a medium of the list, or add this one to media.allowed in gapferry.yaml";
  } else if (error.reason == "base-missing") {
    error.next = "import the bundles in between, or ask the sender for: gapferry export --full";
  } else if (error.reason == "history-changed") {
    error.next = "when the sender confirms it, with a full bundle: gapferry import " + path +
                 " --new-history";
  } else if (error.reason == "manifest-elsewhere") {
    error.next = "first: gapferry import PATH-OF-THE-LAST-MEDIUM; then: gapferry import " + path;
  } else if (error.reason == "no-bundle-due") {
    error.next = "ask for the bundle that comes after the last one here: 'gapferry status'";
  } else if (error.reason == "no-bundle") {
    error.next = "name the folder gapferry-STREAM-NUMBER, or the medium it lies on";
  } else if (error.reason == "medium-too-full") {
    error.next =
        "name the bundle's folder itself: gapferry import " + path + "/gapferry-STREAM-NUMBER";
  } else if (error.reason == "volumes-missing") {
    error.next = "name the other media, too: gapferry import " + path + " PATH2 --dry-run";
  } else if (error.reason == "repair-foreign" || error.reason == "repair-malformed") {
    error.next = "take the repair folder that was made for this bundle";
  } else if (error.reason == "medium-unreadable") {
    error.next = "put the medium in again and repeat the command: it goes on where it stopped";
  } else if (error.code == ErrorCode::kNoSpace) {
    error.next = "make room and repeat the command: it goes on where it stopped";
  } else if (manifests::IsDamage(error)) {
    error.next =
        "nothing was changed here; take another copy of the medium, or ask the sender for what is "
        "damaged: gapferry repair-request " +
        path + " --to DIR (the next return names the blocks, too)";
  } else if (error.code == ErrorCode::kCorrupt && NextOfTrust(error.reason).empty()) {
    error.next = "take another copy of the medium; nothing was changed here";
  }
  return std::unexpected(std::move(error));
}

std::string VolumeList(const std::set<std::uint32_t>& volumes) {
  std::string text;
  for (auto at = volumes.begin(); at != volumes.end();) {
    const std::uint32_t first = *at;
    std::uint32_t last = first;
    while (++at != volumes.end() && *at == last + 1) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(first);
    if (last != first) text += "-" + std::to_string(last);
  }
  return text;
}

void TellOthers(Context& context, const std::vector<importer::OtherBundle>& others) {
  for (const auto& other : others) {
    context.Say(fmt::format("not looked at: '{}': {}", EscapeForDisplay(other.folder.string(), 400),
                            EscapeForDisplay(other.why, 400)));
  }
}

Result<ExitCode> DryRun(Context& context, mirror::Mirror& mirror, const std::string& path,
                        const importer::ImportOptions& options) {
  auto dry = importer::PlanImport(mirror, path, options);
  if (!dry) return WithNext(std::move(dry.error()), path);
  TellOthers(context, dry->others);
  const bool needs_decision = dry->plan.removals.needs_consent;
  if (dry->already_imported) {
    context.Print(dry->manifest.DirectoryName() + " was imported already");
  } else {
    context.Print(PlanText(*dry, needs_decision));
  }
  json object = PlanToJson(*dry);
  object["needs_decision"] = needs_decision;
  object["absent_volumes"] = dry->absent_volumes;
  context.Emit(object);
  return ExitCode::kDone;
}

/// What is here is staged; the rest of the media are still to come.
ExitCode TellPart(Context& context, const importer::ImportResult& result) {
  const std::string name = result.manifest.DirectoryName();
  const std::string missing = VolumeList(result.missing_volumes);
  const std::string next = "gapferry import PATH-OF-THE-NEXT-MEDIUM";
  context.Print(
      fmt::format("{}: volumes {} of {} are on media that are still to come; what was here is "
                  "checked and kept, "
                  "nothing of it can be seen yet\nnext: {}",
                  name, missing, result.manifest.volumes.size(), next));
  context.Emit({{"bundle", name},
                {"complete", false},
                {"already_imported", false},
                {"missing_volumes", result.missing_volumes},
                {"volumes", result.manifest.volumes.size()},
                {"next", next}});
  return ExitCode::kPartlyDone;
}

/// One medium after the other, as far as there is somebody to ask.
Result<importer::ImportResult> ImportMedia(Context& context, mirror::Mirror& mirror,
                                           std::filesystem::path path,
                                           importer::ImportOptions options) {
  for (;;) {
    auto result = importer::RunImport(mirror, path, options);
    if (!result) return WithNext(std::move(result.error()), path.string());
    TellOthers(context, result->others);
    for (const auto& line : MendedLines(result->mended.volumes, result->mended.files)) {
      context.Warn(line);
    }
    if (result->missing_volumes.empty()) return result;
    TRY_ASSIGN(const auto next, AskForMedium(context,
                                             fmt::format("{}: volumes {} are still to come.",
                                                         result->manifest.DirectoryName(),
                                                         VolumeList(result->missing_volumes)),
                                             path));
    if (!next) return result;
    path = *next;
    options.more_media.clear();
  }
}

Result<ExitCode> ImportBundle(Context& context, mirror::Mirror& mirror, const std::string& path,
                              const importer::ImportOptions& options) {
  TRY_ASSIGN(const auto imported, ImportMedia(context, mirror, path, options));
  const auto* result = &imported;
  if (!result->missing_volumes.empty()) return TellPart(context, *result);
  const std::string name = result->manifest.DirectoryName();
  if (result->already_imported) {
    context.Print(name + " was imported already; nothing changed");
  } else {
    std::string text = fmt::format(
        "{}: imported, this mirror is at generation {}\n{} documents, {} "
        "files ({}), {} changes of approvals and groups",
        name, result->generation, result->documents, result->content_files,
        FormatByteCount(result->content_bytes), result->intent.changed);
    for (const auto& moved : result->intent.moved_deadlines) {
      text += fmt::format("\ndeadline of {} moved from {} to {}", moved.update.ToString(),
                          moved.given.ToXml(), EffectiveText(moved.effective));
    }
    if (result->proposals > 0) {
      text +=
          fmt::format("\n{} decisions from above wait: gapferry proposal list", result->proposals);
    }
    context.Print(text);
  }
  for (const auto& one : result->withheld) {
    context.Warn(fmt::format(
        "{} is withheld ({}{}): what needs it is not offered; gapferry "
        "quarantine list",
        one.name, one.why, one.output.empty() ? "" : ": " + EscapeForDisplay(one.output, 160)));
  }
  if (result->missing_files > 0) {
    context.Warn(
        fmt::format("{} files are missing: their updates wait, and the next return asks for "
                    "them",
                    result->missing_files));
  }
  for (const std::string& warning : result->warnings) {
    context.Warn(fmt::format("{} is imported, but: {}; the same command tries it again", name,
                             EscapeForDisplay(warning, 400)));
  }
  context.Emit({{"bundle", name},
                {"complete", true},
                {"already_imported", result->already_imported},
                {"warnings", result->warnings},
                {"generation", result->generation},
                {"documents", result->documents},
                {"content_files", result->content_files},
                {"content_bytes", result->content_bytes},
                {"withheld_files", result->withheld.size()},
                {"missing_files", result->missing_files},
                {"withdrawn", result->withdrawn},
                {"intent_changes", result->intent.changed},
                {"moved_deadlines", result->intent.moved_deadlines.size()},
                {"proposals", result->proposals},
                {"damaged_volumes", DamageToJson(result->mended.volumes)},
                {"mended_files", result->mended.files}});
  return ExitCode::kDone;
}

Result<ExitCode> Import(Context& context) {
  TRY_ASSIGN(const auto mirror_path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(mirror_path));
  const std::string path = *context.args().Text("PATH");
  if (importer::IsReturnFile(path)) {
    TRY(CheckReturnPath(path));
    return ImportReturn(context, mirror, path);
  }
  if (!mirror.config().upstream.gap && std::filesystem::exists(path)) {
    return std::unexpected(NoBundlesHere(path));
  }
  importer::ImportOptions options;
  const auto media = context.args().List("PATH");
  options.more_media.assign(media.begin() + 1, media.end());
  for (const std::string& folder : context.args().List("repair")) options.repair.push_back(folder);
  options.accept_removals = context.args().Number("accept-removals");
  options.new_history = context.args().Has("new-history");
  options.hold = context.args().Has("hold");
  options.actor = mirror::CurrentActor();
  options.progress = &context.progress();
  options.stop = context.stop();
  if (context.args().Has("dry-run")) return DryRun(context, mirror, path, options);
  return ImportBundle(context, mirror, path, options);
}

}  // namespace

std::vector<Command> ImportCommands() {
  return {
      {.path = {"import"},
       .summary = "import a bundle (a folder) or a return (a file)",
       .description =
           "A bundle is verified completely, copied once, and becomes visible in one "
           "moment; refused, "
           "it leaves nothing behind but a line in the audit trail. The same command "
           "goes on after an "
           "interruption, and changes nothing when the bundle was imported before. A bundle "
           "on several media is imported medium by medium, the one with the manifest "
           "first and the others in any order.",
       .examples = {{"gapferry import /media/stick/gapferry-plant-000007 --dry-run",
                     "what would change, what is needed, how long it takes"},
                    {"gapferry import /media/stick/gapferry-plant-000007", "imports it"},
                    {"gapferry import /media/stick", "finds the bundle whose turn it is"},
                    {"gapferry import /media/stick/return-plant-000003.jsonl",
                     "connected side: what a site says"}},
       .options = {{"PATH",
                    Takes::kList,
                    {},
                    "a bundle's folder, a medium it lies on, several of them, or a return-*.jsonl",
                    true},
                   {"--dry-run", Takes::kNothing, {}, "show the plan, change nothing"},
                   {"--repair", Takes::kList, "DIR", "a repair folder that came for this bundle"},
                   {"--accept-removals", Takes::kNumber, "N",
                    "let this many updates go, the number that a run before showed"},
                   {"--hold",
                    Takes::kNothing,
                    {},
                    "documents and content come in, decisions wait: 'gapferry proposal'"},
                   {"--new-history",
                    Takes::kNothing,
                    {},
                    "accept a full bundle of a sender that was restored or made anew"}},
       .asks = true,
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt,
                 ExitCode::kUntrusted, ExitCode::kNoSpace},
       .run = Import}};
}

}  // namespace gapferry::cli
