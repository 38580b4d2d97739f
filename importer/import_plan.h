#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/mirror.h"
#include "mirror/removal_guard.h"

namespace gapferry::importer {

/// What an import would do, before anything is staged. Lists for people are cut at kPlanItems; the
/// numbers are complete.
struct ImportPlan {
  struct Item {
    protocol::UpdateId update;
    std::string title;
  };
  struct GroupChange {
    std::string group;
    std::uint64_t added = 0;
    std::uint64_t changed = 0;
    std::uint64_t ended = 0;
  };
  std::uint64_t documents = 0;  ///< new ones, categories and detectoids included
  std::uint64_t updates_added = 0, updates_revised = 0, updates_expired = 0;
  std::vector<Item> added, revised, expired;
  std::uint64_t withdrawn = 0, listed_again = 0;
  std::uint64_t unlisted = 0;  ///< held, and a full bundle does not name them: of the withdrawn
  std::uint64_t declined = 0, undeclined = 0;
  std::vector<GroupChange> approvals;  ///< by group name
  std::uint64_t groups_added = 0, groups_removed = 0;
  std::uint64_t eulas_accepted = 0, eulas_ended = 0;
  bool hold = false;            ///< decisions wait as proposals because it was asked for
  bool decides_itself = false;  ///< they wait anyway: this mirror is no replica
  bool clock_behind = false;    ///< deadlines wait: the clock lies before the bundle was written
  /// Where a decision of this mirror stands against one of the bundle.
  struct Conflict {
    std::string kind;  ///< "block", "rejected", "approval", "decline"
    Guid update;
    std::string title;
    std::string group;  ///< of the upstream; empty: all
    std::string here, above;
    bool here_wins = false;
  };
  std::vector<Conflict> conflicts;  ///< cut at kPlanItems
  std::uint64_t conflict_count = 0;
  std::vector<mirror::IntentImported::MovedDeadline> moved_deadlines;
  std::uint64_t content_files = 0, content_bytes = 0;  ///< not held yet
  std::uint64_t held_files = 0;
  std::uint64_t bytes_needed = 0, bytes_free = 0;
  std::uint64_t seconds = 0;  ///< a rough estimate
  // New in kind: what this site has never had.
  std::vector<std::string> new_handlers, new_publishers, new_commands;
  std::vector<Item> locally_published;
  std::uint64_t files_without_sha256 = 0;
  mirror::RemovalVerdict removals;  ///< whether the import will ask for consent
};
inline constexpr std::size_t kPlanItems = 500;

/// Reads the metadata and intent objects of a verified index, each checked, and compares. Content
/// is looked at by its index lines only. Changes nothing.
Result<ImportPlan> MakeImportPlan(mirror::Mirror& mirror, manifests::Medium& medium,
                                  const manifests::VerifiedIndex& index, bool hold = false);

}  // namespace gapferry::importer
