#include "importer/acknowledgement.h"

#include <set>
#include <string>

#include "mirror/activity.h"
#include "mirror/content_store.h"
#include "mirror/ledger.h"
#include "mirror/rollup_state.h"

namespace gapferry::importer {

namespace {

/// The next return would ask for it once more, and be sent it once more.
Result<void> EndRequests(mirror::Mirror& mirror, const Guid& sender, std::uint64_t applied) {
  mirror::Ledger ledger(mirror.db());
  TRY(ledger.DropResends(sender, applied));
  TRY_ASSIGN(const auto written, ledger.FindReturn(sender, applied));
  if (!written) return {};
  return mirror.content().ForgetLost(written->created_at);
}

}  // namespace

Result<void> ApplyAcknowledgement(mirror::Mirror& mirror, const Guid& sender,
                                  const manifests::Acknowledgement& acknowledgement) {
  TRY(EndRequests(mirror, sender, acknowledgement.applied_return));

  TRY_ASSIGN(mirror::Activity * activity, mirror.activity());
  mirror::RollupState told(*activity);
  std::set<std::string> deleted;
  for (const Guid& id : acknowledgement.deleted_computers) deleted.insert(id.ToString());
  TRY_ASSIGN(const auto before, told.DeletedUpstream());
  const std::set<std::string> known(before.begin(), before.end());
  for (const std::string& id : known) {
    if (!deleted.contains(id)) TRY(told.LiftDeletion(id));
  }
  for (const std::string& id : deleted) {
    if (known.contains(id)) continue;  // since then it may have registered again
    TRY(told.MarkDeleted({id}, mirror.clock().Now()));
    TRY_ASSIGN(const auto computer, activity->Find(id));
    if (computer && !computer->parent_server.IsZero()) TRY(activity->RemoveComputer(id));
  }
  return {};
}

}  // namespace gapferry::importer
