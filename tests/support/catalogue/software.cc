#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "tests/support/catalogue/builder.h"
#include "tests/support/catalogue/recipe.h"

namespace gapferry::catalogue {
namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kFirstMonth = 1'609'459'200 + 12 * kDay;  // January 2021
constexpr std::int64_t kMonth = 30 * kDay;

std::int64_t MonthDate(std::size_t month) {
  return kFirstMonth + static_cast<std::int64_t>(std::min<std::size_t>(month, 70)) * kMonth;
}
std::string MonthName(std::int64_t unix_seconds) {
  return UtcTime::FromUnixSeconds(unix_seconds).ToDate().substr(0, 7);
}

}  // namespace

Revision Builder::NewBundle(std::string path, const std::string& title, const Guid& product,
                            const Guid& classification) {
  Revision bundle = NewRevision(std::move(path), Kind::kBundle, title);
  bundle.prerequisites = {CategoryOf(product), CategoryOf(classification)};
  bundle.languages = shape_.languages;
  bundle.knowledge_base = KnowledgeBase(bundle.path);
  return bundle;
}

Clause Builder::LanguageClause(Random& random) const {
  std::vector<Guid> any;
  const std::uint64_t wanted = random.Between(2, languages_.size());
  // Four in five include English, which the profiles speak.
  const std::size_t first = random.Chance(80) ? 0 : 1;
  for (std::size_t i = first; i < languages_.size() && any.size() < wanted; ++i) {
    any.push_back(languages_[i]);
  }
  return AnyOf(std::move(any));
}

void Builder::AddExtraClauses(Revision& revision, Random& random) const {
  if (random.Chance(35)) revision.prerequisites.push_back(LanguageClause(random));
  if (random.Chance(30)) revision.prerequisites.push_back(Bare(facts_.at("windows")));
  if (random.Chance(2) && open_detectoids_.size() >= 10) {
    // A wide choice; one of them holds on every computer, as with the real "any of these systems".
    std::vector<Guid> any{facts_.at("windows")};
    const std::size_t wide = std::min<std::size_t>(102, open_detectoids_.size());
    any.insert(any.end(), open_detectoids_.begin(),
               open_detectoids_.begin() + static_cast<std::ptrdiff_t>(wide));
    revision.prerequisites.push_back(AnyOf(std::move(any)));
  }
}

void Builder::PublishCumulative(std::size_t number, std::uint64_t manifest_bytes) {
  Line& line = lines_[number];
  const std::size_t month = line.cumulative.size() + 1;
  const std::string path = fmt::format("windows/{}-{}-{}/cumulative/{}", line.build, line.system,
                                       line.product_type, month);
  Random random(options_.seed, path);
  Revision bundle = NewBundle(path, "", line.product, WellKnown::SecurityUpdates());
  bundle.created_unix = MonthDate(month + shape_.first_month);
  bundle.title =
      fmt::format("{} Cumulative Update for {} for {}-based Systems (KB{})",
                  MonthName(bundle.created_unix), line.name, line.system, bundle.knowledge_base);
  bundle.severity = "Critical";
  Supersede(bundle, line.cumulative, 400);

  Revision child = NewRevision(path + "/package", Kind::kChild, "");
  child.title = fmt::format("Windows{}-KB{}-{}", line.product_type == 3 ? "Server" : "11.0",
                            bundle.knowledge_base, line.system);
  child.created_unix = bundle.created_unix;
  child.knowledge_base = bundle.knowledge_base;
  child.severity = bundle.severity;
  child.handler = Handler::kCbs;
  child.recipe = {.kind = RecipeKind::kCumulative,
                  .a = line.build,
                  .b = static_cast<std::uint32_t>(1000 + 100 * month),
                  .c = line.architecture};
  const std::string build_fact = fmt::format("build-{}-{}", line.build, line.product_type);
  child.prerequisites = {Bare(facts_.at(build_fact)), Bare(facts_.at(line.system)),
                         AnyOf({line.product})};
  child.manifest_bytes = manifest_bytes != 0 ? manifest_bytes : ManifestBytes(random);
  // Since Windows 11 a cumulative update may consist of many files of the OS installer.
  const bool many_files = number % 4 == 3 && month % 2 == 0;
  const std::uint64_t files = many_files ? random.Between(8, 19) : 1;
  constexpr std::string_view kExtensions[] = {"cab", "wim", "cab", "psf", "cab",
                                              "wim", "cab", "psf", "msu"};
  for (std::uint64_t i = 0; i < files; ++i) {
    const std::string name = many_files
                                 ? fmt::format("{}-{}.{}", child.title, i, kExtensions[i % 9])
                                 : child.title + ".cab";
    child.files.push_back(AddFile(fmt::format("{}/file-{}", path, i), name,
                                  FileSize(random, many_files ? 4 : 16), "SelfContained"));
  }
  if (many_files) {
    child.handler = Handler::kOsInstaller;
    child.manifest_bytes = 0;
  }
  bundle.bundled = {{AddWithPast(std::move(child), false)}};
  bundle.prerequisites.insert(bundle.prerequisites.begin(), Bare(facts_.at(build_fact)));
  line.cumulative.push_back(bundle.id.guid);
  AddWithPast(std::move(bundle), false);
}

void Builder::PublishFramework(std::size_t number) {
  Line& line = lines_[number];
  const std::size_t month = line.framework.size() + 1;
  const std::string path = fmt::format("windows/{}-{}-{}/framework/{}", line.build, line.system,
                                       line.product_type, month);
  Random random(options_.seed, path);
  Revision bundle = NewBundle(path, "", line.product, WellKnown::Updates());
  bundle.created_unix = MonthDate(month + shape_.first_month) + 7 * kDay;
  bundle.title =
      fmt::format("{} Cumulative Update for .NET Framework 3.5 and 4.8.1 for {} for {} (KB{})",
                  MonthName(bundle.created_unix), line.name, line.system, bundle.knowledge_base);
  Supersede(bundle, line.framework, 400);
  Revision child = NewRevision(path + "/package", Kind::kChild, "");
  child.title = fmt::format("Windows11.0-KB{}-{}-NDP481", bundle.knowledge_base, line.system);
  child.created_unix = bundle.created_unix;
  child.knowledge_base = bundle.knowledge_base;
  child.handler = Handler::kCbs;
  child.can_uninstall = true;
  child.recipe = {.kind = RecipeKind::kCbs,
                  .a = line.build,
                  .b = static_cast<std::uint32_t>(9000 + month),
                  .c = line.architecture};
  child.prerequisites = {Bare(facts_.at("windows")), Bare(facts_.at(line.system)),
                         AnyOf({line.product})};
  child.manifest_bytes = random.LogNormal(shape_.manifest_median / 4, shape_.manifest_sigma, 2000,
                                          shape_.manifest_maximum);
  child.files = {
      AddFile(path + "/file", child.title + ".cab", FileSize(random, 2), "SelfContained")};
  bundle.bundled = {{AddWithPast(std::move(child), false)}};
  line.framework.push_back(bundle.id.guid);
  AddWithPast(std::move(bundle), true);
}

void Builder::PublishEngineSet() {
  const std::size_t set = definitions_.size() / 40;
  engine_groups_.clear();
  constexpr std::string_view kParts[] = {"Engine", "MpSigStub", "Base"};
  const std::uint32_t channels = shape_.engine_channels;
  for (std::uint32_t part = 0; part < 3; ++part) {
    // 24, 16 and 4 members, as observed; fewer in the small size.
    const std::uint32_t members = channels >= 7 ? (part == 0 ? 24 : part == 1 ? 16 : 4) : 4;
    std::vector<UpdateId> group;
    for (std::uint32_t channel = 0; channel < channels; ++channel) {
      const std::string path = fmt::format("defender/{}-{}/channel-{}", kParts[part], set, channel);
      Revision hidden = NewRevision(path, Kind::kHiddenBundle, "");
      hidden.title = fmt::format("HIDDEN: Defender {} 1.1.{}.3 for channel {}", kParts[part],
                                 26010 + 10 * set, channel);
      hidden.created_unix = MonthDate(60) + static_cast<std::int64_t>(set) * 10 * kDay;
      hidden.prerequisites = {AnyOf({WellKnown::DefinitionUpdates()}),
                              AnyOf({WellKnown::Defender()})};
      std::vector<UpdateId> leaves;
      for (std::uint32_t i = 0; i < members; ++i) {
        Revision leaf = NewRevision(fmt::format("{}/{}", path, i), Kind::kChild, "");
        leaf.title =
            fmt::format("Defender {} 1.1.{}.3 variant {}", kParts[part], 26010 + 10 * set, i);
        leaf.created_unix = hidden.created_unix;
        leaf.handler = Handler::kCommandLine;
        leaf.recipe = {.kind = RecipeKind::kSignatureEngine,
                       .a = static_cast<std::uint32_t>(26010 + 10 * set),
                       .b = 3,
                       .c = channel};
        leaf.prerequisites = {Bare(facts_.at("defender")),
                              Bare(facts_.at(i % 2 == 0 ? "x64" : "arm64")),
                              AnyOf({WellKnown::Defender()})};
        // The channels carry the same files: 155 files for 411 leaves in the observed bundle.
        const std::string key = fmt::format("defender/{}-{}/file-{}", kParts[part], set, i);
        Random random(options_.seed, key);
        leaf.files = {AddFile(key, fmt::format("AM_{}.exe", kParts[part]), FileSize(random, 2))};
        leaves.push_back(leaf.id);
        Add(std::move(leaf));
      }
      hidden.bundled = {std::move(leaves)};
      group.push_back(hidden.id);
      Add(std::move(hidden));
    }
    engine_groups_.push_back(std::move(group));
  }
}

void Builder::PublishDefinition() {
  if (definitions_.size() % 40 == 0) PublishEngineSet();
  const auto number = static_cast<std::uint32_t>(definitions_.size());
  const std::string path = fmt::format("defender/definition-{}", number);
  Random random(options_.seed, path);
  const std::uint32_t minor = 500 + 4 * (number % 1000);
  const std::uint32_t major = 459 + number / 1000;
  Revision bundle = NewBundle(path, "", WellKnown::Defender(), WellKnown::DefinitionUpdates());
  bundle.title = fmt::format(
      "Security Intelligence Update for Microsoft Defender Antivirus - KB2267602 (Version {}) - "
      "Current Channel (Broad)",
      SignatureVersion(major, minor));
  bundle.knowledge_base = 2267602;
  bundle.created_unix = MonthDate(65) + static_cast<std::int64_t>(number) * kDay / 4;
  Supersede(bundle, definitions_, static_cast<std::size_t>(random.LogNormal(16, 1000, 1, 400)));
  std::vector<UpdateId> deltas;
  for (std::uint32_t i = 0; i < shape_.delta_variants; ++i) {
    Revision leaf = NewRevision(fmt::format("{}/delta-{}", path, i), Kind::kChild, "");
    leaf.title = i == 0
                     ? fmt::format("Full Deltas {} for Defender amd64fre [Ring0, Broad, Delayed]",
                                   SignatureVersion(major, minor))
                     : fmt::format("Delta {} of {} for Defender amd64fre", i,
                                   SignatureVersion(major, minor));
    leaf.created_unix = bundle.created_unix;
    leaf.handler = Handler::kCommandLine;
    leaf.recipe = {.kind = RecipeKind::kSignatureDelta, .a = major, .b = minor, .c = i};
    leaf.prerequisites = {Bare(facts_.at("defender")), Bare(facts_.at("x64")),
                          Bare(facts_.at("windows")), AnyOf({WellKnown::Defender()})};
    leaf.files = {
        AddFile(fmt::format("{}/delta-{}", path, i), "AM_Delta.exe", FileSize(random, 1))};
    deltas.push_back(leaf.id);
    Add(std::move(leaf));
  }
  bundle.bundled = engine_groups_;
  bundle.bundled.push_back(std::move(deltas));
  definitions_.push_back(bundle.id.guid);
  Add(std::move(bundle));
}

void Builder::PublishOffice() {
  const std::uint32_t number = office_count_++;
  const std::size_t product = number % products_.size();
  office_.resize(products_.size());
  const std::string path = fmt::format("office/{}", number);
  Random random(options_.seed, path);
  Revision bundle =
      NewBundle(path, "", products_[product],
                random.Chance(60) ? WellKnown::SecurityUpdates() : WellKnown::Updates());
  bundle.title = fmt::format("Security Update for Microsoft Office Suite {} (KB{})", 2016 + product,
                             bundle.knowledge_base);
  bundle.created_unix = MonthDate(number / products_.size());
  bundle.severity = random.Chance(50) ? "Important" : "";
  if (random.Chance(65)) {
    Supersede(bundle, office_[product],
              static_cast<std::size_t>(random.LogNormal(16, 1000, 1, 400)));
  }
  const std::uint64_t members = random.Between(1, 10);
  for (std::uint64_t i = 0; i < members; ++i) {
    const bool small = i % 2 == 1;
    Revision child = NewRevision(fmt::format("{}/part-{}", path, i), Kind::kChild, "");
    child.title =
        fmt::format("Office Suite {} part {} {}-bit", 2016 + product, i / 2, small ? 32 : 64);
    child.created_unix = bundle.created_unix;
    child.knowledge_base = bundle.knowledge_base;
    child.handler = Handler::kMsiPatch;
    child.can_uninstall = true;
    child.recipe = {.kind = RecipeKind::kMsiPatch,
                    .a = static_cast<std::uint32_t>(product),
                    .b = static_cast<std::uint32_t>(10000 + number),
                    .c = static_cast<std::uint32_t>(random.Geometric(23, 90) - 1)};
    child.prerequisites = {Bare(facts_.at(small ? "x86" : "x64")), AnyOf({products_[product]})};
    AddExtraClauses(child, random);
    child.files = {AddFile(fmt::format("{}/part-{}", path, i),
                           fmt::format("suite-x-none-{}.cab", i), FileSize(random, 1))};
    const UpdateId id = AddWithPast(std::move(child), false);
    // The two widths are alternatives of one group.
    if (small) {
      bundle.bundled.back().push_back(id);
    } else {
      bundle.bundled.push_back({id});
    }
  }
  office_[product].push_back(bundle.id.guid);
  AddWithPast(std::move(bundle), true);
}

Revision Builder::NewTool(std::uint32_t number) {
  const std::string path = fmt::format("tool/{}", number);
  Random random(options_.seed, path);
  Revision tool = NewRevision(path, Kind::kLeaf, "");
  tool.knowledge_base = KnowledgeBase(path);
  tool.title =
      fmt::format("Update for Windows Tools & Utilities {} (KB{})", number, tool.knowledge_base);
  tool.created_unix = MonthDate(number) + 3 * kDay;
  tool.handler = Handler::kCommandLine;
  tool.can_uninstall = number % 3 == 0;
  tool.languages = shape_.languages;
  const bool server = number % 5 == 4;
  tool.recipe = {.kind = RecipeKind::kKnowledgeBase, .a = tool.knowledge_base};
  tool.prerequisites = {
      CategoryOf(server ? MakeGuid("product/windows-server-2025") : WellKnown::Windows11()),
      CategoryOf(number % 2 == 0 ? WellKnown::Tools() : WellKnown::Updates())};
  if (number >= 8) AddExtraClauses(tool, random);
  tool.files = {AddFile(path + "/file", fmt::format("tool-{}.exe", number), FileSize(random, 1))};
  if (number == 1 || random.Chance(3)) {
    tool.eula = MakeGuid(path + "/eula");
    for (std::uint32_t i = 0; i < std::min(shape_.languages, 2U); ++i) {
      tool.eula_files.push_back(AddFile(fmt::format("{}/eula-{}", path, i),
                                        fmt::format("license-{}.txt", i),
                                        random.Between(2000, 9000)));
    }
  }
  return tool;
}

void Builder::PublishTool(bool may_change) {
  Revision tool = NewTool(static_cast<std::uint32_t>(tools_.size()));
  if (may_change) {
    AddWithPast(std::move(tool), true);
  } else {
    Add(std::move(tool));
  }
  tools_.push_back(count() - 1);
}

void Builder::PublishDriver() {
  const std::uint32_t number = driver_count_++;
  const std::string path = fmt::format("driver/{}", number);
  Random random(options_.seed, path);
  // Every third is a newer version for the device before it.
  const std::uint32_t device = number - number % 3;
  constexpr std::string_view kClasses[] = {"Net", "Display", "Printer", "MEDIA"};
  Revision driver = NewRevision(path, Kind::kDriver, "");
  driver.knowledge_base = number;
  driver.title =
      fmt::format("Contoso - {} - 10.{}.{}.0", kClasses[device % 4], device, 100 + number % 3);
  driver.created_unix = MonthDate(number % 3 + 40);
  driver.handler = Handler::kDriver;
  driver.recipe = {.kind = RecipeKind::kDriver};
  driver.prerequisites = {CategoryOf(WellKnown::Windows11()), CategoryOf(WellKnown::Drivers()),
                          Bare(facts_.at("x64"))};
  driver.files = {AddFile(path + "/file", fmt::format("{}_driver.cab", driver.id.guid.ToString()),
                          FileSize(random, 1))};
  const std::uint64_t models = random.Between(1, 3);
  for (std::uint64_t i = 0; i < models; ++i) {
    driver.drivers.push_back(
        {.hardware_id = fmt::format("PCI\\VEN_{:04X}&DEV_{:04X}", 0x1414, 16 * device + i),
         .device_class = std::string(kClasses[device % 4]),
         .provider = "Contoso",
         .model = fmt::format("Contoso Device {}-{}", device, i),
         .date = UtcTime::FromUnixSeconds(driver.created_unix).ToDate(),
         .version = fmt::format("10.{}.{}.0", device, 100 + number % 3)});
  }
  if (number % 3 != 0) {
    driver.superseded.push_back(MakeGuid(fmt::format("driver/{}", number - 1)));
  }
  Add(std::move(driver));
}

void Builder::PublishHugeFile(std::uint64_t bytes) {
  Revision tool = NewTool(900'000);
  tool.title = "Update with a very large file";
  tool.path = "huge";
  tool.id.guid = MakeGuid(tool.path);
  tool.files = {AddFile("huge", "huge.msu", bytes)};
  Add(std::move(tool));
}

void Builder::PublishRandomUnit(std::uint32_t number) {
  Random random(options_.seed, fmt::format("unit/{}", number));
  const std::uint64_t dice = random.Below(100);
  if (dice < shape_.definition_percent) {
    PublishDefinition();
  } else if (dice < 32) {
    const std::size_t lines = EnsureLines(12);
    const std::size_t line = random.Below(lines);
    if (lines_[line].cumulative.size() >= 60) {  // a release lives five years
      PublishTool(true);
      return;
    }
    PublishCumulative(line, 0);
    if (random.Chance(60)) PublishFramework(line);
  } else if (dice < 75) {
    PublishOffice();
  } else {
    PublishTool(true);
  }
}

void Builder::PublishStep(std::uint32_t step) {
  PublishCumulative(0, 0);
  const std::int64_t date = MonthDate(69) + static_cast<std::int64_t>(step) * 7 * kDay;
  // Tools are changed from the front of the list, in turn; each expires at most once.
  const auto newer = [this](std::size_t tool) {
    Revision revision = revisions_[tools_[tool]];
    ++revision.id.revision;
    return revision;
  };
  Revision changed = newer(2 * (step - 1) % tools_.size());
  changed.title += fmt::format(" (republished {})", step);
  changed.created_unix = date;
  tools_[2 * (step - 1) % tools_.size()] = Add(std::move(changed));
  Revision expired = newer((2 * step - 1) % tools_.size());
  expired.expired = true;
  expired.created_unix = date;
  tools_[(2 * step - 1) % tools_.size()] = Add(std::move(expired));
}

}  // namespace gapferry::catalogue
