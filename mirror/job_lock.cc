#include "mirror/job_lock.h"

#include <nlohmann/json.hpp>

#include "base/process.h"
#include "mirror/audit.h"

namespace gapferry::mirror {
namespace {

using nlohmann::json;

constexpr const char* kJobLockName = "job.lock";
constexpr const char* kScheduleLockName = "schedule.lock";

json ToJson(const JobStep& step) {
  return {{"step", step.step},
          {"items", step.items},
          {"total_items", step.total_items},
          {"bytes", step.bytes},
          {"total_bytes", step.total_bytes},
          {"seconds", step.seconds}};
}

std::string Dump(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

template <class T>
T Member(const json& object, const char* key, T otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return otherwise;
  } else {
    if (!found->is_number()) return otherwise;
  }
  return found->template get<T>();
}

JobStep ReadStep(const json& object) {
  JobStep step;
  step.step = Member(object, "step", std::string());
  step.items = Member(object, "items", std::uint64_t{0});
  step.total_items = Member(object, "total_items", std::uint64_t{0});
  step.bytes = Member(object, "bytes", std::uint64_t{0});
  step.total_bytes = Member(object, "total_bytes", std::uint64_t{0});
  step.seconds = Member(object, "seconds", 0.0);
  return step;
}

/// Empty when the text is none: cut short by a crash, or read while it was written.
JobNote ReadNote(const std::string& text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  JobNote note;
  if (!object.is_object()) return note;
  note.kind = Member(object, "kind", std::string());
  note.process = Member(object, "process", std::string());
  note.actor = Member(object, "actor", std::string());
  note.since.ticks = Member(object, "since", std::int64_t{0});
  note.job = Member(object, "job", std::int64_t{0});
  const auto step = object.find("progress");
  if (step != object.end() && step->is_object()) note.step = ReadStep(*step);
  return note;
}

}  // namespace

Result<JobLock> JobLock::Acquire(const std::filesystem::path& mirror, std::string_view job) {
  auto lock = FileLock::Acquire(mirror / kJobLockName, job);
  if (!lock) {
    Error error = std::move(lock).error();
    if (error.code == ErrorCode::kBusy) {
      error.reason = "job-running";
      error.message = "mirror '" + mirror.string() + "' is " + error.message;
    }
    return std::unexpected(std::move(error));
  }
  JobLock held(std::move(*lock));
  JobNote note;
  note.kind = job;
  note.process = ThisProcess();
  note.actor = CurrentActor();
  note.since = SystemClock().Now();
  TRY(held.Annotate(note));
  return held;
}

Result<void> JobLock::Annotate(const JobNote& note) {
  note_ = note;
  json object = {{"kind", note.kind},
                 {"process", note.process},
                 {"actor", note.actor},
                 {"since", note.since.ticks},
                 {"job", note.job}};
  if (note.step) object["progress"] = ToJson(*note.step);
  return lock_.Annotate(Dump(object));
}

Result<JobLock::Holder> JobLock::Look(const std::filesystem::path& mirror) {
  constexpr int kTries = 5;
  Holder holder;
  for (int i = 0; i < kTries; ++i) {
    TRY_ASSIGN(const FileLock::Text text, FileLock::Look(mirror / kJobLockName));
    holder.held = text.held;
    holder.note = ReadNote(text.note);
    if (!holder.held || !holder.note.kind.empty()) return holder;
    // Met in the middle of a write, or between the lock and its text.
  }
  return holder;
}

Result<FileLock> AcquireScheduleLock(const std::filesystem::path& mirror) {
  return FileLock::Acquire(mirror / kScheduleLockName, "serve");
}

Result<bool> AreSchedulesRun(const std::filesystem::path& mirror) {
  TRY_ASSIGN(const FileLock::Text text, FileLock::Look(mirror / kScheduleLockName));
  return text.held;
}

std::string JobStepToJson(const JobStep& step) { return Dump(ToJson(step)); }

}  // namespace gapferry::mirror
