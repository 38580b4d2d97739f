#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "mirror/intent.h"
#include "protocol/update_id.h"

namespace gapferry::mirror::exchange {

/// One revision that the bundle is about.
struct RevisionLine {
  protocol::UpdateId update;
  Sha256Digest sha256;     ///< of the decoded document
  bool withdrawn = false;  ///< the upstream does not list it any more
  bool carried = false;    ///< its document is in this bundle
  bool operator==(const RevisionLine&) const = default;
};

/// The `intent` object decoded (docs/format.md, "The intent object"): what changed in (base,
/// target], or everything when it is full. Lists ascend by their keys.
struct IntentObject {
  bool full = false;
  /// Revisions of the sender that refer to some it does not hold: the receiver may not find more.
  std::uint64_t dangling = 0;
  std::vector<RevisionLine> revisions;
  IntentImport intent;  ///< deadline_floor unused
};

inline constexpr std::uint64_t kMaxIntentRevisions = 4'000'000;
inline constexpr std::uint64_t kMaxIntentElements = 4'000'000;
inline constexpr std::uint64_t kMaxIntentBytes = 2ULL << 30;  ///< decoded
inline constexpr std::size_t kMaxIntentLineBytes = 16 * 1024;

/// Sorts the lists and writes canonical JSON lines.
Result<void> WriteIntentObject(IntentObject object, Sink& sink);

/// Fails with kCorrupt (reason "intent-malformed") on anything that WriteIntentObject does not
/// write, naming the line.
Result<IntentObject> ReadIntentObject(Source& decoded);

}  // namespace gapferry::mirror::exchange
