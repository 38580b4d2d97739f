#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/upstream_next.h"
#include "exporter/fetchers.h"
#include "exporter/sync.h"
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

json RowsAsJson(const std::vector<CategoryRow>& rows, const std::vector<Guid>* chosen) {
  json out = json::array();
  for (const CategoryRow& row : rows) {
    const bool selected =
        chosen == nullptr || std::find(chosen->begin(), chosen->end(), row.guid) != chosen->end();
    if (!selected) continue;
    out.push_back({{"guid", row.guid.ToString()}, {"title", row.title}, {"updates", row.updates}});
  }
  return out;
}

void PrintRows(Context& context, std::string_view heading, const std::vector<CategoryRow>& rows,
               const std::vector<Guid>* chosen) {
  context.Print(std::string(heading));
  std::vector<std::vector<std::string>> table{{"GUID", "UPDATES", "TITLE"}};
  for (const CategoryRow& row : rows) {
    const bool selected =
        chosen == nullptr || std::find(chosen->begin(), chosen->end(), row.guid) != chosen->end();
    if (!selected) continue;
    table.push_back(
        {row.guid.ToString(), std::to_string(row.updates), EscapeForDisplay(row.title)});
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

void Show(Context& context, const CategoryNames& names, const mirror::Subscription& subscription) {
  const auto list = [&](std::string_view what, const std::vector<CategoryRow>& rows,
                        const std::vector<Guid>& chosen) {
    if (chosen.empty()) {
      context.Print(fmt::format("{}: all ({})", what, rows.size()));
    } else {
      PrintRows(context, fmt::format("{}: {}", what, chosen.size()), rows, &chosen);
    }
  };
  list("products", names.products(), subscription.products);
  list("classifications", names.classifications(), subscription.classifications);
  std::string languages;
  for (const std::string& language : subscription.languages) languages += " " + language;
  context.Print("languages:" + (languages.empty() ? std::string(" all") : languages));
  const auto* products = subscription.products.empty() ? nullptr : &subscription.products;
  const auto* classes =
      subscription.classifications.empty() ? nullptr : &subscription.classifications;
  context.Emit({{"products", RowsAsJson(names.products(), products)},
                {"all_products", subscription.products.empty()},
                {"classifications", RowsAsJson(names.classifications(), classes)},
                {"all_classifications", subscription.classifications.empty()},
                {"languages", subscription.languages}});
}

Result<ExitCode> RunShow(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(Mirror mirror, Mirror::Open(path));
  if (context.args().Has("available")) {
    TRY_ASSIGN(const CategoryNames names, NamesOf(context, mirror));
    PrintRows(context, "products", names.products(), nullptr);
    PrintRows(context, "classifications", names.classifications(), nullptr);
    context.Emit({{"products", RowsAsJson(names.products(), nullptr)},
                  {"classifications", RowsAsJson(names.classifications(), nullptr)}});
    return ExitCode::kDone;
  }
  TRY_ASSIGN(const CategoryNames names, CategoryNames::Read(mirror.catalog()));
  TRY_ASSIGN(const auto subscription, mirror.catalog().ReadSubscription());
  Show(context, names, subscription);
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

Result<void> ChooseLanguages(const std::vector<std::string>& words,
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
    languages.insert(ToLowerAscii(word));
  }
  chosen.assign(languages.begin(), languages.end());
  return {};
}

Result<ExitCode> RunSet(Context& context) {
  const auto products = context.args().List("product");
  const auto classifications = context.args().List("classification");
  const auto languages = context.args().List("language");
  if (products.empty() && classifications.empty() && languages.empty()) {
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
  TRY(ChooseLanguages(languages, subscription.languages));
  if (!(subscription == before)) {
    TRY_ASSIGN(auto commit, mirror::CommitTransaction::Begin(mirror, "subscription"));
    TRY(commit.PutSubscription(subscription));
    const json detail = {{"products", subscription.products.size()},
                         {"classifications", subscription.classifications.size()},
                         {"languages", subscription.languages}};
    TRY(commit.Audit({mirror::CurrentActor(), "subscription.set", "subscription", detail.dump()}));
    TRY(commit.Finish());
  }
  Show(context, names, subscription);
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
      "company stands for all its products. The next sync asks for everything of the new choice.";
  set.examples = {
      {"gapferry subscription set --product \"Windows 11\" --classification \"Security Updates\""},
      {"gapferry subscription set --language en --language de"},
      {"gapferry subscription set --product all", "no restriction by product"}};
  set.options = {
      {.name = "--product",
       .takes = Takes::kList,
       .value = "NAME",
       .help = "title or GUID of a product, family or company"},
      {.name = "--classification",
       .takes = Takes::kList,
       .value = "NAME",
       .help = "title or GUID of a classification"},
      {.name = "--language", .takes = Takes::kList, .value = "TAG", .help = "such as en"}};
  set.exits = {ExitCode::kNotFound, ExitCode::kBusy};
  set.run = RunSet;
  return {show, set};
}

}  // namespace gapferry::cli
