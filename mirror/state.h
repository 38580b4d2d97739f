#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"

namespace gapferry::mirror {

using Generation = std::int64_t;
/// Positive, given once per (GUID, revision), never reused, told to clients.
using RevisionId = std::int32_t;
using DeploymentId = std::int32_t;
using ChangeId = std::int64_t;

/// Whose will an intent row is. Rows of all kinds may be there; which are followed is
/// Intent::Effective. kFollowed: what a replica follows while decisions from above wait.
enum class IntentOrigin { kLocal = 0, kUpstream = 1, kFollowed = 2 };

/// The name of a state of a mirror. Two states are the same exactly when all three agree.
struct StateName {
  Guid epoch;
  Generation generation = 0;
  Sha256Digest chain;
  bool operator==(const StateName&) const = default;
};

/// A committed generation.
struct PublishedState {
  StateName name;
  /// What came from above: documents, withdrawals, intent as received (local on a mirror that
  /// decides for itself). Goes into receipts; a mirror fed from here has the same one as
  /// `passed_on_digest`.
  Sha256Digest state_digest;
  /// The same over the intent this mirror passes on. Differs from state_digest only on a mirror
  /// that is fed by a gap and approves by itself. Goes into bundles as the target's state digest.
  Sha256Digest passed_on_digest;
  Sha256Digest documents_digest;
  Sha256Digest intent_digest;
  UtcTime committed_at;  ///< whole milliseconds, strictly rising with the generation
  std::string kind;      ///< init, sync, import, approve, decline, group ...
  /// Whose intent passed_on_digest covers: kLocal or kUpstream, as `replica:` was set then.
  IntentOrigin followed = IntentOrigin::kLocal;
};

}  // namespace gapferry::mirror
