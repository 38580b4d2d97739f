// gapferry update list, show: what there is, and what was decided about it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/update_view.h"
#include "mirror/relatives.h"

namespace gapferry::cli {
namespace {

using mirror::CategoryType;
using nlohmann::json;

constexpr std::uint32_t kDefaultLimit = 50;
constexpr int kMostRelatives = 20;

// ---- Categories --------------------------------------------------------------------------------

std::string_view KindName(CategoryType type) {
  return type == CategoryType::kClassification ? "classification" : "product";
}

/// By GUID, whole title or, when only one fits, a part of it.
Result<Guid> FindCategory(const Context& context, mirror::Mirror& mirror, CategoryType type,
                          std::string_view text) {
  if (const auto guid = Guid::Parse(text)) return *guid;
  TRY_ASSIGN(const auto all, mirror.catalog().Categories(type));
  std::vector<const mirror::CategoryRow*> whole;
  std::vector<const mirror::CategoryRow*> parts;
  const std::string wanted = ToLowerAscii(text);
  for (const auto& category : all) {
    const std::string title = ToLowerAscii(category.title);
    if (title == wanted) whole.push_back(&category);
    if (title.find(wanted) != std::string::npos) parts.push_back(&category);
  }
  const auto& fitting = whole.empty() ? parts : whole;
  if (fitting.size() == 1) return fitting.front()->guid;
  std::string names;
  constexpr std::size_t kMostNames = 12;
  std::size_t count = 0;
  const auto list = [&](const mirror::CategoryRow& category) {
    if (++count > kMostNames) return;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", EscapeForDisplay(category.title));
    if (!whole.empty()) names += " " + category.guid.ToString();
  };
  if (fitting.empty()) {
    for (const auto& category : all) list(category);
  } else {
    for (const auto* category : fitting) list(*category);
  }
  if (count > kMostNames) names += fmt::format(" and {} more", count - kMostNames);
  if (names.empty()) names = "none";
  const std::string_view kind = KindName(type);
  return FailNext(
      fitting.empty() ? ErrorCode::kNotFound : ErrorCode::kUsage,
      fitting.empty() ? "no-category" : "ambiguous-name",
      fmt::format("{} {} '{}'; {} {}", fitting.empty() ? "no" : "more than one", kind,
                  EscapeForDisplay(text), fitting.empty() ? "there are" : "these fit:", names),
      NextCommand(context, "subscription show"));
}

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

// ---- list --------------------------------------------------------------------------------------

struct ListWish {
  mirror::FindUpdates find;
  std::optional<Guid> update;  ///< TEXT was an id
  bool only_expired = false;
  bool only_needed = false;
  bool only_missing = false;
  std::size_t limit = 0;  ///< 0: all
};

Result<ListWish> ReadListWish(Context& context, mirror::Mirror& mirror) {
  const Arguments& args = context.args();
  ListWish wish;
  const auto words = args.List("TEXT");
  wish.find.text = fmt::format("{}", fmt::join(words, " "));
  if (words.size() == 1) {
    if (const auto id = protocol::UpdateIdArgument::Parse(words.front())) wish.update = id->guid;
  }
  wish.find.origin = mirror.intent().Effective();
  if (args.Has("approved")) wish.find.approved = true;
  if (args.Has("not-approved")) {
    wish.find.approved = false;
    wish.find.declined = false;
  }
  if (args.Has("declined")) wish.find.declined = true;
  if (args.Has("approved") && args.Has("not-approved")) {
    return FailNext(ErrorCode::kUsage, "usage", "--approved and --not-approved leave nothing",
                    NextCommand(context, "update list --approved"));
  }
  wish.only_expired = args.Has("expired");
  wish.only_needed = args.Has("needed");
  wish.only_missing = args.Has("missing-files");
  // What is declined or approved is shown whatever became of it.
  wish.find.include_expired = wish.only_expired || args.Has("declined") || args.Has("approved");
  for (const auto& [option, type] : {std::pair{"classification", CategoryType::kClassification},
                                     std::pair{"product", CategoryType::kProduct}}) {
    if (const auto text = args.Text(option)) {
      TRY_ASSIGN(const Guid guid, FindCategory(context, mirror, type, *text));
      wish.find.categories.push_back(guid);
    }
  }
  const std::uint64_t otherwise = context.json() ? 0 : kDefaultLimit;
  wish.limit = static_cast<std::size_t>(args.Number("limit").value_or(otherwise));
  const bool filters_here = wish.only_expired || wish.only_needed || wish.only_missing;
  constexpr std::size_t kMost = 1'000'000;
  if (wish.limit > 0 && wish.limit < kMost && !filters_here) {
    wish.find.limit = static_cast<std::uint32_t>(wish.limit + 1);  // one more: are there more?
  }
  return wish;
}

Result<std::vector<mirror::UpdateSummary>> Summaries(mirror::Mirror& mirror, const ListWish& wish) {
  if (!wish.update) return mirror.catalog().FindSummaries(wish.find);
  std::vector<mirror::UpdateSummary> found;
  TRY_ASSIGN(const auto row, mirror.catalog().FindLatest(*wish.update));
  if (!row) return found;
  TRY_ASSIGN(auto summary, mirror.catalog().Summary(row->id));
  if (summary) found.push_back(*std::move(summary));
  return found;
}

Result<std::vector<UpdateView>> Views(mirror::Mirror& mirror, const ListWish& wish,
                                      const Decisions& decisions) {
  TRY_ASSIGN(auto summaries, Summaries(mirror, wish));
  std::vector<UpdateView> views;
  for (auto& summary : summaries) {
    if (wish.only_expired && !summary.row.is_expired) continue;
    TRY_ASSIGN(auto view, ViewOf(mirror, decisions, std::move(summary)));
    if (wish.only_needed && view.counts.needed == 0) continue;
    if (wish.only_missing && view.payload.missing_files == 0) continue;
    views.push_back(std::move(view));
  }
  return views;
}

void PrintList(Context& context, const std::vector<UpdateView>& views, const GroupNames& groups) {
  constexpr std::size_t kStateWidth = 36;
  constexpr std::size_t kTitleWidth = 96;
  std::vector<std::vector<std::string>> table = {{"ID", "CREATED", "SIZE", "NEEDED", "STATE"}};
  for (const auto& view : views) {
    const auto& created = view.summary.created_at;
    table.push_back({view.summary.row.update.guid.ToString(), created ? created->ToDate() : "-",
                     FormatByteCount(view.payload.bytes), std::to_string(view.counts.needed),
                     Cut(StateText(view, groups), kStateWidth)});
  }
  const std::string text = FormatTable(table);
  const auto lines = Split(text, '\n');
  context.Print(lines[0]);
  for (std::size_t i = 0; i < views.size(); ++i) {
    context.Print(lines[i + 1]);
    context.Print("    " + Cut(ShownTitle(views[i].summary.title), kTitleWidth));
  }
}

Result<ExitCode> RunList(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const ListWish wish, ReadListWish(context, mirror));
  TRY_ASSIGN(const Decisions decisions, ReadDecisions(mirror));
  TRY_ASSIGN(auto views, Views(mirror, wish, decisions));
  const bool more = wish.limit > 0 && views.size() > wish.limit;
  if (more) views.erase(views.begin() + static_cast<std::ptrdiff_t>(wish.limit), views.end());
  if (views.empty()) {
    TRY_ASSIGN(const auto counts, mirror.catalog().Counts());
    context.Print(counts.updates == 0 ? "the catalogue holds no updates yet"
                                      : "no update fits; 'gapferry update list' shows all");
  } else {
    PrintList(context, views, decisions.groups);
    if (more) {
      context.Print(fmt::format("the newest {} are shown; '--limit 0' shows all", views.size()));
    }
  }
  json list = json::array();
  for (const auto& view : views) list.push_back(ViewToJson(view, decisions.groups));
  context.Emit({{"updates", std::move(list)}, {"more", more}});
  return ExitCode::kDone;
}

// ---- show --------------------------------------------------------------------------------------

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

Result<Portrait> ReadPortrait(mirror::Mirror& mirror, const mirror::RevisionRow& row,
                              const Decisions& decisions) {
  Portrait portrait;
  TRY_ASSIGN(auto summary, mirror.catalog().Summary(row.id));
  TRY_ASSIGN(auto relations, mirror.catalog().Relations(row.id));
  if (!summary || !relations) {
    return Fail(ErrorCode::kNotFound, "update " + row.update.ToString() + " is gone");
  }
  portrait.relations = *std::move(relations);
  TRY_ASSIGN(portrait.view, ViewOf(mirror, decisions, *std::move(summary)));
  TRY_ASSIGN(portrait.text, mirror.catalog().Text(row.id));
  TRY_ASSIGN(portrait.revisions, mirror.catalog().RevisionsOf(row.update.guid));
  TRY_ASSIGN(portrait.categories, CategoryTitles(mirror, portrait.relations));
  TRY(ReadRelatives(mirror, portrait));
  TRY(ReadEulas(mirror, portrait));
  return portrait;
}

using Table = std::vector<std::vector<std::string>>;

void AddRelatives(Table& table, const std::string& label, const std::vector<Relative>& relatives) {
  constexpr std::size_t kTitleWidth = 80;
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
  table.push_back({"state", StateText(view, groups)});
  for (const auto& approval : view.approvals) {
    std::string text =
        fmt::format("  {} for '{}' by {}, {}", DeploymentActionName(approval.action),
                    EscapeForDisplay(GroupName(groups, approval.group)),
                    EscapeForDisplay(approval.admin_name, 40), Minute(approval.last_change));
    if (approval.update.revision != view.summary.row.update.revision) {
      text += fmt::format(", revision {}", approval.update.revision);
    }
    if (approval.effective_deadline) {
      text += fmt::format(", deadline {}", Minute(*approval.effective_deadline));
    }
    table.push_back({"", text});
  }
  for (const auto& eula : portrait.eulas) {
    table.push_back({"licence", fmt::format("{}, {}", eula.id.ToString(),
                                            eula.accepted ? "accepted" : "not accepted")});
  }
  table.push_back({"computers", fmt::format("{} need it, {} have it, {} failed", view.counts.needed,
                                            view.counts.installed + view.counts.pending_reboot,
                                            view.counts.failed)});
}

void AddFiles(Table& table, const Portrait& portrait, bool each) {
  const auto& payload = portrait.view.payload;
  std::string text =
      fmt::format("{}, {}", Plural(payload.files, "file"), FormatByteCount(payload.bytes));
  if (payload.missing_files > 0) {
    text += fmt::format("; {} ({}) not held", payload.missing_files,
                        FormatByteCount(payload.missing_bytes));
  }
  table.push_back({"files", text});
  if (!each) return;
  for (const auto& file : portrait.relations.files) {
    table.push_back({"", fmt::format("  {}, {}, {}{}", EscapeForDisplay(file.name, 60),
                                     FormatByteCount(file.size_bytes), file.sha1.ToHex(),
                                     file.is_held ? "" : ", not held")});
  }
}

void PrintPortrait(Context& context, const Portrait& portrait, const GroupNames& groups) {
  const auto& summary = portrait.view.summary;
  constexpr std::size_t kWidth = 96;
  context.Print(Wrap(ShownTitle(summary.title), kWidth, ""));
  std::string kind(protocol::UpdateTypeName(summary.row.type));
  for (const std::string& category : portrait.categories) kind += ", " + category;
  Table table = {{"id", RevisionsText(portrait)}, {"kind", kind}};
  if (!summary.kb_article.empty() || !summary.severity.empty()) {
    table.push_back(
        {"article",
         fmt::format("{}{}{}", summary.kb_article.empty() ? "" : "KB",
                     EscapeForDisplay(summary.kb_article),
                     summary.severity.empty() ? "" : " " + EscapeForDisplay(summary.severity))});
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
  object["eulas"] = json::array();
  for (const auto& eula : portrait.eulas) {
    object["eulas"].push_back({{"id", eula.id.ToString()}, {"accepted", eula.accepted}});
  }
  object["declared_files"] = json::array();
  for (const auto& file : portrait.relations.files) {
    json entry = {{"name", file.name},
                  {"size", file.size_bytes},
                  {"sha1", file.sha1.ToHex()},
                  {"sha256", nullptr},
                  {"kind", file.kind == mirror::FileKind::kEula ? "eula" : "payload"},
                  {"held", file.is_held}};
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

std::vector<Command> UpdateListCommands() {
  return {
      {.path = {"update", "list"},
       .summary = "updates of the catalogue, newest first",
       .description = "Lists what can be approved: newest revisions, without the hidden parts of "
                      "others. Expired ones\nare listed when --expired, --approved or --declined "
                      "asks for them.",
       .examples = {{"gapferry update list cumulative 24H2 x64", "all of these words in the title"},
                    {"gapferry update list KB5001234"},
                    {"gapferry update list --not-approved --needed --classification 'Security "
                     "Updates'",
                     "what computers need and nobody has decided about"}},
       .options = {{"TEXT", Takes::kList, {}, "words of the title, a KB number, or an id"},
                   {"--approved", Takes::kNothing, {}, "approved for some group"},
                   {"--not-approved", Takes::kNothing, {}, "neither approved nor declined"},
                   {"--declined", Takes::kNothing, {}, "declined"},
                   {"--needed", Takes::kNothing, {}, "some computer has reported that it needs it"},
                   {"--missing-files", Takes::kNothing, {}, "not all of its files are here"},
                   {"--classification", Takes::kText, "NAME", "by title or GUID"},
                   {"--product", Takes::kText, "NAME", "by title or GUID"},
                   {"--expired", Takes::kNothing, {}, "expired by their publisher"},
                   {"--limit", Takes::kNumber, "N",
                    "at most so many (default 50, with --json all; 0: all)"}},
       .exits = {ExitCode::kNotFound},
       .run = RunList},
      {.path = {"update", "show"},
       .summary = "one update: approvals, files, licence, what it replaces",
       .description = "-v lists the files.",
       .examples = {{"gapferry update show 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10"},
                    {"gapferry update show 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/200 --json"}},
       .options = {{"ID", Takes::kText, {}, "GUID (its newest revision) or GUID/REVISION", true}},
       .exits = {ExitCode::kNotFound},
       .run = RunShow},
  };
}

}  // namespace gapferry::cli
