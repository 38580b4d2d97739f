#include "cli/export_plan_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/when.h"

namespace gapferry::cli {
namespace {

using exporter::ContentPlan;
using exporter::ExportPlan;
using nlohmann::json;

json LeftOutToJson(const ContentPlan::LeftOut& left_out) {
  return {{"updates", left_out.updates}, {"bytes", left_out.bytes}};
}

json ContentToJson(const ContentPlan& content) {
  return {{"content_files", content.files.size()},
          {"content_bytes", content.bytes},
          {"held_by_site", content.believed},
          {"missing_files", content.missing},
          {"replaced_updates", content.replaced_updates},
          {"left_out",
           {{"language", LeftOutToJson(content.by_language)},
            {"architecture", LeftOutToJson(content.by_architecture)},
            {"blocked_there", LeftOutToJson(content.by_block)},
            {"withheld_there", content.withheld},
            {"max_bytes",
             {{"files", content.over_limit_files},
              {"bytes", content.over_limit_bytes},
              {"limit", content.max_bytes},
              {"never_fitting", content.never_fitting_files}}}}},
          {"requests",
           {{"files", content.requests},
            {"honoured", content.requests_honoured},
            {"filtered", content.requests_filtered}}}};
}

json PlanToJson(const ExportPlan& plan) {
  json recipients = json::array();
  for (const auto& site : plan.site.recipients) recipients.push_back(site.stream);
  json approvals = json::array();
  for (const auto& of : plan.approvals.groups) {
    approvals.push_back(
        {{"group", of.group}, {"approvals", of.approvals}, {"deadlines", of.deadlines}});
  }
  json object = {{"site", plan.site.stream},
                 {"recipients", recipients},
                 {"sequence", plan.site.last_sequence + 1},
                 {"encrypted", !plan.seal_for.empty()},
                 {"scope", plan.full ? "full" : "delta"},
                 {"base", plan.base.name.generation},
                 {"target", plan.target.name.generation},
                 {"revisions_listed", plan.revisions_listed},
                 {"revisions_carried", plan.revisions_carried},
                 {"document_bytes", plan.document_bytes},
                 {"updates",
                  {{"added", plan.updates.added},
                   {"revised", plan.updates.revised},
                   {"expired", plan.updates.expired},
                   {"withdrawn", plan.updates.withdrawn}}},
                 {"approvals", approvals},
                 {"groups", plan.intent.intent.groups.size()},
                 {"deployments", plan.intent.intent.deployments.size()},
                 {"deployments_ended", plan.approvals.ended},
                 {"declined", plan.intent.intent.declined.size()},
                 {"undeclined", plan.intent.intent.undeclined.size()},
                 {"first_deadline", nullptr},
                 {"dangling", plan.dangling.size()},
                 {"bytes_needed", plan.BytesNeeded()},
                 {"seconds", plan.Seconds()}};
  if (plan.approvals.first_deadline) {
    object["first_deadline"] = plan.approvals.first_deadline->ToXml();
  }
  object.update(ContentToJson(plan.content));
  return object;
}

std::string Line(std::string_view name, const std::string& text) {
  return fmt::format("  {:<12}{}\n", name, text);
}

std::string ApprovalLines(const ExportPlan& plan) {
  std::string text;
  for (const auto& of : plan.approvals.groups) {
    const std::string deadlines =
        of.deadlines == 0 ? "" : fmt::format(", {} with a deadline", of.deadlines);
    text += Line(text.empty() ? "approvals" : "",
                 fmt::format("{}: {}{}", EscapeForDisplay(of.group, 64), of.approvals, deadlines));
  }
  if (text.empty()) text = Line("approvals", "none new");
  if (plan.approvals.ended > 0) text += Line("", fmt::format("{} ended", plan.approvals.ended));
  if (plan.approvals.first_deadline) {
    text += Line("deadlines", "the first one on " + plan.approvals.first_deadline->ToXml());
  }
  return text;
}

std::string LeftOutLines(const ContentPlan& content) {
  std::string text;
  const auto add = [&](const std::string& line) {
    text += Line(text.empty() ? "left out" : "", line);
  };
  const auto updates = [&](const ContentPlan::LeftOut& left_out, std::string_view why) {
    if (left_out.updates == 0) return;
    add(fmt::format("{} updates ({}) {}", left_out.updates, FormatByteCount(left_out.bytes), why));
  };
  updates(content.by_language, "in languages that are not sent there");
  updates(content.by_architecture, "for architectures that are not sent there");
  updates(content.by_block, "that the site blocks");
  if (content.replaced_updates > 0) {
    add(fmt::format("{} approved updates that others replace: metadata only",
                    content.replaced_updates));
  }
  if (content.withheld > 0) add(fmt::format("{} files that the site withholds", content.withheld));
  if (content.over_limit_files > 0) {
    add(fmt::format("{} files, {}, above the limit of {}: with the next bundle",
                    content.over_limit_files, FormatByteCount(content.over_limit_bytes),
                    FormatByteCount(content.max_bytes)));
  }
  if (content.requests_filtered > 0) {
    add(fmt::format("{} requested files that the site's settings leave out",
                    content.requests_filtered));
  }
  return text;
}

std::string PlanText(const ExportPlan& plan) {
  const ContentPlan& content = plan.content;
  std::string text =
      fmt::format("bundle {} for {}: {}, from generation {} to {}\n", plan.site.last_sequence + 1,
                  EscapeForDisplay(plan.site.name, 64), plan.full ? "full" : "delta",
                  plan.base.name.generation, plan.target.name.generation);
  if (plan.site.is_group) {
    std::string names;
    for (const auto& site : plan.site.recipients)
      names += (names.empty() ? "" : ", ") + site.stream;
    text += Line("sites", names);
  }
  text += Line("updates",
               fmt::format("{} added, {} revised, {} expired, {} withdrawn", plan.updates.added,
                           plan.updates.revised, plan.updates.expired, plan.updates.withdrawn));
  const std::string others =
      plan.revisions_carried == plan.revisions_listed ? "" : "; the others are there";
  text += Line("documents",
               fmt::format("{} of {} ({}{})", plan.revisions_carried, plan.revisions_listed,
                           FormatByteCount(plan.document_bytes), others));
  text += ApprovalLines(plan);
  text += Line("declined", fmt::format("{}, {} not any more", plan.intent.intent.declined.size(),
                                       plan.intent.intent.undeclined.size()));
  text += Line("files", fmt::format("{}, {}; {} are held there", content.files.size(),
                                    FormatByteCount(content.bytes), content.believed));
  text += LeftOutLines(content);
  if (content.requests > 0) {
    text += Line("requests", fmt::format("{} files asked for, {} of them in this bundle",
                                         content.requests, content.requests_honoured));
  }
  if (content.missing > 0) {
    text += Line("not held", fmt::format("{} files that are needed are not here", content.missing));
  }
  return text;
}

}  // namespace

Result<void> PrintExportPlan(Context& context, const ExportPlan& plan,
                             const std::filesystem::path& to) {
  json object = PlanToJson(plan);
  std::string text = PlanText(plan);
  std::string room;
  if (!to.empty()) {
    TRY_ASSIGN(const std::uint64_t free, FreeBytes(to));
    object["bytes_free"] = free;
    room = fmt::format(", {} free at {}", FormatByteCount(free), to.string());
  }
  text += Line("needs", fmt::format("about {}{}, about {} s", FormatByteCount(plan.BytesNeeded()),
                                    room, plan.Seconds()));
  context.Print(text);
  if (plan.content.never_fitting_files > 0) {
    context.Warn(
        fmt::format("{} files are larger than --max-bytes ({}) and are never sent: gapferry "
                    "site set SITE --max-bytes BYTES",
                    plan.content.never_fitting_files, plan.content.max_bytes));
  }
  context.Emit(object);
  return {};
}

Result<exporter::ResendSince> ParseResendSince(const std::string& text, UtcTime now) {
  exporter::ResendSince since;
  if (const auto number = ParseInt<std::uint64_t>(text); number && *number > 0) {
    since.sequence = *number;
    return since;
  }
  auto time = ParseSince(text, now);
  if (!time) {
    return Fail(ErrorCode::kUsage, "--resend-since takes the number of a bundle or a day, not '" +
                                       EscapeForDisplay(text, 40) + "'");
  }
  since.time = *time;
  return since;
}

}  // namespace gapferry::cli
