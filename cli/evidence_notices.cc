#include "cli/evidence_notices.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/admin_support.h"
#include "importer/own_side.h"
#include "mirror/ledger.h"
#include "mirror/quarantine.h"
#include "mirror/witness.h"

namespace gapferry::cli {
namespace {

Result<void> FindQuarantine(const Context& context, mirror::Mirror& mirror,
                            std::vector<Notice>& notices) {
  mirror::Quarantine quarantine(mirror);
  TRY_ASSIGN(const auto files, quarantine.List(/*all=*/false));
  if (files.empty()) return {};
  notices.push_back(
      {"quarantine",
       fmt::format("{}: the scanner said no ({}), and updates that need them are not offered",
                   Plural(files.size(), "file is withheld", "files are withheld"),
                   mirror::WithheldWhyName(files.front().why)),
       NextCommand(context, "quarantine list")});
  return {};
}

Result<void> FindPartners(const Context& context, mirror::Mirror& mirror,
                          const std::vector<mirror::Site>& sites, std::vector<Notice>& notices) {
  const auto own = mirror::CheckOwnChain(mirror.db(), mirror.identity().guid);
  if (!own && own.error().reason != "audit-contradicted") {
    return std::unexpected(own.error());
  }
  if (!own) {
    notices.push_back({"audit-contradicted", NamePartners(mirror, own.error().message),
                       NextCommand(context, "log --verify")});
  }
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  std::vector<std::pair<Guid, std::string>> partners;
  for (const auto& site : sites) partners.emplace_back(site.guid, site.name);
  if (last) partners.emplace_back(last->sender, "the sender of bundles");
  for (const auto& [guid, name] : partners) {
    TRY_ASSIGN(const auto heads, mirror::WitnessedHeads(mirror.db(), guid));
    const std::string contradiction = mirror::Contradiction(heads);
    if (contradiction.empty()) continue;
    notices.push_back({"partner-log-changed",
                       fmt::format("the audit trail of {} was cut, rewritten or restored: {}",
                                   EscapeForDisplay(name, 64), contradiction),
                       "ask there for 'gapferry log --export FILE', then: " +
                           NextCommand(context, "evidence verify FILE")});
  }
  return {};
}

}  // namespace

std::string NamePartners(mirror::Mirror& mirror, std::string text) {
  std::vector<std::pair<std::string, std::string>> partners;
  if (const auto sites = mirror::Ledger(mirror.db()).Sites()) {
    for (const auto& site : *sites) partners.emplace_back(site.guid.ToString(), site.name);
  }
  if (const auto trust = importer::ReadTrust(mirror)) {
    for (const auto& holder : trust->holders) {
      partners.emplace_back(holder.card.guid.ToString(), holder.card.name);
    }
  }
  for (const auto& [guid, name] : partners) {
    const std::string shown = "'" + EscapeForDisplay(name, 64) + "'";
    for (auto at = text.find(guid); at != std::string::npos; at = text.find(guid, at)) {
      text.replace(at, guid.size(), shown);
      at += shown.size();
    }
  }
  return text;
}

Result<std::vector<Notice>> FindEvidenceNotices(const Context& context, mirror::Mirror& mirror,
                                                const std::vector<mirror::Site>& sites) {
  std::vector<Notice> notices;
  TRY(FindQuarantine(context, mirror, notices));
  TRY(FindPartners(context, mirror, sites, notices));
  mirror::Ledger ledger(mirror.db());
  for (const auto& site : sites) {
    TRY_ASSIGN(const auto withheld, ledger.WithheldAt(site.guid));
    if (withheld.empty()) continue;
    notices.push_back(
        {"withheld-at-site",
         fmt::format("{} keeps {} out: its scanner said no", EscapeForDisplay(site.name, 64),
                     Plural(withheld.size(), "file", "files")),
         NextCommand(context, "site show " + site.stream)});
  }
  return notices;
}

}  // namespace gapferry::cli
