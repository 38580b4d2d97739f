// gapferry site add|list|show: the destinations of bundles.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "manifests/card.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

std::string TimeOr(const std::optional<UtcTime>& time, const char* otherwise) {
  return time ? time->ToXml() : otherwise;
}

json ToJson(const mirror::Site& site) {
  json object = {{"guid", site.guid.ToString()},
                 {"stream", site.stream},
                 {"name", site.name},
                 {"added_at", site.added_at.ToXml()},
                 {"last_sequence", site.last_sequence},
                 {"acknowledged", nullptr},
                 {"applied_return", site.applied_return},
                 {"last_return_at", nullptr},
                 {"diverged", site.diverged}};
  if (site.acknowledged) {
    object["acknowledged"] = {{"sequence", site.acknowledged_sequence},
                              {"epoch", site.acknowledged->name.epoch.ToString()},
                              {"generation", site.acknowledged->name.generation},
                              {"state_digest", site.acknowledged->state_digest.ToHex()},
                              {"at", TimeOr(site.acknowledged_at, "")}};
  }
  if (site.last_return_at) object["last_return_at"] = site.last_return_at->ToXml();
  return object;
}

json ToJson(const mirror::BundleOut& bundle) {
  return {{"sequence", bundle.sequence},
          {"state", mirror::BundleStateName(bundle.state)},
          {"scope", bundle.full ? "full" : "delta"},
          {"base", bundle.base.name.generation},
          {"target", bundle.target.name.generation},
          {"bytes", bundle.bytes},
          {"path", bundle.path}};
}

Result<ExitCode> Add(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  const std::string file = *context.args().Text("CARD");
  TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes), "'" + file + "'");
  if (card.guid == mirror.identity().guid) {
    return Fail(ErrorCode::kUsage, "site-self", "'" + file + "' is this mirror's own card");
  }
  const std::string name = EscapeForDisplay(card.name, 64);
  context.Say(fmt::format("card of {} ({})\nfingerprint {}", name, card.guid.ToString(),
                          card.Fingerprint()));
  TRY(context.ConfirmOnTerminal("Does " + name +
                                " read the same fingerprint to you, and may bundles be "
                                "written for it?"));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.AddSite(card.guid, card.name, bytes, mirror.clock().Now(),
                                             mirror::CurrentActor()));
  context.Print(fmt::format("site {} is known as '{}'", name, site.stream));
  json object = ToJson(site);
  object["fingerprint"] = card.Fingerprint();
  context.Emit(object);
  return ExitCode::kDone;
}

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  std::vector<std::vector<std::string>> rows = {
      {"SITE", "NAME", "LAST BUNDLE", "ACKNOWLEDGED", "BEHIND", "LAST RETURN"}};
  for (const auto& site : sites) {
    const bool acked = site.acknowledged.has_value();
    rows.push_back(
        {site.stream, EscapeForDisplay(site.name, 40), std::to_string(site.last_sequence),
         !site.diverged.empty() ? "diverged"
         : acked                ? std::to_string(site.acknowledged_sequence)
                                : "-",
         acked ? std::to_string(published.name.generation - site.acknowledged->name.generation)
               : "-",
         TimeOr(site.last_return_at, "never")});
    context.Emit(ToJson(site));
  }
  context.Print(sites.empty() ? "no sites" : FormatTable(rows));
  return ExitCode::kDone;
}

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindSite(*context.args().Text("SITE")));
  TRY_ASSIGN(const auto bundles, ledger.Bundles(site.guid));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(site.card));
  TRY_ASSIGN(const auto believed, ledger.Believed(site.guid));
  TRY_ASSIGN(const auto requested, ledger.Requested(site.guid));
  json object = ToJson(site);
  object["fingerprint"] = card.Fingerprint();
  object["believed_files"] = believed.size();
  object["requested_files"] = requested.size();
  object["bundles"] = json::array();
  std::vector<std::vector<std::string>> rows = {
      {"BUNDLE", "STATE", "SCOPE", "FROM", "TO", "SIZE", "WRITTEN TO"}};
  for (const auto& bundle : bundles) {
    object["bundles"].push_back(ToJson(bundle));
    rows.push_back({std::to_string(bundle.sequence),
                    std::string(mirror::BundleStateName(bundle.state)),
                    bundle.full ? "full" : "delta", std::to_string(bundle.base.name.generation),
                    std::to_string(bundle.target.name.generation), FormatByteCount(bundle.bytes),
                    bundle.path});
  }
  std::string text = fmt::format("site         {} ({})\nstream       {}\nfingerprint  {}\n",
                                 EscapeForDisplay(site.name, 64), site.guid.ToString(), site.stream,
                                 card.Fingerprint());
  if (site.acknowledged) {
    text +=
        fmt::format("receipt      bundle {}, generation {}, on {}\n", site.acknowledged_sequence,
                    site.acknowledged->name.generation, TimeOr(site.acknowledged_at, "-"));
  } else {
    text += "receipt      none yet: the next bundle is a full one\n";
  }
  if (!site.diverged.empty()) text += "diverged     " + site.diverged + "\n";
  text += fmt::format("last return  {} ({})\nholds        {} files by its receipts, asks for {}\n",
                      site.applied_return, TimeOr(site.last_return_at, "never"), believed.size(),
                      requested.size());
  context.Print(text + FormatTable(rows));
  context.Emit(object);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> SiteCommands() {
  const std::vector<ExitCode> exits = {ExitCode::kNotFound, ExitCode::kCorrupt,
                                       ExitCode::kUntrusted};
  return {
      {.path = {"site", "add"},
       .summary = "add a destination of bundles by its card",
       .examples = {{"gapferry site add plant.card", "shows the fingerprint; asks on a terminal"},
                    {"gapferry site add plant.card --yes", "compared before: does not ask"}},
       .options = {{"CARD", Takes::kText, {}, "the site's card, from its 'identity show'", true}},
       .asks = true,
       .exits = exits,
       .run = Add},
      {.path = {"site", "list"},
       .summary = "list the destinations and how far each one is",
       .examples = {{"gapferry site list", "one line per site"},
                    {"gapferry site list --json", "the same for programs, one object per line"}},
       .run = List},
      {.path = {"site", "show"},
       .summary = "show one destination: its receipts and bundles",
       .examples = {{"gapferry site show plant", "by stream, name or GUID"},
                    {"gapferry site show plant --json", "the same for programs"}},
       .options = {{"SITE", Takes::kText, {}, "stream, name or GUID of a site", true}},
       .exits = {ExitCode::kNotFound},
       .run = Show}};
}

}  // namespace gapferry::cli
