#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "manifests/bundle_verifier.h"
#include "mirror/exchange/known_kinds.h"
#include "protocol/update_id.h"

namespace gapferry::importer {

/// What a bundle says by itself, for a reviewer who has no mirror to compare it with. Lists are cut
/// at kReviewItems; the numbers are complete.
struct ReviewPlan {
  struct Item {
    protocol::UpdateId update;
    std::string title;
  };
  struct Approval {
    protocol::UpdateId update;
    std::string title;  ///< empty: its document is not in this bundle
    std::string group;
    std::string action;
    std::optional<UtcTime> deadline;
  };
  std::uint64_t documents = 0;  ///< categories and detectoids included
  std::uint64_t updates = 0, expired = 0;
  std::vector<Item> items;  ///< updates that are not expired
  std::uint64_t withdrawn = 0, declined = 0, undeclined = 0;
  std::uint64_t groups = 0, groups_ended = 0, approvals_ended = 0, licences = 0;
  std::uint64_t approvals_count = 0;
  std::vector<Approval> approvals;
  std::uint64_t content_files = 0, content_bytes = 0;
  /// All kinds of what the bundle carries, and which of them are new to this reviewer.
  mirror::exchange::KnownKinds kinds;
  std::vector<std::string> new_handlers, new_publishers, new_commands;
  std::vector<Item> locally_published;
  std::uint64_t files_without_sha256 = 0;
};
inline constexpr std::size_t kReviewItems = 500;

/// Reads the intent and metadata objects of a verified index, each checked. `seen`: the kinds that
/// this reviewer has signed before.
Result<ReviewPlan> MakeReviewPlan(manifests::Medium& medium, const manifests::VerifiedIndex& index,
                                  const mirror::exchange::KnownKinds& seen);

/// What a reviewer has signed: a small file of his own, so that what is new in kind stands out.
struct ReviewMemory {
  mirror::exchange::KnownKinds kinds;
};
/// Empty when there is no file; kCorrupt (reason "review-memory") for a damaged one.
Result<ReviewMemory> ReadReviewMemory(const std::filesystem::path& path);
/// Mode 0600, in one step.
Result<void> WriteReviewMemory(const std::filesystem::path& path, const ReviewMemory& memory);

}  // namespace gapferry::importer
