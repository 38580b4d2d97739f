// gapferry update block, unblock: what is not offered here, whoever approves it.
#include "mirror/update_block.h"

#include <fmt/format.h>

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

Result<std::vector<Guid>> ReadGuids(Context& context, mirror::Mirror& mirror) {
  TRY_ASSIGN(const auto rows, FindUpdates(context, mirror, context.args().List("ID")));
  std::set<Guid> guids;
  for (const auto& row : rows) guids.insert(row.update.guid);
  return std::vector<Guid>(guids.begin(), guids.end());
}

Result<json> Tell(Context& context, mirror::Mirror& mirror, const std::vector<Guid>& updates,
                  std::string_view done) {
  json list = json::array();
  for (const Guid& guid : updates) {
    TRY_ASSIGN(const std::string title, TitleOf(mirror, guid));
    context.Print(fmt::format("{}: {}", done, title));
    list.push_back({{"guid", guid.ToString()}, {"title", title}});
  }
  return list;
}

Result<ExitCode> RunBlock(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto updates, ReadGuids(context, mirror));
  auto blocked = mirror::BlockUpdates(mirror, updates, context.args().TextOr("reason", ""),
                                      mirror::CurrentActor());
  if (!blocked) {
    return WithNext(std::move(blocked).error(), NextCommand(context, "update list TEXT"));
  }
  TRY_ASSIGN(json list, Tell(context, mirror, updates, "blocked"));
  TRY_ASSIGN(const auto parents, mirror::NotOfferedByBlocks(mirror));
  context.Print(fmt::format("{} blocked before; no computer is offered {} by this mirror{}",
                            Plural(updates.size() - *blocked, "was", "were"),
                            updates.size() == 1 ? "it" : "them",
                            mirror.config().upstream.gap ? ", and the next return says so" : ""));
  if (*blocked < updates.size() && context.args().Text("reason")) {
    context.Warn(
        "what was blocked before keeps its reason: 'gapferry update unblock' it first to "
        "give another");
  }
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  context.Emit({{"blocked", std::move(list)},
                {"newly_blocked", *blocked},
                {"not_offered", parents.size()},
                {"generation", state.name.generation}});
  return ExitCode::kDone;
}

Result<ExitCode> RunUnblock(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto updates, ReadGuids(context, mirror));
  TRY_ASSIGN(const auto lifted, mirror::UnblockUpdates(mirror, updates, mirror::CurrentActor()));
  TRY_ASSIGN(json list, Tell(context, mirror, updates, "not blocked"));
  if (lifted < updates.size()) {
    context.Print(fmt::format("{} not blocked before",
                              Plural(updates.size() - lifted, "of them was", "of them were")));
  }
  TRY_ASSIGN(const auto state, mirror.catalog().Published());
  context.Emit(
      {{"unblocked", std::move(list)}, {"lifted", lifted}, {"generation", state.name.generation}});
  return ExitCode::kDone;
}

const Option kId{"ID", Takes::kList, {}, "a GUID; see 'gapferry update list'", true};

}  // namespace

std::vector<Command> UpdateBlockCommands() {
  return {
      {.path = {"update", "block"},
       .summary = "never offer updates here, whoever approves them",
       .description = "A block is a decision of this mirror and stands above every approval, also "
                      "on a replica. It stops\nwhat bundles the update too, is passed on to no "
                      "mirror below, and is told upward with the next return.",
       .examples = {{"gapferry update block 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 --reason 'stops "
                     "the crane control'"},
                    {"gapferry update unblock 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"}},
       .options = {kId,
                   {"--reason", Takes::kText, "TEXT",
                    "why, in a line; the level of returns decides whether it leaves"}},
       .exits = {ExitCode::kNotFound},
       .run = RunBlock},
      {.path = {"update", "unblock"},
       .summary = "lift blocks; approvals count again",
       .examples = {{"gapferry update unblock 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"}},
       .options = {kId},
       .exits = {ExitCode::kNotFound},
       .run = RunUnblock},
  };
}

}  // namespace gapferry::cli
