#include "mirror/intent.h"
#include "mirror/intent_rows.h"
#include "mirror/mirror.h"

// Intent: a declined update becomes one that nobody has decided about.

namespace gapferry::mirror {

Result<std::uint64_t> Intent::Undecline(const std::vector<Guid>& updates, std::string_view actor) {
  if (mirror_.config().replica) {
    return Fail(ErrorCode::kUsage, "replica",
                "this mirror is a replica: its groups, approvals and declines come from above and "
                "are changed there");
  }
  TRY_ASSIGN(auto commit, CommitTransaction::Begin(mirror_, "undecline"));
  std::uint64_t lifted = 0;
  for (const Guid& update : updates) {
    TRY_ASSIGN(const bool was_declined,
               PutDecline(commit, IntentOrigin::kLocal, update, /*declined=*/false));
    if (!was_declined) continue;
    TRY(commit.Audit({std::string(actor), "update.undecline", update.ToString()}));
    ++lifted;
  }
  TRY(commit.Finish());
  return lifted;
}

}  // namespace gapferry::mirror
