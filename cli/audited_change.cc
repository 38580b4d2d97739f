#include "cli/audited_change.h"

#include "base/canonical_json.h"
#include "base/log.h"

namespace gapferry::cli {

Result<void> ChangeAudited(mirror::Mirror& mirror, const mirror::AuditEntry& entry,
                           const std::function<Result<void>()>& change) {
  TRY(mirror::AppendAuditAlone(mirror.db(), mirror.clock().Now(), entry));
  auto done = change();
  if (done) return done;
  const mirror::AuditEntry failed = {
      entry.actor, entry.action + ".failed", entry.object,
      WriteCanonicalJson(JsonValue(JsonValue::Object{{"error", ErrorCodeName(done.error().code)},
                                                     {"message", done.error().message}}))};
  const auto noted = mirror::AppendAuditAlone(mirror.db(), mirror.clock().Now(), failed);
  // The first record stands, and the error that matters is the other one.
  if (!noted) {
    Log(LogLevel::kWarning, "a failed change is not recorded", {{"why", noted.error().message}});
  }
  return done;
}

}  // namespace gapferry::cli
