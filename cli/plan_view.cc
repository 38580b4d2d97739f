#include "cli/plan_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::cli {

using importer::ImportPlan;
using nlohmann::json;

namespace {

json ItemsToJson(const std::vector<ImportPlan::Item>& items) {
  json list = json::array();
  for (const auto& item : items) {
    list.push_back({{"update", item.update.ToString()}, {"title", item.title}});
  }
  return list;
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

/// Licences, where decisions go, and who wins where they meet others.
void AppendIntent(std::string& text, const ImportPlan& plan) {
  if (plan.eulas_accepted + plan.eulas_ended > 0) {
    text += fmt::format("  licences   {} accepted, {} taken back\n", plan.eulas_accepted,
                        plan.eulas_ended);
  }
  if (plan.unlisted > 0) {
    text += fmt::format(
        "  {} revisions are here that this full bundle does not name: they are withdrawn\n",
        plan.unlisted);
  }
  if (plan.hold || plan.decides_itself) {
    text += fmt::format("  decisions  wait as proposals{}: gapferry proposal list\n",
                        plan.hold ? "" : ", this mirror decides by itself");
  }
  constexpr std::size_t kShown = 20;
  for (std::size_t i = 0; i < std::min(plan.conflicts.size(), kShown); ++i) {
    const auto& one = plan.conflicts[i];
    text += fmt::format("  conflict   {}{}: here {}, above {}; {} wins\n",
                        EscapeForDisplay(one.title.empty() ? one.update.ToString() : one.title, 80),
                        one.group.empty() ? "" : " for " + EscapeForDisplay(one.group, 40),
                        one.here, one.above, one.here_wins ? "here" : "above");
  }
  if (plan.conflict_count > kShown) {
    text += fmt::format("  conflict   and {} more\n", plan.conflict_count - kShown);
  }
  if (plan.clock_behind) {
    text += "  clock      of this machine lies before the bundle was written: deadlines wait\n";
  }
}

}  // namespace

std::string EffectiveText(const std::optional<UtcTime>& effective) {
  return effective ? effective->ToXml() : "when this machine's clock can be believed";
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
                 {"unlisted", plan.unlisted},
                 {"declined", plan.declined},
                 {"undeclined", plan.undeclined},
                 {"groups_added", plan.groups_added},
                 {"groups_removed", plan.groups_removed},
                 {"eulas_accepted", plan.eulas_accepted},
                 {"eulas_ended", plan.eulas_ended},
                 {"hold", plan.hold},
                 {"decides_itself", plan.decides_itself},
                 {"clock_behind", plan.clock_behind},
                 {"conflict_count", plan.conflict_count},
                 {"conflicts", json::array()},
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
         {"effective", moved.effective ? json(moved.effective->ToXml()) : json()}});
  }
  for (const auto& one : plan.conflicts) {
    object["conflicts"].push_back({{"kind", one.kind},
                                   {"update", one.update.ToString()},
                                   {"title", one.title},
                                   {"group", one.group},
                                   {"here", one.here},
                                   {"above", one.above},
                                   {"wins", one.here_wins ? "here" : "above"}});
  }
  return object;
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
  AppendIntent(text, plan);
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

}  // namespace gapferry::cli
