#include "mirror/running_job.h"

#include <chrono>
#include <utility>

#include "base/guarded.h"
#include "base/log.h"

namespace gapferry::mirror {
namespace {

using Steady = std::chrono::steady_clock;

/// Tells the holder's line of the job lock what is being done: at the beginning of each step, and
/// once a second while items go by.
class SharedProgress final : public Progress {
 public:
  SharedProgress(Progress& inner, JobLock& lock) : inner_(inner), lock_(lock) {
    state_.Lock()->note = lock.note();
  }

  void Begin(std::string_view step, std::uint64_t total_items, std::uint64_t total_bytes) override {
    inner_.Begin(step, total_items, total_bytes);
    auto s = state_.Lock();
    s->note.step = JobStep{std::string(step), 0, total_items, 0, total_bytes, 0};
    s->began = Steady::now();
    Tell(*s, s->began);
  }

  void Advance(std::uint64_t items, std::uint64_t bytes) override {
    inner_.Advance(items, bytes);
    auto s = state_.Lock();
    if (!s->note.step) return;
    s->note.step->items += items;
    s->note.step->bytes += bytes;
    const auto now = Steady::now();
    if (now - s->told >= std::chrono::seconds(1)) Tell(*s, now);
  }

  void End() override { inner_.End(); }
  void Note(std::string_view line) override { inner_.Note(line); }

 private:
  struct State {
    JobNote note;
    Steady::time_point began;
    Steady::time_point told;
  };

  void Tell(State& s, Steady::time_point now) {
    s.told = now;
    s.note.step->seconds = std::chrono::duration<double>(now - s.began).count();
    // A disk that takes no note must not end the job; the job meets it soon enough by itself.
    if (const auto told = lock_.Annotate(s.note); !told) {
      Log(LogLevel::kDebug, "progress not told", {{"why", told.error().message}});
    }
  }

  Progress& inner_;
  JobLock& lock_;  // written under state_ only
  Guarded<State> state_;
};

/// What a job that was killed did last belongs to its record.
Result<void> CloseKilled(Mirror& mirror, const JobLock::Holder& left) {
  if (left.held || left.note.job == 0 || !left.note.step) return {};
  return mirror.jobs().Interrupt(left.note.job,
                                 "{\"progress\":" + JobStepToJson(*left.note.step) + "}");
}

}  // namespace

struct RunningJob::State {
  State(Mirror& m, JobLock l) : mirror(m), lock(std::move(l)) {}
  Mirror& mirror;
  JobLock lock;
  std::int64_t id = 0;
  std::optional<SharedProgress> progress;
};

RunningJob::RunningJob(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunningJob::RunningJob(RunningJob&&) noexcept = default;
RunningJob::~RunningJob() = default;

Result<RunningJob> RunningJob::Start(Mirror& mirror, std::string_view kind, Progress& progress) {
  TRY_ASSIGN(const JobLock::Holder left, JobLock::Look(mirror.path()));
  TRY_ASSIGN(JobLock lock, JobLock::Acquire(mirror.path(), kind));
  auto state = std::make_unique<State>(mirror, std::move(lock));
  TRY(CloseKilled(mirror, left));
  TRY_ASSIGN(state->id, mirror.jobs().Start(kind));
  TRY_ASSIGN(const auto record, mirror.jobs().Find(state->id));
  if (!record) return gapferry::Fail(ErrorCode::kInternal, "the record of this job is gone");
  JobNote note;
  note.kind = record->kind;
  note.process = record->process;
  note.actor = record->actor;
  note.since = record->started_at;
  note.job = record->id;
  TRY(state->lock.Annotate(note));
  state->progress.emplace(progress, state->lock);
  return RunningJob(std::move(state));
}

std::unique_ptr<Progress> ShareProgress(JobLock& lock, Progress& inner) {
  return std::make_unique<SharedProgress>(inner, lock);
}

Progress& RunningJob::progress() { return *state_->progress; }
JobLock& RunningJob::lock() { return state_->lock; }
std::int64_t RunningJob::id() const { return state_->id; }

Result<void> RunningJob::End(JobResult result, std::optional<Generation> generation,
                             std::string_view detail_json) {
  return state_->mirror.jobs().End(state_->id, result, generation, detail_json);
}

void RunningJob::Fail(const Error& error) {
  const auto ended = state_->mirror.jobs().Fail(state_->id, error);
  if (ended) return;
  Log(LogLevel::kWarning, "job history not written", {{"why", ended.error().message}});
}

}  // namespace gapferry::mirror
