// gapferry update list: what there is, and what was decided about it.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/update_view.h"

namespace gapferry::cli {
namespace {

using mirror::CategoryType;
using nlohmann::json;

constexpr std::uint32_t kDefaultLimit = 50;

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
  TRY_ASSIGN(wish.find.origin, mirror.intent().Effective());
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
  };
}

}  // namespace gapferry::cli
