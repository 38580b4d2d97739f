// gapferry intent list, undo: what was decided here, and taking it back.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/intent_history.h"

namespace gapferry::cli {
namespace {

using mirror::IntentKind;
using nlohmann::json;

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  constexpr std::uint64_t kDefault = 20;
  constexpr std::uint64_t kMost = 5000;
  const auto limit =
      static_cast<int>(std::min(context.args().Number("limit").value_or(kDefault), kMost));
  TRY_ASSIGN(const auto decisions, mirror::ReadLocalDecisions(mirror, limit));
  std::vector<std::vector<std::string>> table = {
      {"GENERATION", "WHEN", "WHAT", "APPROVALS", "DECLINES", "GROUPS", "LICENCES"}};
  json list = json::array();
  for (const auto& one : decisions) {
    table.push_back({std::to_string(one.generation), Minute(one.at), one.kind,
                     std::to_string(one.approvals), std::to_string(one.declines),
                     std::to_string(one.groups), std::to_string(one.eulas)});
    list.push_back({{"generation", one.generation},
                    {"at", TimeToJson(one.at)},
                    {"kind", one.kind},
                    {"approvals", one.approvals},
                    {"declines", one.declines},
                    {"groups", one.groups},
                    {"licences", one.eulas}});
  }
  context.Print(decisions.empty() ? "nothing was decided here yet" : FormatTable(table));
  context.Emit({{"decisions", std::move(list)}});
  return ExitCode::kDone;
}

std::unexpected<Error> Refused(Context& context, Error error) {
  if (error.reason == "replica") {
    return WithNext(std::move(error),
                    "ask the administrator above; what must not be offered here: " +
                        NextCommand(context, "update block ID"));
  }
  return WithNext(std::move(error), NextCommand(context, "intent list"));
}

Result<std::string> StepText(mirror::Mirror& mirror, const mirror::UndoOutcome::Step& step,
                             const GroupNames& groups) {
  const std::string_view how = step.restored ? "restored" : "gone";
  if (!step.update) {
    const std::string name =
        step.kind == IntentKind::kGroup ? GroupName(groups, step.guid) : step.guid.ToString();
    return fmt::format("{} {}: {}", mirror::IntentKindName(step.kind), EscapeForDisplay(name), how);
  }
  TRY_ASSIGN(const std::string title, TitleOf(mirror, *step.update));
  const std::string group =
      step.group ? fmt::format(" for '{}'", EscapeForDisplay(GroupName(groups, *step.group))) : "";
  return fmt::format("{}{} {}: {}", mirror::IntentKindName(step.kind), group, how, title);
}

json StepToJson(const mirror::UndoOutcome::Step& step) {
  json object = {{"kind", mirror::IntentKindName(step.kind)},
                 {"guid", step.guid.ToString()},
                 {"update", nullptr},
                 {"group", nullptr},
                 {"restored", step.restored}};
  if (step.update) object["update"] = step.update->ToString();
  if (step.group) object["group"] = step.group->ToString();
  return object;
}

Result<ExitCode> RunUndo(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string text = *context.args().Text("GENERATION");
  const auto generation = ParseInt<std::int64_t>(text);
  if (!generation || *generation < 1) {
    return FailNext(
        ErrorCode::kUsage, "usage",
        fmt::format("'{}' is no generation: a whole number from 1", EscapeForDisplay(text, 40)),
        NextCommand(context, "intent list"));
  }
  const bool dry_run = context.args().Has("dry-run");
  auto outcome = mirror::UndoGeneration(mirror, *generation, mirror::CurrentActor(), dry_run);
  if (!outcome) return Refused(context, std::move(outcome).error());
  TRY_ASSIGN(const auto groups, ReadGroupNames(mirror));
  json steps = json::array();
  for (const auto& step : outcome->steps) {
    TRY_ASSIGN(const std::string line, StepText(mirror, step, groups));
    context.Print(line);
    steps.push_back(StepToJson(step));
  }
  context.Print(
      dry_run ? fmt::format("generation {} can be taken back; nothing was changed", *generation)
              : fmt::format("generation {} is taken back by generation {}", *generation,
                            outcome->generation));
  context.Emit({{"undone", *generation},
                {"generation", outcome->generation},
                {"dry_run", dry_run},
                {"changes", std::move(steps)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> IntentCommands() {
  return {
      {.path = {"intent", "list"},
       .summary = "what was decided here, newest first",
       .examples = {{"gapferry intent list"}, {"gapferry intent list --limit 100"}},
       .options = {{"--limit", Takes::kNumber, "N", "at most so many (default 20)"}},
       .run = RunList},
      {.path = {"intent", "undo"},
       .summary = "take back what one generation decided here",
       .description =
           "A new generation restores what approvals, declines, groups and licences were before. "
           "Refused where\nsomething later has changed the same again; that is listed and goes "
           "first. Computers are not put\nback into a group that returns.",
       .examples = {{"gapferry intent list", "finds the generation"},
                    {"gapferry intent undo 217 --dry-run"},
                    {"gapferry intent undo 217"}},
       .options = {{"GENERATION", Takes::kText, {}, "the number of 'gapferry intent list'", true},
                   {"--dry-run", Takes::kNothing, {}, "show what would be restored"}},
       .exits = {ExitCode::kNotFound},
       .run = RunUndo},
  };
}

}  // namespace gapferry::cli
