#include "cli/site_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"

namespace gapferry::cli {

using mirror::SiteContent;
using mirror::SiteSettings;
using nlohmann::json;

json SettingsToJson(const SiteSettings& settings) {
  json groups = json::array();
  for (const Guid& group : settings.groups) groups.push_back(group.ToString());
  json object = {{"content", mirror::SiteContentName(settings.content)},
                 {"languages", settings.languages},
                 {"architectures", settings.architectures},
                 {"groups", groups},
                 {"express", nullptr},
                 {"max_bytes", settings.max_bytes},
                 {"encrypt", nullptr},
                 {"parity", nullptr},
                 {"returns", !settings.no_returns},
                 {"overlap", settings.overlap_bundles},
                 {"overlap_days", settings.overlap_days}};
  if (settings.express) object["express"] = *settings.express;
  if (settings.encrypt) object["encrypt"] = *settings.encrypt;
  if (settings.parity) object["parity"] = *settings.parity;
  return object;
}

json SiteToJson(const mirror::Site& site) {
  json object = {{"guid", site.guid.ToString()},
                 {"stream", site.stream},
                 {"name", site.name},
                 {"added_at", site.added_at.ToXml()},
                 {"last_sequence", site.last_sequence},
                 {"acknowledged", nullptr},
                 {"applied_return", site.applied_return},
                 {"last_return_at", TimeToJson(site.last_return_at)},
                 {"diverged", site.diverged},
                 {"settings", SettingsToJson(site.settings)}};
  if (site.acknowledged) {
    object["acknowledged"] = {{"sequence", site.acknowledged_sequence},
                              {"epoch", site.acknowledged->name.epoch.ToString()},
                              {"generation", site.acknowledged->name.generation},
                              {"state_digest", site.acknowledged->state_digest.ToHex()},
                              {"at", site.acknowledged_at ? site.acknowledged_at->ToXml() : ""}};
  }
  return object;
}

Result<mirror::Site> FindSite(const Context& context, mirror::Ledger& ledger,
                              std::string_view text) {
  auto site = ledger.FindSite(text);
  if (!site) return WithNext(std::move(site.error()), NextCommand(context, "site list"));
  return site;
}

Result<std::optional<AskedRepair>> FindAskedRepair(mirror::Ledger& ledger,
                                                   const mirror::Site& site) {
  TRY_ASSIGN(const auto runs, ledger.Damage(site.guid));
  AskedRepair asked;
  std::vector<std::uint64_t> bundles;
  for (const auto& run : runs) {
    // What it has acknowledged since came in another way.
    if (run.stream == site.stream && run.sequence <= site.acknowledged_sequence) continue;
    asked.blocks += run.count;
    if (bundles.empty() || bundles.back() != run.sequence) bundles.push_back(run.sequence);
  }
  if (bundles.empty()) return std::optional<AskedRepair>();
  asked.text = fmt::format(
      "{} could not read {} of {} {} and asks for them, which no ordinary "
      "bundle brings",
      EscapeForDisplay(site.name, 64), Plural(asked.blocks, "block"),
      bundles.size() == 1 ? "bundle" : "bundles", fmt::join(bundles, ", "));
  asked.command = "export --repair-asked --for " + ShellWord(site.stream) + " --to DIR";
  return std::optional(std::move(asked));
}

Result<std::string> SettingsText(mirror::Mirror& mirror, const SiteSettings& settings) {
  std::string text;
  const auto add = [&](std::string_view name, const std::string& what) {
    text += fmt::format("{:<13}{}\n", name, what);
  };
  const std::string content = settings.content == SiteContent::kAsMirror
                                  ? "as this mirror downloads"
                                  : std::string(mirror::SiteContentName(settings.content));
  add("content", content);
  if (!settings.languages.empty()) {
    add("languages", fmt::format("{}", fmt::join(settings.languages, ", ")));
  }
  if (!settings.architectures.empty()) {
    add("architecture", fmt::format("{}", fmt::join(settings.architectures, ", ")));
  }
  if (!settings.groups.empty()) {
    TRY_ASSIGN(const GroupNames names, ReadGroupNames(mirror));
    std::string groups;
    for (const Guid& group : settings.groups) {
      groups += (groups.empty() ? "" : ", ") + EscapeForDisplay(GroupName(names, group), 64);
    }
    add("groups", "files of approvals for " + groups);
  }
  if (settings.express) add("express", *settings.express ? "yes" : "no");
  if (settings.max_bytes > 0) {
    add("max bytes", FormatByteCount(settings.max_bytes) + " of files in one bundle");
  }
  const auto& exporting = mirror.config().exporting;
  const bool encrypts = settings.encrypt.value_or(exporting.encrypt);
  add("encrypted", fmt::format("{}{}", encrypts ? "yes" : "no",
                               settings.encrypt ? "" : " (as export.encrypt says)"));
  add("parity", fmt::format("{} percent{}", settings.parity.value_or(exporting.parity),
                            settings.parity ? "" : " (as export.parity says)"));
  if (settings.no_returns) {
    std::string overlap = fmt::format("any of the last {} bundles", settings.overlap_bundles);
    if (settings.overlap_days > 0) {
      overlap += fmt::format(" and all of the last {} days", settings.overlap_days);
    }
    add("returns", "none: " + overlap + " may be lost");
  }
  return text;
}

}  // namespace gapferry::cli
