#include "tests/support/catalogue/machine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/recipe.h"

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kHive = "HKEY_LOCAL_MACHINE\\";
constexpr std::string_view kSignatures = "SOFTWARE\\Microsoft\\Windows Defender\\Signature Updates";
constexpr std::string_view kSignatureFolder =
    "C:\\ProgramData\\Microsoft\\Windows Defender\\Definition Updates\\Current";

std::string Name(std::string_view subkey, std::string_view value) {
  return fmt::format("{}{}\\{}", kHive, subkey, value);
}

void AddDefender(Machine& machine, const std::string& signatures, const std::string& engine) {
  machine.dwords[Name(kFeaturesKey, "DefenderPlatform")] = 1;
  machine.strings[Name(kSignatures, "SignatureLocation")] = kSignatureFolder;
  const auto add = [&machine](std::string_view file, const std::string& version) {
    machine.file_versions[fmt::format("{}\\{}", kSignatureFolder, file)] = version;
  };
  add("mpasdlta.vdm", signatures);
  add("mpavdlta.vdm", signatures);
  add("mpengine.dll", engine);
}

void MarkInstalled(Machine& machine, const Revision& tool) {
  machine.dwords[Name(fmt::format("{}\\KB{}", kUpdatesKey, tool.knowledge_base), "Installed")] = 1;
}

// Everything that was in the first state of the catalogue is installed.
void BringUpToDate(Machine& machine, const Catalogue& catalogue) {
  std::string signatures;
  std::string engine;
  for (std::size_t i = 0; i < catalogue.base_count(); ++i) {
    const Revision& revision = catalogue.revisions()[i];
    const Recipe& recipe = revision.recipe;
    if (recipe.kind == RecipeKind::kCumulative && recipe.a == machine.os_build) {
      machine.os_revision = std::max(machine.os_revision, recipe.b);
    }
    if (recipe.kind == RecipeKind::kKnowledgeBase) MarkInstalled(machine, revision);
    if (recipe.kind == RecipeKind::kSignatureDelta) {
      signatures = SignatureVersion(recipe.a, recipe.b);
    }
    if (recipe.kind == RecipeKind::kSignatureEngine) engine = EngineVersion(recipe.a, recipe.b);
  }
  AddDefender(machine, signatures, engine);
  machine.msi_products[OfficeProductCode(0, 0)] = "16.0.99999.0";
}

}  // namespace

const std::vector<ProfileName>& ProfileNames() {
  static const std::vector<ProfileName> kNames{
      {"workstation-x64",
       "Windows 11 24H2, x64, three cumulative updates behind, old definitions, Office, one tool"},
      {"workstation-arm64", "Windows 11 23H2, ARM64, one cumulative update behind, nothing else"},
      {"server-x64", "Windows Server 2025, x64, four cumulative updates behind, old definitions"},
      {"workstation-current", "as workstation-x64 with everything of the first state installed"},
      {"kiosk-x64", "a Windows 11 release that the small catalogue has no cumulative update for"},
  };
  return kNames;
}

Result<Machine> MachineOf(const Catalogue& catalogue, std::string_view profile) {
  const auto& names = ProfileNames();
  const auto found = std::ranges::find(names, profile, &ProfileName::name);
  if (found == names.end()) {
    std::string known;
    for (const ProfileName& name : names) known.append(known.empty() ? "" : ", ").append(name.name);
    return Fail(ErrorCode::kNotFound, fmt::format("profile '{}' does not exist: there are {}",
                                                  EscapeForDisplay(profile), known));
  }
  Machine machine;
  machine.name = profile;
  machine.description = found->description;
  machine.os_build = 26100;
  machine.os_revision = 1100;
  machine.strings[Name(kLanguageKey, "InstallLanguage")] = "0409";
  if (profile == "workstation-x64") {
    AddDefender(machine, SignatureVersion(459, 496), EngineVersion(26000, 1));
    machine.msi_products[OfficeProductCode(0, 0)] = OfficeVersion(10000);
    machine.hardware["PCI\\VEN_1414&DEV_0000"] = "10.0.100.0";
    for (const Revision& revision : catalogue.revisions()) {
      if (revision.path == "tool/3") MarkInstalled(machine, revision);
    }
  } else if (profile == "workstation-arm64") {
    machine.os_build = 22631;
    machine.os_revision = 1300;
    machine.architecture = 12;
  } else if (profile == "server-x64") {
    machine.product_type = 3;
    machine.os_revision = 1000;
    AddDefender(machine, SignatureVersion(459, 496), EngineVersion(26000, 1));
  } else if (profile == "workstation-current") {
    BringUpToDate(machine, catalogue);
  } else {
    machine.os_build = 26300;
  }
  machine.dwords[Name(kWindowsKey, "UBR")] = machine.os_revision;
  return machine;
}

}  // namespace gapferry::catalogue
