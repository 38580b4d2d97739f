#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support/catalogue/builder.h"

namespace gapferry::catalogue {
namespace {

struct Named {
  std::string_view title;
  std::string_view guid;
};
constexpr std::array<Named, 15> kClassifications{{
    {"Security Updates", "0fa1201d-4330-4fa8-8ae9-b877473b6441"},
    {"Definition Updates", "e0789628-ce08-4437-be74-2495b842f43b"},
    {"Updates", "cd5ffd1e-e932-4e3a-bf74-18bf0b1bbd83"},
    {"Critical Updates", "e6cf1350-c01b-414d-a61f-263d14d133b4"},
    {"Update Rollups", "28bc880e-0592-4cbf-8f95-c79b17911d5f"},
    {"Drivers", "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0"},
    {"Tools", "b4832bd8-e735-4761-8daf-37f882276dab"},
    {"Applications", "5c9376ab-8ce6-464a-b136-22113dd69801"},
    {"Connectors", "434de588-ed14-48f5-8eed-a15e09a991f6"},
    {"Developer Kits", "e140075d-8433-45c3-ad87-e72345b36078"},
    {"Feature Packs", "b54e7d24-7add-428f-8b75-90a396fa584f"},
    {"Guidance", "9511d615-35b2-47bb-927f-f73d8e9260bb"},
    {"Service Packs", "68c5b0a3-d1a6-4553-ae49-01d3a7827828"},
    {"Driver Sets", "77835c8d-62a7-41f5-82ad-f28d1af1e3b1"},
    {"Upgrades", "3689bdc8-b205-4af4-8d4a-a63924c5e9d5"},
}};

constexpr std::array<Named, 6> kLanguageFacts{{{"English", "0409"},
                                               {"German", "0407"},
                                               {"French", "040c"},
                                               {"Japanese", "0411"},
                                               {"Spanish", "0c0a"},
                                               {"Russian", "0419"}}};

std::int64_t Day(std::string_view date) {
  return UtcTime::ParseXml(std::string(date) + "T00:00:00Z").value().UnixSeconds();
}

Guid Known(std::string_view text) { return Guid::Parse(text).value(); }

}  // namespace

Guid WellKnown::Microsoft() { return Known("56309036-4c77-4dd9-951a-99ee9c246a94"); }
Guid WellKnown::Windows() { return Known("6964aab4-c5b5-43bd-a17d-ffb4346a8e1d"); }
Guid WellKnown::Windows11() { return Known("72e7624a-5b00-45d2-b92f-e561c0a6a160"); }
Guid WellKnown::Defender() { return Known("8c3fcc84-7410-4a95-8b89-a166a0190486"); }
Guid WellKnown::SecurityUpdates() { return Known(kClassifications[0].guid); }
Guid WellKnown::DefinitionUpdates() { return Known(kClassifications[1].guid); }
Guid WellKnown::Updates() { return Known(kClassifications[2].guid); }
Guid WellKnown::Drivers() { return Known(kClassifications[5].guid); }
Guid WellKnown::Tools() { return Known(kClassifications[6].guid); }

void Builder::AddCategory(Kind kind, const Guid& guid, const std::string& path,
                          const std::string& title, const std::vector<Guid>& parents, Recipe recipe,
                          std::uint32_t languages) {
  Revision revision = NewRevision(path, kind, title);
  revision.id = {guid, kind == Kind::kCompany ? 101 : 100};
  revision.handler = Handler::kCategory;
  revision.created_unix = Day("2015-08-25");
  for (const Guid& parent : parents) revision.prerequisites.push_back(CategoryOf(parent));
  revision.recipe = std::move(recipe);
  revision.languages = languages;
  Add(std::move(revision));
}

void Builder::PublishTaxonomy() {
  PublishCategories();
  PublishDetectoids();
}

void Builder::PublishCategories() {
  const Recipe always{.kind = RecipeKind::kTrue};
  AddCategory(Kind::kCompany, WellKnown::Microsoft(), "company/microsoft", "Microsoft", {}, always,
              24);
  AddCategory(Kind::kProductFamily, WellKnown::Windows(), "family/windows", "Windows",
              {WellKnown::Microsoft()}, always, 24);
  std::vector<Guid> families{WellKnown::Windows()};
  for (std::uint32_t i = 1; i < shape_.families; ++i) {
    const std::string path = fmt::format("family/{}", i);
    families.push_back(MakeGuid(path));
    AddCategory(Kind::kProductFamily, families.back(), path,
                i == 1 ? "Office" : fmt::format("Product Family {}", i), {WellKnown::Microsoft()},
                always, 24);
  }
  for (const Named& named : kClassifications) {
    AddCategory(Kind::kClassification, Known(named.guid),
                fmt::format("classification/{}", named.title), std::string(named.title), {}, always,
                shape_.languages);
  }
  const Recipe workstation{.kind = RecipeKind::kWindowsAtLeast, .a = 10, .b = 0, .c = 1};
  AddCategory(Kind::kProduct, WellKnown::Windows11(), "product/windows-11", "Windows 11",
              {WellKnown::Windows()}, workstation, 1);
  AddCategory(Kind::kProduct, WellKnown::Defender(), "product/defender",
              "Microsoft Defender Antivirus", {WellKnown::Windows()},
              {.kind = RecipeKind::kWindowsAtLeast, .a = 6, .b = 1}, 1);
  AddCategory(Kind::kProduct, Known("dd78b8a1-0b20-45c1-add6-4da72e9364cf"), "product/oobe-zdp",
              "OOBE ZDP", {WellKnown::Windows()},
              {.kind = RecipeKind::kWindowsAtLeast, .a = 6, .b = 3, .c = 1}, 1);
  AddCategory(Kind::kProduct, Known("5cc25303-143f-40f3-a2ff-803a1db69955"), "product/local",
              "Locally published packages", {WellKnown::Microsoft()}, always, 1);
  AddCategory(Kind::kProduct, MakeGuid("product/windows-server-2025"),
              "product/windows-server-2025", "Windows Server 2025", {WellKnown::Windows()},
              {.kind = RecipeKind::kWindowsAtLeast, .a = 10, .b = 0, .c = 3}, 1);
  for (std::uint32_t i = 5; i < shape_.products; ++i) {
    const std::string path = fmt::format("product/msi-{}", i - 5);
    products_.push_back(MakeGuid(path));
    AddCategory(Kind::kProduct, products_.back(), path,
                fmt::format("Office Suite {}", 2016 + i - 5),
                {families[std::min<std::size_t>(1 + i % 2, families.size() - 1)]},
                {.kind = RecipeKind::kOffice, .a = i - 5}, 1);
  }
  for (std::uint32_t i = 0; i < shape_.untyped_categories; ++i) {
    const std::string path = fmt::format("category/{}", i);
    // A tenth are roots of their own, as in the real catalogue.
    const std::vector<Guid> parents =
        i % 10 == 9 ? std::vector<Guid>{} : std::vector<Guid>{families[i % families.size()]};
    AddCategory(Kind::kUntypedCategory, MakeGuid(path), path, fmt::format("Category {}", i),
                parents, always, 1);
  }
}

Guid Builder::AddDetectoid(const std::string& path, const std::string& title, Recipe recipe,
                           bool rooted) {
  Revision revision = NewRevision("detectoid/" + path, Kind::kDetectoid, title);
  revision.id.revision = 100;
  revision.created_unix = Day("2019-05-22");
  revision.recipe = std::move(recipe);
  if (!rooted) revision.prerequisites.push_back(Bare(facts_.at("windows")));
  const Guid guid = revision.id.guid;
  Add(std::move(revision));
  facts_[path] = guid;
  return guid;
}

void Builder::PublishDetectoids() {
  const std::size_t before = count();
  AddDetectoid("windows", "Windows 10.0 or later",
               {.kind = RecipeKind::kWindowsAtLeast, .a = 10, .b = 0}, true);
  AddDetectoid("x64", "x64-based system", {.kind = RecipeKind::kProcessor, .a = 9}, true);
  AddDetectoid("arm64", "ARM64-based system", {.kind = RecipeKind::kProcessor, .a = 12}, true);
  AddDetectoid("x86", "x86-based system", {.kind = RecipeKind::kProcessor, .a = 0}, true);
  AddDetectoid("defender", "Microsoft Defender Antivirus platform",
               {.kind = RecipeKind::kRegistrySwitch, .a = 1, .text = "DefenderPlatform"}, false);
  for (std::uint32_t i = 0; i < products_.size() && i < shape_.open_detectoids; ++i) {
    AddDetectoid(fmt::format("msi-{}", i), fmt::format("Office Suite {} installed", 2016 + i),
                 {.kind = RecipeKind::kOffice, .a = i}, false);
  }
  for (const Named& language : kLanguageFacts) {
    languages_.push_back(AddDetectoid(
        fmt::format("language-{}", language.guid), fmt::format("{} Windows", language.title),
        {.kind = RecipeKind::kLanguage, .text = std::string(language.guid)}, false));
  }
  for (std::uint32_t i = 0; count() - before < shape_.open_detectoids; ++i) {
    open_detectoids_.push_back(AddDetectoid(
        fmt::format("feature-{}", i), fmt::format("Windows feature {} present", i),
        {.kind = RecipeKind::kRegistrySwitch, .a = 1, .text = fmt::format("Feature{}", i)},
        i % 7 == 0));
  }
  for (std::uint32_t i = 0; count() - before < shape_.detectoids; ++i) {
    const std::string path = fmt::format("product-code-{}", i);
    Random random(options_.seed, path);
    // Before the call: compilers order the arguments of a call as they like.
    const std::uint64_t build = random.Between(1000, 9999);
    AddDetectoid(path, fmt::format("Product Detectoid for ProductName Suite {} Build {}", i, build),
                 {.kind = RecipeKind::kMsiProduct,
                  .a = static_cast<std::uint32_t>(random.Between(1, 16)),
                  .b = static_cast<std::uint32_t>(random.Between(1000, 9999)),
                  .text = "{" + MakeGuid("msi/" + path).ToString() + "}"},
                 false);
  }
  EnsureLines(3);
}

std::size_t Builder::EnsureLines(std::size_t wanted) {
  struct Release {
    std::string_view name;
    std::uint32_t build;
    std::uint32_t product_type;
    std::uint32_t architecture;
  };
  constexpr std::array<Release, 8> kReleases{{{"Windows 11 Version 24H2", 26100, 1, 9},
                                              {"Windows 11 Version 23H2", 22631, 1, 12},
                                              {"Windows Server 2025", 26100, 3, 9},
                                              {"Windows 11 Version 25H2", 26200, 1, 9},
                                              {"Windows 11 Version 25H2", 26200, 1, 12},
                                              {"Windows 11 Version 24H2", 26100, 1, 12},
                                              {"Windows 11 Version 23H2", 22631, 1, 9},
                                              {"Windows 11 Version 22H2", 22621, 1, 9}}};
  while (lines_.size() < wanted) {
    const std::size_t number = lines_.size();
    Line line;
    if (number < kReleases.size()) {
      const Release& release = kReleases[number];
      line.name = release.name;
      line.build = release.build;
      line.product_type = release.product_type;
      line.architecture = release.architecture;
    } else {
      line.build = static_cast<std::uint32_t>(17000 + number);
      line.name = fmt::format("Windows Release {}", line.build);
    }
    line.system = line.architecture == 12 ? "arm64" : "x64";
    line.product =
        line.product_type == 3 ? MakeGuid("product/windows-server-2025") : WellKnown::Windows11();
    const std::string fact = fmt::format("build-{}-{}", line.build, line.product_type);
    if (!facts_.contains(fact)) {
      AddDetectoid(fact, fmt::format("{} (build {})", line.name, line.build),
                   {.kind = RecipeKind::kWindowsBuild, .a = line.build, .b = line.product_type},
                   false);
    }
    lines_.push_back(std::move(line));
  }
  return lines_.size();
}

}  // namespace gapferry::catalogue
