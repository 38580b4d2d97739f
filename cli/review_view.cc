#include "cli/review_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::cli {
namespace {

using importer::ReviewPlan;
using nlohmann::json;

constexpr std::size_t kShown = 20;

void AppendMore(std::string& text, std::size_t count) {
  if (count > kShown) text += fmt::format("    and {} more\n", count - kShown);
}

void AppendItems(std::string& text, const std::vector<ReviewPlan::Item>& items) {
  for (std::size_t i = 0; i < std::min(items.size(), kShown); ++i) {
    text += fmt::format("    {} ({})\n", EscapeForDisplay(items[i].title, 100),
                        items[i].update.ToString());
  }
  AppendMore(text, items.size());
}

void AppendApprovals(std::string& text, const ReviewPlan& plan) {
  text += fmt::format("  approvals  {}, ended {}\n", plan.approvals_count, plan.approvals_ended);
  for (std::size_t i = 0; i < std::min(plan.approvals.size(), kShown); ++i) {
    const auto& one = plan.approvals[i];
    const std::string what =
        one.title.empty() ? one.update.ToString() : EscapeForDisplay(one.title, 80);
    text += fmt::format("    {} for {}: {}{}\n", one.action, EscapeForDisplay(one.group, 40), what,
                        one.deadline ? ", deadline " + one.deadline->ToXml() : "");
  }
  AppendMore(text, plan.approvals_count);
}

void AppendNew(std::string& text, const char* what, const std::vector<std::string>& values) {
  for (std::size_t i = 0; i < std::min(values.size(), kShown); ++i) {
    text += fmt::format("  NEW {}  {}\n", what, EscapeForDisplay(values[i], 160));
  }
  if (values.size() > kShown) {
    text += fmt::format("  NEW {}  and {} more\n", what, values.size() - kShown);
  }
}

std::string PlanText(const ReviewPlan& plan) {
  std::string text = fmt::format("  updates    {}, and {} that expired ({} documents)\n",
                                 plan.updates, plan.expired, plan.documents);
  AppendItems(text, plan.items);
  text += fmt::format(
      "  withdrawn  {}\n  declined   {}, no longer declined {}\n  groups     {}, ended {}\n"
      "  licences   {}\n",
      plan.withdrawn, plan.declined, plan.undeclined, plan.groups, plan.groups_ended,
      plan.licences);
  AppendApprovals(text, plan);
  text +=
      fmt::format("  files      {}, {}\n", plan.content_files, FormatByteCount(plan.content_bytes));
  AppendNew(text, "handler  ", plan.new_handlers);
  AppendNew(text, "publisher", plan.new_publishers);
  AppendNew(text, "command  ", plan.new_commands);
  if (!plan.locally_published.empty()) {
    text += "  locally published updates:\n";
    AppendItems(text, plan.locally_published);
  }
  if (plan.files_without_sha256 > 0) {
    text += fmt::format("  {} files are declared without SHA-256\n", plan.files_without_sha256);
  }
  return text;
}

json ItemsToJson(const std::vector<ReviewPlan::Item>& items) {
  json list = json::array();
  for (const auto& item : items) {
    list.push_back({{"update", item.update.ToString()}, {"title", item.title}});
  }
  return list;
}

void AddPlan(json& object, const ReviewPlan& plan) {
  json approvals = json::array();
  for (const auto& one : plan.approvals) {
    approvals.push_back({{"update", one.update.ToString()},
                         {"title", one.title},
                         {"group", one.group},
                         {"action", one.action},
                         {"deadline", one.deadline ? json(one.deadline->ToXml()) : json()}});
  }
  object.update({{"documents", plan.documents},
                 {"updates", plan.updates},
                 {"expired", plan.expired},
                 {"items", ItemsToJson(plan.items)},
                 {"withdrawn", plan.withdrawn},
                 {"declined", plan.declined},
                 {"undeclined", plan.undeclined},
                 {"groups", plan.groups},
                 {"groups_ended", plan.groups_ended},
                 {"licences", plan.licences},
                 {"approvals", std::move(approvals)},
                 {"approvals_count", plan.approvals_count},
                 {"approvals_ended", plan.approvals_ended},
                 {"content_files", plan.content_files},
                 {"content_bytes", plan.content_bytes},
                 {"new_handlers", plan.new_handlers},
                 {"new_publishers", plan.new_publishers},
                 {"new_commands", plan.new_commands},
                 {"locally_published", ItemsToJson(plan.locally_published)},
                 {"files_without_sha256", plan.files_without_sha256}});
}

}  // namespace

std::string ReviewText(const manifests::VerifiedManifest& verified,
                       const std::optional<ReviewPlan>& plan) {
  const auto& manifest = verified.manifest();
  const auto& origin = verified.signatures().origin;
  std::string text = fmt::format("{}, made on {}\n  from       {} (key {})\n",
                                 manifest.DirectoryName(), manifest.created.ToXml(),
                                 EscapeForDisplay(origin.name, 64), origin.key.Id().ToHex());
  for (const auto& recipient : manifest.recipients) {
    text += fmt::format("  for        {} ({})\n", EscapeForDisplay(recipient.name, 64),
                        recipient.guid.ToString());
  }
  if (!plan) {
    return text +
           "  SEALED     every stored byte is as it was signed; what it carries was not seen\n";
  }
  text += fmt::format("  scope      {}, generation {} to {}; every byte is as it was signed\n",
                      manifests::ScopeName(manifest.scope), manifest.base.generation,
                      manifest.target.generation);
  return text + PlanText(*plan);
}

json ReviewToJson(const manifests::VerifiedManifest& verified,
                  const std::optional<ReviewPlan>& plan) {
  const auto& manifest = verified.manifest();
  json object = {{"bundle", manifest.DirectoryName()},
                 {"manifest_sha256", verified.digest().ToHex()},
                 {"sender", manifest.sender.guid.ToString()},
                 {"seen", plan.has_value()}};
  if (plan) AddPlan(object, *plan);
  return object;
}

}  // namespace gapferry::cli
