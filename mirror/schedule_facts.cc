#include "mirror/schedule_facts.h"

#include <nlohmann/json.hpp>
#include <string>

#include "mirror/audit.h"
#include "mirror/identity.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {
namespace {

/// More than a day of retries, so that none is counted anew.
constexpr int kRunsRead = 100;

/// A failure that says nothing about itself is taken for final.
bool SaysRetryable(const std::string& detail) {
  const auto object = nlohmann::json::parse(detail, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return false;
  const auto code = object.find("code");
  if (code == object.end() || !code->is_string()) return false;
  for (const ErrorCode retryable : {ErrorCode::kTransient, ErrorCode::kBusy}) {
    if (code->get<std::string>() == ErrorCodeName(retryable)) return true;
  }
  return false;
}

RunOutcome OutcomeOf(const JobRecord& job) {
  switch (job.result) {
    case JobResult::kRunning:  // until it has ended there is nothing to start
    case JobResult::kDone:
    case JobResult::kPartly:
      return RunOutcome::kGood;
    case JobResult::kCancelled:
      return RunOutcome::kFinal;
    case JobResult::kInterrupted:
    case JobResult::kPostponed:
      return RunOutcome::kRetryable;
    case JobResult::kFailed:
      return SaysRetryable(job.detail) ? RunOutcome::kRetryable : RunOutcome::kFinal;
  }
  return RunOutcome::kFinal;
}

Result<std::vector<PastRun>> PastRuns(Mirror& mirror, std::string_view kind) {
  TRY_ASSIGN(const auto jobs, mirror.jobs().Recent(kind, kRunsRead));
  std::vector<PastRun> runs;
  for (const JobRecord& job : jobs) {
    runs.push_back({job.started_at, job.ended_at.value_or(job.started_at), OutcomeOf(job),
                    job.actor == kScheduleActor});
  }
  return runs;
}

Result<std::optional<UtcTime>> SeenSince(Mirror& mirror, std::string_view kind,
                                         const std::string& text) {
  TRY_ASSIGN(auto row, mirror.db().Prepare("SELECT since FROM schedule_seen WHERE kind = ? AND "
                                           "text = ?"));
  row.BindAll(kind, text);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<UtcTime>();
  return std::optional<UtcTime>(row.Time(0));
}

}  // namespace

ScheduleFrame FrameOf(const Mirror& mirror) { return {LocalOffset, mirror.identity().guid}; }

const JobSchedule& ScheduleOf(const Schedule& schedule, std::string_view kind) {
  return kind == "rollup" ? schedule.rollup : schedule.sync;
}

std::string KindText(const Schedule& schedule, std::string_view kind) {
  const std::string times = ScheduleText(ScheduleOf(schedule, kind));
  if (kind != "rollup" || !schedule.rollup_after_sync) return times;
  return schedule.rollup.is_empty() ? "after each sync" : "after each sync, and " + times;
}

Result<void> NoteSchedules(Mirror& mirror, const Schedule& schedule) {
  for (const std::string_view kind : kScheduledKinds) {
    const std::string text = KindText(schedule, kind);
    TRY_ASSIGN(const auto since, SeenSince(mirror, kind, text));
    if (since) continue;
    TRY(mirror.db().Run(
        "INSERT INTO schedule_seen (kind, text, since) VALUES (?, ?, ?) ON CONFLICT "
        "DO UPDATE SET text = excluded.text, since = excluded.since",
        kind, text, mirror.clock().Now()));
  }
  return {};
}

Result<std::optional<DueRun>> NextRunOf(Mirror& mirror, const Schedule& schedule,
                                        std::string_view kind) {
  const bool by_sync = kind == "rollup" && schedule.rollup_after_sync;
  const JobSchedule& times = ScheduleOf(schedule, kind);
  if (times.is_empty() && !by_sync) return std::optional<DueRun>();
  const UtcTime now = mirror.clock().Now();
  ScheduleFacts facts;
  TRY_ASSIGN(facts.runs, PastRuns(mirror, kind));
  TRY_ASSIGN(const auto since, SeenSince(mirror, kind, KindText(schedule, kind)));
  facts.since = since.value_or(now);
  if (by_sync) {
    TRY_ASSIGN(const auto sync, mirror.jobs().LastGood("sync"));
    if (sync) facts.triggered = sync->ended_at;
  }
  return NextRun(times, facts, now, FrameOf(mirror));
}

}  // namespace gapferry::mirror
