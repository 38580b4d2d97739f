// What a client takes from a server: fragments (first byte 0 to 2), and the answers that load tests
// skim (3). Accepted rules evaluate without failing, and to the same twice; a skimmed answer holds
// no more updates than its text has room for.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "client/facts.h"
#include "client/fragment_reader.h"
#include "client/rules.h"
#include "client/sync_scanner.h"

using gapferry::client::CoreFragment;
using gapferry::client::Facts;
using gapferry::client::RuleEvaluator;

namespace {

void EvaluateTwice(const CoreFragment& core) {
  static const Facts kFacts = Facts::OfThisHost();
  RuleEvaluator evaluator(kFacts);
  for (const auto* rule : {&core.is_installed, &core.is_superseded, &core.is_installable}) {
    if (!*rule) continue;
    const auto first = evaluator.Evaluate(**rule, core.metadata);
    if (evaluator.Evaluate(**rule, core.metadata) != first) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      if (const auto core = gapferry::client::ParseCore(text)) EvaluateTwice(*core);
      break;
    case 1:
      if (const auto extended = gapferry::client::ParseExtended(text, {})) {
        for (const auto& file : extended->files) {
          if (file.file_name.size() > size) std::abort();
        }
      }
      break;
    case 2:
      if (const auto files = gapferry::client::ParseEulas(text); files && files->size() > size) {
        std::abort();
      }
      break;
    default:
      if (const auto outline = gapferry::client::ScanSyncAnswer(text)) {
        if (outline->fresh.size() * 20 > size || outline->out_of_scope.size() > size) std::abort();
      }
      if (gapferry::client::FaultCodeIn(text).size() > size) std::abort();
      break;
  }
  return 0;
}
