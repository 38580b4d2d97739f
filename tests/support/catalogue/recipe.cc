#include "tests/support/catalogue/recipe.h"

#include <fmt/format.h>

#include "tests/support/catalogue/model.h"

namespace gapferry::catalogue {
namespace {

const std::string kSignatureKey = "SOFTWARE\\Microsoft\\Windows Defender\\Signature Updates";
const std::string kMiscellaneousKey =
    "SOFTWARE\\Microsoft\\Windows Defender\\Miscellaneous Configuration";
constexpr std::string_view kAtLeast = "GreaterThanOrEqualTo";

std::string Number(std::uint32_t value) { return std::to_string(value); }
std::string NumberOrNothing(std::uint32_t value) { return value == 0 ? "" : Number(value); }

Rule SignatureFile(const std::string& file, std::string_view comparison,
                   const std::string& version) {
  return FileVersion(file, comparison, version, kSignatureKey, "SignatureLocation");
}

Rule SignatureSwitch(const std::string& value) {
  return RegDword(kMiscellaneousKey, value, kAtLeast, "1");
}

RuleSet CumulativeRules(const Recipe& recipe) {
  const auto revision = [&recipe](std::string_view comparison) {
    return RegDword(std::string(kWindowsKey), "UBR", comparison, Number(recipe.b));
  };
  RuleSet rules;
  rules.is_installed = And({WindowsBuild(Number(recipe.a), ""), revision(kAtLeast)});
  rules.is_superseded = And({WindowsBuild(Number(recipe.a), ""), revision("GreaterThan")});
  rules.is_installable = And({WindowsBuild(Number(recipe.a), ""), Processor(Number(recipe.c))});
  return rules;
}

RuleSet ComponentRules() {
  RuleSet rules;
  rules.is_installed =
      And({CbsInstalled(),
           Not(RegDword("SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing",
                        "LCUReoffer", "EqualTo", "1"))});
  rules.is_installable = CbsInstallable();
  return rules;
}

RuleSet KnowledgeBaseRules(const Recipe& recipe) {
  RuleSet rules;
  rules.is_installed =
      RegDword(fmt::format("{}\\KB{}", kUpdatesKey, recipe.a), "Installed", "EqualTo", "1");
  rules.is_installable =
      recipe.b == 0 ? WindowsAtLeast("10", "0", "") : WindowsBuild(Number(recipe.b), "");
  return rules;
}

RuleSet PatchRules(const Recipe& recipe) {
  const auto terms = [&recipe](const std::string& version) {
    Rule rule = Or({});
    for (std::uint32_t variant = 0; variant <= recipe.c; ++variant) {
      rule.operands.push_back(MsiProduct(OfficeProductCode(recipe.a, variant), version));
    }
    return rule;
  };
  RuleSet rules;
  rules.is_installed = terms(OfficeVersion(recipe.b));
  rules.is_installable = terms("16.0.0.0");
  return rules;
}

// The shape of the observed "Full Deltas" rules: conditions in the registry, then the versions
// from which another, smaller delta would do.
RuleSet DeltaRules(const Recipe& recipe) {
  const std::string version = SignatureVersion(recipe.a, recipe.b);
  RuleSet rules;
  rules.is_installed = And({Not(RegDword(kSignatureKey, "SignatureType", "EqualTo", "1")),
                            SignatureFile("mpasdlta.vdm", kAtLeast, version),
                            SignatureFile("mpavdlta.vdm", kAtLeast, version),
                            Not(SignatureSwitch("DeltaUpdateFailure"))});
  const auto base = [&recipe](std::uint32_t age) {
    const std::string from = SignatureVersion(recipe.a, recipe.b - 2 * age - 1);
    return And({SignatureFile("mpasdlta.vdm", "EqualTo", from),
                SignatureFile("mpavdlta.vdm", "EqualTo", from)});
  };
  if (recipe.c != 0) {
    rules.is_installable = base(recipe.c - 1);
    return rules;
  }
  Rule bases = Or({});
  for (std::uint32_t age = 0; age < 15; ++age) bases.operands.push_back(base(age));
  rules.is_installable =
      And({Not(And({RegValueExists("SOFTWARE\\Microsoft\\Windows Defender\\Diagnostics\\"
                                   "BlockedVersions\\Signatures",
                                   version, "REG_BINARY"),
                    FileVersion("mpclient.dll", kAtLeast, "4.13.0.0",
                                "SOFTWARE\\Microsoft\\Windows Defender", "InstallLocation"),
                    SignatureFile("mpasdlta.vdm", "GreaterThan", "0.0.0.0")})),
           Not(License("CE163B38-1AEC-47AF-854D-FC90ABD6951C", "1")),
           Or({SignatureSwitch("DeltaUpdateFailure"), SignatureSwitch("BddUpdateFailure"),
               SignatureSwitch("DisableDeltaPatch"),
               RegDword(kSignatureKey, "SignatureType", "EqualTo", "1"), Not(std::move(bases))})});
  return rules;
}

RuleSet EngineRules(const Recipe& recipe) {
  const std::string version = EngineVersion(recipe.a, recipe.b);
  RuleSet rules;
  rules.is_installed = SignatureFile("mpengine.dll", kAtLeast, version);
  // The broad channel is everybody's that is in no other.
  rules.is_installable =
      recipe.c == 0 ? Not(RegDword(kMiscellaneousKey, "SignatureRing", "GreaterThanOrEqualTo", "1"))
                    : RegDword(kMiscellaneousKey, "SignatureRing", "EqualTo", Number(recipe.c));
  return rules;
}

RuleSet DriverRules() {
  RuleSet rules;
  rules.is_installed = Rule{"drv:WindowsDriverInstalled"};
  rules.is_superseded = Rule{"drv:WindowsDriverSuperseded"};
  rules.is_installable = Rule{"drv:WindowsDriverInstallable"};
  return rules;
}

Rule DetectoidMsiRule(const Recipe& recipe) {
  return {"mar:MsiProductInstalled",
          {{"ProductCode", recipe.text},
           {"ExcludeVersionMax", "true"},
           {"VersionMin", fmt::format("{}.00.{}.06", recipe.a, recipe.b)},
           {"Language", "1033"}}};
}

}  // namespace

std::string OfficeProductCode(std::uint32_t product, std::uint32_t variant) {
  return fmt::format("{{90160000-{:04X}-{:04X}-1000-0000000FF1CE}}", 0x11 + product, variant);
}
std::string OfficeVersion(std::uint32_t build) { return fmt::format("16.0.{}.0", build); }
std::string SignatureVersion(std::uint32_t a, std::uint32_t b) {
  return fmt::format("1.{}.{}.0", a, b);
}
std::string EngineVersion(std::uint32_t a, std::uint32_t b) {
  return fmt::format("1.1.{}.{}", a, b);
}

RuleSet RulesOf(const Revision& revision) {
  const Recipe& recipe = revision.recipe;
  RuleSet rules;
  switch (recipe.kind) {
    case RecipeKind::kNone:
      return rules;
    case RecipeKind::kTrue:
      rules.is_installed = True();
      return rules;
    case RecipeKind::kWindowsAtLeast:
      rules.is_installed =
          WindowsAtLeast(Number(recipe.a), Number(recipe.b), NumberOrNothing(recipe.c));
      return rules;
    case RecipeKind::kWindowsBuild:
      rules.is_installed = WindowsBuild(Number(recipe.a), NumberOrNothing(recipe.b));
      return rules;
    case RecipeKind::kProcessor:
      rules.is_installed = Processor(Number(recipe.a));
      return rules;
    case RecipeKind::kOffice:
      rules.is_installed = MsiProduct(OfficeProductCode(recipe.a, 0), "16.0.0.0");
      return rules;
    case RecipeKind::kMsiProduct:
      rules.is_installed = DetectoidMsiRule(recipe);
      return rules;
    case RecipeKind::kRegistrySwitch:
      rules.is_installed =
          RegDword(std::string(kFeaturesKey), recipe.text, "EqualTo", Number(recipe.a));
      return rules;
    case RecipeKind::kLanguage:
      rules.is_installed =
          RegSz(std::string(kLanguageKey), "InstallLanguage", "EqualTo", recipe.text);
      return rules;
    case RecipeKind::kCumulative:
      return CumulativeRules(recipe);
    case RecipeKind::kCbs:
      return ComponentRules();
    case RecipeKind::kKnowledgeBase:
      return KnowledgeBaseRules(recipe);
    case RecipeKind::kMsiPatch:
      return PatchRules(recipe);
    case RecipeKind::kSignatureDelta:
      return DeltaRules(recipe);
    case RecipeKind::kSignatureEngine:
      return EngineRules(recipe);
    case RecipeKind::kDriver:
      return DriverRules();
  }
  return rules;
}

}  // namespace gapferry::catalogue
