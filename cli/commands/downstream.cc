// gapferry downstream: update servers that synchronise from this mirror.
#include "mirror/downstream.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/sort.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/audited_change.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/job_view.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using mirror::DownstreamServer;
using nlohmann::json;

/// All servers below, with how many computers each has.
struct Known {
  std::vector<DownstreamServer> servers;
  std::map<Guid, std::uint64_t> computers;
  UtcTime now;

  std::uint64_t ComputersOf(const DownstreamServer& server) const {
    const auto found = computers.find(server.id);
    if (found != computers.end()) return found->second;
    // It may tell sums only.
    return server.summary && server.summary->computer_target_count > 0
               ? static_cast<std::uint64_t>(server.summary->computer_target_count)
               : 0;
  }
};

Result<Known> ReadKnown(mirror::Mirror& mirror) {
  Known known;
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  TRY_ASSIGN(known.servers, activity->Servers());
  TRY_ASSIGN(known.computers, mirror::ComputersByServer(*activity));
  known.now = mirror.clock().Now();
  SortStably(known.servers, [](const auto& a, const auto& b) { return a.name < b.name; });
  return known;
}

std::string NameOf(const DownstreamServer& server) {
  return server.name.empty() ? server.id.ToString() : EscapeForDisplay(server.name);
}

/// "this mirror > harbour > pier": the way from here.
std::string ChainText(const Known& known, const DownstreamServer& server) {
  std::vector<std::string> names = {"this mirror"};
  const auto chain = mirror::ChainTo(known.servers, server.id);
  if (!chain.empty() && !chain.front().parent.IsZero()) {
    names.push_back("unknown server " + chain.front().parent.ToString());
  }
  for (const auto& one : chain) names.push_back(NameOf(one));
  return fmt::format("{}", fmt::join(names, " > "));
}

std::string Ago(UtcTime time, UtcTime now) {
  return time <= kNever ? "never" : Distance(time, now);
}
std::string When(UtcTime time, UtcTime now) {
  return time <= kNever ? "never" : fmt::format("{} ({})", Minute(time), Distance(time, now));
}

json ToJson(const Known& known, const DownstreamServer& server) {
  json chain = json::array();
  for (const auto& one : mirror::ChainTo(known.servers, server.id)) {
    chain.push_back({{"guid", one.id.ToString()}, {"name", one.name}});
  }
  return {{"guid", server.id.ToString()},
          {"name", server.name},
          {"version", server.version},
          {"replica", server.is_replica},
          {"parent", server.parent.IsZero() ? json() : json(server.parent.ToString())},
          {"chain", std::move(chain)},
          {"site", server.site.IsZero() ? json() : json(server.site.ToString())},
          {"first_seen", TimeToJson(server.first_seen)},
          {"last_contact", TimeToJson(server.last_contact)},
          {"last_sync", TimeToJson(server.last_sync_time)},
          {"last_rollup", TimeToJson(server.last_rollup_time)},
          {"computers", known.ComputersOf(server)}};
}

/// By GUID, or by name without case; a name of several names them all.
Result<DownstreamServer> FindServer(const Context& context, const Known& known,
                                    std::string_view text) {
  const auto guid = Guid::Parse(text);
  std::vector<DownstreamServer> found;
  for (const auto& server : known.servers) {
    if (guid ? server.id == *guid : EqualsIgnoreCase(server.name, text)) found.push_back(server);
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return FailNext(
        ErrorCode::kNotFound, "no-server",
        fmt::format("no server '{}' is known below this mirror", EscapeForDisplay(text)),
        NextCommand(context, "downstream list"));
  }
  std::vector<std::string> ids;
  for (const auto& server : found) ids.push_back(server.id.ToString());
  return FailNext(ErrorCode::kUsage, "ambiguous-server",
                  fmt::format("{} servers are called '{}': {}", found.size(),
                              EscapeForDisplay(text), fmt::join(ids, ", ")),
                  NextCommand(context, "downstream show GUID"));
}

// ---- list and show -----------------------------------------------------------------------------

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const Known known, ReadKnown(mirror));
  std::vector<std::vector<std::string>> table = {
      {"NAME", "KIND", "VERSION", "CONTACT", "SYNC", "ROLLUP", "COMPUTERS", "BELOW"}};
  json list = json::array();
  constexpr std::size_t kNameWidth = 30;
  for (const auto& server : known.servers) {
    const auto chain = mirror::ChainTo(known.servers, server.id);
    const bool direct = server.parent.IsZero();
    const std::string below = direct             ? "this mirror"
                              : chain.size() > 1 ? NameOf(chain[chain.size() - 2])
                                                 : server.parent.ToString();
    table.push_back({Cut(NameOf(server), kNameWidth), server.is_replica ? "replica" : "autonomous",
                     server.version.empty() ? "-" : EscapeForDisplay(server.version, 32),
                     Ago(server.last_contact, known.now), Ago(server.last_sync_time, known.now),
                     Ago(server.last_rollup_time, known.now),
                     std::to_string(known.ComputersOf(server)), Cut(below, kNameWidth)});
    list.push_back(ToJson(known, server));
  }
  if (known.servers.empty()) {
    context.Print(
        "no update server has come yet; they come by themselves when their upstream is "
        "'gapferry serve' of this mirror");
  } else {
    context.Print(FormatTable(table));
  }
  context.Emit({{"servers", std::move(list)}});
  return ExitCode::kDone;
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const Known known, ReadKnown(mirror));
  TRY_ASSIGN(const auto server, FindServer(context, known, *context.args().Text("SERVER")));
  context.Print(NameOf(server));
  std::vector<std::vector<std::string>> table = {
      {"  guid", server.id.ToString()},
      {"  kind", server.is_replica ? "replica: follows the approvals from here"
                                   : "autonomous: approves by itself"},
      {"  version", server.version.empty() ? "not told yet" : EscapeForDisplay(server.version, 32)},
      {"  way", ChainText(known, server)},
      {"  first seen", Minute(server.first_seen)},
      {"  contact", When(server.last_contact, known.now)},
      {"  last sync", When(server.last_sync_time, known.now)},
      {"  last rollup", When(server.last_rollup_time, known.now)},
      {"  computers", std::to_string(known.ComputersOf(server))}};
  if (!server.site.IsZero()) {
    table.push_back({"  told by", "returns of site " + server.site.ToString()});
  }
  const auto below = mirror::WithThoseBelow(known.servers, server.id);
  if (below.size() > 1) {
    std::vector<std::string> names;
    for (std::size_t i = 1; i < below.size(); ++i) names.push_back(NameOf(below[i]));
    table.push_back({"  below it", fmt::format("{}", fmt::join(names, ", "))});
  }
  context.Print(FormatTable(table));
  json object = ToJson(known, server);
  object["below"] = json::array();
  for (std::size_t i = 1; i < below.size(); ++i) object["below"].push_back(below[i].id.ToString());
  if (server.summary) {
    const auto& sums = *server.summary;
    object["summary"] = {{"updates", sums.update_count},
                         {"approved", sums.approved_update_count},
                         {"declined", sums.declined_update_count},
                         {"computers", sums.computer_target_count},
                         {"computers_needing_updates", sums.computer_targets_needing_updates_count},
                         {"computers_with_errors", sums.computer_targets_with_update_errors_count},
                         {"computers_up_to_date", sums.computers_up_to_date_count}};
  }
  context.Emit(object);
  return ExitCode::kDone;
}

// ---- remove ------------------------------------------------------------------------------------

Result<ExitCode> RunRemove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const Known known, ReadKnown(mirror));
  TRY_ASSIGN(const auto server, FindServer(context, known, *context.args().Text("SERVER")));
  const auto doomed = mirror::WithThoseBelow(known.servers, server.id);
  std::uint64_t computers = 0;
  for (const auto& one : doomed) {
    const auto found = known.computers.find(one.id);
    if (found != known.computers.end()) computers += found->second;
  }
  std::string what = fmt::format("server '{}'", NameOf(server));
  if (doomed.size() > 1)
    what += fmt::format(" with {} below it", Plural(doomed.size() - 1, "server"));
  what += fmt::format(" and {} with their status", Plural(computers, "computer"));
  TRY(context.Confirm("Forget " + what + "?"));
  TRY_ASSIGN(mirror::Activity* const activity, mirror.activity());
  const json detail = {{"name", server.name}, {"servers", doomed.size()}, {"computers", computers}};
  mirror::RemovedServers removed;
  TRY(ChangeAudited(mirror,
                    {mirror::CurrentActor(), "downstream.remove", server.id.ToString(),
                     detail.dump(-1, ' ', false, json::error_handler_t::replace)},
                    [&]() -> Result<void> {
                      TRY_ASSIGN(removed, mirror::RemoveServer(*activity, server.id));
                      return {};
                    }));
  context.Print(fmt::format("{} forgotten", what));
  context.Print("should it synchronise from here again, it comes back with all it reports");
  context.Emit({{"guid", server.id.ToString()},
                {"name", server.name},
                {"servers", removed.servers},
                {"computers", removed.computers}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> DownstreamCommands() {
  return {
      {.path = {"downstream", "list"},
       .summary = "update servers that synchronise from this mirror",
       .description = "Servers come by themselves: a WSUS or gapferry whose upstream is this "
                      "mirror is listed from its first\ncall on, those below it when a rollup or a "
                      "return has told of them.",
       .examples = {{"gapferry downstream list"}, {"gapferry downstream list --json"}},
       .exits = {ExitCode::kNotFound},
       .run = RunList},
      {.path = {"downstream", "show"},
       .summary = "one update server below, and the way to it",
       .examples = {{"gapferry downstream show harbour.example"},
                    {"gapferry downstream show 5c1c6a7e-3f3b-4f0a-9a53-0c8f8a3f6f10 --json"}},
       .options = {{"SERVER", Takes::kText, {}, "name or GUID", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
      {.path = {"downstream", "remove"},
       .summary = "forget an update server that is gone, with its computers",
       .description = "Also those below it. It is not told anything: a server that still "
                      "synchronises from here comes back\nwith its next call.",
       .examples = {{"gapferry downstream remove harbour.example"},
                    {"gapferry downstream remove harbour.example --yes"}},
       .options = {{"SERVER", Takes::kText, {}, "name or GUID", true}},
       .asks = true,
       .exits = {ExitCode::kNotFound},
       .run = RunRemove},
  };
}

}  // namespace gapferry::cli
