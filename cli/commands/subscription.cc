#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/upstream_next.h"
#include "exporter/fetchers.h"
#include "exporter/subscription_cost.h"
#include "exporter/sync.h"
#include "exporter/sync_filter.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/commit.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using mirror::CategoryRow;
using mirror::CategoryType;
using mirror::Mirror;
using nlohmann::json;

constexpr std::string_view kAll = "all";

// The categories of a mirror by what people call them.
class CategoryNames {
 public:
  static Result<CategoryNames> Read(mirror::Catalog& catalog) {
    CategoryNames names;
    TRY_ASSIGN(names.companies_, catalog.Categories(CategoryType::kCompany));
    TRY_ASSIGN(names.families_, catalog.Categories(CategoryType::kProductFamily));
    TRY_ASSIGN(names.products_, catalog.Categories(CategoryType::kProduct));
    TRY_ASSIGN(names.classifications_, catalog.Categories(CategoryType::kClassification));
    return names;
  }

  bool empty() const { return products_.empty() && classifications_.empty(); }
  const std::vector<CategoryRow>& products() const { return products_; }
  const std::vector<CategoryRow>& classifications() const { return classifications_; }

  /// A product, or all products below a family or a company of that name.
  Result<std::vector<Guid>> Products(std::string_view text) const {
    std::set<Guid> found;
    for (const CategoryRow& row : products_) {
      if (Fits(row, text)) found.insert(row.guid);
    }
    for (const auto* group : {&families_, &companies_}) {
      for (const CategoryRow& row : *group) {
        if (found.empty() && Fits(row, text)) AddBelow(row.guid, found);
      }
    }
    if (found.empty()) return NotFound("product", text, products_);
    return std::vector<Guid>(found.begin(), found.end());
  }

  Result<std::vector<Guid>> Classifications(std::string_view text) const {
    for (const CategoryRow& row : classifications_) {
      if (Fits(row, text)) return std::vector<Guid>{row.guid};
    }
    return NotFound("classification", text, classifications_);
  }

 private:
  static bool Fits(const CategoryRow& row, std::string_view text) {
    const auto guid = Guid::Parse(text);
    return guid ? row.guid == *guid : EqualsIgnoreCase(row.title, text);
  }

  void AddBelow(const Guid& ancestor, std::set<Guid>& found) const {
    std::unordered_map<Guid, Guid> parents;
    for (const auto* group : {&families_, &products_}) {
      for (const CategoryRow& row : *group) {
        if (row.parent) parents.emplace(row.guid, *row.parent);
      }
    }
    for (const CategoryRow& row : products_) {
      auto parent = parents.find(row.guid);
      for (int depth = 0; depth < 8 && parent != parents.end(); ++depth) {
        if (parent->second == ancestor) found.insert(row.guid);
        parent = parents.find(parent->second);
      }
    }
  }

  static std::unexpected<Error> NotFound(std::string_view kind, std::string_view text,
                                         const std::vector<CategoryRow>& rows) {
    std::string message = fmt::format("no {} is called '{}'", kind, EscapeForDisplay(text));
    const std::string wanted = ToLowerAscii(text);
    int shown = 0;
    for (const CategoryRow& row : rows) {
      if (ToLowerAscii(row.title).find(wanted) == std::string::npos || shown++ == 10) continue;
      message += fmt::format("\n  {}  {}", row.guid.ToString(), EscapeForDisplay(row.title));
    }
    return std::unexpected(Error{ErrorCode::kNotFound, message, "unknown-category",
                                 "gapferry subscription show --available"});
  }

  std::vector<CategoryRow> companies_;
  std::vector<CategoryRow> families_;
  std::vector<CategoryRow> products_;
  std::vector<CategoryRow> classifications_;
};

// Names can only be resolved against categories: the first use fetches them.
Result<CategoryNames> NamesOf(Context& context, Mirror& mirror) {
  TRY_ASSIGN(CategoryNames names, CategoryNames::Read(mirror.catalog()));
  if (!names.empty() || mirror.config().upstream.wsus.empty()) return names;
  context.Say("no categories are known yet: asking the upstream for them");
  exporter::SyncOptions options;
  options.categories_only = true;
  if (auto done = exporter::Sync(mirror, exporter::HttpFetchers(mirror), options,
                                 context.progress(), context.stop());
      !done) {
    return std::unexpected(WithUpstreamNext(context, std::move(done).error()));
  }
  return CategoryNames::Read(mirror.catalog());
}

// What a sync asks for, so that a count of 0 means something; nothing before the first sync.
Result<std::set<Guid>> Followed(Mirror& mirror) {
  TRY_ASSIGN(const auto upstream, mirror.catalog().ReadUpstream());
  TRY_ASSIGN(const auto counts, mirror.catalog().Counts());
  if (!upstream || counts.updates == 0) return std::set<Guid>();
  TRY_ASSIGN(const auto filter, exporter::FilterOf(mirror, nullptr, upstream->config.languages));
  std::set<Guid> followed(filter.products.begin(), filter.products.end());
  followed.insert(filter.classifications.begin(), filter.classifications.end());
  if (!filter.all()) return followed;
  for (const auto type : {CategoryType::kProduct, CategoryType::kClassification}) {
    TRY_ASSIGN(const auto all, mirror.catalog().CategoryGuids(type));
    followed.insert(all.begin(), all.end());
  }
  return followed;
}

json RowsAsJson(const std::vector<CategoryRow>& rows, const std::vector<Guid>* chosen,
                const std::set<Guid>& followed) {
  json out = json::array();
  for (const CategoryRow& row : rows) {
    const bool selected =
        chosen == nullptr || std::find(chosen->begin(), chosen->end(), row.guid) != chosen->end();
    if (!selected) continue;
    out.push_back({{"guid", row.guid.ToString()},
                   {"title", row.title},
                   {"updates", row.updates},
                   {"followed", followed.contains(row.guid)}});
  }
  return out;
}

void PrintRows(Context& context, std::string_view heading, const std::vector<CategoryRow>& rows,
               const std::vector<Guid>* chosen, const std::set<Guid>& followed) {
  context.Print(std::string(heading));
  std::vector<std::vector<std::string>> table{{"GUID", "UPDATES", "TITLE"}};
  for (const CategoryRow& row : rows) {
    const bool selected =
        chosen == nullptr || std::find(chosen->begin(), chosen->end(), row.guid) != chosen->end();
    if (!selected) continue;
    const bool is_known = row.updates > 0 || followed.contains(row.guid);
    table.push_back({row.guid.ToString(), is_known ? std::to_string(row.updates) : "-",
                     EscapeForDisplay(row.title)});
  }
  if (chosen != nullptr) {
    for (const Guid& guid : *chosen) {
      const bool known = std::any_of(rows.begin(), rows.end(),
                                     [&](const CategoryRow& row) { return row.guid == guid; });
      if (!known) table.push_back({guid.ToString(), "-", "(not in the catalogue)"});
    }
  }
  context.Print(FormatTable(table));
}

json CostAsJson(const exporter::SubscriptionCost& cost) {
  json out = {{"held_inside", cost.held_inside}, {"held_outside", cost.held_outside}};
  if (cost.listed) out["listed"] = *cost.listed;
  if (cost.unknown) out["unknown"] = *cost.unknown;
  return out;
}

void PrintCost(Context& context, const exporter::SubscriptionCost& cost) {
  if (cost.listed) {
    context.Print(fmt::format("the upstream lists {} revisions for it, {} of them are not here yet",
                              *cost.listed, *cost.unknown));
  } else {
    context.Print(
        "the next sync asks for the complete list of it and fetches what is not here yet");
  }
  context.Print(fmt::format("updates held here: {} belong to it, {} do not", cost.held_inside,
                            cost.held_outside));
  if (cost.held_outside > 0) {
    context.Print(
        "those that do not stay and are served; what the upstream does to them is not seen");
  }
}

void Show(Context& context, const CategoryNames& names, const mirror::Subscription& subscription,
          const std::set<Guid>& followed, const exporter::SubscriptionCost* cost) {
  const auto list = [&](std::string_view what, const std::vector<CategoryRow>& rows,
                        const std::vector<Guid>& chosen) {
    if (chosen.empty()) {
      context.Print(fmt::format("{}: all ({})", what, rows.size()));
    } else {
      PrintRows(context, fmt::format("{}: {}", what, chosen.size()), rows, &chosen, followed);
    }
  };
  list("products", names.products(), subscription.products);
  list("classifications", names.classifications(), subscription.classifications);
  std::string languages;
  for (const std::string& language : subscription.languages) languages += " " + language;
  context.Print("languages:" + (languages.empty() ? std::string(" all") : languages));
  const bool has_choice = !subscription.classifications.empty();
  context.Print(std::string("drivers: ") + (has_choice             ? "as the classifications say"
                                            : subscription.drivers ? "with the others"
                                                                   : "left out"));
  if (cost != nullptr) PrintCost(context, *cost);
  const auto* products = subscription.products.empty() ? nullptr : &subscription.products;
  const auto* classes =
      subscription.classifications.empty() ? nullptr : &subscription.classifications;
  json out = {{"products", RowsAsJson(names.products(), products, followed)},
              {"all_products", subscription.products.empty()},
              {"classifications", RowsAsJson(names.classifications(), classes, followed)},
              {"all_classifications", subscription.classifications.empty()},
              {"languages", subscription.languages},
              {"drivers", subscription.drivers}};
  if (cost != nullptr) out["cost"] = CostAsJson(*cost);
  context.Emit(out);
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(Mirror mirror, Mirror::Open(path));
  if (context.args().Has("available")) {
    TRY_ASSIGN(const CategoryNames names, NamesOf(context, mirror));
    TRY_ASSIGN(const auto followed, Followed(mirror));
    PrintRows(context, "products", names.products(), nullptr, followed);
    PrintRows(context, "classifications", names.classifications(), nullptr, followed);
    context.Emit({{"products", RowsAsJson(names.products(), nullptr, followed)},
                  {"classifications", RowsAsJson(names.classifications(), nullptr, followed)}});
    return ExitCode::kDone;
  }
  TRY_ASSIGN(const CategoryNames names, CategoryNames::Read(mirror.catalog()));
  TRY_ASSIGN(const auto subscription, mirror.catalog().ReadSubscription());
  TRY_ASSIGN(const auto followed, Followed(mirror));
  Show(context, names, subscription, followed, nullptr);
  return ExitCode::kDone;
}

using Resolve = std::function<Result<std::vector<Guid>>(std::string_view)>;

Result<void> Choose(const std::vector<std::string>& words, const Resolve& resolve,
                    std::vector<Guid>& chosen) {
  if (words.empty()) return {};
  chosen.clear();
  if (words.size() == 1 && EqualsIgnoreCase(words.front(), kAll)) return {};
  std::set<Guid> ids;
  for (const std::string& word : words) {
    TRY_ASSIGN(const auto found, resolve(word));
    ids.insert(found.begin(), found.end());
  }
  chosen.assign(ids.begin(), ids.end());
  return {};
}

/// What the upstream offers, as far as it has said so: a sync with another one would fail.
Result<void> CheckOffered(Context& context, Mirror& mirror, const std::string& language) {
  TRY_ASSIGN(const auto upstream, mirror.catalog().ReadUpstream());
  if (!upstream || upstream->config.languages.empty()) return {};
  std::string names;
  for (const auto& one : upstream->config.languages) {
    if (one.language_id == 0) continue;
    if (EqualsIgnoreCase(one.short_language, language)) return {};
    names += (names.empty() ? "" : ", ") + ToLowerAscii(one.short_language);
  }
  return FailNext(
      ErrorCode::kUsage, "unknown-language",
      fmt::format("language '{}': the upstream offers {}", language, EscapeForDisplay(names, 1000)),
      NextCommand(context, "subscription set --language en (all: every one)"));
}

Result<void> ChooseLanguages(Context& context, Mirror& mirror,
                             const std::vector<std::string>& words,
                             std::vector<std::string>& chosen) {
  if (words.empty()) return {};
  chosen.clear();
  if (words.size() == 1 && EqualsIgnoreCase(words.front(), kAll)) return {};
  std::set<std::string> languages;
  for (const std::string& word : words) {
    const bool fits =
        !word.empty() && word.size() <= 16 && std::all_of(word.begin(), word.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                 (c >= '0' && c <= '9');
        });
    if (!fits) {
      return Fail(
          ErrorCode::kUsage,
          fmt::format("language '{}': expected a tag such as en or pt-br", EscapeForDisplay(word)));
    }
    TRY(CheckOffered(context, mirror, ToLowerAscii(word)));
    languages.insert(ToLowerAscii(word));
  }
  chosen.assign(languages.begin(), languages.end());
  return {};
}

Result<void> Store(Mirror& mirror, const mirror::Subscription& subscription) {
  TRY_ASSIGN(auto commit, mirror::CommitTransaction::Begin(mirror, "subscription"));
  TRY(commit.PutSubscription(subscription));
  const json detail = {{"products", subscription.products.size()},
                       {"classifications", subscription.classifications.size()},
                       {"languages", subscription.languages},
                       {"drivers", subscription.drivers}};
  TRY(commit.Audit({mirror::CurrentActor(), "subscription.set", "subscription", detail.dump()}));
  TRY(commit.Finish());
  return {};
}

Result<ExitCode> RunSet(Context& context) {
  const bool drivers = context.args().Has("drivers");
  const bool no_drivers = context.args().Has("no-drivers");
  if (drivers && no_drivers) {
    return Fail(ErrorCode::kUsage, "--drivers and --no-drivers exclude each other");
  }
  const auto products = context.args().List("product");
  const auto classifications = context.args().List("classification");
  const auto languages = context.args().List("language");
  const bool nothing = products.empty() && classifications.empty() && languages.empty();
  if (nothing && !drivers && !no_drivers) {
    return std::unexpected(Error{ErrorCode::kUsage, "nothing to set", "",
                                 "gapferry subscription set --product NAME --classification NAME"});
  }
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(Mirror mirror, Mirror::Open(path));
  TRY_ASSIGN(const CategoryNames names, NamesOf(context, mirror));
  TRY_ASSIGN(mirror::Subscription subscription, mirror.catalog().ReadSubscription());
  const mirror::Subscription before = subscription;
  TRY(Choose(
      products, [&](auto text) { return names.Products(text); }, subscription.products));
  TRY(Choose(
      classifications, [&](auto text) { return names.Classifications(text); },
      subscription.classifications));
  TRY(ChooseLanguages(context, mirror, languages, subscription.languages));
  if (drivers || no_drivers) subscription.drivers = drivers;
  if (context.args().Has("dry-run")) {
    auto cost = exporter::AskCostOf(mirror, exporter::HttpFetchers(mirror), subscription,
                                    context.progress(), context.stop());
    if (!cost) return std::unexpected(WithUpstreamNext(context, std::move(cost).error()));
    Show(context, names, subscription, {}, &*cost);
    return ExitCode::kDone;
  }
  if (subscription == before) {
    Show(context, names, subscription, {}, nullptr);
    return ExitCode::kDone;
  }
  TRY_ASSIGN(const auto cost, exporter::CostOf(mirror, subscription));
  TRY(Store(mirror, subscription));
  Show(context, names, subscription, {}, &cost);
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> SubscriptionCommands() {
  Command show;
  show.path = {"subscription", "show"};
  show.summary = "show which products, classifications and languages sync asks for";
  show.examples = {{"gapferry subscription show"},
                   {"gapferry subscription show --available", "everything the upstream offers"}};
  show.options = {{.name = "--available", .help = "list all products and classifications"}};
  show.run = RunShow;

  Command set;
  set.path = {"subscription", "set"};
  set.summary = "choose products, classifications and languages";
  set.description =
      "Each option given replaces its list; a list that is not named stays as it is, and 'all' "
      "stands for everything. Products go by title or GUID; the title of a product family or a "
      "company stands for all its products. Drivers belong to 'all' classifications only with "
      "--drivers. The next sync asks for the complete list of the new choice and fetches what is "
      "not here; what is held and no longer chosen stays.";
  set.examples = {
      {"gapferry subscription set --product \"Windows 11\" --classification \"Security Updates\""},
      {"gapferry subscription set --language en --language de"},
      {"gapferry subscription set --product all", "no restriction by product"},
      {"gapferry subscription set --product Office --dry-run", "what it would cost"}};
  set.options = {
      {.name = "--product",
       .takes = Takes::kList,
       .value = "NAME",
       .help = "title or GUID of a product, family or company"},
      {.name = "--classification",
       .takes = Takes::kList,
       .value = "NAME",
       .help = "title or GUID of a classification"},
      {.name = "--language", .takes = Takes::kList, .value = "TAG", .help = "such as en"},
      {.name = "--drivers", .help = "drivers too, where classifications are not chosen"},
      {.name = "--no-drivers", .help = "take that back"},
      {.name = "--dry-run", .help = "ask the upstream what it would cost, change nothing"}};
  set.exits = {ExitCode::kNotFound, ExitCode::kBusy};
  set.run = RunSet;
  return {show, set};
}

}  // namespace gapferry::cli
