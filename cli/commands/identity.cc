// gapferry identity show: the card that people carry to the other side.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/context.h"
#include "manifests/card.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(const auto mirror, mirror::Mirror::Open(path));
  TRY_ASSIGN(
      const auto own,
      manifests::LoadIdentity(mirror.identity().guid, mirror.identity().name, mirror.keys().signing,
                              mirror.keys().encryption, mirror.identity().key_number));
  TRY_ASSIGN(const std::string card, manifests::EncodeCard(own.card, own.key));
  context.Print(card);
  context.Emit(nlohmann::json::parse(card));
  context.Say("fingerprint " + own.card.Fingerprint());
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> IdentityCommands() {
  return {
      {.path = {"identity", "show"},
       .summary = "print this mirror's card: name, GUID, public keys, fingerprint",
       .description =
           "The card is one JSON document. Carry it to the other side as it is; whoever adds it "
           "there compares the fingerprint with yours by voice.",
       .examples = {{"gapferry identity show > plant.card", "writes the card into a file"},
                    {"gapferry identity show --mirror /srv/updates",
                     "prints the card of another mirror"}},
       .run = Show}};
}

}  // namespace gapferry::cli
