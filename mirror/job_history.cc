#include "mirror/job_history.h"

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
  }
  return "unknown";
}

Result<std::int64_t> JobHistory::Start(std::string_view kind) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY(db_.Run("UPDATE job SET result = ? WHERE kind = ? AND result = ?",
              static_cast<int>(JobResult::kInterrupted), kind,
              static_cast<int>(JobResult::kRunning)));
  TRY(db_.Run("INSERT INTO job (kind, started_at, result, detail) VALUES (?, ?, ?, '{}')", kind,
              clock_.Now(), static_cast<int>(JobResult::kRunning)));
  const std::int64_t id = db_.LastInsertRowId();
  TRY(tx.Commit());
  return id;
}

Result<void> JobHistory::End(std::int64_t id, JobResult result,
                             std::optional<Generation> generation, std::string_view detail_json) {
  return db_.Run("UPDATE job SET ended_at = ?, result = ?, generation = ?, detail = ? WHERE id = ?",
                 clock_.Now(), static_cast<int>(result), generation, detail_json, id);
}

Result<void> JobHistory::AddDone(std::string_view kind, UtcTime started_at,
                                 std::optional<Generation> generation,
                                 std::string_view detail_json) {
  return db_.Run(
      "INSERT INTO job (kind, started_at, ended_at, result, generation, detail) "
      "VALUES (?, ?, ?, ?, ?, ?)",
      kind, started_at, clock_.Now(), static_cast<int>(JobResult::kDone), generation, detail_json);
}

namespace {

constexpr std::string_view kColumns =
    "SELECT id, kind, started_at, ended_at, result, generation, detail FROM job ";

Result<std::vector<JobRecord>> ReadJobs(Statement& rows) {
  std::vector<JobRecord> jobs;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return jobs;
    JobRecord job;
    job.id = rows.Int(0);
    job.kind = rows.String(1);
    job.started_at = rows.Time(2);
    job.ended_at = rows.OptionalTime(3);
    job.result = static_cast<JobResult>(rows.Int32(4));
    job.generation = rows.OptionalInt(5);
    job.detail = rows.String(6);
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
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kColumns) + "WHERE kind = ? ORDER BY id DESC LIMIT 1"));
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

}  // namespace gapferry::mirror
