#include "exporter/export_counts.h"

#include <algorithm>
#include <map>

#include "exporter/export_plan.h"

namespace gapferry::exporter {
namespace {

// What one gets from a stick, read back, on a small machine; only an estimate.
constexpr std::uint64_t kBytesPerSecond = 60 << 20;
constexpr std::uint64_t kDocumentsPerSecond = 5000;
constexpr std::uint64_t kSmallFiles = 1 << 20;

}  // namespace

Result<void> CountUpdates(mirror::Mirror& mirror, mirror::Generation base,
                          const std::vector<mirror::RevisionRow>& newest, UpdateCounts& counts) {
  for (const mirror::RevisionRow& row : newest) {
    bool before = false;
    if (base > 0) {
      TRY_ASSIGN(const auto revisions, mirror.catalog().RevisionsOf(row.update.guid));
      before = std::ranges::any_of(
          revisions, [&](const mirror::RevisionRow& one) { return one.generation <= base; });
    }
    if (row.is_withdrawn) ++counts.withdrawn;
    if (before && row.generation <= base) continue;  // withdrawn or listed again, nothing else
    if (row.is_expired) {
      counts.expired += before ? 1 : 0;
    } else {
      ++(before ? counts.revised : counts.added);
    }
  }
  return {};
}

Result<void> CountApprovals(mirror::Mirror& mirror, const mirror::IntentImport& intent,
                            ApprovalCounts& counts) {
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  std::map<Guid, std::string> names;
  for (const auto& group : groups) names[group.id] = group.name;
  std::map<std::string, ApprovalCounts::OfGroup> by_name;
  for (const mirror::IncomingDeployment& one : intent.deployments) {
    const auto known = names.find(one.group);
    const std::string name = known == names.end() ? one.group.ToString() : known->second;
    ApprovalCounts::OfGroup& of = by_name[name];
    of.group = name;
    ++of.approvals;
    if (!one.deadline) continue;
    ++of.deadlines;
    if (!counts.first_deadline || *one.deadline < *counts.first_deadline) {
      counts.first_deadline = one.deadline;
    }
  }
  for (auto& [name, of] : by_name) counts.groups.push_back(std::move(of));
  counts.ended = intent.dead_deployments.size();
  return {};
}

std::uint64_t ExportPlan::BytesNeeded() const {
  const std::uint64_t bytes = content.bytes + document_bytes + content.files.size() * 1024;
  return bytes + bytes / 8192 + kSmallFiles;
}

std::uint64_t ExportPlan::Seconds() const {
  return 1 + BytesNeeded() / kBytesPerSecond + revisions_carried / kDocumentsPerSecond;
}

}  // namespace gapferry::exporter
