#include "exporter/return_facts.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "mirror/bundle_damage.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/ledger.h"
#include "mirror/quarantine.h"
#include "mirror/update_block.h"

namespace gapferry::exporter {
namespace {

using mirror::Mirror;
using mirror::exchange::ReturnDocument;

constexpr int kReceipts = 64;

/// Newest first, so far as they lead on: nothing from before a new history was accepted.
Result<void> AddReceipts(Mirror& mirror, const Guid& sender, ReturnDocument& document) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto imports, ledger.Imports(kReceipts));
  TRY_ASSIGN(const auto content, mirror.content().Digest());
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  std::map<std::string, std::uint64_t> reached;  // the lowest sequence of each stream so far
  for (const mirror::BundleIn& bundle : imports) {
    if (bundle.sender != sender) continue;
    mirror::KnownState target = bundle.target;
    if (document.receipts.empty()) {
      target.state_digest = published.state_digest;  // as it is, not as the bundle promised
    } else {
      const auto& newest = document.receipts.front().target;
      const auto& later = document.receipts.back().target.name;
      const auto stream = reached.find(bundle.stream);
      if (target.name.epoch != later.epoch || target.name.generation > later.generation ||
          (stream != reached.end() && bundle.sequence >= stream->second)) {
        break;
      }
      // Which of two bundles to one state is written last depends on their names.
      if (target.name == newest.name) target.state_digest = newest.state_digest;
    }
    reached[bundle.stream] = bundle.sequence;
    document.receipts.push_back(
        {bundle.stream, bundle.sequence, bundle.manifest, target, content, bundle.imported_at});
  }
  return {};
}

/// Files that came and that the scanner rejected: they are not asked for, they are here.
Result<void> AddWithheld(Mirror& mirror, ReturnDocument& document) {
  mirror::Quarantine quarantine(mirror);
  TRY_ASSIGN(const auto files, quarantine.List(/*all=*/false));
  for (const auto& file : files) {
    document.withheld.push_back({file.sha1, file.size_bytes, file.why});
  }
  return {};
}

Result<void> AddRequests(Mirror& mirror, ReturnDocument& document) {
  std::set<Sha1Digest> seen;
  for (const auto& file : document.withheld) seen.insert(file.sha1);
  TRY_ASSIGN(const auto needed, mirror::exchange::NeededFiles(mirror, /*all=*/false));
  for (const auto& file : needed) {
    if (!file.is_held && seen.insert(file.sha1).second) {
      document.requests.push_back({file.sha1, file.size_bytes, /*asked=*/false});
    }
  }
  TRY_ASSIGN(const auto wanted, mirror.content().Wanted());
  for (const Sha1Digest& sha1 : wanted) {
    if (!mirror.content().Holds(sha1) && seen.insert(sha1).second) {
      document.requests.push_back({sha1, 0, /*asked=*/true});
    }
  }
  TRY_ASSIGN(document.removed, mirror.content().Lost());
  return {};
}

Result<void> AddBlocked(Mirror& mirror, ReturnDocument& document) {
  TRY_ASSIGN(const auto blocks, mirror::ReadBlocks(mirror));
  for (const auto& block : blocks) {
    document.blocked.push_back({block.update, block.at, block.reason});
  }
  return {};
}

}  // namespace

Result<void> AddBundlesAndFiles(Mirror& mirror, const Guid& sender, ReturnDocument& document) {
  TRY(AddReceipts(mirror, sender, document));
  TRY(AddWithheld(mirror, document));
  TRY(AddRequests(mirror, document));
  TRY(AddBlocked(mirror, document));
  TRY_ASSIGN(document.blocks, mirror::BundleDamage(mirror.db(), sender));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(document.resends, ledger.ResendsWanted());
  if (document.resends.size() > mirror::exchange::kMaxResends) {
    document.resends.resize(mirror::exchange::kMaxResends);  // the rest with the next return
  }
  return {};
}

}  // namespace gapferry::exporter
