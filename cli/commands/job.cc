// gapferry job: the long work that runs now.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/process.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/job_view.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using mirror::JobLock;
using mirror::JobResult;
using nlohmann::json;

constexpr std::uint64_t kDefaultWaitSeconds = 60;

std::string Who(const mirror::JobNote& note) {
  mirror::JobRecord record;
  record.actor = note.actor;
  return fmt::format("{} ({}started by {}, pid {})",
                     note.kind.empty() ? "a job" : EscapeForDisplay(note.kind, 40),
                     note.job == 0 ? "" : fmt::format("job {}, ", note.job),
                     note.actor == mirror::kScheduleActor ? "the schedule" : ActorText(record),
                     ProcessNumber(note.process));
}

std::unexpected<Error> NoJob(const Context& context) {
  return FailNext(ErrorCode::kNotFound, "no-job", "no job runs on this mirror",
                  NextCommand(context, "log --jobs"));
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto holder, JobLock::Look(mirror.path()));
  if (!holder.held) {
    context.Print("no job runs");
  } else {
    context.Print(fmt::format("{} runs since {}, {}", Who(holder.note), Minute(holder.note.since),
                              Distance(holder.note.since, mirror.clock().Now())));
    if (holder.note.step) context.Print("  " + StepText(*holder.note.step));
  }
  context.Emit({{"running", HolderToJson(holder)}});
  return ExitCode::kDone;
}

// ---- cancel ------------------------------------------------------------------------------------

/// Until the job of `note` does not hold the lock any more.
Result<bool> WaitUntilGone(const Context& context, const mirror::Mirror& mirror,
                           const mirror::JobNote& note, std::chrono::seconds most) {
  const auto until = std::chrono::steady_clock::now() + most;
  for (;;) {
    TRY_ASSIGN(const auto holder, JobLock::Look(mirror.path()));
    if (!holder.held || holder.note.process != note.process) return true;
    if (std::chrono::steady_clock::now() >= until) return false;
    if (context.stop().stop_requested()) {
      return Fail(ErrorCode::kCancelled, "not waited for; the job was told to stop");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// serve writes down how its job ended a moment after the lock is free.
Result<std::optional<mirror::JobRecord>> RecordOf(mirror::Mirror& mirror, std::int64_t job) {
  constexpr int kTries = 40;
  for (int i = 0; i < kTries; ++i) {
    TRY_ASSIGN(auto record, mirror.jobs().Find(job));
    if (!record || (record->result != JobResult::kRunning && record->ended_at)) return record;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return mirror.jobs().Find(job);
}

Result<ExitCode> RunCancel(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto holder, JobLock::Look(mirror.path()));
  if (!holder.held) return NoJob(context);
  const mirror::JobNote& note = holder.note;
  if (!IsRunning(note.process)) {
    return FailNext(ErrorCode::kBusy, "unknown-holder",
                    "the job lock is held, but not by a process that can be seen from here", "");
  }
  const std::string who = Who(note);
  auto told = SignalProcess(note.process, SIGINT);
  if (!told && told.error().code == ErrorCode::kNotFound) return NoJob(context);
  TRY(told);
  const json about = {{"job", note.job}, {"actor", note.actor}};
  TRY(mirror::AppendAuditAlone(mirror.db(), mirror.clock().Now(),
                               {mirror::CurrentActor(), "job.cancel", note.kind, about.dump()}));
  context.Say(who + " is told to stop");
  const std::chrono::seconds most(static_cast<std::int64_t>(std::min<std::uint64_t>(
      context.args().Number("wait").value_or(kDefaultWaitSeconds), 86'400)));
  TRY_ASSIGN(const bool gone, WaitUntilGone(context, mirror, note, most));
  if (!gone) {
    return FailNext(ErrorCode::kBusy, "job-running",
                    fmt::format("{} has not ended within {} s; it stops at its next safe place",
                                who, most.count()),
                    NextCommand(context, "job show"));
  }
  TRY_ASSIGN(const auto record, RecordOf(mirror, note.job));
  const JobResult result = record ? record->result : JobResult::kCancelled;
  const bool was_done = result == JobResult::kDone || result == JobResult::kPartly;
  context.Print(was_done ? who + " was done before it could stop"
                         : who + " has stopped; the same command goes on where it stopped");
  if (!was_done && note.actor == mirror::kScheduleActor) {
    context.Print("it starts by itself again at its next time, see 'gapferry schedule show'");
  }
  context.Emit({{"kind", note.kind},
                {"job", note.job},
                {"actor", note.actor},
                {"result", mirror::JobResultName(result)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> JobCommands() {
  return {
      {.path = {"job", "show"},
       .summary = "the job that runs now, and how far it is",
       .description = "Jobs are long work of which a mirror has one at a time: sync, export, "
                      "import, rollup, store check.\nThose that have ended are in 'gapferry log "
                      "--jobs'.",
       .examples = {{"gapferry job show"}, {"gapferry job show --json"}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
      {.path = {"job", "cancel"},
       .summary = "stop the job that runs now, cleanly",
       .description = "Does what Ctrl-C does where the job was started, and waits for its end. "
                      "Nothing is lost: the\nsame command goes on where it stopped. A job that a "
                      "schedule has started comes back at its next\ntime, not at once.",
       .examples = {{"gapferry job cancel"},
                    {"gapferry job cancel --wait 600", "a job that stops late is waited for"}},
       .options = {{"--wait", Takes::kNumber, "SECONDS", "for its end (default 60)"}},
       .exits = {ExitCode::kNotFound, ExitCode::kBusy},
       .run = RunCancel},
  };
}

}  // namespace gapferry::cli
