#include "exporter/server_summary.h"

#include <algorithm>
#include <set>

#include "mirror/catalog.h"
#include "mirror/intent.h"

namespace gapferry::exporter {
namespace {

using mirror::Mirror;
using protocol::ServerSummary;

// Of WSUS itself, the same everywhere: updates of these are critical (MS-WSUSSS PB 71).
constexpr std::string_view kCriticalUpdates = "e6cf1350-c01b-414d-a61f-263d14d133b4";
constexpr std::string_view kSecurityUpdates = "0fa1201d-4330-4fa8-8ae9-b877473b6441";

std::int32_t Count(std::uint64_t value) {
  return static_cast<std::int32_t>(std::min<std::uint64_t>(value, INT32_MAX));
}
std::int32_t Less(std::uint64_t whole, std::uint64_t part) {
  return Count(whole - std::min(whole, part));
}

bool IsApproval(mirror::DeploymentAction action) {
  using enum mirror::DeploymentAction;
  return action == kInstall || action == kUninstall || action == kOptionalInstall;
}

Result<void> CountApprovals(Mirror& mirror, ServerSummary& summary, std::uint64_t& approved) {
  TRY_ASSIGN(const auto deployments, mirror.intent().Deployments());
  std::set<Guid> updates;
  std::set<Guid> stale;
  std::set<Guid> incomplete;
  for (const auto& one : deployments) {
    if (!IsApproval(one.action)) continue;
    const bool is_first = updates.insert(one.update.guid).second;
    TRY_ASSIGN(const auto latest, mirror.catalog().FindLatest(one.update.guid));
    if (!latest) continue;
    if (latest->update.revision > one.update.revision) stale.insert(one.update.guid);
    if (!is_first) continue;
    TRY_ASSIGN(const auto payload, mirror.catalog().PayloadOf(latest->id));
    if (payload.missing_files > 0) incomplete.insert(one.update.guid);
  }
  approved = updates.size();
  summary.approved_update_count = Count(updates.size());
  summary.updates_with_stale_update_approvals_count = Count(stale.size());
  summary.updates_needing_files_count = Count(incomplete.size());
  return {};
}

Result<void> CountCritical(Mirror& mirror, ServerSummary& summary) {
  std::uint64_t open = 0;
  for (const std::string_view classification : {kCriticalUpdates, kSecurityUpdates}) {
    mirror::FindUpdates query;
    TRY_ASSIGN(const Guid guid, Guid::Parse(classification));
    query.categories = {guid};
    TRY_ASSIGN(query.origin, mirror.intent().Effective());
    query.approved = false;
    query.declined = false;
    TRY_ASSIGN(const std::uint64_t count, mirror.catalog().CountUpdates(query));
    open += count;
  }
  summary.critical_or_security_updates_not_approved_for_install_count = Count(open);
  return {};
}

}  // namespace

Result<ServerSummary> SummaryOf(Mirror& mirror, mirror::Activity& activity) {
  TRY_ASSIGN(const auto catalog, mirror.catalog().Counts());
  TRY_ASSIGN(const auto counts, activity.OwnCounts());
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  TRY_ASSIGN(const auto declined, mirror.intent().Declined());
  ServerSummary summary;
  std::uint64_t approved = 0;
  TRY(CountApprovals(mirror, summary, approved));
  TRY(CountCritical(mirror, summary));
  const std::uint64_t updates = catalog.deployable_updates;
  summary.update_count = Count(updates);
  summary.declined_update_count = Count(declined.size());
  summary.not_approved_update_count = Less(updates, declined.size() + approved);
  summary.expired_update_count = Count(catalog.expired_updates);
  summary.updates_with_client_errors_count = Count(counts.updates_with_errors);
  summary.updates_needed_by_computers_count = Count(counts.updates_needed);
  summary.updates_up_to_date_count =
      Less(updates, counts.updates_needed + counts.updates_with_errors);
  summary.custom_computer_target_group_count = Count(static_cast<std::uint64_t>(
      std::ranges::count(groups, false, &mirror::TargetGroup::is_builtin)));
  summary.computer_target_count = Count(counts.computers);
  summary.computer_targets_needing_updates_count = Count(counts.computers_needing_updates);
  summary.computer_targets_with_update_errors_count = Count(counts.computers_with_errors);
  summary.computers_up_to_date_count = Count(counts.computers_up_to_date);
  return summary;
}

}  // namespace gapferry::exporter
