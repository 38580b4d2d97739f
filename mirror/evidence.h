#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/canonical_json.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"
#include "mirror/witness.h"

namespace gapferry::mirror {

/// A bundle as this mirror knows it: one it wrote, or one that came in or was refused here.
struct EvidenceSubject {
  std::string stream;
  std::uint64_t sequence = 0;
  std::optional<BundleOut> out;  ///< on the sender's side
  std::vector<Site> recipients;  ///< on the sender's side: of the stream
  std::optional<BundleIn> in;    ///< imported here
  bool is_refused = false;       ///< it was here, but was never let in
  std::string Name() const;      ///< gapferry-<stream>-000007
  std::optional<Sha256Digest> manifest() const;
};

/// Finds bundle `sequence`: of `stream` (ours or one that comes in), of the site or group `site`
/// (any of its names), or, with neither, the only one of that number. kNotFound; kUsage (reason
/// "stream-needed") naming the streams when several have it.
Result<EvidenceSubject> FindBundleForEvidence(Mirror& mirror, std::uint64_t sequence,
                                              const std::optional<std::string>& stream,
                                              const std::optional<std::string>& site);

/// Everything this mirror knows of the bundle, as the members of a `gapferry-evidence/1` document
/// without its signature (docs/format.md, "Evidence"). Lists end at kEvidenceItems and say so.
/// Changes nothing.
inline constexpr std::size_t kEvidenceItems = 5'000;
Result<JsonValue::Object> CollectEvidence(Mirror& mirror, const EvidenceSubject& subject);

/// What this mirror has witnessed of other logs: a part of every evidence document, and what
/// `evidence verify` reads from one.
JsonValue HeadToJson(const WitnessedHead& head);
Result<std::vector<WitnessedHead>> HeadsFromJson(const JsonValue& list);

}  // namespace gapferry::mirror
