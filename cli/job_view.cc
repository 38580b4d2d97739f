#include "cli/job_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/progress.h"

namespace gapferry::cli {
namespace {

using mirror::JobResult;
using nlohmann::json;

std::uint64_t Count(const json& detail, const char* key) {
  const auto found = detail.find(key);
  if (found == detail.end() || !found->is_number_integer()) return 0;
  return found->get<std::int64_t>() < 0 ? 0 : found->get<std::uint64_t>();
}

/// The counters of a sync, by the names it leaves them under.
struct SyncCounts {
  std::uint64_t listed, fresh, expired, withdrawn, refused, files, bytes, waiting, failed;
};

SyncCounts CountsOfSync(const json& detail) {
  return {Count(detail, "listed"),
          Count(detail, "new_revisions") + Count(detail, "new_categories"),
          Count(detail, "expired"),
          Count(detail, "withdrawn"),
          Count(detail, "refused"),
          Count(detail, "content_fetched"),
          Count(detail, "content_bytes"),
          Count(detail, "content_waiting"),
          Count(detail, "content_failed")};
}

class Sentence {
 public:
  void Add(std::uint64_t count, std::string_view what) {
    if (count > 0) Add(fmt::format("{} {}", count, what));
  }
  void Add(const std::string& part) { text_ += (text_.empty() ? "" : ", ") + part; }
  std::string text() const { return text_; }

 private:
  std::string text_;
};

std::string SyncText(const json& detail) {
  if (!detail.contains("new_revisions")) return {};
  const SyncCounts counts = CountsOfSync(detail);
  Sentence sentence;
  sentence.Add(fmt::format("{} listed", counts.listed));
  sentence.Add(fmt::format("{} new", counts.fresh));
  sentence.Add(counts.expired, "expired");
  sentence.Add(counts.withdrawn, "withdrawn");
  sentence.Add(counts.refused, "refused");
  if (counts.files > 0) {
    sentence.Add(
        fmt::format("{} of {}", Plural(counts.files, "file"), FormatByteCount(counts.bytes)));
  }
  sentence.Add(counts.waiting, "files not there yet");
  sentence.Add(counts.failed, "files not fetched");
  return sentence.text();
}

std::string RollupText(const json& detail) {
  if (!detail.contains("computers")) return {};
  Sentence sentence;
  sentence.Add(Plural(Count(detail, "servers"), "server"));
  sentence.Add(Plural(Count(detail, "computers"), "changed computer"));
  sentence.Add(Plural(Count(detail, "states"), "state"));
  return sentence.text();
}

}  // namespace

std::string DurationText(std::int64_t seconds) {
  if (seconds < 90) return fmt::format("{} s", std::max<std::int64_t>(seconds, 0));
  if (seconds < 90 * 60) return fmt::format("{} min", (seconds + 30) / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", (seconds + 1800) / 3600);
  return fmt::format("{} days", seconds / 86400);
}

std::string Distance(UtcTime moment, UtcTime now) {
  constexpr std::int64_t kNow = 30;
  const std::int64_t seconds = now.UnixSeconds() - moment.UnixSeconds();
  if (seconds > -kNow && seconds < kNow) return "just now";
  return seconds > 0 ? DurationText(seconds) + " ago" : "in " + DurationText(-seconds);
}

std::string CountsText(const mirror::JobRecord& job) {
  const json detail = DetailToJson(job.detail);
  if (job.kind == "sync") return SyncText(detail);
  return job.kind == "rollup" ? RollupText(detail) : std::string();
}

json CountsToJson(const mirror::JobRecord& job) {
  const json detail = DetailToJson(job.detail);
  if (job.kind != "sync" || !detail.contains("new_revisions")) return json::object();
  const SyncCounts counts = CountsOfSync(detail);
  return {{"listed", counts.listed},       {"new", counts.fresh},
          {"expired", counts.expired},     {"refused", counts.refused},
          {"withdrawn", counts.withdrawn}, {"files", counts.files},
          {"bytes", counts.bytes},         {"files_waiting", counts.waiting},
          {"files_failed", counts.failed}};
}

Error ErrorOf(const mirror::JobRecord& job) {
  const json detail = DetailToJson(job.detail);
  const auto text = [&detail](const char* key) -> std::string {
    const auto found = detail.find(key);
    if (found == detail.end() || !found->is_string()) return {};
    return EscapeForDisplay(found->get_ref<const std::string&>(), 600);
  };
  return {ErrorCode::kInternal, text("error"), text("reason"), text("next")};
}

std::string_view ResultText(JobResult result) {
  switch (result) {
    case JobResult::kRunning:
      return "running now";
    case JobResult::kPartly:
      return "partly done";
    case JobResult::kInterrupted:
      return "broken off";
    case JobResult::kDone:
    case JobResult::kFailed:
    case JobResult::kCancelled:
    case JobResult::kPostponed:
      return mirror::JobResultName(result);
  }
  return "unknown";
}

std::string ActorText(const mirror::JobRecord& job) {
  const auto colon = job.actor.find(':');
  return EscapeForDisplay(colon == std::string::npos ? job.actor : job.actor.substr(colon + 1), 40);
}

std::string StepText(const mirror::JobStep& step) {
  return FormatProgress({.step = EscapeForDisplay(step.step, 80),
                         .items = step.items,
                         .total_items = step.total_items,
                         .bytes = step.bytes,
                         .total_bytes = step.total_bytes,
                         .seconds = step.seconds});
}

json HolderToJson(const mirror::JobLock::Holder& holder) {
  if (!holder.held) return nullptr;
  const mirror::JobNote& note = holder.note;
  json object = {{"kind", note.kind},
                 {"job", note.job},
                 {"actor", note.actor},
                 {"process", note.process},
                 {"started", TimeToJson(note.since)},
                 {"progress", nullptr}};
  if (note.step) object["progress"] = json::parse(mirror::JobStepToJson(*note.step));
  return object;
}

Result<std::vector<NextRunView>> ReadNextRuns(mirror::Mirror& mirror,
                                              const mirror::Schedule& schedule) {
  std::vector<NextRunView> views;
  for (const std::string_view kind : mirror::kScheduledKinds) {
    NextRunView view;
    view.kind = kind;
    view.text = mirror::KindText(schedule, kind);
    if (view.text == "never") continue;
    TRY_ASSIGN(view.due, mirror::NextRunOf(mirror, schedule, kind));
    views.push_back(std::move(view));
  }
  return views;
}

std::string NextRunText(const mirror::DueRun& due, UtcTime now) {
  std::string text = due.at <= now
                         ? std::string("at once")
                         : fmt::format("{}, {}", LocalMinute(due.at), Distance(due.at, now));
  if (due.reason == mirror::DueReason::kMissed) text += ": its time was missed";
  if (due.reason == mirror::DueReason::kRetry) {
    text += fmt::format(": attempt {} after a failure", due.attempt);
  }
  return text;
}

json NextRunToJson(const NextRunView& view) {
  json object = {{"kind", view.kind}, {"schedule", view.text}, {"next", nullptr}};
  if (!view.due) return object;
  object["next"] = TimeToJson(view.due->at);
  object["next_local"] = LocalMinute(view.due->at);
  object["reason"] = view.due->reason == mirror::DueReason::kTime     ? "time"
                     : view.due->reason == mirror::DueReason::kMissed ? "missed"
                                                                      : "retry";
  object["attempt"] = view.due->attempt;
  return object;
}

}  // namespace gapferry::cli
