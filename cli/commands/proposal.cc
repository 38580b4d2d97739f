// gapferry proposal list, show, apply, reject: decisions from above that wait for a word from here.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/proposals.h"

namespace gapferry::cli {
namespace {

using mirror::IntentKind;
using mirror::Proposal;
using nlohmann::json;

std::string GroupAbove(const Proposal& proposal) {
  if (proposal.group) return proposal.group->name;
  return proposal.above ? proposal.above->group.ToString() : "";
}

std::string ApprovalText(const mirror::IncomingDeployment& one) {
  std::string text(DeploymentActionName(one.action));
  if (one.deadline) text += ", deadline " + Minute(*one.deadline);
  return text;
}

/// "Install for 'Pilots', deadline ..., instead of ...".
std::string WhatText(const Proposal& proposal) {
  const bool removal = proposal.is_removal;
  switch (proposal.kind) {
    case IntentKind::kGroup:
      return fmt::format("{} group '{}'", removal ? "remove" : "add or change",
                         EscapeForDisplay(proposal.group->name, 60));
    case IntentKind::kDecline:
      return removal ? "lift the decline" : "decline";
    case IntentKind::kEula:
      return fmt::format("{} licence {}", removal ? "take back" : "accept",
                         proposal.guid.ToString());
    case IntentKind::kApproval:
      break;
  }
  std::string text = removal ? "unapprove" : ApprovalText(*proposal.above);
  text += fmt::format(" for '{}'", EscapeForDisplay(GroupAbove(proposal), 60));
  if (proposal.here && !removal) {
    text += fmt::format("; here: {}", DeploymentActionName(proposal.here->action));
    if (proposal.here->effective_deadline) {
      text += ", deadline " + Minute(*proposal.here->effective_deadline);
    }
  }
  return text;
}

std::optional<Guid> UpdateOf(const Proposal& proposal) {
  if (proposal.above) return proposal.above->update.guid;
  if (proposal.kind == IntentKind::kDecline) return proposal.guid;
  return std::nullopt;
}

Result<json> ToJson(mirror::Mirror& mirror, const Proposal& proposal) {
  json object = {{"id", proposal.id},
                 {"kind", mirror::IntentKindName(proposal.kind)},
                 {"guid", proposal.guid.ToString()},
                 {"removal", proposal.is_removal},
                 {"state", proposal.is_rejected ? "rejected" : "waiting"},
                 {"what", WhatText(proposal)},
                 {"update", nullptr},
                 {"title", nullptr},
                 {"group", nullptr},
                 {"local_group", nullptr},
                 {"conflict", proposal.here && !proposal.is_removal}};
  if (const auto update = UpdateOf(proposal)) {
    object["update"] = update->ToString();
    TRY_ASSIGN(object["title"], TitleOf(mirror, *update));
  }
  if (proposal.above) {
    object["update"] = proposal.above->update.ToString();
    object["action"] = DeploymentActionName(proposal.above->action);
    object["deadline"] = TimeToJson(proposal.above->deadline);
  }
  if (proposal.group || proposal.above) object["group"] = GroupAbove(proposal);
  if (proposal.local_group) object["local_group"] = proposal.local_group->ToString();
  if (proposal.here) {
    object["here"] = {{"action", DeploymentActionName(proposal.here->action)},
                      {"revision", proposal.here->update.revision},
                      {"deadline", TimeToJson(proposal.here->deadline)}};
  }
  return object;
}

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto proposals, mirror::ReadProposals(mirror));
  const bool rejected = context.args().Has("rejected");
  json list = json::array();
  std::uint64_t waiting = 0;
  for (const Proposal& proposal : proposals) {
    if (!proposal.is_rejected) ++waiting;
    if (proposal.is_rejected != rejected) continue;
    TRY_ASSIGN(json object, ToJson(mirror, proposal));
    std::string line = fmt::format("{}  {}", proposal.id, WhatText(proposal));
    if (object["title"].is_string()) {
      line += fmt::format("\n    {}", Cut(object["title"].get<std::string>(), 96));
    }
    context.Print(line);
    list.push_back(std::move(object));
  }
  if (list.empty()) {
    context.Print(rejected ? "no proposal was rejected" : "no decision from above waits here");
  }
  if (!rejected && proposals.size() > waiting) {
    context.Print(fmt::format("{} rejected; '--rejected' shows them", proposals.size() - waiting));
  }
  context.Emit({{"proposals", std::move(list)},
                {"waiting", waiting},
                {"rejected", proposals.size() - waiting}});
  return ExitCode::kDone;
}

/// Those of ID, or all that wait.
Result<std::vector<Proposal>> Chosen(Context& context, mirror::Mirror& mirror) {
  TRY_ASSIGN(auto proposals, mirror::ReadProposals(mirror));
  const auto ids = context.args().List("ID");
  const bool all = context.args().Has("all");
  if (ids.empty() == !all) {
    return FailNext(ErrorCode::kUsage, "usage", "name proposals, or give --all",
                    NextCommand(context, "proposal list"));
  }
  std::vector<Proposal> chosen;
  if (all) {
    std::ranges::copy_if(proposals, std::back_inserter(chosen),
                         [](const Proposal& one) { return !one.is_rejected; });
    return chosen;
  }
  for (const std::string& id : ids) {
    const auto found = std::ranges::find(proposals, id, &Proposal::id);
    if (found == proposals.end()) {
      return FailNext(ErrorCode::kNotFound, "no-proposal",
                      fmt::format("no proposal '{}' waits here", EscapeForDisplay(id, 60)),
                      NextCommand(context, "proposal list"));
    }
    if (std::ranges::find(chosen, id, &Proposal::id) == chosen.end()) chosen.push_back(*found);
  }
  return chosen;
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto proposals, mirror::ReadProposals(mirror));
  const std::string id = *context.args().Text("ID");
  const auto found = std::ranges::find(proposals, id, &Proposal::id);
  if (found == proposals.end()) {
    return FailNext(ErrorCode::kNotFound, "no-proposal",
                    fmt::format("no proposal '{}' waits here", EscapeForDisplay(id, 60)),
                    NextCommand(context, "proposal list"));
  }
  TRY_ASSIGN(json object, ToJson(mirror, *found));
  std::vector<std::vector<std::string>> table = {
      {"proposal", found->id},
      {"state", found->is_rejected ? "rejected" : "waits"},
      {"what", WhatText(*found)}};
  if (object["title"].is_string()) {
    table.push_back({"update", Cut(object["title"].get<std::string>(), 86)});
    table.push_back({"", object["update"].get<std::string>()});
  }
  if (found->above) {
    table.push_back(
        {"decided", fmt::format("by {}, {}", EscapeForDisplay(found->above->admin_name, 40),
                                Minute(found->above->last_change))});
  }
  if (found->above && !mirror.config().replica) {
    TRY_ASSIGN(const auto groups, ReadGroupNames(mirror));
    table.push_back({"goes to", found->local_group
                                    ? EscapeForDisplay(GroupName(groups, *found->local_group))
                                    : "no group of this name here: --map or --create-groups"});
  }
  context.Print(FormatTable(table));
  context.Emit(object);
  return ExitCode::kDone;
}

Result<std::map<std::string, Guid>> ReadMap(Context& context, mirror::Mirror& mirror) {
  std::map<std::string, Guid> map;
  for (const std::string& entry : context.args().List("map")) {
    const auto sign = entry.find('=');
    if (sign == std::string::npos || sign == 0 || sign + 1 == entry.size()) {
      return FailNext(ErrorCode::kUsage, "usage",
                      fmt::format("'{}' is not ABOVE=HERE", EscapeForDisplay(entry, 80)),
                      NextCommand(context, "proposal apply --all --map 'ABOVE=HERE'"));
    }
    TRY_ASSIGN(const auto group, FindGroup(context, mirror, entry.substr(sign + 1)));
    map[entry.substr(0, sign)] = group.id;
  }
  return map;
}

std::string NextOf(const Context& context, const mirror::ApplyOutcome::Failure& failure) {
  const std::string base = "proposal apply " + failure.id;
  if (failure.error.reason == "no-local-group") {
    return NextCommand(context, base + " --create-groups") + ", or --map 'ABOVE=HERE'";
  }
  if (failure.error.reason == "eula-not-accepted") {
    return NextCommand(context, base + " --accept-eula");
  }
  if (failure.error.reason == "clock-behind") return "set the clock of this machine";
  return NextCommand(context, "proposal reject " + failure.id);
}

Result<ExitCode> RunApply(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto chosen, Chosen(context, mirror));
  mirror::ApplyOptions options;
  options.create_groups = context.args().Has("create-groups");
  options.accept_eulas = context.args().Has("accept-eula");
  options.actor = mirror::CurrentActor();
  if (!mirror.config().replica) {
    TRY_ASSIGN(options.groups, ReadMap(context, mirror));
  } else if (context.args().Has("map") || options.create_groups) {
    return FailNext(ErrorCode::kUsage, "replica",
                    "this mirror is a replica: its groups are those of the sender",
                    NextCommand(context, "proposal apply --all"));
  }
  TRY_ASSIGN(const auto outcome, mirror::ApplyProposals(mirror, chosen, options));
  json failures = json::array();
  for (const auto& failure : outcome.failures) {
    const std::string next = NextOf(context, failure);
    context.Warn(fmt::format("{}: {}; {}", failure.id, failure.error.message, next));
    failures.push_back({{"id", failure.id},
                        {"reason", failure.error.reason},
                        {"message", failure.error.message},
                        {"next", next}});
  }
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  TRY_ASSIGN(const auto waiting, mirror::CountProposals(mirror));
  context.Print(fmt::format("{} applied, {} not; {} on", Plural(outcome.applied, "proposal"),
                            outcome.failures.size(), Plural(waiting, "waits", "wait")));
  context.Emit({{"applied", outcome.applied},
                {"failures", failures},
                {"waiting", waiting},
                {"generation", state.name.generation}});
  if (outcome.failures.empty()) return ExitCode::kDone;
  if (outcome.applied > 0) return ExitCode::kPartlyDone;
  const auto& first = outcome.failures.front();
  Error error = first.error;
  error.message = first.id + ": " + error.message;
  return WithNext(std::move(error), NextOf(context, first));
}

Result<ExitCode> RunReject(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto chosen, Chosen(context, mirror));
  TRY(mirror::RejectProposals(mirror, chosen, mirror::CurrentActor()));
  TRY_ASSIGN(const auto waiting, mirror::CountProposals(mirror));
  context.Print(fmt::format("{} rejected until the sender changes them; {} on",
                            Plural(chosen.size(), "proposal"), Plural(waiting, "waits", "wait")));
  context.Emit({{"rejected", chosen.size()}, {"waiting", waiting}});
  return ExitCode::kDone;
}

const Option kIds{"ID", Takes::kList, {}, "of 'gapferry proposal list'"};
const Option kAll{"--all", Takes::kNothing, {}, "all that wait"};

}  // namespace

std::vector<Command> ProposalCommands() {
  return {
      {.path = {"proposal", "list"},
       .summary = "decisions from above that wait here",
       .description = "On a replica what 'gapferry import --hold' kept back; where this mirror "
                      "decides by itself, all that\nits sender has decided otherwise.",
       .examples = {{"gapferry proposal list"}, {"gapferry proposal list --rejected"}},
       .options = {{"--rejected", Takes::kNothing, {}, "those that were rejected here"}},
       .run = RunList},
      {.path = {"proposal", "show"},
       .summary = "one proposal: what it changes, who decided it",
       .examples = {{"gapferry proposal show approval-1b2c3d4e5f60"}},
       .options = {{"ID", Takes::kText, {}, "of 'gapferry proposal list'", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
      {.path = {"proposal", "apply"},
       .summary = "let proposals take effect",
       .description =
           "Each by itself: what cannot be applied is told and waits on. Approvals for groups that "
           "are not here\ngo to the one of the same name, to another (--map) or to a new one. "
           "Deadlines that would be past\nare moved (import.deadline_floor).",
       .examples = {{"gapferry proposal apply approval-1b2c3d4e5f60"},
                    {"gapferry proposal apply --all --map 'Pilots=Test room' --create-groups"}},
       .options = {kIds,
                   kAll,
                   {"--map", Takes::kList, "ABOVE=HERE",
                    "approvals for group ABOVE go to HERE; may be repeated"},
                   {"--create-groups", Takes::kNothing, {}, "make groups that are not here"},
                   {"--accept-eula",
                    Takes::kNothing,
                    {},
                    "accept the licences of the updates for all computers"}},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound},
       .run = RunApply},
      {.path = {"proposal", "reject"},
       .summary = "leave proposals, until the sender changes them",
       .examples = {{"gapferry proposal reject approval-1b2c3d4e5f60"}},
       .options = {kIds, kAll},
       .exits = {ExitCode::kNotFound},
       .run = RunReject},
  };
}

}  // namespace gapferry::cli
