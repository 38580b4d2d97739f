#include "mirror/job_history.h"

#include <nlohmann/json.hpp>

#include "base/process.h"
#include "mirror/audit.h"

namespace gapferry::mirror {

std::string_view JobResultName(JobResult result) {
  switch (result) {
    case JobResult::kRunning:
      return "running";
    case JobResult::kDone:
      return "done";
    case JobResult::kPartly:
      return "partly";
    case JobResult::kFailed:
      return "failed";
    case JobResult::kCancelled:
      return "cancelled";
    case JobResult::kInterrupted:
      return "interrupted";
    case JobResult::kPostponed:
      return "postponed";
  }
  return "unknown";
}

std::string ErrorToDetail(const Error& error) {
  nlohmann::json detail = {{"error", error.message}, {"code", ErrorCodeName(error.code)}};
  if (!error.reason.empty()) detail["reason"] = error.reason;
  if (!error.next.empty()) detail["next"] = error.next;
  return detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<std::int64_t> JobHistory::Start(std::string_view kind) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE job SET result = ? WHERE result = ?",
              static_cast<int>(JobResult::kInterrupted), static_cast<int>(JobResult::kRunning)));
  TRY(db_.Run(
      "INSERT INTO job (kind, actor, process, started_at, result, detail) "
      "VALUES (?, ?, ?, ?, ?, '{}')",
      kind, CurrentActor(), ThisProcess(), clock_.Now(), static_cast<int>(JobResult::kRunning)));
  const std::int64_t id = db_.LastInsertRowId();
  TRY(tx.Commit());
  return id;
}

Result<void> JobHistory::End(std::int64_t id, JobResult result,
                             std::optional<Generation> generation, std::string_view detail_json) {
  return db_.Run("UPDATE job SET ended_at = ?, result = ?, generation = ?, detail = ? WHERE id = ?",
                 clock_.Now(), static_cast<int>(result), generation, detail_json, id);
}

Result<void> JobHistory::Fail(std::int64_t id, const Error& error) {
  const auto result =
      error.code == ErrorCode::kCancelled ? JobResult::kCancelled : JobResult::kFailed;
  return End(id, result, std::nullopt, ErrorToDetail(error));
}

Result<void> JobHistory::AddDone(std::string_view kind, UtcTime started_at,
                                 std::optional<Generation> generation,
                                 std::string_view detail_json) {
  JobRecord record;
  record.kind = kind;
  record.actor = CurrentActor();
  record.process = ThisProcess();
  record.started_at = started_at;
  record.ended_at = clock_.Now();
  record.result = JobResult::kDone;
  record.generation = generation;
  record.detail = detail_json;
  TRY(Add(record));
  return {};
}

Result<std::int64_t> JobHistory::Add(const JobRecord& record) {
  TRY(
      db_.Run("INSERT INTO job (kind, actor, process, started_at, ended_at, result, generation, "
              "detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
              record.kind, record.actor, record.process, record.started_at, record.ended_at,
              static_cast<int>(record.result), record.generation, record.detail));
  return db_.LastInsertRowId();
}

Result<void> JobHistory::Correct(std::int64_t id, JobResult result, std::string_view detail_json) {
  return db_.Run(
      "UPDATE job SET result = ?, detail = ?, ended_at = coalesce(ended_at, ?) WHERE id = ?",
      static_cast<int>(result), detail_json, clock_.Now(), id);
}

Result<void> JobHistory::Interrupt(std::int64_t id, std::string_view detail_json) {
  return db_.Run("UPDATE job SET result = ?, detail = ? WHERE id = ? AND result = ?",
                 static_cast<int>(JobResult::kInterrupted), detail_json, id,
                 static_cast<int>(JobResult::kRunning));
}

namespace {

constexpr std::string_view kColumns =
    "SELECT id, kind, actor, process, started_at, ended_at, result, generation, detail FROM job ";

Result<std::vector<JobRecord>> ReadJobs(Statement& rows) {
  std::vector<JobRecord> jobs;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return jobs;
    JobRecord job;
    job.id = rows.Int(0);
    job.kind = rows.String(1);
    job.actor = rows.String(2);
    job.process = rows.String(3);
    job.started_at = rows.Time(4);
    job.ended_at = rows.OptionalTime(5);
    job.result = static_cast<JobResult>(rows.Int32(6));
    job.generation = rows.OptionalInt(7);
    job.detail = rows.String(8);
    // Nobody writes a last word for a process that was killed.
    if (job.result == JobResult::kRunning && !IsRunning(job.process)) {
      job.result = JobResult::kInterrupted;
    }
    jobs.push_back(std::move(job));
  }
}

Result<std::optional<JobRecord>> First(Statement& rows) {
  TRY_ASSIGN(auto jobs, ReadJobs(rows));
  if (jobs.empty()) return std::optional<JobRecord>();
  return std::optional<JobRecord>(std::move(jobs.front()));
}

}  // namespace

Result<std::optional<JobRecord>> JobHistory::Last(std::string_view kind) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kColumns) +
                                    "WHERE kind = ? AND result <> 6 ORDER BY id DESC LIMIT 1"));
  rows.BindAll(kind);
  return First(rows);
}

Result<std::optional<JobRecord>> JobHistory::LastGood(std::string_view kind) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kColumns) +
                         "WHERE kind = ? AND result IN (1, 2) ORDER BY id DESC LIMIT 1"));
  rows.BindAll(kind);
  return First(rows);
}

Result<std::vector<JobRecord>> JobHistory::Recent(int limit) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kColumns) + "ORDER BY id DESC LIMIT ?"));
  rows.BindAll(limit);
  return ReadJobs(rows);
}

Result<std::vector<JobRecord>> JobHistory::Recent(std::string_view kind, int limit) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kColumns) + "WHERE kind = ? ORDER BY id DESC LIMIT ?"));
  rows.BindAll(kind, limit);
  return ReadJobs(rows);
}

Result<std::optional<JobRecord>> JobHistory::Find(std::int64_t id) {
  TRY_ASSIGN(auto rows, db_.Prepare(std::string(kColumns) + "WHERE id = ?"));
  rows.BindAll(id);
  return First(rows);
}

Result<std::optional<JobRecord>> JobHistory::OfProcess(std::string_view process) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kColumns) + "WHERE process = ? ORDER BY id DESC LIMIT 1"));
  rows.BindAll(process);
  return First(rows);
}

}  // namespace gapferry::mirror
