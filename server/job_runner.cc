#include "server/job_runner.h"

#include <sys/stat.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>

#include "base/child_process.h"
#include "base/log.h"
#include "base/text.h"
#include "mirror/audit.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/schedule_facts.h"
#include "server/job_output.h"

namespace gapferry::server {
namespace {

using mirror::JobRecord;
using mirror::JobResult;
using nlohmann::json;

/// gapferry.yaml, read again when it has changed.
class ScheduleFile {
 public:
  ScheduleFile(std::filesystem::path path, mirror::Schedule schedule)
      : path_(std::move(path)), schedule_(std::move(schedule)) {}

  /// Follows the file once it is the same at two looks: half a file may read well, and without its
  /// schedule what was missed would be forgotten. What is wrong with it is logged once, and the
  /// schedule before it stays.
  void Refresh() {
    const auto stamp = StampOf(path_);
    const bool settled = std::exchange(looked_, stamp) == stamp;
    if (!settled || stamp == stamp_) return;
    stamp_ = stamp;
    auto read = Read();
    if (read) {
      schedule_ = *std::move(read);
    } else {
      Log(LogLevel::kError, "schedule not read again, the one before stays",
          {{"error", read.error().message}});
    }
  }

  const mirror::Schedule& schedule() const { return schedule_; }

 private:
  Result<mirror::Schedule> Read() const {
    TRY_ASSIGN(const mirror::Config config, mirror::LoadConfig(path_));
    TRY(mirror::CheckSchedule(config));
    return config.schedule;
  }

  /// Changes with every way of writing a file that editors have.
  using Stamp = std::tuple<std::int64_t, std::int64_t, std::uint64_t, std::int64_t>;
  static Stamp StampOf(const std::filesystem::path& path) {
    struct ::stat facts {};
    if (::stat(path.c_str(), &facts) != 0) return {};
    return {facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec, facts.st_ino, facts.st_size};
  }

  std::filesystem::path path_;
  Stamp stamp_;   ///< of what was read
  Stamp looked_;  ///< of the last look
  mirror::Schedule schedule_;
};

json Parsed(const std::string& detail) {
  json object = json::parse(detail, nullptr, /*allow_exceptions=*/false);
  return object.is_object() ? object : json::object();
}

std::string Dump(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// What the job wrote itself, and what is known of its end.
std::string DetailOf(const std::string& own, const JobEnding& ending) {
  json detail = Parsed(own);
  if (!ending.error.message.empty()) detail.update(Parsed(mirror::ErrorToDetail(ending.error)));
  if (!ending.output.empty()) detail["output"] = ending.output;
  return Dump(detail);
}

const char* ReasonText(mirror::DueReason reason) {
  switch (reason) {
    case mirror::DueReason::kTime:
      return "scheduled";
    case mirror::DueReason::kMissed:
      return "its time was missed";
    case mirror::DueReason::kRetry:
      return "tried again";
  }
  return "scheduled";
}

}  // namespace

struct JobRunner::Impl {
  explicit Impl(JobRunnerOptions given)
      : options(std::move(given)), file(options.mirror / "gapferry.yaml", options.schedule) {}

  void Run(const std::stop_token& stop);
  Result<void> Step(mirror::Mirror& mirror, const std::stop_token& stop);
  Result<void> RunJob(mirror::Mirror& mirror, std::string_view kind, const mirror::DueRun& due,
                      const std::stop_token& stop);
  Result<std::pair<ProcessEnd, JobStop>> WaitFor(ChildProcess& child, JobOutput& output,
                                                 const std::stop_token& stop) const;
  Result<void> WriteDown(mirror::Mirror& mirror, std::string_view kind, const std::string& process,
                         UtcTime started, const JobEnding& ending);
  Result<std::string> WithProgress(const JobRecord& own, const JobEnding& ending) const;
  void Say(const Error& error);

  const JobRunnerOptions options;
  ScheduleFile file;
  std::optional<FileLock> lock;  ///< held: the schedules are ours to run
  bool noted_empty = false;      ///< that there is no schedule has been written down
  std::chrono::steady_clock::time_point quiet_until;  ///< after a failure of our own
  std::string said;     ///< the last failure that was logged, so that it is logged once
  std::jthread thread;  ///< uses all above
};

void JobRunner::Impl::Say(const Error& error) {
  if (said == error.message) return;
  said = error.message;
  Log(LogLevel::kError, "schedules not run", {{"error", error.message}});
}

void JobRunner::Impl::Run(const std::stop_token& stop) {
  std::optional<mirror::Mirror> mirror;
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock waiting(mutex);
  while (!stop.stop_requested()) {
    const Result<void> done = [&]() -> Result<void> {
      if (!mirror) {
        TRY_ASSIGN(auto opened, mirror::Mirror::Open(options.mirror, options.mirror_options));
        mirror.emplace(std::move(opened));
      }
      return Step(*mirror, stop);
    }();
    if (done) {
      said.clear();
    } else {
      Say(done.error());
    }
    wake.wait_for(waiting, stop, options.tick, [] { return false; });
  }
}

Result<void> JobRunner::Impl::Step(mirror::Mirror& mirror, const std::stop_token& stop) {
  file.Refresh();
  const mirror::Schedule& schedule = file.schedule();
  if (!lock) {  // taken even when there is nothing to run: it tells others that a serve is here
    auto acquired = mirror::AcquireScheduleLock(options.mirror);
    if (!acquired && acquired.error().code == ErrorCode::kBusy) return {};  // another serve does it
    if (!acquired) return std::unexpected(std::move(acquired).error());
    lock.emplace(std::move(*acquired));
  }
  if (schedule.is_empty() && noted_empty) return {};
  if (std::chrono::steady_clock::now() < quiet_until) return {};
  TRY(mirror::NoteSchedules(mirror, schedule));
  noted_empty = schedule.is_empty();
  for (const std::string_view kind : mirror::kScheduledKinds) {
    TRY_ASSIGN(const auto due, mirror::NextRunOf(mirror, schedule, kind));
    if (!due || due->at > mirror.clock().Now() || stop.stop_requested()) continue;
    // What cannot be written down (a full disk) would be due again at once, for ever.
    constexpr std::chrono::minutes kQuiet{1};
    quiet_until = std::chrono::steady_clock::now() + kQuiet;
    TRY(RunJob(mirror, kind, *due, stop));
    quiet_until = {};
  }
  return {};
}

Result<void> JobRunner::Impl::RunJob(mirror::Mirror& mirror, std::string_view kind,
                                     const mirror::DueRun& due, const std::stop_token& stop) {
  Log(LogLevel::kInfo, "job starts",
      {{"kind", kind}, {"why", ReasonText(due.reason)}, {"attempt", due.attempt}});
  const UtcTime started = mirror.clock().Now();
  auto child = ChildProcess::Start(
      {options.program,
       {"gapferry", std::string(kind), "--mirror", options.mirror.string(), "--json"},
       {{mirror::kStartedByVariable, std::string(mirror::kScheduleActor)}}});
  JobOutput output;
  if (!child) {
    JobEnding ending;
    ending.result = JobResult::kPostponed;  // no memory, no process: later there may be
    ending.error = std::move(child).error();
    return WriteDown(mirror, kind, "", started, ending);
  }
  const std::string process = child->name();
  TRY_ASSIGN(const auto ended, WaitFor(*child, output, stop));
  TRY_ASSIGN(const auto own, mirror.jobs().OfProcess(process));
  std::optional<JobResult> recorded;
  if (own) recorded = own->result;
  return WriteDown(mirror, kind, process, started,
                   JudgeEnding(ended.first, output, ended.second, recorded));
}

Result<std::pair<ProcessEnd, JobStop>> JobRunner::Impl::WaitFor(ChildProcess& child,
                                                                JobOutput& output,
                                                                const std::stop_token& stop) const {
  constexpr std::chrono::milliseconds kSlice{200};
  using Steady = std::chrono::steady_clock;
  std::optional<Steady::time_point> asked;
  bool killed = false;
  const auto take = [&output](ChildProcess::Stream stream, std::string_view line) {
    output.Take(stream, line);
  };
  for (;;) {
    TRY_ASSIGN(const auto end, child.Wait(kSlice, take));
    if (end) return std::pair(*end, asked ? JobStop::kAsked : JobStop::kNotAsked);
    if (stop.stop_requested() && !asked) {
      asked = Steady::now();
      child.Signal(SIGINT);
    }
    if (asked && !killed && Steady::now() - *asked > options.stop_wait) {
      killed = true;
      child.Signal(SIGKILL);
    }
  }
}

Result<void> JobRunner::Impl::WriteDown(mirror::Mirror& mirror, std::string_view kind,
                                        const std::string& process, UtcTime started,
                                        const JobEnding& ending) {
  if (!ending.error.message.empty()) {
    Log(ending.result == JobResult::kFailed ? LogLevel::kError : LogLevel::kWarning,
        "scheduled job did not do its work",
        {{"kind", kind},
         {"result", mirror::JobResultName(ending.result)},
         {"error", ending.error.message}});
  }
  std::optional<JobRecord> own;
  if (!process.empty()) {
    TRY_ASSIGN(own, mirror.jobs().OfProcess(process));
  }
  if (own) {
    if (own->result == ending.result && ending.error.message.empty()) return {};
    TRY_ASSIGN(const std::string detail, WithProgress(*own, ending));
    return mirror.jobs().Correct(own->id, ending.result, DetailOf(detail, ending));
  }
  JobRecord record;
  record.kind = kind;
  record.actor = mirror::kScheduleActor;
  record.process = process;
  record.started_at = started;
  record.ended_at = mirror.clock().Now();
  record.result = ending.result;
  record.detail = DetailOf("{}", ending);
  TRY(mirror.jobs().Add(record));
  return {};
}

/// The detail of a job that was killed gets what it was doing.
Result<std::string> JobRunner::Impl::WithProgress(const JobRecord& own,
                                                  const JobEnding& ending) const {
  if (ending.result != JobResult::kInterrupted) return own.detail;
  TRY_ASSIGN(const auto left, mirror::JobLock::Look(options.mirror));
  if (left.note.job != own.id || !left.note.step) return own.detail;
  json object = Parsed(own.detail);
  object["progress"] = Parsed(mirror::JobStepToJson(*left.note.step));
  return Dump(object);
}

JobRunner::JobRunner(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JobRunner::~JobRunner() { Stop(); }

std::unique_ptr<JobRunner> JobRunner::Start(JobRunnerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  Impl* const running = impl.get();
  impl->thread = std::jthread([running](const std::stop_token& stop) { running->Run(stop); });
  return std::unique_ptr<JobRunner>(new JobRunner(std::move(impl)));
}

void JobRunner::RequestStop() { impl_->thread.request_stop(); }

void JobRunner::Stop() {
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
}

}  // namespace gapferry::server
