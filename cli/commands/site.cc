// gapferry site add|list|show: the destinations of bundles.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/card_check.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/site_view.h"
#include "manifests/card.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kShownRequests = 10;

std::string TimeOr(const std::optional<UtcTime>& time, const char* otherwise) {
  return time ? time->ToXml() : otherwise;
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
    return std::unexpected(Error{ErrorCode::kUsage, "'" + file + "' is this mirror's own card",
                                 "site-self",
                                 "name the card that the site printed with: gapferry identity "
                                 "show"});
  }
  const std::string name = EscapeForDisplay(card.name, 64);
  context.Say(fmt::format("card of {} ({})\nfingerprint {}", name, card.guid.ToString(),
                          card.Fingerprint()));
  TRY(ConfirmCard(
      context, card, NextCommand(context, "site add " + ShellWord(file)),
      "Does " + name + " read the same fingerprint to you, and may bundles be written for it?"));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.AddSite(card.guid, card.name, bytes, mirror.clock().Now(),
                                             mirror::CurrentActor()));
  context.Print(fmt::format("site {} is known as '{}'", name, site.stream));
  json object = SiteToJson(site);
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
    context.Emit(SiteToJson(site));
  }
  context.Print(sites.empty() ? "no sites" : FormatTable(rows));
  return ExitCode::kDone;
}

/// Updates that are not offered there, whatever is approved here.
Result<std::string> BlockedText(mirror::Mirror& mirror,
                                const std::vector<mirror::ReturnEffect::Blocked>& blocked,
                                json& list) {
  std::string text;
  for (std::size_t i = 0; i < blocked.size(); ++i) {
    const auto& one = blocked[i];
    list.push_back(
        {{"update", one.update.ToString()}, {"since", one.since.ToXml()}, {"reason", one.reason}});
    if (i >= kShownRequests) continue;
    TRY_ASSIGN(const std::string title, TitleOf(mirror, one.update));
    text += fmt::format("             {} {}, since {}{}\n", one.update.ToString(), title,
                        Minute(one.since),
                        one.reason.empty() ? "" : ": " + EscapeForDisplay(one.reason, 200));
  }
  if (blocked.empty()) return text;
  if (blocked.size() > kShownRequests) {
    text += fmt::format("             and {} more\n", blocked.size() - kShownRequests);
  }
  return fmt::format("blocks       {}\n", Plural(blocked.size(), "update")) + text;
}

/// Files that its scanner did not let in.
std::string WithheldText(const std::vector<mirror::ReturnEffect::Withheld>& withheld, json& list) {
  std::string text;
  for (std::size_t i = 0; i < withheld.size(); ++i) {
    const auto& one = withheld[i];
    const std::string why(mirror::WithheldWhyName(one.why));
    list.push_back({{"sha1", one.sha1.ToHex()}, {"size", one.size_bytes}, {"why", why}});
    if (i >= kShownRequests) continue;
    text += fmt::format("             {} ({}), {}\n", one.sha1.ToHex(),
                        FormatByteCount(one.size_bytes), why);
  }
  if (withheld.empty()) return text;
  if (withheld.size() > kShownRequests) {
    text += fmt::format("             and {} more\n", withheld.size() - kShownRequests);
  }
  return fmt::format("withholds    {} that its scanner rejected\n",
                     Plural(withheld.size(), "file")) +
         text;
}

/// What the site's last return asked for and told, for people.
Result<std::string> Reports(mirror::Mirror& mirror, mirror::Ledger& ledger,
                            const mirror::Site& site, json& object) {
  TRY_ASSIGN(const auto requested, ledger.Requested(site.guid));
  TRY_ASSIGN(const auto damage, ledger.Damage(site.guid));
  TRY_ASSIGN(const auto blocked, ledger.BlockedAt(site.guid));
  TRY_ASSIGN(const auto withheld, ledger.WithheldAt(site.guid));
  json requests = json::array();
  std::uint64_t asked = 0;
  for (const auto& one : requested) {
    requests.push_back({{"sha1", one.sha1.ToHex()}, {"asked", one.asked}});
    asked += one.asked ? 1U : 0U;
  }
  object["requested_files"] = requested.size();
  object["requests"] = requests;
  object["damaged_runs"] = damage.size();
  object["blocked_updates"] = blocked.size();
  object["withheld_files"] = withheld.size();
  object["blocked"] = json::array();
  object["withheld"] = json::array();
  std::string text =
      fmt::format("asks for     {} files, {} of them by name\n", requested.size(), asked);
  for (std::size_t i = 0; i < requested.size() && i < kShownRequests; ++i) {
    text +=
        "             " + requested[i].sha1.ToHex() + (requested[i].asked ? " (by name)\n" : "\n");
  }
  if (requested.size() > kShownRequests) {
    text += fmt::format("             and {} more\n", requested.size() - kShownRequests);
  }
  if (!damage.empty()) {
    text += fmt::format("damaged      {} runs of blocks that it could not read\n", damage.size());
  }
  TRY_ASSIGN(const std::string blocks, BlockedText(mirror, blocked, object["blocked"]));
  return text + blocks + WithheldText(withheld, object["withheld"]);
}

Result<std::string> GroupsOf(mirror::Ledger& ledger, const mirror::Site& site, json& object) {
  TRY_ASSIGN(const auto groups, ledger.Groups());
  std::string text;
  object["groups"] = json::array();
  for (const auto& group : groups) {
    if (!std::ranges::binary_search(group.members, site.guid)) continue;
    object["groups"].push_back(group.stream);
    text += (text.empty() ? "" : ", ") + group.stream;
  }
  return text.empty() ? text : "groups       " + text + "\n";
}

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, FindSite(context, ledger, *context.args().Text("SITE")));
  TRY_ASSIGN(const auto bundles, ledger.Bundles(site.guid));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(site.card));
  TRY_ASSIGN(const auto believed, ledger.Believed(site.guid));
  json object = SiteToJson(site);
  object["fingerprint"] = card.Fingerprint();
  object["believed_files"] = believed.size();
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
  text += fmt::format("last return  {} ({})\nholds        {} files by its receipts\n",
                      site.applied_return, TimeOr(site.last_return_at, "never"), believed.size());
  TRY_ASSIGN(const std::string reports, Reports(mirror, ledger, site, object));
  TRY_ASSIGN(const std::string groups, GroupsOf(ledger, site, object));
  TRY_ASSIGN(const std::string settings, SettingsText(mirror, site.settings));
  context.Print(text + reports + groups + settings + FormatTable(rows));
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
       .description =
           "The fingerprint is shown and must be compared with what the site reads from its own "
           "screen. Without a terminal nothing is added unless --fingerprint or --yes answers.",
       .examples = {{"gapferry site add plant.card", "shows the fingerprint and asks"},
                    {"gapferry site add plant.card --fingerprint "
                     "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567",
                     "what the site reads by telephone: added when it is the card's"},
                    {"gapferry site add plant.card --yes", "compared before: does not ask"}},
       .options = {{"CARD", Takes::kText, {}, "the site's card, from its 'identity show'", true},
                   FingerprintOption()},
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
