#include <gtest/gtest.h>

#include "client/facts.h"
#include "client/fragment_reader.h"
#include "client/rules.h"

namespace gapferry::client {
namespace {

constexpr char kFacts[] = R"(
name: pc1.example
os:
  version: 10.0.26100.4349
  product_type: server
  architecture: amd64
  locale: de-AT
  mui_languages: [fr-FR]
registry:
  HKEY_LOCAL_MACHINE\SOFTWARE\Example:
    Release: 533320
    Version: "4.8.1"
    Folder: C:\Program Files\Example\
    Number as text: "5"
    Blob: {type: REG_BINARY, data: "00"}
  HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Example:
    Release: 32
  HKEY_LOCAL_MACHINE\SOFTWARE\Deep\Key: {}
files:
  C:\Program Files\Example\a.dll: 1.2.3.4
  C:\Windows\System32\b.dll:
  C:\c.exe: {version: 2.0, size: 4096, created: 2025-01-01, modified: 2026-01-31T12:00:00Z, language: 1033}
msi_products:
  "{3C4A397D-22B2-4AB0-849F-F5E12672CACA}": {version: 9.0.1399.6, language: 1033,
    features: [Word, Excel], components: ["{C0000000-0000-0000-0000-000000000001}"],
    patches: ["{B0000000-0000-0000-0000-000000000001}"]}
cbs_packages:
  Package_for_RollupFix: 26100.1.1.1
  Package_old:
licenses:
  Lic: 1
processor: {count: 4, level: 6, revision: 3}
system_metrics: {"86": 1}
wmi:
  select * from Win32_Battery: true
  select * from Win32_Floppy: false
device_attributes: {OSSkuId: "48", Ring: Retail}
product_releases: {Client.OS: 10.0.26100.1}
devices:
  - hardware_ids: [USB\VID_1&PID_2, USB\VID_1]
    compatible_ids: [USB\Class_3]
    driver: {version: 2.0.0.0, date: 2024-05-01, matching_id: USB\VID_1}
drivers:
  PCI\VEN_1: 1.2.0.0
  PCI\VEN_2:
)";

// The rule `text` as it stands in a core fragment.
CoreFragment Core(const std::string& rule, const std::string& metadata = {}) {
  const auto core = ParseCore(
      "<UpdateIdentity UpdateID=\"11111111-1111-1111-1111-111111111111\" RevisionNumber=\"1\" />"
      "<Properties UpdateType=\"Software\" /><ApplicabilityRules><IsInstalled>" +
      rule + "</IsInstalled><Metadata>" + metadata + "</Metadata></ApplicabilityRules>");
  EXPECT_TRUE(core.has_value()) << (core ? "" : core.error().message);
  return *core;
}

Truth Evaluate(const std::string& rule, const std::string& metadata = {}) {
  static const Facts kMachine = *Facts::Parse(kFacts, "facts");
  RuleEvaluator evaluator(kMachine);
  const CoreFragment core = Core(rule, metadata);
  return evaluator.Evaluate(*core.is_installed, core.metadata);
}

struct Case {
  const char* rule;
  Truth expected;
};

class Rules : public ::testing::TestWithParam<Case> {};

TEST_P(Rules, Hold) {
  EXPECT_EQ(Evaluate(GetParam().rule), GetParam().expected) << GetParam().rule;
}

constexpr Truth T = Truth::kTrue;
constexpr Truth F = Truth::kFalse;
constexpr Truth U = Truth::kUnknown;

INSTANTIATE_TEST_SUITE_P(
    Logic, Rules,
    ::testing::Values(
        Case{"<True />", T}, Case{"<False />", F}, Case{"<Not><False /></Not>", T},
        Case{"<And><True /><True /></And>", T}, Case{"<And><True /><False /></And>", F},
        Case{"<Or><False /><True /></Or>", T}, Case{"<Or><False /></Or>", F},
        Case{"<b.WmiQuery />", U}, Case{"<Not><b.WmiQuery /></Not>", U},
        Case{"<And><b.WmiQuery /><False /></And>", F}, Case{"<And><b.WmiQuery /><True /></And>", U},
        Case{"<Or><b.WmiQuery /><True /></Or>", T}, Case{"<Or><b.WmiQuery /><False /></Or>", U},
        Case{"<Gadget />", U}, Case{"<True /><True />", T}, Case{"<True /><False />", F}));

INSTANTIATE_TEST_SUITE_P(
    System, Rules,
    ::testing::Values(
        Case{"<b.WindowsVersion MajorVersion=\"10\" />", T},
        Case{"<b.WindowsVersion MajorVersion=\"11\" />", F},
        Case{"<b.WindowsVersion Comparison=\"GreaterThanOrEqualTo\" MajorVersion=\"6\" "
             "MinorVersion=\"3\" />",
             T},
        Case{"<b.WindowsVersion Comparison=\"GreaterThanOrEqualTo\" MajorVersion=\"6\" "
             "MinorVersion=\"3\" ProductType=\"1\" />",
             F},
        Case{"<b.WindowsVersion Comparison=\"LessThan\" MajorVersion=\"10\" MinorVersion=\"0\" "
             "BuildNumber=\"26100\" />",
             F},
        Case{"<b.WindowsVersion Comparison=\"EqualTo\" BuildNumber=\"26100\" ProductType=\"3\" />",
             T},
        Case{"<b.WindowsVersion Comparison=\"Like\" MajorVersion=\"10\" />", U},
        Case{"<b.WindowsVersion MajorVersion=\"ten\" />", U},
        Case{"<b.WindowsVersion SuiteMask=\"256\" />", T},
        Case{"<b.WindowsVersion SuiteMask=\"1\" />", F},
        Case{"<b.Processor Architecture=\"9\" />", T},
        Case{"<b.Processor Architecture=\"12\" />", F},
        Case{"<b.WindowsLanguage Language=\"de\" />", T},
        Case{"<b.WindowsLanguage Language=\"en\" />", F},
        Case{"<b.LicenseDword Value=\"lic\" Comparison=\"EqualTo\" Data=\"1\" />", T},
        Case{"<b.LicenseDword Value=\"other\" Comparison=\"EqualTo\" Data=\"1\" />", F}));

#define KEY "Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"software\\EXAMPLE\" "
INSTANTIATE_TEST_SUITE_P(
    Registry, Rules,
    ::testing::Values(
        Case{"<b.RegDword " KEY "Value=\"release\" Comparison=\"GreaterThanOrEqualTo\" "
             "Data=\"533320\" />",
             T},
        Case{"<b.RegDword " KEY "Value=\"Release\" Comparison=\"LessThan\" Data=\"533320\" />", F},
        Case{"<b.RegDword " KEY "Value=\"None\" Comparison=\"EqualTo\" Data=\"0\" />", F},
        Case{"<b.RegDword " KEY "Value=\"Number as text\" Comparison=\"EqualTo\" Data=\"5\" />", F},
        Case{"<b.RegSz " KEY "Value=\"Number as text\" Comparison=\"EqualTo\" Data=\"5\" />", T},
        Case{"<b.RegSz " KEY "Value=\"Version\" Comparison=\"BeginsWith\" Data=\"4.\" />", T},
        Case{"<b.RegSz " KEY "Value=\"Version\" Comparison=\"Contains\" Data=\"9\" />", F},
        Case{"<b.RegSzToVersion " KEY "Value=\"Version\" Comparison=\"GreaterThan\" "
             "Data=\"4.8.0.0\" />",
             T},
        Case{"<b.RegKeyExists Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\deep\" />", T},
        Case{"<b.RegKeyExists Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\Dee\" />", F},
        Case{"<b.RegKeyExists Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\Deep\\Key\" />", T},
        Case{"<b.RegValueExists " KEY "Value=\"Blob\" Type=\"REG_BINARY\" />", T},
        Case{"<b.RegValueExists " KEY "Value=\"Blob\" Type=\"REG_SZ\" />", F},
        Case{"<b.RegValueExists " KEY "Value=\"Blob\" />", T}));

INSTANTIATE_TEST_SUITE_P(
    Files, Rules,
    ::testing::Values(
        Case{"<b.FileVersionPrependRegSz Path=\"a.dll\" Comparison=\"EqualTo\" "
             "Version=\"1.2.3.4\" " KEY "Value=\"Folder\" />",
             T},
        Case{"<b.FileVersionPrependRegSz Path=\"\\a.dll\" Comparison=\"GreaterThan\" "
             "Version=\"1.2.3.4\" " KEY "Value=\"Folder\" />",
             F},
        Case{"<b.FileVersionPrependRegSz Path=\"a.dll\" Comparison=\"EqualTo\" "
             "Version=\"1.2.3.4\" " KEY "Value=\"Nowhere\" />",
             F},
        Case{"<b.FileExists Path=\"c:\\windows\\system32\\B.dll\" />", T},
        Case{"<b.FileExists Path=\"B.dll\" Csidl=\"37\" />", T},
        Case{"<b.FileExists Path=\"B.dll\" Csidl=\"99\" />", U},
        Case{"<b.FileVersion Path=\"c:\\windows\\system32\\B.dll\" Comparison=\"LessThan\" "
             "Version=\"9.0.0.0\" />",
             F},
        Case{"<b.FileVersion Path=\"c:\\a\" Comparison=\"LessThan\" Version=\"x\" />", U}));

INSTANTIATE_TEST_SUITE_P(
    Msi, Rules,
    ::testing::Values(
        Case{"<m.MsiProductInstalled ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" />", T},
        Case{"<m.MsiProductInstalled ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" "
             "VersionMin=\"9.00.1399.06\" ExcludeVersionMax=\"true\" Language=\"1033\" />",
             T},
        Case{"<m.MsiProductInstalled ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" "
             "VersionMin=\"9.00.1399.06\" ExcludeVersionMin=\"true\" />",
             F},
        Case{"<m.MsiProductInstalled ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" "
             "VersionMax=\"9.0\" />",
             F},
        Case{"<m.MsiProductInstalled ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" "
             "Language=\"1031\" />",
             F},
        Case{"<m.MsiProductInstalled ProductCode=\"{00000000-22b2-4ab0-849f-f5e12672caca}\" />",
             F}));

std::string Package(const std::string& name, const std::string& version,
                    const std::string& architecture = "amd64") {
  return "<CbsPackageApplicabilityMetadata><assembly xmlns=\"urn:schemas-microsoft-com:asm.v3\">"
         "<assemblyIdentity name=\"" +
         name + "\" version=\"" + version + "\" processorArchitecture=\"" + architecture +
         "\" /><package><assemblyIdentity name=\"inner\" version=\"1\" /></package></assembly>"
         "</CbsPackageApplicabilityMetadata>";
}

TEST(CbsRules, CompareTheirOwnPackageWithTheComputers) {
  const std::string installed = "<CbsPackageInstalled />";
  const std::string installable = "<CbsPackageInstallable />";
  const std::string older = Package("Package_for_RollupFix", "26100.1.1.0");
  const std::string newer = Package("Package_for_RollupFix", "26100.2.0.0");
  EXPECT_EQ(Evaluate(installed, older), T);
  EXPECT_EQ(Evaluate(installed, newer), F);
  EXPECT_EQ(Evaluate(installable, newer), T);
  EXPECT_EQ(Evaluate(installable, older), F);
  EXPECT_EQ(Evaluate(installable, Package("Package_old", "1.0.0.0")), T);
  EXPECT_EQ(Evaluate(installable, Package("Package_none", "1.0.0.0")), F);
  EXPECT_EQ(Evaluate(installable, Package("Package_old", "1.0.0.0", "arm64")), F);
  EXPECT_EQ(Evaluate(installed), U);
}

TEST(DriverRules, CompareVersionsOfTheDevices) {
  const auto driver = [](const std::string& id, const std::string& version) {
    return "<d.WindowsDriverMetaData HardwareID=\"" + id + "\" DriverVerVersion=\"" + version +
           "\" />";
  };
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstallable />", driver("pci\\ven_1", "1.3.0.0")), T);
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstallable />", driver("pci\\ven_1", "1.2.0.0")), F);
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstalled />", driver("pci\\ven_1", "1.2.0.0")), T);
  EXPECT_EQ(Evaluate("<d.WindowsDriverSuperseded />", driver("pci\\ven_1", "1.1.0.0")), T);
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstallable />", driver("pci\\ven_2", "1.0.0.0")), T);
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstallable />", driver("pci\\ven_3", "1.0.0.0")), F);
}

TEST(DriverRules, GoByTheIdThenTheDateThenTheVersion) {
  const auto driver = [](const std::string& id, const std::string& date,
                         const std::string& version) {
    return "<d.WindowsDriverMetaData HardwareID=\"" + id + "\" DriverVerDate=\"" + date +
           "\" DriverVerVersion=\"" + version + "\" />";
  };
  constexpr char kInstallable[] = "<d.WindowsDriverInstallable />";
  EXPECT_EQ(Evaluate(kInstallable, driver("usb\\vid_1&amp;pid_2", "2001-01-01", "1.0.0.0")), T);
  EXPECT_EQ(Evaluate(kInstallable, driver("usb\\vid_1", "2024-05-02", "1.0.0.0")), T);
  EXPECT_EQ(Evaluate(kInstallable, driver("usb\\vid_1", "2024-04-30", "9.0.0.0")), F);
  EXPECT_EQ(Evaluate(kInstallable, driver("usb\\vid_1", "2024-05-01", "2.0.0.1")), T);
  EXPECT_EQ(Evaluate(kInstallable, driver("usb\\class_3", "2030-01-01", "9.0.0.0")), F);
  EXPECT_EQ(Evaluate("<d.WindowsDriverInstalled />", driver("usb\\vid_1", "2024-05-01", "2.0.0.0")),
            T);
  EXPECT_EQ(
      Evaluate("<d.WindowsDriverSuperseded />", driver("usb\\class_3", "2030-01-01", "9.0.0.0")),
      T);
}

constexpr char kPatch[] =
    "<m.MsiPatchMetadata><MsiPatch PatchGUID=\"{B0000000-0000-0000-0000-00000000000%c}\" "
    "xmlns=\"http://www.microsoft.com/msi/patch_applicability.xsd\"><TargetProduct>"
    "<TargetProductCode Validate=\"true\">{3c4a397d-22b2-4ab0-849f-f5e12672caca}"
    "</TargetProductCode><TargetVersion Validate=\"true\" ComparisonType=\"%s\" "
    "ComparisonFilter=\"MajorMinor\">9.0.1</TargetVersion></TargetProduct></MsiPatch>"
    "</m.MsiPatchMetadata>";

std::string Patch(char number, const char* comparison) {
  std::string text(kPatch);
  text.replace(text.find("%c"), 2, 1, number);
  return text.replace(text.find("%s"), 2, comparison);
}

TEST(PatchRules, LookAtTheProductsThatAPatchIsFor) {
  EXPECT_EQ(Evaluate("<m.MsiPatchInstalled />", Patch('1', "Equal")), T);
  EXPECT_EQ(Evaluate("<m.MsiPatchInstallable />", Patch('1', "Equal")), F);
  EXPECT_EQ(Evaluate("<m.MsiPatchInstalled />", Patch('2', "Equal")), F);
  EXPECT_EQ(Evaluate("<m.MsiPatchInstallable />", Patch('2', "Equal")), T);
  EXPECT_EQ(Evaluate("<m.MsiPatchInstallable />", Patch('2', "LessThan")), F);
  EXPECT_EQ(Evaluate("<m.MsiPatchSuperseded />", Patch('2', "Equal")), F);
  EXPECT_EQ(Evaluate("<m.MsiPatchInstallable />", ""), U);
}

TEST(ApplicationRules, LookForTheProduct) {
  const auto product = [](const char* code) {
    return std::string("<m.MsiApplicationMetadata><m.ProductCode>") + code +
           "</m.ProductCode></m.MsiApplicationMetadata>";
  };
  const std::string there = product("{3c4a397d-22b2-4ab0-849f-f5e12672caca}");
  const std::string absent = product("{00000000-0000-0000-0000-000000000000}");
  EXPECT_EQ(Evaluate("<m.MsiApplicationInstalled />", there), T);
  EXPECT_EQ(Evaluate("<m.MsiApplicationInstallable />", there), F);
  EXPECT_EQ(Evaluate("<m.MsiApplicationInstallable />", absent), T);
  EXPECT_EQ(Evaluate("<m.MsiApplicationInstalled />"), U);
}

INSTANTIATE_TEST_SUITE_P(
    MoreOfTheMachine, Rules,
    testing::Values(
        Case{"<b.NumberOfProcessors Comparison=\"GreaterThan\" Number=\"3\" />", T},
        Case{"<b.NumberOfProcessors Comparison=\"LessThan\" Number=\"4\" />", F},
        Case{"<b.NumberOfProcessors Comparison=\"LessThan\" />", U},
        Case{"<b.Processor Architecture=\"9\" Level=\"6\" Revision=\"3\" />", T},
        Case{"<b.Processor Architecture=\"9\" Level=\"7\" />", F},
        Case{"<b.Processor Level=\"6\" />", U},
        Case{"<b.SystemMetric Comparison=\"EqualTo\" Index=\"86\" Value=\"1\" />", T},
        Case{"<b.SystemMetric Comparison=\"EqualTo\" Index=\"87\" Value=\"0\" />", T},
        Case{"<b.MuiInstalled />", T}, Case{"<b.MuiLanguageInstalled Language=\"fr\" />", T},
        Case{"<b.MuiLanguageInstalled Language=\"de\" />", F}, Case{"<b.ClusteredOS />", F},
        Case{"<b.WmiQuery WqlQuery=\"Select * From Win32_Battery\" />", T},
        Case{"<b.WmiQuery WqlQuery=\"select * from Win32_Floppy\" />", F},
        Case{"<b.WmiQuery WqlQuery=\"select * from Win32_Other\" />", U},
        Case{"<DeviceAttribute Name=\"OSSkuId\" Comparison=\"EqualTo\" Value=\"48\" />", T},
        Case{"<b.DeviceAttribute Name=\"OSSkuId\" Comparison=\"GreaterThan\" Value=\"5\" />", T},
        Case{"<DeviceAttribute Name=\"Ring\" Comparison=\"EqualTo\" Value=\"retail\" />", T},
        Case{"<DeviceAttribute Name=\"None\" Comparison=\"EqualTo\" Value=\"1\" />", F},
        Case{"<DeviceAttribute />", U},
        Case{"<ProductReleaseInstalled Name=\"client.os\" Comparison=\"GreaterThanOrEqualTo\" "
             "Version=\"10.0.22000.1\" />",
             T},
        Case{"<ProductReleaseInstalled Name=\"Server.OS\" />", F}, Case{"<b.InstalledOnce />", F},
        Case{"<b.GenericQuery Namespace=\"a\" Type=\"b\" Parameter=\"c\" />", U}));

INSTANTIATE_TEST_SUITE_P(
    MoreOfTheStores, Rules,
    testing::Values(
        Case{
            "<b.RegDword Key=\"HKEY_LOCAL_MACHINE\" Subkey=\"SOFTWARE\\Example\" Value=\"Release\" "
            "Comparison=\"EqualTo\" Data=\"32\" RegType32=\"true\" />",
            T},
        Case{"<b.FileSize Path=\"C:\\c.exe\" Comparison=\"LessThan\" Size=\"5000\" />", T},
        Case{"<b.FileSize Path=\"C:\\d.exe\" Comparison=\"LessThan\" Size=\"5000\" />", F},
        Case{"<b.FileCreated Path=\"C:\\c.exe\" Comparison=\"EqualTo\" Created=\"2025-01-01\" />",
             T},
        Case{"<b.FileModified Path=\"C:\\c.exe\" Comparison=\"GreaterThan\" "
             "Modified=\"2026-01-31T11:00:00Z\" />",
             T},
        Case{"<b.FileModified Path=\"C:\\c.exe\" Comparison=\"GreaterThan\" Modified=\"x\" />", U},
        Case{"<b.FileExists Path=\"C:\\c.exe\" Size=\"4096\" Language=\"1033\" Version=\"2.0.0.0\" "
             "/>",
             T},
        Case{"<b.FileExists Path=\"C:\\c.exe\" Size=\"4097\" />", F},
        Case{"<m.MsiFeatureInstalledForProduct><m.Feature>Word</m.Feature><m.Feature>Publisher"
             "</m.Feature><m.Product>{3c4a397d-22b2-4ab0-849f-f5e12672caca}</m.Product>"
             "</m.MsiFeatureInstalledForProduct>",
             T},
        Case{"<m.MsiFeatureInstalledForProduct AllFeaturesRequired=\"true\"><m.Feature>Word"
             "</m.Feature><m.Feature>Publisher</m.Feature><m.Product>"
             "{3c4a397d-22b2-4ab0-849f-f5e12672caca}</m.Product></m.MsiFeatureInstalledForProduct>",
             F},
        Case{
            "<m.MsiComponentInstalledForProduct><m.Component>{c0000000-0000-0000-0000-000000000001}"
            "</m.Component><m.Product>{3c4a397d-22b2-4ab0-849f-f5e12672caca}</m.Product>"
            "</m.MsiComponentInstalledForProduct>",
            T},
        Case{"<m.MsiComponentInstalledForProduct />", U},
        Case{"<m.MsiPatchInstalledForProduct PatchCode=\"{b0000000-0000-0000-0000-000000000001}\" "
             "ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" />",
             T},
        Case{"<m.MsiPatchInstalledForProduct PatchCode=\"{b0000000-0000-0000-0000-000000000002}\" "
             "ProductCode=\"{3c4a397d-22b2-4ab0-849f-f5e12672caca}\" />",
             F}));

TEST(Rules, NamesWhatItDoesNotKnow) {
  const Facts facts = *Facts::Parse("name: a", "f");
  RuleEvaluator evaluator(facts);
  const CoreFragment core = Core("<Or><b.WmiQuery /><ProductReleaseInstalled /></Or>");
  EXPECT_EQ(evaluator.Evaluate(*core.is_installed, core.metadata), Truth::kUnknown);
  EXPECT_EQ(evaluator.unknown_operators(),
            (std::set<std::string>{"b.WmiQuery", "ProductReleaseInstalled"}));
}

TEST(Facts, NamesThePlaceOfWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"os: {}\n", "f: the key 'name' is missing"},
      {"name: a\ncolour: red\n", "f:2:1: 'colour' is not known here"},
      {"name: a\nos:\n  version: ten\n", "f:3:12: 'ten' is no version of one to four numbers"},
      {"name: a\nos:\n  architecture: mips\n", "f:3:17: 'mips', expected one of amd64, x86, arm64"},
      {"name: a\nclient_id: 5\n", "f:2:12: '5' is no GUID"},
      {"name: [\n", "f:2:1: end of sequence flow not found"},
      {"name: a\nregistry:\n  K:\n    V: 99999999999\n",
       "f:4:8: '99999999999' is no whole number in range"},
  };
  for (const auto& [yaml, message] : cases) {
    const auto facts = Facts::Parse(yaml, "f");
    ASSERT_FALSE(facts.has_value()) << yaml;
    EXPECT_EQ(facts.error().message, message);
    EXPECT_EQ(facts.error().code, ErrorCode::kUsage);
  }
}

TEST(Facts, HelpDescribesWhatTheReaderTakes) {
  // The example of the help, its comments and elisions apart, is a facts file.
  std::string example(FactsFormatHelp());
  example = example.substr(example.find("  name:"));
  for (const auto& [from, to] :
       {std::pair("2c5f0b0e-...", "2c5f0b0e-0000-0000-0000-000000000000"),
        std::pair("[GUID, ...]", "[]"), std::pair("version: ...,", "version: 1.0,")}) {
    for (std::size_t at; (at = example.find(from)) != std::string::npos;) {
      example.replace(at, std::string_view(from).size(), to);
    }
  }
  const auto facts = Facts::Parse(example, "help");
  ASSERT_TRUE(facts.has_value()) << facts.error().message;
  EXPECT_EQ(facts->os_version.ToString(), "10.0.26100.4349");
  EXPECT_EQ(facts->registry.size(), 1u);
  ASSERT_EQ(facts->devices.size(), 2u);  // one of each form
  EXPECT_EQ(facts->devices[0].hardware_ids.size(), 2u);
  EXPECT_EQ(facts->devices[0].driver->matching_id, "PCI\\VEN_8086&DEV_1234");
  EXPECT_EQ(facts->devices[0].driver->date->ToXml(), "2024-05-01T00:00:00Z");
  EXPECT_EQ(facts->files.size(), 2u);
  EXPECT_EQ(facts->msi_products.size(), 2u);
}

}  // namespace
}  // namespace gapferry::client
