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
  Sha256Digest state_digest;
  Sha256Digest documents_digest;
  Sha256Digest intent_digest;
  UtcTime committed_at;  ///< whole milliseconds, strictly rising with the generation
  std::string kind;      ///< init, sync, import, approve, decline, group ...
};

}  // namespace gapferry::mirror
