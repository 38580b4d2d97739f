#include "cli/content_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"
#include "cli/admin_support.h"
#include "mirror/config.h"

namespace gapferry::cli {
namespace {

using exporter::ContentChoices;
using exporter::ContentReport;
using nlohmann::json;

constexpr std::size_t kShown = 10;

}  // namespace

std::vector<Option> ContentOptions() {
  return {{.name = "--wait-for-content",
           .takes = Takes::kText,
           .value = "TIME",
           .help = "wait so long (15m, 2h) for files the upstream was asked to fetch"},
          {.name = "--bandwidth",
           .takes = Takes::kText,
           .value = "BYTES",
           .help = "at most so many bytes per second for content (500K, 2M; 0: no limit)"},
          {.name = "--now", .help = "fetch content outside content.window too"}};
}

Result<ContentChoices> ContentChoicesOf(const Context& context) {
  ContentChoices choices;
  choices.ignore_window = context.args().Has("now");
  if (const auto text = context.args().Text("bandwidth")) {
    TRY_ASSIGN(choices.bandwidth, mirror::ParseBandwidth(*text), "--bandwidth");
  }
  if (const auto text = context.args().Text("wait-for-content")) {
    TRY_ASSIGN(choices.wait_for_content, mirror::ParseDuration(*text), "--wait-for-content");
  }
  return choices;
}

json ContentAsJson(const ContentReport& report) {
  json failed = json::array();
  for (const auto& one : report.failed) {
    failed.push_back({{"sha1", one.sha1.ToHex(HexCase::kUpper)},
                      {"reason", one.error.reason},
                      {"why", one.error.message}});
  }
  return {{"needed_files", report.needed_files},       {"needed_bytes", report.needed_bytes},
          {"fetched_files", report.fetched_files},     {"fetched_bytes", report.fetched_bytes},
          {"waiting_files", report.waiting_files},     {"asked_files", report.asked_files},
          {"postponed_files", report.postponed_files}, {"failed", std::move(failed)}};
}

void DescribeContent(Context& context, const ContentReport& report) {
  if (report.needed_files == 0) return;
  context.Print(fmt::format("content: {} of {} files, {} over the network", report.fetched_files,
                            report.needed_files, FormatByteCount(report.fetched_bytes)));
}

void WarnOfContent(Context& context, const ContentReport& report) {
  for (std::size_t i = 0; i < std::min(kShown, report.failed.size()); ++i) {
    context.Warn(fmt::format("not fetched: {}", report.failed[i].error.message));
  }
  if (report.failed.size() > kShown) {
    context.Warn(fmt::format("not fetched: {} in all", report.failed.size()));
  }
  if (report.waiting_files > 0 && report.asked_files > 0) {
    context.Warn(
        fmt::format("the upstream does not have {} yet and was asked for them; the next sync "
                    "fetches them",
                    Plural(report.waiting_files, "file")));
  } else if (report.waiting_files > 0) {
    context.Warn(
        fmt::format("the upstream does not have {} and was not asked for them "
                    "(content.ask_upstream in gapferry.yaml)",
                    Plural(report.waiting_files, "file")));
  }
  if (report.postponed_files > 0) {
    context.Warn(fmt::format("{} for content.window {}; now: {}",
                             Plural(report.postponed_files, "file waits", "files wait"),
                             report.window, NextCommand(context, "sync --now")));
  }
}

}  // namespace gapferry::cli
