#include "mirror/deadlines.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "mirror/intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

namespace gapferry::mirror {

namespace {

/// Clocks of good machines differ, and time zones are mistaken.
constexpr std::chrono::hours kTolerance{24};
constexpr std::int64_t kPerCommit = 2000;

Result<std::vector<Deployment>> FindUnsettled(Database& db, UtcTime now) {
  TRY_ASSIGN(auto rows,
             db.Prepare(DeploymentSelect("WHERE is_dead = 0 AND floored_at IS NOT NULL "
                                         "AND deadline IS NOT NULL AND (effective_deadline IS NULL "
                                         "OR floored_at > ?) ORDER BY id LIMIT ?")));
  rows.BindAll(now + kTolerance, kPerCommit);
  return ReadDeployments(rows);
}

/// Approvals go live when they are made: one of this mirror that is yet to go live was made by a
/// clock that was ahead.
Result<std::vector<Deployment>> FindTooLate(Database& db, UtcTime now) {
  TRY_ASSIGN(auto rows, db.Prepare(DeploymentSelect("WHERE origin = 0 AND is_dead = 0 "
                                                    "AND go_live > ? ORDER BY id LIMIT ?")));
  rows.BindAll(now + kTolerance, kPerCommit);
  return ReadDeployments(rows);
}

Result<std::uint64_t> SettleSome(Mirror& mirror, UtcTime now, std::string_view actor) {
  {
    TRY_ASSIGN(const auto unsettled, FindUnsettled(mirror.db(), now));
    TRY_ASSIGN(const auto late, FindTooLate(mirror.db(), now));
    if (unsettled.empty() && late.empty()) return 0;
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror, "clock"));
  TRY_ASSIGN(const auto unsettled, FindUnsettled(commit.db(), now));
  for (const Deployment& one : unsettled) {
    const auto settled =
        SettleDeadline(one.deadline, now, mirror.config().import.deadline_floor, {});
    TRY(
        commit.db().Run("UPDATE deployment SET effective_deadline = ?, floored_at = ?, "
                        "generation = ? WHERE origin = ? AND guid = ?",
                        settled.effective, settled.floored_at, commit.generation(),
                        static_cast<int>(one.origin), one.guid));
    commit.RecordLocalChange(fmt::format("deadline {}", one.guid.ToString()));
  }
  TRY_ASSIGN(const auto late, FindTooLate(commit.db(), now));
  for (const Deployment& one : late) {
    IncomingDeployment corrected = Travelling(one);
    corrected.go_live = now;
    TRY(PutDeployment(commit, IntentOrigin::kLocal, corrected, one.effective_deadline));
  }
  const std::uint64_t count = unsettled.size() + late.size();
  if (count == 0) return 0;
  TRY(commit.Audit(
      {std::string(actor), "clock.settle", now.ToXml(),
       fmt::format("{{\"deadlines\":{},\"go_live\":{}}}", unsettled.size(), late.size())}));
  TRY(commit.Finish());
  return count;
}

}  // namespace

SettledDeadline SettleDeadline(std::optional<UtcTime> given, UtcTime now,
                               std::chrono::seconds floor, std::optional<UtcTime> not_before) {
  if (!given) return {};
  if (not_before && now < *not_before) return {std::nullopt, now};
  return {std::max(*given, now + floor), now};
}

UtcTime ReckonedFrom(CommitTransaction& commit) {
  const UtcTime now = commit.mirror().clock().Now();
  return commit.committed_at() > now + kTolerance ? now : commit.committed_at();
}

UtcTime NotBeforeOf(UtcTime bundle_created) { return bundle_created - kTolerance; }

Result<std::optional<UtcTime>> ClockNotBefore(Mirror& mirror) {
  TRY_ASSIGN(const auto created, mirror.db().QueryInt("SELECT bundle_created_at FROM mirror "
                                                      "WHERE bundle_created_at IS NOT NULL"));
  if (!created) return std::optional<UtcTime>();
  return std::optional(NotBeforeOf(UtcTime{*created}));
}

Result<std::uint64_t> SettleByClock(Mirror& mirror, std::string_view actor) {
  const UtcTime now = mirror.clock().Now();
  TRY_ASSIGN(auto not_before, ClockNotBefore(mirror));
  if (!not_before) {  // fed by no bundle: it was made at some time
    TRY_ASSIGN(const auto made, mirror.db().QueryInt("SELECT created_at FROM mirror"));
    not_before = UtcTime{made.value_or(0)};
  }
  if (now < *not_before) return 0;
  std::uint64_t all = 0;
  for (;;) {
    TRY_ASSIGN(const std::uint64_t some, SettleSome(mirror, now, actor));
    all += some;
    if (some == 0) return all;
  }
}

}  // namespace gapferry::mirror
