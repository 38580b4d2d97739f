// gapferry computer: the clients of this mirror and of servers below it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/sort.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/audited_change.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "protocol/hresult.h"

namespace gapferry::cli {
namespace {

using mirror::UpdateState;
using nlohmann::json;

constexpr UpdateState kStates[] = {UpdateState::kUnknown,
                                   UpdateState::kNotApplicable,
                                   UpdateState::kNotInstalled,
                                   UpdateState::kDownloaded,
                                   UpdateState::kInstalled,
                                   UpdateState::kFailed,
                                   UpdateState::kInstalledPendingReboot};

/// A computer with what people ask about it.
struct ComputerView {
  mirror::Computer computer;
  std::vector<Guid> groups;  ///< as assigned; empty: unassigned
  std::map<UpdateState, std::uint64_t> states;

  std::uint64_t Count(UpdateState state) const {
    const auto found = states.find(state);
    return found == states.end() ? 0 : found->second;
  }
  /// As mirror::UpdateCounts counts: what failed is still needed.
  std::uint64_t needed() const {
    return Count(UpdateState::kNotInstalled) + Count(UpdateState::kDownloaded) +
           Count(UpdateState::kFailed);
  }
  std::uint64_t failed() const { return Count(UpdateState::kFailed); }
};

struct Names {
  GroupNames groups;
  std::map<Guid, std::string> servers;
};

Result<Names> ReadNames(mirror::Mirror& mirror) {
  Names names;
  TRY_ASSIGN(names.groups, ReadGroupNames(mirror));
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(const auto servers, activity->Servers());
  for (const auto& server : servers) names.servers.emplace(server.id, server.name);
  return names;
}

/// What is the same for all computers, read once.
struct Everybody {
  std::map<std::string, std::vector<Guid>> groups;  ///< by id in lower case
  std::map<std::string, mirror::Activity::StateCounts> states;
};

Result<Everybody> ReadEverybody(mirror::Mirror& mirror) {
  Everybody all;
  TRY_ASSIGN(const auto assignments, mirror.intent().Assignments());
  for (const auto& [computer, group] : assignments) {
    all.groups[ToLowerAscii(computer)].push_back(group);
  }
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(all.states, activity->StateCountsByComputer());
  return all;
}

/// The groups that a server below told of one of its computers.
std::vector<Guid> ForeignGroups(const mirror::Computer& computer) {
  std::vector<Guid> groups;
  for (const Guid& group : computer.details.target_group_ids) {
    if (group != mirror::kAllComputers && group != mirror::kUnassignedComputers) {
      groups.push_back(group);
    }
  }
  return groups;
}

ComputerView ViewOf(const Everybody& all, mirror::Computer computer) {
  ComputerView view;
  view.computer = std::move(computer);
  if (view.computer.parent_server.IsZero()) {
    const auto found = all.groups.find(ToLowerAscii(view.computer.id));
    if (found != all.groups.end()) view.groups = found->second;
  } else {
    view.groups = ForeignGroups(view.computer);
  }
  const auto states = all.states.find(view.computer.id);
  if (states != all.states.end()) view.states = states->second;
  return view;
}

Result<ComputerView> ViewOf(mirror::Mirror& mirror, mirror::Computer computer) {
  ComputerView view;
  view.computer = std::move(computer);
  if (view.computer.parent_server.IsZero()) {
    TRY_ASSIGN(view.groups, mirror.intent().AssignedGroups(view.computer.id));
  } else {
    view.groups = ForeignGroups(view.computer);
  }
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(const auto statuses, activity->StatusOf(view.computer.id));
  for (const auto& status : statuses) ++view.states[status.state];
  return view;
}

std::string NameOf(const mirror::Computer& computer) {
  const std::string& name = computer.details.full_domain_name;
  return EscapeForDisplay(name.empty() ? computer.id : name);
}

std::vector<std::string> GroupNamesOf(const ComputerView& view, const Names& names) {
  if (view.groups.empty()) return {GroupName(names.groups, mirror::kUnassignedComputers)};
  std::vector<std::string> list;
  for (const Guid& group : view.groups) list.push_back(GroupName(names.groups, group));
  std::ranges::sort(list);
  return list;
}

std::string StateText(const ComputerView& view) {
  if (!view.computer.has_status) return "no report";
  std::string text;
  if (view.failed() > 0) text = fmt::format("{} failed, ", view.failed());
  if (view.needed() > 0) return text + fmt::format("{} needed", view.needed());
  if (const auto count = view.Count(UpdateState::kInstalledPendingReboot); count > 0) {
    return fmt::format("{} need a restart", count);
  }
  return "up to date";
}

std::string ScanResult(std::int32_t result) {
  return result == 1 ? "Succeeded" : result == 2 ? "Failed" : "Unknown";
}

std::string OsVersion(const protocol::ComputerRollupDetails& details) {
  return fmt::format("{}.{}.{}", details.os_major_version, details.os_minor_version,
                     details.os_build_number);
}

json ToJson(const ComputerView& view, const Names& names) {
  const mirror::Computer& computer = view.computer;
  const auto& details = computer.details;
  json guids = json::array();
  for (const Guid& group : view.groups) guids.push_back(group.ToString());
  if (view.groups.empty()) guids.push_back(mirror::kUnassignedComputers.ToString());
  json states = json::object();
  for (const UpdateState state : kStates) {
    states[std::string(mirror::UpdateStateName(state))] = view.Count(state);
  }
  json object = {{"id", computer.id},
                 {"name", details.full_domain_name},
                 {"groups", GroupNamesOf(view, names)},
                 {"group_guids", std::move(guids)},
                 {"requested_groups", details.requested_target_group_names},
                 {"ip_address", details.ip_address},
                 {"os_version", OsVersion(details)},
                 {"os_description", details.os_description},
                 {"os_locale", details.os_locale},
                 {"architecture", details.processor_architecture},
                 {"make", details.computer_make},
                 {"model", details.computer_model},
                 {"client_version", details.client_version},
                 {"server", nullptr},
                 {"server_name", nullptr},
                 {"registered", TimeToJson(computer.registered_at)},
                 {"last_contact", TimeToJson(computer.last_contact)},
                 {"last_scan", TimeToJson(computer.last_sync_time)},
                 {"last_scan_result", ScanResult(computer.last_sync_result)},
                 {"last_report", TimeToJson(computer.last_reported_status)},
                 {"scanned_generation", computer.scanned_generation},
                 {"has_status", computer.has_status},
                 {"states", std::move(states)},
                 {"needed", view.needed()},
                 {"failed", view.failed()}};
  if (!computer.parent_server.IsZero()) {
    object["server"] = computer.parent_server.ToString();
    const auto server = names.servers.find(computer.parent_server);
    if (server != names.servers.end()) object["server_name"] = server->second;
  }
  return object;
}

// ---- list --------------------------------------------------------------------------------------

struct ListWish {
  std::vector<std::string> words;  ///< lower case
  std::optional<Guid> group;
  bool needing = false;
  std::size_t limit = 0;

  bool Names(const mirror::Computer& computer) const {
    const std::string text = ToLowerAscii(computer.details.full_domain_name + ' ' + computer.id +
                                          ' ' + computer.details.ip_address);
    return std::ranges::all_of(
        words, [&](const std::string& word) { return text.find(word) != std::string::npos; });
  }
  bool Takes(const ComputerView& view) const {
    if (needing && view.needed() == 0) return false;
    if (!group || *group == mirror::kAllComputers) return true;
    if (*group == mirror::kUnassignedComputers) return view.groups.empty();
    return std::ranges::find(view.groups, *group) != view.groups.end();
  }
};

Result<ListWish> ReadWish(Context& context, mirror::Mirror& mirror) {
  ListWish wish;
  for (const std::string& word : context.args().List("TEXT")) {
    wish.words.push_back(ToLowerAscii(word));
  }
  if (const auto name = context.args().Text("group")) {
    TRY_ASSIGN(const auto group, FindGroup(context, mirror, *name));
    wish.group = group.id;
  }
  wish.needing = context.args().Has("needing");
  wish.limit = static_cast<std::size_t>(context.args().Number("limit").value_or(0));
  return wish;
}

void PrintList(Context& context, const std::vector<ComputerView>& views, const Names& names) {
  // Names take what groups leave of 100 columns; ids, dates and states are never cut.
  constexpr std::size_t kGroupWidth = 18;
  constexpr std::size_t kBothWidths = 34;
  std::size_t widest_group = std::string_view("GROUPS").size();
  std::vector<std::string> groups;
  for (const auto& view : views) {
    const std::string all = fmt::format("{}", fmt::join(GroupNamesOf(view, names), ", "));
    groups.push_back(view.groups.empty() ? "-" : Cut(EscapeForDisplay(all), kGroupWidth));
    widest_group = std::max(widest_group, std::min(groups.back().size(), kGroupWidth));
  }
  std::vector<std::vector<std::string>> table = {{"NAME", "ID", "GROUPS", "CONTACT", "STATE"}};
  for (std::size_t i = 0; i < views.size(); ++i) {
    const mirror::Computer& computer = views[i].computer;
    const UtcTime contact = computer.last_contact;
    table.push_back({Cut(NameOf(computer), kBothWidths - widest_group),
                     EscapeForDisplay(computer.id), groups[i],
                     contact <= kNever ? "never" : contact.ToDate(), StateText(views[i])});
  }
  context.Print(FormatTable(table));
}

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const ListWish wish, ReadWish(context, mirror));
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(const Names names, ReadNames(mirror));
  std::vector<mirror::Computer> computers;
  TRY(activity->ForEachComputer(0, [&](const mirror::Computer& computer) -> Result<void> {
    if (wish.Names(computer)) computers.push_back(computer);
    return {};
  }));
  SortStably(computers, [](const auto& a, const auto& b) {
    return a.details.full_domain_name < b.details.full_domain_name;
  });
  TRY_ASSIGN(const Everybody all, ReadEverybody(mirror));
  std::vector<ComputerView> views;
  bool more = false;
  for (auto& computer : computers) {
    ComputerView view = ViewOf(all, std::move(computer));
    if (!wish.Takes(view)) continue;
    if (wish.limit > 0 && views.size() == wish.limit) {
      more = true;
      break;
    }
    views.push_back(std::move(view));
  }
  if (views.empty()) {
    context.Print(computers.empty() && wish.words.empty()
                      ? "no computer has come yet; they come by themselves to 'gapferry serve'"
                      : "no computer fits");
  } else {
    PrintList(context, views, names);
  }
  if (more) context.Print(fmt::format("{} are shown; '--limit 0' shows all", views.size()));
  json list = json::array();
  for (const auto& view : views) list.push_back(ToJson(view, names));
  context.Emit({{"computers", std::move(list)}, {"more", more}});
  return ExitCode::kDone;
}

// ---- show --------------------------------------------------------------------------------------

struct StatusRow {
  mirror::UpdateStatus status;
  std::string title;
};

Result<std::vector<StatusRow>> ReadStatuses(mirror::Mirror& mirror, std::string_view id) {
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(const auto statuses, activity->StatusOf(id));
  std::vector<StatusRow> rows;
  for (const auto& status : statuses) {
    TRY_ASSIGN(auto title, TitleOf(mirror, status.update));
    rows.push_back({status, std::move(title)});
  }
  return rows;
}

/// What an administrator looks at first.
int Urgency(UpdateState state) {
  switch (state) {
    case UpdateState::kFailed:
      return 0;
    case UpdateState::kNotInstalled:
      return 1;
    case UpdateState::kDownloaded:
      return 2;
    case UpdateState::kInstalledPendingReboot:
      return 3;
    case UpdateState::kInstalled:
      return 4;
    case UpdateState::kUnknown:
    case UpdateState::kNotApplicable:
      return 5;
  }
  return 5;
}

void PrintComputer(Context& context, const ComputerView& view, const Names& names) {
  const mirror::Computer& computer = view.computer;
  const auto& details = computer.details;
  context.Print(NameOf(computer));
  std::vector<std::vector<std::string>> table = {
      {"  id", EscapeForDisplay(computer.id)},
      {"  groups", EscapeForDisplay(fmt::format("{}", fmt::join(GroupNamesOf(view, names), ", ")))},
      {"  system",
       fmt::format("{} {} {}", EscapeForDisplay(details.os_description, 80), OsVersion(details),
                   EscapeForDisplay(details.processor_architecture, 40))},
      {"  hardware", EscapeForDisplay(details.computer_make + " " + details.computer_model, 80)},
      {"  address", EscapeForDisplay(details.ip_address, 60)},
      {"  contact",
       fmt::format("{}, first {}", Minute(computer.last_contact), Minute(computer.registered_at))},
      {"  last scan", computer.last_sync_time <= kNever
                          ? "never"
                          : fmt::format("{}, {}", Minute(computer.last_sync_time),
                                        ScanResult(computer.last_sync_result))},
      {"  last report", Minute(computer.last_reported_status)},
      {"  state", StateText(view)}};
  if (!computer.parent_server.IsZero()) {
    const auto server = names.servers.find(computer.parent_server);
    table.push_back({"  server", server == names.servers.end() ? computer.parent_server.ToString()
                                                               : EscapeForDisplay(server->second)});
  }
  context.Print(FormatTable(table));
}

void PrintStatuses(Context& context, std::vector<StatusRow> rows) {
  SortStably(rows, [](const auto& a, const auto& b) {
    return Urgency(a.status.state) < Urgency(b.status.state);
  });
  const bool all = context.global().verbose > 0;
  std::size_t hidden = 0;
  std::optional<UpdateState> heading;
  for (const auto& row : rows) {
    if (!all && Urgency(row.status.state) > 3) {
      ++hidden;
      continue;
    }
    if (heading != row.status.state) {
      heading = row.status.state;
      context.Print(fmt::format("\n{}", mirror::UpdateStateName(*heading)));
    }
    constexpr std::size_t kTitleWidth = 60;
    context.Print(
        fmt::format("  {}  {}", row.status.update.ToString(), Cut(row.title, kTitleWidth)));
  }
  if (hidden > 0) {
    context.Print(fmt::format("\n{} installed or not applicable; -v shows them",
                              Plural(hidden, "update is", "updates are")));
  }
}

/// What did not work lately, the latest first.
Result<std::vector<mirror::ClientEvent>> ReadFailures(mirror::Mirror& mirror,
                                                      std::string_view computer_id) {
  constexpr int kLookedAt = 500;
  constexpr std::size_t kShown = 10;
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(auto events, activity->Events(computer_id, kLookedAt));
  std::erase_if(events, [](const mirror::ClientEvent& event) {
    return !protocol::IsFailureEvent(event.event.event_id);
  });
  if (events.size() > kShown) events.resize(kShown);
  return events;
}

void PrintFailures(Context& context, const std::vector<mirror::ClientEvent>& failures) {
  if (failures.empty()) return;
  context.Print("\nFailures, the latest first");
  for (const auto& failure : failures) {
    const protocol::ReportingEvent& event = failure.event;
    std::string line = fmt::format("  {}  {}", Minute(failure.received_at),
                                   protocol::ClientEventText(event.event_id));
    if (!event.update.guid.IsZero()) line += "  " + event.update.guid.ToString();
    context.Print(line);
    context.Print("      " + protocol::HresultText(event.win32_hresult));
  }
}

json FailuresToJson(const std::vector<mirror::ClientEvent>& failures) {
  json list = json::array();
  for (const auto& failure : failures) {
    const protocol::ReportingEvent& event = failure.event;
    list.push_back(
        {{"received", TimeToJson(failure.received_at)},
         {"event_id", event.event_id},
         {"event", protocol::ClientEventText(event.event_id)},
         {"guid", event.update.guid.IsZero() ? json() : json(event.update.guid.ToString())},
         {"hresult", event.win32_hresult},
         {"hresult_text", protocol::HresultText(event.win32_hresult)}});
  }
  return list;
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(auto computer, FindComputer(context, mirror, *context.args().Text("COMPUTER")));
  TRY_ASSIGN(const Names names, ReadNames(mirror));
  TRY_ASSIGN(const ComputerView view, ViewOf(mirror, std::move(computer)));
  TRY_ASSIGN(const auto rows, ReadStatuses(mirror, view.computer.id));
  PrintComputer(context, view, names);
  PrintStatuses(context, rows);
  TRY_ASSIGN(const auto failures, ReadFailures(mirror, view.computer.id));
  PrintFailures(context, failures);
  json object = ToJson(view, names);
  object["updates"] = json::array();
  for (const auto& row : rows) {
    object["updates"].push_back({{"guid", row.status.update.ToString()},
                                 {"title", row.title},
                                 {"state", mirror::UpdateStateName(row.status.state)},
                                 {"since", TimeToJson(row.status.last_change)}});
  }
  object["failures"] = FailuresToJson(failures);
  context.Emit(object);
  return ExitCode::kDone;
}

// ---- remove ------------------------------------------------------------------------------------

Result<ExitCode> RunRemove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  std::vector<mirror::Computer> computers;
  for (const std::string& text : context.args().List("COMPUTER")) {
    TRY_ASSIGN(auto computer, FindComputer(context, mirror, text));
    const auto same = [&](const auto& other) { return other.id == computer.id; };
    if (std::ranges::none_of(computers, same)) computers.push_back(std::move(computer));
  }
  json list = json::array();
  for (const auto& computer : computers) {
    const json detail = {{"name", computer.details.full_domain_name}};
    const auto remove = [&]() -> Result<void> {
      TRY(activity->RemoveComputer(computer.id));
      return mirror.intent().AssignComputer(computer.id, {}, mirror::CurrentActor());
    };
    TRY(ChangeAudited(mirror,
                      {mirror::CurrentActor(), "computer.remove", computer.id,
                       detail.dump(-1, ' ', false, json::error_handler_t::replace)},
                      remove));
    context.Print(fmt::format("{} removed", NameOf(computer)));
    list.push_back({{"id", computer.id}, {"name", computer.details.full_domain_name}});
  }
  context.Emit({{"removed", std::move(list)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> ComputerCommands() {
  return {
      {.path = {"computer", "list"},
       .summary = "computers with their groups and what they need",
       .description = "Computers come by themselves: whoever scans against 'gapferry serve' is "
                      "listed. Those of servers\nbelow this mirror are listed when a rollup or a "
                      "return brought them.",
       .examples = {{"gapferry computer list"},
                    {"gapferry computer list --group 'Unassigned Computers'"},
                    {"gapferry computer list --needing --json"}},
       .options = {{"TEXT", Takes::kList, {}, "parts of name, id or address, all of them"},
                   {"--group", Takes::kText, "NAME", "directly in this group"},
                   {"--needing", Takes::kNothing, {}, "those that need updates"},
                   {"--limit", Takes::kNumber, "N", "at most so many (default: all)"}},
       .exits = {ExitCode::kNotFound},
       .run = RunList},
      {.path = {"computer", "show"},
       .summary = "one computer and the state of its updates",
       .description = "Lists what failed, is needed or waits for a restart; -v lists the rest.",
       .examples = {{"gapferry computer show pc1.plant.example"},
                    {"gapferry computer show pc1 --json", "with every update it reported"}},
       .options = {{"COMPUTER", Takes::kText, {}, "name or id", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
      {.path = {"computer", "remove"},
       .summary = "forget computers that are gone, with status and groups",
       .description = "A computer that is still there registers again at its next scan, in no "
                      "group.",
       .examples = {{"gapferry computer remove pc1.plant.example"},
                    {"gapferry computer remove pc1 pc2 pc3"}},
       .options = {{"COMPUTER", Takes::kList, {}, "name or id", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunRemove},
  };
}

}  // namespace gapferry::cli
