// gapferry site group add|list|remove: sites that are sent the same bundles.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/site_view.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxNameBytes = 64;

Result<std::vector<mirror::Site>> NamedSites(const Context& context, mirror::Ledger& ledger) {
  std::vector<mirror::Site> out;
  for (const std::string& text : context.args().List("SITE")) {
    TRY_ASSIGN(auto site, FindSite(context, ledger, text));
    out.push_back(std::move(site));
  }
  return out;
}

Result<std::vector<std::string>> Members(mirror::Ledger& ledger, const mirror::SiteGroup& group) {
  std::vector<std::string> streams;
  for (const Guid& guid : group.members) {
    TRY_ASSIGN(const auto site, ledger.SiteByGuid(guid));
    if (site) streams.push_back(site->stream);
  }
  std::ranges::sort(streams);
  return streams;
}

Result<json> ToJson(mirror::Ledger& ledger, const mirror::SiteGroup& group) {
  TRY_ASSIGN(const auto members, Members(ledger, group));
  return json{{"guid", group.guid.ToString()},
              {"stream", group.stream},
              {"name", group.name},
              {"last_sequence", group.last_sequence},
              {"sites", members}};
}

Result<ExitCode> Add(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Ledger ledger(mirror.db());
  const std::string name = *context.args().Text("NAME");
  if (name.empty() || name.size() > kMaxNameBytes || EscapeForDisplay(name, 256) != name) {
    return Fail(ErrorCode::kUsage,
                "a group of sites has a name of 1 to 64 bytes without control "
                "characters");
  }
  TRY_ASSIGN(const auto sites, NamedSites(context, ledger));
  auto added = ledger.AddToGroup(name, sites, mirror.clock().Now(), mirror::CurrentActor());
  if (!added) {
    return WithNext(std::move(added.error()),
                    NextCommand(context, "site group add ANOTHER-NAME SITE..."));
  }
  const mirror::SiteGroup& group = *added;
  context.Print("group " + group.stream + " has " + Plural(group.members.size(), "site") +
                "; bundles for all of them: gapferry export --to DIR --for " + group.stream);
  TRY_ASSIGN(const json object, ToJson(ledger, group));
  context.Emit(object);
  return ExitCode::kDone;
}

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto groups, ledger.Groups());
  std::vector<std::vector<std::string>> rows = {{"GROUP", "NAME", "LAST BUNDLE", "SITES"}};
  for (const auto& group : groups) {
    TRY_ASSIGN(const auto members, Members(ledger, group));
    std::string sites;
    for (const std::string& one : members) sites += (sites.empty() ? "" : ", ") + one;
    rows.push_back({group.stream, EscapeForDisplay(group.name, 40),
                    std::to_string(group.last_sequence), sites.empty() ? "-" : sites});
    TRY_ASSIGN(const json object, ToJson(ledger, group));
    context.Emit(object);
  }
  context.Print(groups.empty() ? "no groups of sites" : FormatTable(rows));
  return ExitCode::kDone;
}

Result<ExitCode> Remove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  mirror::Ledger ledger(mirror.db());
  auto found = ledger.FindGroup(*context.args().Text("GROUP"));
  if (!found) {
    return WithNext(std::move(found.error()), NextCommand(context, "site group list"));
  }
  const mirror::SiteGroup& group = *found;
  TRY_ASSIGN(const auto sites, NamedSites(context, ledger));
  TRY(context.Confirm(
      sites.empty() ? "No bundles will be written for " + group.stream + ". Remove it?"
                    : "Take " + Plural(sites.size(), "site") + " out of " + group.stream + "?"));
  TRY_ASSIGN(const auto removed,
             ledger.RemoveFromGroup(group, sites, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print(sites.empty() ? "group " + group.stream + " is removed"
                              : Plural(removed, "site") + " left " + group.stream);
  context.Emit({{"group", group.stream}, {"removed_sites", removed}, {"gone", sites.empty()}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> SiteGroupCommands() {
  return {{.path = {"site", "group", "add"},
           .summary = "make a group of sites, or add sites to one",
           .description =
               "A group has a stream of its own: one bundle brings all its sites from the oldest "
               "state among them to the present one. Each acknowledges it by its own return.",
           .examples = {{"gapferry site group add fleet ship-1 ship-2",
                         "then: gapferry export --to DIR --for fleet"}},
           .options = {{"NAME", Takes::kText, {}, "of the group", true},
                       {"SITE", Takes::kList, {}, "stream, name or GUID of a site", true}},
           .exits = {ExitCode::kNotFound},
           .run = Add},
          {.path = {"site", "group", "list"},
           .summary = "list the groups of sites",
           .examples = {{"gapferry site group list", "one line per group"}},
           .run = List},
          {.path = {"site", "group", "remove"},
           .summary = "take sites out of a group, or end it",
           .examples = {{"gapferry site group remove fleet ship-2", "the others stay"},
                        {"gapferry site group remove fleet", "the whole group"}},
           .options = {{"GROUP", Takes::kText, {}, "stream, name or GUID of a group", true},
                       {"SITE", Takes::kList, {}, "stream, name or GUID of a site"}},
           .asks = true,
           .exits = {ExitCode::kNotFound},
           .run = Remove}};
}

}  // namespace gapferry::cli
