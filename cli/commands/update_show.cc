// gapferry update show: one update, everything about it.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/update_view.h"
#include "mirror/content_store.h"
#include "mirror/ledger.h"
#include "mirror/quarantine.h"
#include "mirror/relatives.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr int kMostRelatives = 20;

/// Titles of what a revision belongs to: its classification and products.
Result<std::vector<std::string>> CategoryTitles(mirror::Mirror& mirror,
                                                const mirror::RevisionRelations& relations) {
  std::vector<std::string> titles;
  for (const auto& clause : relations.prerequisites) {
    if (!clause.is_category) continue;
    for (const Guid& guid : clause.alternatives) {
      TRY_ASSIGN(auto title, TitleOf(mirror, guid));
      titles.push_back(std::move(title));
    }
  }
  return titles;
}

/// Another update that one refers to.
struct Relative {
  std::string id;  ///< GUID or GUID/REVISION
  std::string title;
};

/// Everything `update show` tells.
struct Portrait {
  UpdateView view;
  mirror::UpdateText text;
  mirror::RevisionRelations relations;
  std::vector<std::string> categories;
  std::vector<mirror::RevisionRow> revisions;
  std::vector<Relative> bundles;  ///< what it installs
  std::vector<Relative> part_of;  ///< bundles that install it
  std::vector<Relative> supersedes;
  std::vector<Relative> superseded_by;
  struct Eula {
    Guid id;
    bool accepted = false;
  };
  std::vector<Eula> eulas;  ///< of it and of what it bundles
  /// Files of it and of what it bundles that came and that the scanner rejected.
  std::map<Sha1Digest, mirror::WithheldWhy> withheld;
  std::vector<std::string> blocked_at;  ///< sites that do not offer it, as their returns say
};

Result<std::vector<Relative>> Named(mirror::Mirror& mirror,
                                    const std::vector<protocol::UpdateId>& updates) {
  std::vector<Relative> relatives;
  for (const auto& update : updates) {
    TRY_ASSIGN(auto title, TitleOf(mirror, update.guid));
    relatives.push_back({update.ToString(), std::move(title)});
  }
  return relatives;
}

Result<void> ReadEulas(mirror::Mirror& mirror, Portrait& portrait) {
  TRY_ASSIGN(const auto accepted, mirror.intent().AcceptedEulas());
  std::set<Guid> seen;
  const auto add = [&](const std::optional<Guid>& eula) {
    if (!eula || !seen.insert(*eula).second) return;
    portrait.eulas.push_back({*eula, std::ranges::find(accepted, *eula) != accepted.end()});
  };
  add(portrait.relations.row.eula_id);
  for (const auto& group : portrait.relations.bundled) {
    for (const auto& member : group) {
      TRY_ASSIGN(const auto row, mirror.catalog().Find(member));
      if (row) add(row->eula_id);
    }
  }
  return {};
}

Result<void> ReadSites(mirror::Mirror& mirror, Portrait& portrait) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  for (const auto& site : sites) {
    TRY_ASSIGN(const auto blocked, ledger.BlockedAt(site.guid));
    for (const auto& one : blocked) {
      if (one.update != portrait.relations.row.update.guid) continue;
      portrait.blocked_at.push_back(fmt::format(
          "{} has blocked it since {}{}{}", EscapeForDisplay(site.name, 64), Minute(one.since),
          one.reason.empty() ? "" : ": ", EscapeForDisplay(one.reason)));
    }
  }
  return {};
}

Result<void> ReadRelatives(mirror::Mirror& mirror, Portrait& portrait) {
  const auto& relations = portrait.relations;
  const protocol::UpdateId& update = relations.row.update;
  std::vector<protocol::UpdateId> members;
  for (const auto& group : relations.bundled) {
    members.insert(members.end(), group.begin(), group.end());
  }
  TRY_ASSIGN(portrait.bundles, Named(mirror, members));
  TRY_ASSIGN(const auto bundles, mirror::BundlesOf(mirror.db(), update, kMostRelatives));
  TRY_ASSIGN(portrait.part_of, Named(mirror, bundles));
  for (const Guid& guid : relations.superseded) {
    TRY_ASSIGN(auto title, TitleOf(mirror, guid));
    portrait.supersedes.push_back({guid.ToString(), std::move(title)});
  }
  TRY_ASSIGN(const auto newer,
             mirror::SupersedingUpdates(mirror.db(), update.guid, kMostRelatives));
  TRY_ASSIGN(portrait.superseded_by, Named(mirror, newer));
  return {};
}

Result<void> AddWithheld(mirror::Mirror& mirror, Portrait& portrait) {
  constexpr int kMostUpdates = 1'000;
  std::set<protocol::UpdateId> wanted{portrait.relations.row.update};
  for (const auto& group : portrait.relations.bundled) wanted.insert(group.begin(), group.end());
  mirror::Quarantine quarantine(mirror);
  TRY_ASSIGN(const auto files, quarantine.List(/*all=*/false));
  for (const auto& file : files) {
    TRY_ASSIGN(const auto updates, mirror::UpdatesOfFile(mirror.db(), file.sha1, kMostUpdates));
    for (const auto& one : updates) {
      if (wanted.contains(one.update)) portrait.withheld.emplace(file.sha1, file.why);
    }
  }
  return {};
}

Result<Portrait> ReadPortrait(mirror::Mirror& mirror, const mirror::RevisionRow& row,
                              const Decisions& decisions) {
  Portrait portrait;
  TRY_ASSIGN(auto summary, mirror.catalog().Summary(row.id));
  TRY_ASSIGN(auto relations, mirror.catalog().Relations(row.id));
  if (!summary || !relations) {
    return Fail(ErrorCode::kNotFound, "update " + row.update.ToString() + " is gone");
  }
  portrait.relations = *std::move(relations);
  TRY(AddWithheld(mirror, portrait));
  TRY_ASSIGN(portrait.view, ViewOf(mirror, decisions, *std::move(summary)));
  TRY_ASSIGN(portrait.text, mirror.catalog().Text(row.id));
  TRY_ASSIGN(portrait.revisions, mirror.catalog().RevisionsOf(row.update.guid));
  TRY_ASSIGN(portrait.categories, CategoryTitles(mirror, portrait.relations));
  TRY(ReadRelatives(mirror, portrait));
  TRY(ReadEulas(mirror, portrait));
  TRY(ReadSites(mirror, portrait));
  return portrait;
}

using Table = std::vector<std::vector<std::string>>;

void AddRelatives(Table& table, const std::string& label, const std::vector<Relative>& relatives) {
  constexpr std::size_t kTitleWidth = 86;
  std::string shown = label;
  std::size_t count = 0;
  for (const Relative& relative : relatives) {
    if (++count > static_cast<std::size_t>(kMostRelatives)) {
      table.push_back({"", fmt::format("and {} more", relatives.size() - kMostRelatives)});
      return;
    }
    table.push_back({shown, Cut(relative.title, kTitleWidth)});
    table.push_back({"", "  " + relative.id});
    shown.clear();
  }
}

std::string RevisionsText(const Portrait& portrait) {
  const auto& row = portrait.relations.row;
  std::string text = row.update.ToString();
  if (portrait.revisions.size() == 1) return text;
  std::string others;
  for (const auto& other : portrait.revisions) {
    if (other.id == row.id) continue;
    others += fmt::format("{}{}", others.empty() ? "" : ", ", other.update.revision);
  }
  return text + (row.is_latest ? " (newest; also " : " (also ") + others + ")";
}

void AddDecisions(Table& table, const Portrait& portrait, const GroupNames& groups) {
  const UpdateView& view = portrait.view;
  constexpr std::size_t kStateWidth = 86;
  table.push_back({"state", Cut(StateText(view, groups), kStateWidth)});
  if (view.block) {
    table.push_back(
        {"blocked", fmt::format("by {}, {}{}{}", EscapeForDisplay(view.block->actor, 40),
                                Minute(view.block->at), view.block->reason.empty() ? "" : ": ",
                                EscapeForDisplay(view.block->reason))});
  }
  for (const auto& approval : view.approvals) {
    constexpr std::size_t kGroupWidth = 36;
    std::string text =
        fmt::format("  {} for '{}'", DeploymentActionName(approval.action),
                    Cut(EscapeForDisplay(GroupName(groups, approval.group)), kGroupWidth));
    if (approval.effective_deadline) {
      text += fmt::format(", deadline {}", Minute(*approval.effective_deadline));
    } else if (approval.deadline) {
      text += ", deadline waits for a clock that can be believed";
    }
    table.push_back({"", text});
    text = fmt::format("    by {}, {}", EscapeForDisplay(approval.admin_name, 40),
                       Minute(approval.last_change));
    if (approval.update.revision != view.summary.row.update.revision) {
      text += fmt::format(", revision {}", approval.update.revision);
    }
    table.push_back({"", text});
  }
  for (const auto& site : portrait.blocked_at) {
    table.push_back({"site", site});
  }
  for (const auto& eula : portrait.eulas) {
    table.push_back({"licence", fmt::format("{}, {}", eula.id.ToString(),
                                            eula.accepted ? "accepted" : "not accepted")});
  }
  table.push_back({"computers", fmt::format("{} need it, {} have it, {} failed", view.counts.needed,
                                            view.counts.installed + view.counts.pending_reboot,
                                            view.counts.failed)});
}

/// "not held", or why it was kept out.
std::string AbsenceOf(const Portrait& portrait, const Sha1Digest& sha1) {
  const auto found = portrait.withheld.find(sha1);
  if (found == portrait.withheld.end()) return "not held";
  return fmt::format("withheld ({} by the scanner): gapferry quarantine list",
                     mirror::WithheldWhyName(found->second));
}

void AddFiles(Table& table, const Portrait& portrait, bool each) {
  const auto& payload = portrait.view.payload;
  std::string text =
      fmt::format("{}, {}", Plural(payload.files, "file"), FormatByteCount(payload.bytes));
  if (payload.missing_files > 0) {
    text += fmt::format("; {} ({}) not held", payload.missing_files,
                        FormatByteCount(payload.missing_bytes));
  }
  if (!portrait.withheld.empty()) {
    text += fmt::format("; {} withheld ({} by the scanner), so that it is not offered",
                        portrait.withheld.size(),
                        mirror::WithheldWhyName(portrait.withheld.begin()->second));
  }
  table.push_back({"files", text});
  if (!each) return;
  for (const auto& file : portrait.relations.files) {
    const bool eula = file.kind == mirror::FileKind::kEula;
    const std::string licence = eula ? fmt::format(" (licence, {})", file.language) : "";
    table.push_back({"", EscapeForDisplay(fmt::format("  {}{}, {}", file.name, licence,
                                                      FormatByteCount(file.size_bytes)))});
    table.push_back(
        {"", file.is_held
                 ? "    content/" + mirror::ContentPath(file.sha1, file.extension)
                 : fmt::format("    {}, {}", file.sha1.ToHex(), AbsenceOf(portrait, file.sha1))});
  }
}

void PrintPortrait(Context& context, const Portrait& portrait, const GroupNames& groups) {
  const auto& summary = portrait.view.summary;
  constexpr std::size_t kWidth = 96;
  context.Print(Wrap(ShownTitle(summary.title), kWidth, ""));
  std::string kind(protocol::UpdateTypeName(summary.row.type));
  for (const std::string& category : portrait.categories) kind += ", " + category;
  Table table = {{"id", RevisionsText(portrait)}, {"kind", Cut(kind, 86)}};
  if (!summary.kb_article.empty() || !summary.severity.empty()) {
    std::string article = summary.kb_article.empty() ? "" : "KB" + summary.kb_article;
    if (!article.empty() && !summary.severity.empty()) article += ", ";
    table.push_back({"article", EscapeForDisplay(article + summary.severity)});
  }
  if (summary.created_at) table.push_back({"created", summary.created_at->ToDate()});
  AddDecisions(table, portrait, groups);
  AddFiles(table, portrait, context.global().verbose > 0);
  AddRelatives(table, "installs", portrait.bundles);
  AddRelatives(table, "part of", portrait.part_of);
  AddRelatives(table, "replaces", portrait.supersedes);
  AddRelatives(table, "replaced by", portrait.superseded_by);
  for (auto& row : table) row[0] = "  " + row[0];
  context.Print(FormatTable(table));
  if (!portrait.text.description.empty()) {
    context.Print("\n" + Wrap(EscapeForDisplay(portrait.text.description, 2000), kWidth, "  "));
  }
}

json RelativesToJson(const std::vector<Relative>& relatives) {
  json list = json::array();
  for (const auto& relative : relatives) {
    list.push_back({{"id", relative.id}, {"title", relative.title}});
  }
  return list;
}

json PortraitToJson(const Portrait& portrait, const GroupNames& groups) {
  json object = ViewToJson(portrait.view, groups);
  object["description"] = portrait.text.description;
  object["language"] = portrait.text.language;
  object["categories"] = portrait.categories;
  object["deployable"] = portrait.relations.row.is_explicitly_deployable;
  object["can_uninstall"] = portrait.relations.row.can_uninstall;
  object["newest"] = portrait.relations.row.is_latest;
  object["document_sha256"] = portrait.relations.row.document_sha256.ToHex();
  object["revisions"] = json::array();
  for (const auto& row : portrait.revisions) object["revisions"].push_back(row.update.revision);
  object["bundled"] = RelativesToJson(portrait.bundles);
  object["part_of"] = RelativesToJson(portrait.part_of);
  object["supersedes"] = RelativesToJson(portrait.supersedes);
  object["superseded_by"] = RelativesToJson(portrait.superseded_by);
  object["blocked_at"] = portrait.blocked_at;
  object["eulas"] = json::array();
  for (const auto& eula : portrait.eulas) {
    object["eulas"].push_back({{"id", eula.id.ToString()}, {"accepted", eula.accepted}});
  }
  object["withheld_files"] = json::array();
  for (const auto& [sha1, why] : portrait.withheld) {
    object["withheld_files"].push_back(
        {{"sha1", sha1.ToHex()}, {"why", mirror::WithheldWhyName(why)}});
  }
  object["declared_files"] = json::array();
  for (const auto& file : portrait.relations.files) {
    json entry = {{"name", file.name},
                  {"size", file.size_bytes},
                  {"sha1", file.sha1.ToHex()},
                  {"sha256", nullptr},
                  {"kind", file.kind == mirror::FileKind::kEula ? "eula" : "payload"},
                  {"held", file.is_held},
                  {"withheld", nullptr}};
    if (const auto found = portrait.withheld.find(file.sha1); found != portrait.withheld.end()) {
      entry["withheld"] = mirror::WithheldWhyName(found->second);
    }
    if (file.sha256) entry["sha256"] = file.sha256->ToHex();
    object["declared_files"].push_back(std::move(entry));
  }
  return object;
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto row, FindUpdate(context, mirror, *context.args().Text("ID")));
  TRY_ASSIGN(const Decisions decisions, ReadDecisions(mirror));
  TRY_ASSIGN(const Portrait portrait, ReadPortrait(mirror, row, decisions));
  PrintPortrait(context, portrait, decisions.groups);
  context.Emit(PortraitToJson(portrait, decisions.groups));
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> UpdateShowCommands() {
  return {
      {.path = {"update", "show"},
       .summary = "one update: approvals, files, licence, what it replaces",
       .description = "-v lists the files, licence texts included, with their place in the mirror.",
       .examples = {{"gapferry update show 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"},
                    {"gapferry update show 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/200 --json"}},
       .options = {{"ID", Takes::kText, {}, "GUID (its newest revision) or GUID/REVISION", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
  };
}

}  // namespace gapferry::cli
