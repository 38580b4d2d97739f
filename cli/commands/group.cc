// gapferry group: target groups of computers.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

/// What is in a group: computers directly in it, approvals for it.
struct Contents {
  std::uint64_t computers = 0;
  std::uint64_t approvals = 0;
};

Result<std::map<Guid, Contents>> ReadContents(mirror::Mirror& mirror) {
  std::map<Guid, Contents> contents;
  TRY_ASSIGN(const auto deployments, mirror.intent().Deployments());
  for (const auto& deployment : deployments) ++contents[deployment.group].approvals;
  std::set<std::string> assigned;
  TRY_ASSIGN(const auto assignments, mirror.intent().Assignments());
  for (const auto& [computer, group] : assignments) {
    ++contents[group].computers;
    assigned.insert(ToLowerAscii(computer));
  }
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY(activity->ForEachComputer(0, [&](const mirror::Computer& computer) -> Result<void> {
    if (!computer.parent_server.IsZero()) return {};  // in groups of its own server
    ++contents[mirror::kAllComputers].computers;
    if (!assigned.contains(ToLowerAscii(computer.id))) {
      ++contents[mirror::kUnassignedComputers].computers;
    }
    return {};
  }));
  return contents;
}

json GroupToJson(const mirror::TargetGroup& group, const GroupNames& names,
                 const Contents& contents) {
  json object = {{"guid", group.id.ToString()},    {"name", group.name},
                 {"parent_guid", nullptr},         {"parent", nullptr},
                 {"builtin", group.is_builtin},    {"computers", contents.computers},
                 {"approvals", contents.approvals}};
  if (!group.parent.IsZero()) {
    object["parent_guid"] = group.parent.ToString();
    object["parent"] = GroupName(names, group.parent);
  }
  return object;
}

using Groups = std::vector<mirror::TargetGroup>;

/// Parents before their children, each with its depth. A loop among parents (possible in what an
/// upstream says) leaves its members at the end.
std::vector<std::pair<const mirror::TargetGroup*, std::size_t>> AsTree(const Groups& groups) {
  std::vector<std::pair<const mirror::TargetGroup*, std::size_t>> rows;
  std::set<Guid> shown;
  const auto add = [&](const auto& self, const Guid& parent, std::size_t depth) -> void {
    for (const auto& group : groups) {
      if (group.parent != parent || !shown.insert(group.id).second) continue;
      rows.emplace_back(&group, depth);
      self(self, group.id, depth + 1);
    }
  };
  add(add, Guid{}, 0);
  for (const auto& group : groups) {
    if (!shown.contains(group.id)) rows.emplace_back(&group, 0);
  }
  return rows;
}

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  TRY_ASSIGN(const auto names, ReadGroupNames(mirror));
  TRY_ASSIGN(auto contents, ReadContents(mirror));
  json list = json::array();
  std::vector<std::vector<std::string>> table = {{"GROUP", "COMPUTERS", "APPROVALS", "ID"}};
  for (const auto& [group, depth] : AsTree(groups)) {
    const Contents& inside = contents[group->id];
    list.push_back(GroupToJson(*group, names, inside));
    constexpr std::size_t kNameWidth = 38;
    table.push_back({Cut(std::string(2 * depth, ' ') + EscapeForDisplay(group->name), kNameWidth),
                     std::to_string(inside.computers), std::to_string(inside.approvals),
                     group->id.ToString()});
  }
  context.Print(FormatTable(table));
  context.Emit({{"groups", std::move(list)}});
  return ExitCode::kDone;
}

Result<ExitCode> RunAdd(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string name = *context.args().Text("NAME");
  TRY(RefuseOnReplica(mirror, "group add " + ShellWord(name)));
  mirror::TargetGroup parent{mirror::kAllComputers, {}, "All Computers", true};
  if (const auto wanted = context.args().Text("parent")) {
    TRY_ASSIGN(parent, FindGroup(context, mirror, *wanted));
  }
  auto group = mirror.intent().AddGroup(name, parent.id, mirror::CurrentActor());
  if (!group) return WithNext(std::move(group).error(), NextCommand(context, "group list"));
  TRY_ASSIGN(const auto names, ReadGroupNames(mirror));
  context.Print(fmt::format("group '{}' added below '{}'", EscapeForDisplay(group->name),
                            EscapeForDisplay(parent.name)));
  context.Emit(GroupToJson(*group, names, {}));
  return ExitCode::kDone;
}

/// As the mirror refuses it, in names.
Result<void> CheckRemovable(const Context& context, mirror::Mirror& mirror,
                            const mirror::TargetGroup& group) {
  if (group.is_builtin) {
    return FailNext(ErrorCode::kUsage, "builtin-group",
                    fmt::format("group '{}' is built in and cannot be removed", group.name),
                    NextCommand(context, "group list"));
  }
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  for (const auto& child : groups) {
    if (child.parent != group.id) continue;
    return FailNext(ErrorCode::kUsage, "group-has-children",
                    fmt::format("group '{}' has the group '{}' below it",
                                EscapeForDisplay(group.name), EscapeForDisplay(child.name)),
                    NextCommand(context, "group remove " + ShellWord(child.name)));
  }
  return {};
}

Result<ExitCode> RunRemove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string name = *context.args().Text("NAME");
  TRY(RefuseOnReplica(mirror, "group remove " + ShellWord(name)));
  TRY_ASSIGN(const auto group, FindGroup(context, mirror, name));
  TRY(CheckRemovable(context, mirror, group));
  TRY_ASSIGN(auto all_contents, ReadContents(mirror));
  const Contents contents = all_contents[group.id];
  const std::string what =
      fmt::format("{} of it would end, {} would be unassigned",
                  Plural(contents.approvals, "approval"), Plural(contents.computers, "computer"));
  const bool dry = context.args().Has("dry-run");
  const bool is_empty = contents.approvals == 0 && contents.computers == 0;
  if (dry) {
    context.Print(fmt::format("group '{}': {}", EscapeForDisplay(group.name), what));
  } else {
    if (!is_empty) {
      TRY(context.Confirm(
          fmt::format("remove group '{}'? {}", EscapeForDisplay(group.name), what)));
    }
    auto removed = mirror.intent().RemoveGroup(group.id, mirror::CurrentActor());
    if (!removed) return WithNext(std::move(removed).error(), NextCommand(context, "group list"));
    context.Print(fmt::format("group '{}' removed: {} ended, {} unassigned",
                              EscapeForDisplay(group.name), Plural(contents.approvals, "approval"),
                              Plural(contents.computers, "computer")));
  }
  context.Emit({{"guid", group.id.ToString()},
                {"name", group.name},
                {"removed", !dry},
                {"approvals_ended", contents.approvals},
                {"computers_unassigned", contents.computers}});
  return ExitCode::kDone;
}

// ---- assign ------------------------------------------------------------------------------------

/// What the computers are to be in: built-in groups are not told, "Unassigned Computers" means
/// none.
struct Target {
  std::vector<Guid> groups;
  std::vector<std::string> names;
};

Result<Target> ReadTarget(Context& context, mirror::Mirror& mirror) {
  Target target;
  bool unassigned = false;
  for (const std::string& name : context.args().List("group")) {
    TRY_ASSIGN(const auto group, FindGroup(context, mirror, name));
    if (group.id == mirror::kAllComputers) {
      return FailNext(ErrorCode::kUsage, "builtin-group",
                      "every computer is in 'All Computers' already; to take it out of its groups, "
                      "name 'Unassigned Computers'",
                      NextCommand(context, "group list"));
    }
    unassigned = unassigned || group.id == mirror::kUnassignedComputers;
    target.groups.push_back(group.id);
    target.names.push_back(group.name);
  }
  if (unassigned && target.groups.size() > 1) {
    return FailNext(ErrorCode::kUsage, "usage", "'Unassigned Computers' goes with no other group",
                    NextCommand(context, "group list"));
  }
  if (unassigned) target.groups.clear();
  return target;
}

Result<std::vector<mirror::Computer>> ReadComputers(Context& context, mirror::Mirror& mirror) {
  std::vector<mirror::Computer> computers;
  for (const std::string& text : context.args().List("COMPUTER")) {
    TRY_ASSIGN(auto computer, FindComputer(context, mirror, text));
    if (!computer.parent_server.IsZero()) {
      return FailNext(ErrorCode::kUsage, "foreign-computer",
                      fmt::format("computer '{}' belongs to the server {} below this mirror, which "
                                  "puts it into groups",
                                  EscapeForDisplay(computer.details.full_domain_name),
                                  computer.parent_server.ToString()),
                      "there: gapferry group assign " + ShellWord(computer.id) + " --group NAME");
    }
    computers.push_back(std::move(computer));
  }
  return computers;
}

/// Where computers name their groups, the next handshake would undo what is assigned here.
Result<void> CheckTargeting(const mirror::Mirror& mirror) {
  if (mirror.config().serve.targeting == mirror::Targeting::kServer) return {};
  return FailNext(ErrorCode::kUsage, "client-targeting",
                  "the policy of the computers names their groups: 'serve.targeting' is 'client'",
                  fmt::format("set 'serve.targeting: server' in {}, then repeat this",
                              (mirror.path() / "gapferry.yaml").string()));
}

Result<ExitCode> RunAssign(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY(CheckTargeting(mirror));
  TRY_ASSIGN(const Target target, ReadTarget(context, mirror));
  TRY_ASSIGN(const auto computers, ReadComputers(context, mirror));
  json list = json::array();
  for (const auto& computer : computers) {
    TRY(mirror.intent().AssignComputer(computer.id, target.groups, mirror::CurrentActor()));
    const std::string name =
        computer.details.full_domain_name.empty() ? computer.id : computer.details.full_domain_name;
    context.Print(fmt::format("{} is in {}", EscapeForDisplay(name),
                              EscapeForDisplay(fmt::format("{}", fmt::join(target.names, ", ")))));
    json guids = json::array();
    for (const Guid& group : target.groups) guids.push_back(group.ToString());
    list.push_back({{"id", computer.id},
                    {"name", computer.details.full_domain_name},
                    {"groups", target.names},
                    {"group_guids", std::move(guids)}});
  }
  context.Emit({{"computers", std::move(list)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> GroupCommands() {
  return {
      {.path = {"group", "list"},
       .summary = "groups of computers, with their computers and approvals",
       .description = "An approval for a group holds for the groups below it as well.",
       .examples = {{"gapferry group list"}, {"gapferry group list --json"}},
       .exits = {ExitCode::kNotFound},
       .run = RunList},
      {.path = {"group", "add"},
       .summary = "make a group of computers",
       .examples = {{"gapferry group add Workstations"},
                    {"gapferry group add Laboratory --parent Workstations",
                     "gets what Workstations gets, and its own approvals"}},
       .options = {{"NAME", Takes::kText, {}, "unique without regard to case", true},
                   {"--parent", Takes::kText, "NAME",
                    "the group above it, by name or GUID; default: All Computers"}},
       .exits = {ExitCode::kNotFound},
       .run = RunAdd},
      {.path = {"group", "remove"},
       .summary = "remove a group, ending its approvals",
       .description = "Its computers go to Unassigned Computers unless they are in other groups. "
                      "Asks when there is anything in it.",
       .examples = {{"gapferry group remove Laboratory --dry-run", "what would end"},
                    {"gapferry group remove Laboratory"}},
       .options = {{"NAME", Takes::kText, {}, "name or GUID", true},
                   {"--dry-run", Takes::kNothing, {}, "say what would end, change nothing"}},
       .asks = true,
       .exits = {ExitCode::kNotFound},
       .run = RunRemove},
      {.path = {"group", "assign"},
       .summary = "put computers into groups",
       .description =
           "Afterwards each computer is in exactly the groups named, and always in All Computers.\n"
           "Assignment is local: it is done on the mirror that serves the computers, also on a "
           "replica.",
       .examples = {{"gapferry group assign pc1.plant.example pc2.plant.example --group "
                     "Workstations"},
                    {"gapferry group assign pc1 --group Workstations --group Laboratory",
                     "a computer in two groups"},
                    {"gapferry group assign pc1 --group 'Unassigned Computers'",
                     "takes it out of its groups"}},
       .options = {{"COMPUTER", Takes::kList, {}, "name or id, see 'gapferry computer list'", true},
                   {"--group", Takes::kList, "NAME", "name or GUID; may be repeated", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunAssign},
  };
}

}  // namespace gapferry::cli
