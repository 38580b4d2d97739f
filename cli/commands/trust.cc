// gapferry trust add: whose bundles are accepted.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "manifests/trust_store.h"
#include "mirror/audit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

Result<ExitCode> Add(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  const std::string file = *context.args().Text("CARD");
  TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes), "'" + file + "'");
  const std::string name = EscapeForDisplay(card.name, 64);
  context.Say(fmt::format("card of {} ({})\nfingerprint {}", name, card.guid.ToString(),
                          card.Fingerprint()));
  TRY(context.ConfirmOnTerminal("Does " + name +
                                " read the same fingerprint to you, and may its bundles be "
                                "imported here?"));
  TRY(manifests::AddTrustedCard(mirror.keys().trusted_folder, bytes));
  TRY(mirror::AppendAuditAlone(
      mirror.db(), mirror.clock().Now(),
      {mirror::CurrentActor(), "trust.add", card.guid.ToString(),
       WriteCanonicalJson(JsonValue::Object{{"fingerprint", card.Fingerprint()},
                                            {"key", card.signing_key.Id().ToHex()},
                                            {"name", card.name}})}));
  context.Print("bundles of " + name + " are accepted");
  context.Emit({{"guid", card.guid.ToString()},
                {"name", card.name},
                {"fingerprint", card.Fingerprint()},
                {"key_id", card.signing_key.Id().ToHex()}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> TrustCommands() {
  return {{.path = {"trust", "add"},
           .summary = "accept bundles of the mirror whose card this is",
           .description = "The fingerprint is shown and must be compared with what the other side "
                          "reads from its own screen: a card that nobody compared is the way in.",
           .examples = {{"gapferry trust add harbour.card",
                         "shows the fingerprint; asks on a terminal"},
                        {"gapferry trust add harbour.card --yes", "compared before: does not ask"}},
           .options = {{"CARD", Takes::kText, {}, "the other mirror's card", true}},
           .asks = true,
           .exits = {ExitCode::kNotFound, ExitCode::kCorrupt, ExitCode::kUntrusted},
           .run = Add}};
}

}  // namespace gapferry::cli
