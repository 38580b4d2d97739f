// gapferry schedule: the jobs that `gapferry serve` starts by itself.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/audited_change.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/job_view.h"
#include "mirror/audit.h"
#include "mirror/config.h"
#include "mirror/schedule_facts.h"

namespace gapferry::cli {
namespace {

using mirror::JobSchedule;
using mirror::Schedule;
using nlohmann::json;

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;

// ---- Telling -----------------------------------------------------------------------------------

json TimesToJson(const JobSchedule& schedule) {
  json times = json::array();
  for (const auto time : schedule.times) times.push_back(mirror::TimeOfDayText(time));
  return {{"times", std::move(times)},
          {"days", mirror::DayNames(schedule.days)},
          {"randomise_seconds", schedule.randomise.count()}};
}

/// What is set, when it starts next, and whether anything is there to start it.
Result<void> Tell(Context& context, mirror::Mirror& mirror, const Schedule& schedule) {
  TRY_ASSIGN(const auto views, ReadNextRuns(mirror, schedule));
  TRY_ASSIGN(const bool served, mirror::AreSchedulesRun(mirror.path()));
  const UtcTime now = mirror.clock().Now();
  json object = {{"zone", LocalZoneName(now)},
                 {"utc_offset_seconds", LocalOffset(now).count()},
                 {"now_local", LocalMinute(now)},
                 {"serve_runs", served},
                 {"sync", TimesToJson(schedule.sync)},
                 {"rollup", TimesToJson(schedule.rollup)},
                 {"next", json::array()}};
  object["rollup"]["after_sync"] = schedule.rollup_after_sync;
  std::vector<std::vector<std::string>> table;
  for (const NextRunView& view : views) {
    std::string next = "after the next sync";
    if (view.due) next = "next " + NextRunText(*view.due, now);
    table.push_back({view.kind, view.text, next});
    object["next"].push_back(NextRunToJson(view));
  }
  if (views.empty()) {
    context.Print("nothing is scheduled; for example: " +
                  NextCommand(context, "schedule set sync --at 02:00 --randomise 30m"));
  } else {
    context.Print(FormatTable(table));
    context.Print(
        fmt::format("times are local times of this machine, where it is {}", LocalMinute(now)));
    if (!served) {
      context.Print("no 'gapferry serve' runs on this mirror: nothing starts until one does");
    }
  }
  context.Emit(object);
  return {};
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY(Tell(context, mirror, mirror.config().schedule));
  return ExitCode::kDone;
}

// ---- Changing ----------------------------------------------------------------------------------

/// Words of a repeated option, each of which may be a list with commas.
std::vector<std::string> Words(const Context& context, const char* name) {
  std::vector<std::string> words;
  for (const std::string& list : context.args().List(name)) {
    for (const std::string_view word : Split(list, ',')) {
      if (!TrimAscii(word).empty()) words.emplace_back(TrimAscii(word));
    }
  }
  return words;
}

Result<JobSchedule> ReadWish(const Context& context) {
  JobSchedule wish;
  for (const std::string& word : Words(context, "at")) {
    TRY_ASSIGN(const auto time, mirror::ParseTimeOfDay(word), "--at");
    wish.times.push_back(time);
  }
  std::ranges::sort(wish.times);
  const auto repeated = std::ranges::unique(wish.times);
  wish.times.erase(repeated.begin(), repeated.end());
  unsigned days = 0;
  for (const std::string& word : Words(context, "days")) {
    TRY_ASSIGN(const std::uint8_t some, mirror::ParseDays(word), "--days");
    days |= some;
  }
  if (days != 0) wish.days = static_cast<std::uint8_t>(days);
  if (const auto text = context.args().Text("randomise")) {
    TRY_ASSIGN(wish.randomise, mirror::ParseSpread(*text), "--randomise");
  }
  return wish;
}

/// Writes gapferry.yaml with another schedule, and who did it into the log.
Result<void> Store(mirror::Mirror& mirror, const Schedule& schedule) {
  mirror::Config config = mirror.config();
  config.schedule = schedule;
  if (auto fits = mirror::CheckSchedule(config); !fits) {
    Error error = std::move(fits).error();
    error.message = config.upstream.gap
                        ? "this mirror is fed by bundles and never connects to an upstream: there "
                          "is nothing to schedule"
                        : "this mirror has no upstream to schedule anything with";
    if (!config.upstream.gap) {
      error.next = "set upstream.wsus in " + ShellWord((mirror.path() / "gapferry.yaml").string());
    }
    return std::unexpected(std::move(error));
  }
  std::error_code ignored;
  const auto linked = mirror.path() / "gapferry.yaml";
  auto path = std::filesystem::canonical(linked, ignored);  // a link stays one
  if (ignored) path = linked;
  TRY_ASSIGN(const std::string text, ReadTextFile(path, kMaxConfigBytes));
  auto changed = mirror::ReplaceSchedule(text, path.string(), schedule);
  if (!changed) {
    return WithNext(std::move(changed).error(), "edit " + ShellWord(path.string()) +
                                                    "; 'gapferry init --help' names a place "
                                                    "for a fresh one to copy from");
  }
  if (*changed != text) {
    struct stat facts {};
    const unsigned mode = ::stat(path.c_str(), &facts) == 0 ? facts.st_mode & 07777U : 0644U;
    const json detail = {{"sync", mirror::KindText(schedule, "sync")},
                         {"rollup", mirror::KindText(schedule, "rollup")}};
    TRY(ChangeAudited(mirror, {mirror::CurrentActor(), "schedule.set", "schedule", detail.dump()},
                      [&] { return WriteFileAtomically(path, AsBytes(*changed), mode); }));
  }
  return mirror::NoteSchedules(mirror, schedule);
}

Result<ExitCode> RunSet(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string kind = *context.args().Text("JOB");
  const bool after_sync = context.args().Has("after-sync");
  auto wish = ReadWish(context);
  if (!wish) {
    return WithNext(std::move(wish).error(),
                    NextCommand(context, fmt::format("schedule set {} --at 02:00 --at 14:00 "
                                                     "--days mon-fri --randomise 30m",
                                                     kind)));
  }
  if (after_sync && kind != "rollup") {
    return FailNext(ErrorCode::kUsage, "", "--after-sync is for rollup only",
                    NextCommand(context, "schedule set rollup --after-sync"));
  }
  if (wish->is_empty() && !after_sync) {
    return FailNext(ErrorCode::kUsage, "", fmt::format("no time is given for {}", kind),
                    NextCommand(context, fmt::format("schedule set {} --at 02:00", kind)));
  }
  Schedule schedule = mirror.config().schedule;
  if (kind == "rollup") {
    schedule.rollup = *std::move(wish);
    schedule.rollup_after_sync = after_sync;
  } else {
    schedule.sync = *std::move(wish);
  }
  TRY(Store(mirror, schedule));
  TRY(Tell(context, mirror, schedule));
  return ExitCode::kDone;
}

Result<ExitCode> RunRemove(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string kind = *context.args().Text("JOB");
  Schedule schedule = mirror.config().schedule;
  if (mirror::KindText(schedule, kind) == "never") {
    return FailNext(ErrorCode::kNotFound, "not-scheduled", fmt::format("{} is not scheduled", kind),
                    NextCommand(context, "schedule show"));
  }
  if (kind == "rollup") {
    schedule.rollup = {};
    schedule.rollup_after_sync = false;
  } else {
    schedule.sync = {};
  }
  TRY(Store(mirror, schedule));
  context.Say(fmt::format("{} starts only by 'gapferry {}' from now on", kind, kind));
  TRY(Tell(context, mirror, schedule));
  return ExitCode::kDone;
}

const Option kJob = {"JOB", Takes::kText, {}, "sync or rollup", true, {"sync", "rollup"}};

}  // namespace

std::vector<Command> ScheduleCommands() {
  return {
      {.path = {"schedule", "show"},
       .summary = "which jobs start by themselves, and when next",
       .description = "Jobs are started by 'gapferry serve'. A time that was missed, since the "
                      "machine was off, is made\nup for once, soon after. What fails for a reason "
                      "that may pass is tried again after 1, 5, 15, 30\nand then every 60 minutes, "
                      "until the next time comes, for a day at most.",
       .examples = {{"gapferry schedule show"}, {"gapferry schedule show --json"}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
      {.path = {"schedule", "set"},
       .summary = "let a job start at times of the day",
       .description = "Replaces what was set for this job. It is written to 'schedule' in "
                      "gapferry.yaml, where it can be\nedited as well; a 'gapferry serve' that "
                      "runs follows within seconds. Times are local times of\nthis machine: where "
                      "clocks change, a time that is skipped starts at the change, and one that\n"
                      "comes twice starts once.",
       .examples = {{"gapferry schedule set sync --at 02:00"},
                    {"gapferry schedule set sync --at 02:00 --at 14:00 --days mon-fri --randomise "
                     "30m",
                     "within half an hour of each time, the same moment all day long"},
                    {"gapferry schedule set rollup --after-sync"}},
       .options = {kJob,
                   {"--at", Takes::kList, "HH:MM", "a time of the day; can be given several times"},
                   {"--days", Takes::kList, "DAYS", "mon, sat,sun or mon-fri (default: every day)"},
                   {"--randomise", Takes::kText, "TIME",
                    "put each start off by a part of this, such as 30m (12h at most)"},
                   {"--after-sync", Takes::kNothing, {}, "rollup: whenever a sync has ended well"}},
       .exits = {ExitCode::kNotFound},
       .run = RunSet},
      {.path = {"schedule", "remove"},
       .summary = "let a job start only when somebody types it",
       .examples = {{"gapferry schedule remove sync"}, {"gapferry schedule remove rollup"}},
       .options = {kJob},
       .exits = {ExitCode::kNotFound},
       .run = RunRemove},
  };
}

}  // namespace gapferry::cli
