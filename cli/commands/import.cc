// gapferry import: bundles behind the gap, returns on the connected side.
#include "importer/import.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/media_support.h"
#include "cli/return_commands.h"
#include "importer/import_return.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using importer::ImportPlan;
using nlohmann::json;

std::unexpected<Error> WithNext(Error error, const std::string& path) {
  if (error.reason == "no-trust" || error.reason == "signature-unknown-key") {
    error.next = "if this sender is to be trusted: gapferry trust add CARD";
  } else if (error.reason == "base-missing") {
    error.next = "import the bundles in between, or ask the sender for: gapferry export --full";
  } else if (error.reason == "history-changed") {
    error.next = "when the sender confirms it, with a full bundle: gapferry import " + path +
                 " --new-history";
  } else if (error.reason == "manifest-elsewhere") {
    error.next = "first: gapferry import PATH-OF-THE-LAST-MEDIUM; then: gapferry import " + path;
  } else if (error.reason == "no-bundle" || error.reason == "bundle-unfinished") {
    error.next = "name the folder gapferry-STREAM-NUMBER, or the medium it lies on";
  } else if (error.reason == "volumes-missing") {
    error.next = "name the other media, too: gapferry import " + path + " PATH2 --dry-run";
  } else if (error.reason == "medium-unreadable") {
    error.next = "put the medium in again and repeat the command: it goes on where it stopped";
  } else if (error.code == ErrorCode::kNoSpace) {
    error.next = "make room and repeat the command: it goes on where it stopped";
  } else if (error.code == ErrorCode::kCorrupt) {
    error.next = "take another copy of the medium; nothing was changed here";
  } else if (error.reason == "no-gap") {
    error.next = "set upstream.gap: true in gapferry.yaml";
  }
  return std::unexpected(std::move(error));
}

json ItemsToJson(const std::vector<ImportPlan::Item>& items) {
  json list = json::array();
  for (const auto& item : items) {
    list.push_back({{"update", item.update.ToString()}, {"title", item.title}});
  }
  return list;
}

json PlanToJson(const importer::DryRun& dry) {
  const ImportPlan& plan = dry.plan;
  json object = {{"bundle", dry.manifest.DirectoryName()},
                 {"already_imported", dry.already_imported},
                 {"scope", manifests::ScopeName(dry.manifest.scope)},
                 {"base", dry.manifest.base.generation},
                 {"target", dry.manifest.target.generation},
                 {"documents", plan.documents},
                 {"updates_added", plan.updates_added},
                 {"updates_revised", plan.updates_revised},
                 {"updates_expired", plan.updates_expired},
                 {"withdrawn", plan.withdrawn},
                 {"listed_again", plan.listed_again},
                 {"declined", plan.declined},
                 {"undeclined", plan.undeclined},
                 {"groups_added", plan.groups_added},
                 {"groups_removed", plan.groups_removed},
                 {"content_files", plan.content_files},
                 {"content_bytes", plan.content_bytes},
                 {"held_files", plan.held_files},
                 {"bytes_needed", plan.bytes_needed},
                 {"bytes_free", plan.bytes_free},
                 {"seconds", plan.seconds},
                 {"new_handlers", plan.new_handlers},
                 {"new_publishers", plan.new_publishers},
                 {"new_commands", plan.new_commands},
                 {"locally_published", ItemsToJson(plan.locally_published)},
                 {"files_without_sha256", plan.files_without_sha256},
                 {"removals", plan.removals.removals},
                 {"live_updates", plan.removals.live},
                 {"added", ItemsToJson(plan.added)},
                 {"revised", ItemsToJson(plan.revised)},
                 {"expired", ItemsToJson(plan.expired)},
                 {"approvals", json::array()},
                 {"moved_deadlines", json::array()}};
  for (const auto& group : plan.approvals) {
    object["approvals"].push_back({{"group", group.group},
                                   {"added", group.added},
                                   {"changed", group.changed},
                                   {"ended", group.ended}});
  }
  for (const auto& moved : plan.moved_deadlines) {
    object["moved_deadlines"].push_back(
        {{"update", moved.update.ToString()},
         {"group", moved.group.ToString()},
         {"given", moved.given.ToXml()},
         {"effective", moved.effective ? moved.effective->ToXml() : ""}});
  }
  return object;
}

std::string EffectiveText(const std::optional<UtcTime>& effective) {
  return effective ? effective->ToXml() : "when this machine's clock can be believed";
}

void AppendItems(std::string& text, const char* what, const std::vector<ImportPlan::Item>& items) {
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < std::min(items.size(), kShown); ++i) {
    text += fmt::format("    {} {} ({})\n", what, EscapeForDisplay(items[i].title, 100),
                        items[i].update.ToString());
  }
  if (items.size() > kShown) text += fmt::format("    {} more\n", items.size() - kShown);
}

void AppendTexts(std::string& text, const char* what, const std::vector<std::string>& items) {
  constexpr std::size_t kShown = 8;
  for (std::size_t i = 0; i < std::min(items.size(), kShown); ++i) {
    text += fmt::format("  NEW {}  {}\n", what, EscapeForDisplay(items[i], 160));
  }
  if (items.size() > kShown)
    text += fmt::format("  NEW {}  and {} more\n", what, items.size() - kShown);
}

std::string PlanText(const importer::DryRun& dry, bool needs_decision) {
  const ImportPlan& plan = dry.plan;
  std::string text = fmt::format(
      "{}: {} bundle of {}, generation {} to {}\n"
      "  updates    {} added, {} revised, {} expired, {} withdrawn, {} listed again ({} "
      "documents)\n",
      dry.manifest.DirectoryName(), manifests::ScopeName(dry.manifest.scope),
      EscapeForDisplay(dry.manifest.sender.name, 64), dry.manifest.base.generation,
      dry.manifest.target.generation, plan.updates_added, plan.updates_revised,
      plan.updates_expired, plan.withdrawn, plan.listed_again, plan.documents);
  AppendItems(text, "+", plan.added);
  AppendItems(text, "~", plan.revised);
  AppendItems(text, "-", plan.expired);
  text += fmt::format("  declined   {}, no longer declined {}\n", plan.declined, plan.undeclined);
  for (const auto& group : plan.approvals) {
    text += fmt::format("  approvals  {}: {} added, {} changed, {} ended\n",
                        EscapeForDisplay(group.group, 64), group.added, group.changed, group.ended);
  }
  for (const auto& moved : plan.moved_deadlines) {
    text += fmt::format("  deadline   {} moves from {} to {}\n", moved.update.ToString(),
                        moved.given.ToXml(), EffectiveText(moved.effective));
  }
  text += fmt::format("  files      {} to copy, {}; {} are held already\n", plan.content_files,
                      FormatByteCount(plan.content_bytes), plan.held_files);
  text += fmt::format("  space      {} needed, {} free\n  time       about {}\n",
                      FormatByteCount(plan.bytes_needed), FormatByteCount(plan.bytes_free),
                      plan.seconds < 120 ? fmt::format("{} s", plan.seconds)
                                         : fmt::format("{} min", plan.seconds / 60));
  AppendTexts(text, "handler  ", plan.new_handlers);
  AppendTexts(text, "publisher", plan.new_publishers);
  AppendTexts(text, "command  ", plan.new_commands);
  if (!plan.locally_published.empty()) {
    text += "  locally published updates:\n";
    AppendItems(text, "+", plan.locally_published);
  }
  if (plan.files_without_sha256 > 0) {
    text += fmt::format("  {} files are declared without SHA-256\n", plan.files_without_sha256);
  }
  if (needs_decision) {
    text +=
        fmt::format("  {} of {} live updates would go: the import asks for --accept-removals {}\n",
                    plan.removals.removals, plan.removals.live, plan.removals.removals);
  }
  return text;
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
    context.Print(text);
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
                {"missing_files", result->missing_files},
                {"withdrawn", result->withdrawn},
                {"intent_changes", result->intent.changed},
                {"moved_deadlines", result->intent.moved_deadlines.size()}});
  return ExitCode::kDone;
}

Result<ExitCode> Import(Context& context) {
  TRY_ASSIGN(const auto mirror_path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(mirror_path));
  const std::string path = *context.args().Text("PATH");
  if (importer::IsReturnFile(path)) return ImportReturn(context, mirror, path);
  importer::ImportOptions options;
  const auto media = context.args().List("PATH");
  options.more_media.assign(media.begin() + 1, media.end());
  options.accept_removals = context.args().Number("accept-removals");
  options.new_history = context.args().Has("new-history");
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
                   {"--accept-removals", Takes::kNumber, "N",
                    "let this many updates go, the number that a run before showed"},
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
