#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/canonical_json.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/sqlite.h"

namespace gapferry::mirror {

/// What happened to a bundle at this mirror, written down when it happened, since later nobody
/// could tell: on which medium, who had signed, what the scanner said, what was in it. `facts` is
/// free-form for people and programs that read evidence; nothing here decides by it.
struct BundleEvent {
  Sha256Digest manifest;
  std::string kind;  ///< "export", "import"
  UtcTime at;
  std::string actor;
  JsonValue::Object facts;
};

/// Belongs into the write transaction of what happened. Returns the SHA-256 of the facts as stored,
/// for the audit record, so that the chain covers them.
Result<Sha256Digest> RecordBundleEvent(Database& catalog, const BundleEvent& event);

struct StoredEvent {
  BundleEvent event;
  Sha256Digest digest;
};
/// Oldest first. Fails with kCorrupt when facts are not what was written.
Result<std::vector<StoredEvent>> BundleEvents(Database& catalog, const Sha256Digest& manifest);

/// What a bundle is about, as lists of ids: updates that come with their documents, approvals,
/// declines, withdrawals. Lists end at `kEventItems`, counts do not.
inline constexpr std::size_t kEventItems = 5'000;
JsonValue::Object ContentsOf(const exchange::IntentObject& object);

}  // namespace gapferry::mirror
