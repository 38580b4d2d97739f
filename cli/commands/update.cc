// gapferry update approve, decline, unapprove: what computers are to get.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/when.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using mirror::DeploymentAction;
using nlohmann::json;
using Rows = std::vector<mirror::RevisionRow>;

/// The words of this command line again, for errors that ask to repeat it with something changed.
std::string Words(const Context& context, std::string_view verb,
                  const std::vector<std::string>& options) {
  std::string line = fmt::format("update {}", verb);
  for (const std::string& id : context.args().List("ID")) line += ' ' + ShellWord(id);
  for (const std::string& option : options) {
    for (const std::string& value : context.args().List(option)) {
      line += fmt::format(" --{} {}", option, ShellWord(value));
    }
  }
  return line;
}

Result<std::string> TitleOf(mirror::Mirror& mirror, const mirror::RevisionRow& row) {
  TRY_ASSIGN(auto text, mirror.catalog().Text(row.id));
  return std::move(text.title);
}

json UpdateToJson(const mirror::RevisionRow& row, const std::string& title) {
  return {
      {"guid", row.update.guid.ToString()}, {"revision", row.update.revision}, {"title", title}};
}

std::vector<Guid> GuidsOf(const Rows& rows) {
  std::vector<Guid> guids;
  for (const auto& row : rows) {
    if (std::ranges::find(guids, row.update.guid) == guids.end()) guids.push_back(row.update.guid);
  }
  return guids;
}

// ---- approve -----------------------------------------------------------------------------------

struct Wish {
  Rows rows;
  std::vector<mirror::TargetGroup> groups;
  DeploymentAction action = DeploymentAction::kInstall;
  std::optional<UtcTime> deadline;
};

DeploymentAction ActionOf(std::string_view word) {
  if (word == "uninstall") return DeploymentAction::kUninstall;
  return word == "optional" ? DeploymentAction::kOptionalInstall : DeploymentAction::kInstall;
}

std::string ApproveWords(const Context& context) {
  return Words(context, "approve", {"group", "action", "deadline"});
}

Result<std::optional<UtcTime>> DeadlineOf(Context& context, const mirror::Mirror& mirror,
                                          DeploymentAction action) {
  const auto text = context.args().Text("deadline");
  if (!text) return std::optional<UtcTime>();
  const std::string without = NextCommand(context, Words(context, "approve", {"group", "action"}));
  const UtcTime now = mirror.clock().Now();
  auto when = ParseWhen(*text, now);
  if (!when) return WithNext(std::move(when).error(), without + " --deadline +7d");
  if (action == DeploymentAction::kOptionalInstall) {
    return FailNext(ErrorCode::kUsage, "usage",
                    "an optional update has no deadline: people install it when they like",
                    NextCommand(context, Words(context, "approve", {"group", "deadline"})));
  }
  if (*when < now) {
    context.Warn(
        fmt::format("the deadline {} is past: computers act at their next scan", when->ToXml()));
  }
  return std::optional<UtcTime>(*when);
}

Result<Wish> ReadWish(Context& context, mirror::Mirror& mirror) {
  Wish wish;
  wish.action = ActionOf(context.args().TextOr("action", "install"));
  TRY_ASSIGN(wish.deadline, DeadlineOf(context, mirror, wish.action));
  TRY_ASSIGN(wish.rows, FindUpdates(context, mirror, context.args().List("ID")));
  for (const std::string& name : context.args().List("group")) {
    TRY_ASSIGN(auto group, FindGroup(context, mirror, name));
    wish.groups.push_back(std::move(group));
  }
  return wish;
}

/// The first update that was refused for `reason`.
Result<const mirror::RevisionRow*> Culprit(mirror::Mirror& mirror, const Rows& rows,
                                           std::string_view reason) {
  for (const auto& row : rows) {
    if (reason == "declined") {
      TRY_ASSIGN(const bool declined, mirror.intent().IsDeclined(row.update.guid));
      if (declined) return &row;
    } else if ((reason == "not-deployable" && !row.is_explicitly_deployable) ||
               (reason == "no-uninstall" && !row.can_uninstall) ||
               (reason == "digest-conflict" && row.has_digest_conflict) ||
               (reason == "expired" && row.is_expired)) {
      return &row;
    }
  }
  return &rows.front();
}

std::unexpected<Error> Refused(Context& context, mirror::Mirror& mirror, const Rows& rows,
                               Error error) {
  if (error.reason == "eula-not-accepted") {
    return WithNext(std::move(error),
                    NextCommand(context, ApproveWords(context) + " --accept-eula"));
  }
  const auto culprit = Culprit(mirror, rows, error.reason);
  if (!culprit) return std::unexpected(culprit.error());
  const std::string id = (*culprit)->update.guid.ToString();
  if (error.reason == "declined") {
    return WithNext(std::move(error), NextCommand(context, "update unapprove " + id) +
                                          " lifts the decline; then approve it again");
  }
  return WithNext(std::move(error), NextCommand(context, "update show " + id));
}

std::string ApprovedLine(const Context& context, const mirror::Deployment& deployment,
                         const std::string& group, const std::string& title) {
  std::string line = fmt::format("{} for '{}': {}", DeploymentActionName(deployment.action),
                                 EscapeForDisplay(group), title);
  if (context.global().verbose > 0) line += fmt::format(" ({})", deployment.update.ToString());
  if (deployment.effective_deadline) {
    line += fmt::format(", deadline {} UTC", Minute(*deployment.effective_deadline));
  }
  return line;
}

json ApprovedToJson(const mirror::RevisionRow& row, const std::string& title,
                    const mirror::Intent::Approved& approved, const std::string& group) {
  json object = UpdateToJson(row, title);
  const mirror::Deployment& deployment = approved.deployment;
  object["group"] = group;
  object["group_guid"] = deployment.group.ToString();
  object["action"] = DeploymentActionName(deployment.action);
  object["deadline"] = TimeToJson(deployment.deadline);
  object["effective_deadline"] = TimeToJson(deployment.effective_deadline);
  object["missing_files"] = approved.missing_files;
  object["missing_bytes"] = approved.missing_bytes;
  return object;
}

/// Approvals of older revisions are legitimate, and rarely meant.
Result<void> WarnOfNewer(Context& context, mirror::Mirror& mirror, const Rows& rows) {
  for (const auto& row : rows) {
    if (row.is_latest) continue;
    TRY_ASSIGN(const auto latest, mirror.catalog().FindLatest(row.update.guid));
    if (!latest) continue;
    context.Warn(fmt::format("update {} is not the newest revision, which is {}",
                             row.update.ToString(), latest->update.revision));
  }
  return {};
}

Result<void> ReportApproved(Context& context, mirror::Mirror& mirror, const Wish& wish,
                            const std::vector<mirror::Intent::Approved>& approved) {
  TRY_ASSIGN(const auto names, ReadGroupNames(mirror));
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  json list = json::array();
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::set<mirror::RevisionId> counted;  // the same update for two groups waits for the same files
  for (std::size_t i = 0; i < approved.size(); ++i) {
    const mirror::RevisionRow& row = wish.rows[i / wish.groups.size()];
    const std::string group = GroupName(names, approved[i].deployment.group);
    TRY_ASSIGN(const std::string title, TitleOf(mirror, row));
    context.Print(ApprovedLine(context, approved[i].deployment, group, ShownTitle(title)));
    if (approved[i].missing_files > 0) {
      context.Print(fmt::format("    waits for {}, {}", Plural(approved[i].missing_files, "file"),
                                FormatByteCount(approved[i].missing_bytes)));
    }
    if (counted.insert(row.id).second) {
      files += approved[i].missing_files;
      bytes += approved[i].missing_bytes;
    }
    list.push_back(ApprovedToJson(row, title, approved[i], group));
  }
  if (files > 0) {
    context.Print(fmt::format("{} not here yet ({}); what waits is not offered: {}",
                              Plural(files, "file is", "files are"), FormatByteCount(bytes),
                              WhatBringsFiles(context, mirror.config())));
  }
  context.Emit({{"approved", std::move(list)},
                {"generation", state.name.generation},
                {"missing_files", files},
                {"missing_bytes", bytes}});
  return {};
}

Result<ExitCode> RunApprove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY(RefuseOnReplica(mirror, ApproveWords(context)));
  TRY_ASSIGN(const Wish wish, ReadWish(context, mirror));
  std::vector<mirror::Intent::Approval> approvals;
  for (const auto& row : wish.rows) {
    for (const auto& group : wish.groups) {
      approvals.push_back(
          {row.update, group.id, wish.action, wish.deadline, context.args().Has("accept-eula")});
    }
  }
  auto approved = mirror.intent().Approve(approvals, mirror::CurrentActor());
  if (!approved) return Refused(context, mirror, wish.rows, std::move(approved).error());
  TRY(WarnOfNewer(context, mirror, wish.rows));
  TRY(ReportApproved(context, mirror, wish, *approved));
  return ExitCode::kDone;
}

// ---- decline, unapprove ------------------------------------------------------------------------

Result<json> ListUpdates(Context& context, mirror::Mirror& mirror, const Rows& rows,
                         std::string_view done) {
  json list = json::array();
  for (const auto& row : rows) {
    TRY_ASSIGN(const std::string title, TitleOf(mirror, row));
    context.Print(fmt::format("{}: {}", done, ShownTitle(title)));
    list.push_back(UpdateToJson(row, title));
  }
  return list;
}

Result<std::uint64_t> CountDeployments(mirror::Mirror& mirror, const std::vector<Guid>& updates) {
  std::uint64_t count = 0;
  for (const Guid& update : updates) {
    TRY_ASSIGN(const auto deployments, mirror.intent().DeploymentsOf(update));
    count += deployments.size();
  }
  return count;
}

Result<ExitCode> RunDecline(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY(RefuseOnReplica(mirror, Words(context, "decline", {})));
  TRY_ASSIGN(const Rows rows, FindUpdates(context, mirror, context.args().List("ID")));
  const std::vector<Guid> updates = GuidsOf(rows);
  TRY_ASSIGN(const std::uint64_t ended, CountDeployments(mirror, updates));
  auto declined = mirror.intent().Decline(updates, mirror::CurrentActor());
  if (!declined) {
    return WithNext(std::move(declined).error(), NextCommand(context, "update list TEXT"));
  }
  TRY_ASSIGN(json list, ListUpdates(context, mirror, rows, "declined"));
  if (*declined < updates.size()) {
    context.Print(fmt::format("{} declined before",
                              Plural(updates.size() - *declined, "of them was", "of them were")));
  }
  if (ended > 0) context.Print(Plural(ended, "approval") + " ended by it");
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  context.Emit({{"declined", std::move(list)},
                {"newly_declined", *declined},
                {"approvals_ended", ended},
                {"generation", state.name.generation}});
  return ExitCode::kDone;
}

Result<ExitCode> RunUnapprove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY(RefuseOnReplica(mirror, Words(context, "unapprove", {"group"})));
  TRY_ASSIGN(const Rows rows, FindUpdates(context, mirror, context.args().List("ID")));
  std::optional<Guid> group;
  if (const auto name = context.args().Text("group")) {
    TRY_ASSIGN(const auto found, FindGroup(context, mirror, *name));
    group = found.id;
  }
  const std::vector<Guid> updates = GuidsOf(rows);
  TRY_ASSIGN(const std::uint64_t ended,
             mirror.intent().Unapprove(updates, group, mirror::CurrentActor()));
  std::uint64_t lifted = 0;
  if (!group) {
    TRY_ASSIGN(lifted, mirror.intent().Undecline(updates, mirror::CurrentActor()));
  }
  TRY_ASSIGN(json list, ListUpdates(context, mirror, rows, "not approved"));
  context.Print(
      fmt::format("{} ended{}", Plural(ended, "approval"),
                  lifted == 0 ? "" : fmt::format(", {} lifted", Plural(lifted, "decline"))));
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  context.Emit({{"unapproved", std::move(list)},
                {"approvals_ended", ended},
                {"declines_lifted", lifted},
                {"generation", state.name.generation}});
  return ExitCode::kDone;
}

const Option kId{"ID",
                 Takes::kList,
                 {},
                 "a GUID (its newest revision) or GUID/REVISION; see 'gapferry update list'",
                 true};

}  // namespace

std::vector<Command> UpdateCommands() {
  return {
      {.path = {"update", "approve"},
       .summary = "let groups of computers have updates",
       .description =
           "All of the updates are approved, or none. An approval replaces the one of the same "
           "update and group.\nComputers are offered an update when all its files are here.",
       .examples = {{"gapferry update approve 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 --group "
                     "Workstations"},
                    {"gapferry update approve 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 --group "
                     "Workstations --deadline +7d",
                     "installed by force a week from now"},
                    {"gapferry update approve 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/200 --group "
                     "'All Computers' --action uninstall",
                     "removed where it is installed"}},
       .options = {kId,
                   {"--group", Takes::kList, "NAME", "name or GUID of a group; may be repeated",
                    true},
                   {"--action",
                    Takes::kText,
                    "ACTION",
                    "default: install",
                    false,
                    {"install", "uninstall", "optional"}},
                   {"--deadline", Takes::kText, "WHEN",
                    "2030-01-31, 2030-01-31T18:00 (UTC), +7d or +12h"},
                   {"--accept-eula",
                    Takes::kNothing,
                    {},
                    "accept the licences of the updates for all computers"}},
       .exits = {ExitCode::kNotFound},
       .run = RunApprove},
      {.path = {"update", "decline"},
       .summary = "never offer updates, ending their approvals",
       .examples = {{"gapferry update decline 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"},
                    {"gapferry update unapprove 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "lifts the decline again"}},
       .options = {kId},
       .exits = {ExitCode::kNotFound},
       .run = RunDecline},
      {.path = {"update", "unapprove"},
       .summary = "withdraw approvals, or lift a decline",
       .description = "Without --group, the updates are afterwards as if nobody had decided about "
                      "them: all approvals\nend, and a decline is lifted.",
       .examples = {{"gapferry update unapprove 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"},
                    {"gapferry update unapprove 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 --group "
                     "Laboratory",
                     "for this group only"}},
       .options = {kId, {"--group", Takes::kText, "NAME", "approvals for this group only"}},
       .exits = {ExitCode::kNotFound},
       .run = RunUnapprove},
  };
}

}  // namespace gapferry::cli
