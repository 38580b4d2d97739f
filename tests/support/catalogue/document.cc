#include <fmt/format.h>

#include <set>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/cbs_manifest.h"
#include "tests/support/catalogue/localized.h"
#include "tests/support/catalogue/recipe.h"
#include "tests/support/catalogue/xml_text.h"

// The order of attributes and the places where prefixes are declared again follow the real
// documents (a test compares them): derivations that keep source order are only tested by that.

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kBase = "http://schemas.microsoft.com/msus/2002/12/";
constexpr std::string_view kXsi = "http://www.w3.org/2001/XMLSchema-instance";
constexpr std::string_view kPublisher = "395392a0-19c0-48b7-a927-f7c15066d905";

std::string NamespaceOf(std::string_view prefix) {
  const std::string base(kBase);
  if (prefix == "upd") return base + "Update";
  if (prefix == "pub") return base + "Publishing";
  if (prefix == "bar") return base + "BaseApplicabilityRules";
  if (prefix == "lar") return base + "LogicalApplicabilityRules";
  if (prefix == "mar") return base + "MsiApplicabilityRules";
  if (prefix == "cbsar") return base + "CbsApplicabilityRules";
  if (prefix == "drv") return base + "UpdateHandlers/WindowsDriver";
  if (prefix == "cat") return base + "UpdateHandlers/Category";
  if (prefix == "cmd") return base + "UpdateHandlers/CommandLineInstallation";
  if (prefix == "cbs") return base + "UpdateHandlers/Cbs";
  if (prefix == "msp") return base + "UpdateHandlers/WindowsInstaller";
  return "http://schemas.microsoft.com/msus/2016/01/UpdateHandlers/OSInstaller";  // "osi"
}

std::string_view PrefixOf(Handler handler) {
  switch (handler) {
    case Handler::kNone:
      return "";
    case Handler::kCategory:
      return "cat";
    case Handler::kCommandLine:
      return "cmd";
    case Handler::kCbs:
      return "cbs";
    case Handler::kMsiPatch:
      return "msp";
    case Handler::kOsInstaller:
      return "osi";
    case Handler::kDriver:
      return "drv";
  }
  return "";
}

std::string_view PrefixOf(const Rule& rule) { return rule.name.substr(0, rule.name.find(':')); }

void CollectPrefixes(const Rule& rule, std::set<std::string_view>& prefixes) {
  prefixes.insert(PrefixOf(rule));
  for (const Rule& operand : rule.operands) CollectPrefixes(operand, prefixes);
}

bool IsCategory(const Revision& revision) { return revision.handler == Handler::kCategory; }
bool IsVisible(const Revision& revision) {
  return revision.kind == Kind::kBundle || revision.kind == Kind::kLeaf ||
         revision.kind == Kind::kDriver;
}

class Writer {
 public:
  Writer(const Catalogue& catalogue, const Revision& revision, std::string& out)
      : catalogue_(catalogue),
        revision_(revision),
        rules_(RulesOf(revision)),
        out_(out),
        xml_(out) {}

  void Write() {
    WriteRoot();
    xml_.Open("upd:UpdateIdentity")
        .Attribute("UpdateID", OwnGuid())
        .Attribute("RevisionNumber", std::to_string(revision_.id.revision))
        .CloseEmpty();
    WriteProperties();
    WriteLocalized();
    WriteRelationships();
    WriteRules();
    WriteFiles();
    WriteHandlerData();
    xml_.End("upd:Update");
  }

 private:
  // The oldest categories spell their own GUID in upper case, and nobody else does.
  std::string OwnGuid() const {
    const std::string text = revision_.id.guid.ToString();
    const bool upper = revision_.kind == Kind::kCompany || revision_.kind == Kind::kProductFamily;
    return upper ? ToUpperAscii(text) : text;
  }

  void WriteRoot() {
    std::set<std::string_view> used;
    for (const auto& rule : {&rules_.is_installed, &rules_.is_superseded, &rules_.is_installable}) {
      if (rule->has_value()) CollectPrefixes(**rule, used);
    }
    if (revision_.manifest_bytes > 0) used.insert("cbsar");
    std::vector<std::string_view> prefixes;
    const std::string_view handler = PrefixOf(revision_.handler);
    if (revision_.kind == Kind::kProductFamily) {
      prefixes = {"cat", "lar"};
    } else {
      prefixes.push_back("pub");
      for (const std::string_view prefix : {"bar", "lar", "mar", "cbsar", "drv"}) {
        if (used.contains(prefix) && prefix != handler) prefixes.push_back(prefix);
      }
      if (!handler.empty()) prefixes.push_back(handler);
    }
    prefixes.push_back("upd");
    xml_.Open("upd:Update");
    for (const std::string_view prefix : prefixes) DeclarePrefix(prefix);
    xml_.Close();
  }

  void DeclarePrefix(std::string_view prefix) {
    xml_.Attribute(fmt::format("xmlns:{}", prefix), NamespaceOf(prefix));
  }

  void WriteProperties() {
    xml_.Open("upd:Properties");
    switch (revision_.kind) {
      case Kind::kCompany:
      case Kind::kProductFamily:
        xml_.Attribute("DefaultPropertiesLanguage", "en")
            .Attribute("IsPublic", "true")
            .Attribute("UpdateType", "Category");
        break;
      case Kind::kProduct:
      case Kind::kClassification:
      case Kind::kUntypedCategory:
        xml_.Attribute("DefaultPropertiesLanguage", "en")
            .Attribute("UpdateType", "Category")
            .Attribute("ExplicitlyDeployable", "false")
            .Attribute("PerUser", "false")
            .Attribute("IsPublic", "true");
        break;
      case Kind::kDetectoid:
        xml_.Attribute("DefaultPropertiesLanguage", "en")
            .Attribute("UpdateType", "Detectoid")
            .Attribute("ExplicitlyDeployable", "false")
            .Attribute("IsPublic", "false")
            .Attribute("DetectoidType", "Application Locale");
        break;
      default:
        WriteSoftwareAttributes();
    }
    if (revision_.handler != Handler::kNone && !IsSoftware()) {
      xml_.Attribute("Handler", NamespaceOf(PrefixOf(revision_.handler)));
    }
    const UtcTime created{UtcTime::FromUnixSeconds(revision_.created_unix).ticks + 1'902'340};
    xml_.Attribute("PublicationState", revision_.expired ? "Expired" : "Published")
        .Attribute("CreationDate", created.ToMilliseconds())
        .Attribute("PublisherID", kPublisher);
    if (revision_.kind == Kind::kDetectoid) {
      xml_.CloseEmpty();
      return;
    }
    xml_.Close();
    if (IsSoftware()) WritePropertyChildren();
    xml_.End("upd:Properties");
  }

  bool IsSoftware() const { return !IsCategory(revision_) && revision_.kind != Kind::kDetectoid; }

  void WriteSoftwareAttributes() {
    xml_.Attribute("UpdateType", revision_.kind == Kind::kDriver ? "Driver" : "Software")
        .Attribute("DefaultPropertiesLanguage", "en");
    if (IsVisible(revision_)) {
      xml_.Attribute("ExplicitlyDeployable", "true").Attribute("AutoSelectOnWebSites", "true");
    }
    if (!revision_.eula.IsZero()) xml_.Attribute("EulaID", revision_.eula.ToString());
    if (revision_.handler != Handler::kNone) {
      xml_.Attribute("Handler", NamespaceOf(PrefixOf(revision_.handler)));
    }
    if (revision_.kind != Kind::kHiddenBundle) {
      std::uint64_t bytes = 0;
      for (const std::uint32_t file : revision_.files) {
        bytes += catalogue_.files()[file].size_bytes;
      }
      xml_.Attribute("MaxDownloadSize", std::to_string(bytes)).Attribute("MinDownloadSize", "0");
    }
    if (!revision_.severity.empty()) xml_.Attribute("MsrcSeverity", revision_.severity);
    if (revision_.handler == Handler::kCbs) xml_.Attribute("CompatibleProtocolVersion", "1.4");
  }

  void WritePropertyChildren() {
    if (revision_.handler != Handler::kNone) {
      xml_.Open("upd:InstallationBehavior");
      const bool may_reboot =
          revision_.handler == Handler::kCbs || revision_.handler == Handler::kDriver;
      if (may_reboot) {
        xml_.Attribute("RebootBehavior", "CanRequestReboot").CloseEmpty();
      } else {
        xml_.Attribute("Impact", "Minor").CloseEmpty();
      }
      if (revision_.can_uninstall) {
        xml_.Open("upd:UninstallationBehavior")
            .Attribute("RebootBehavior", "CanRequestReboot")
            .CloseEmpty();
      }
    }
    if (!IsVisible(revision_)) return;
    xml_.Element("upd:SupportUrl", "https://go.microsoft.com/fwlink/?LinkId=52661");
    if (revision_.knowledge_base == 0) return;
    if (!revision_.severity.empty()) {
      xml_.Element("upd:CveID",
                   fmt::format("CVE-2026-{}", 10000 + revision_.knowledge_base % 50000));
    }
    xml_.Element("upd:KBArticleID", std::to_string(revision_.knowledge_base));
  }

  void WriteLocalized() {
    xml_.Open("upd:LocalizedPropertiesCollection").Close();
    for (const std::string_view language : Languages(revision_.languages)) {
      xml_.Open("upd:LocalizedProperties").Close();
      xml_.Element("upd:Language", language);
      // Names of companies and families are the same in all languages.
      const bool translate = IsSoftware();
      xml_.Element("upd:Title",
                   translate ? LocalTitle(language, revision_.title) : revision_.title);
      if (IsCategory(revision_)) {
        xml_.Element("upd:Description", revision_.title);
      } else if (IsVisible(revision_)) {
        xml_.Element("upd:Description", LocalDescription(language, revision_.title));
        if (revision_.can_uninstall) {
          xml_.Element("upd:UninstallNotes",
                       "This software update can be removed by selecting View installed updates.");
        }
        xml_.Element("upd:MoreInfoUrl", fmt::format("https://support.microsoft.com/{}/help/{}",
                                                    language, revision_.knowledge_base));
        xml_.Element("upd:SupportUrl", "https://support.microsoft.com/");
      }
      xml_.End("upd:LocalizedProperties");
    }
    const std::vector<std::string_view> languages =
        Languages(static_cast<std::uint32_t>(revision_.eula_files.size()));
    for (std::size_t i = 0; i < revision_.eula_files.size(); ++i) {
      const FileSpec& file = catalogue_.files()[revision_.eula_files[i]];
      xml_.Open("upd:EulaFile")
          .Attribute("Digest", file.digests.sha1.ToBase64())
          .Attribute("DigestAlgorithm", "SHA1")
          .Attribute("FileName", file.name)
          .Attribute("Size", std::to_string(file.size_bytes))
          .Attribute("Language", languages[i])
          .Close();
      WriteSha256(file);
      xml_.End("upd:EulaFile");
    }
    xml_.End("upd:LocalizedPropertiesCollection");
  }

  void WriteSha256(const FileSpec& file) {
    xml_.Open("upd:AdditionalDigest").Attribute("Algorithm", "SHA256").Close();
    xml_.Text(file.digests.sha256.ToBase64()).End("upd:AdditionalDigest");
  }

  void WriteIdentity(const Guid& guid) {
    xml_.Open("upd:UpdateIdentity").Attribute("UpdateID", guid.ToString()).CloseEmpty();
  }

  void WriteRelationships() {
    if (revision_.prerequisites.empty() && revision_.bundled.empty() &&
        revision_.superseded.empty()) {
      return;
    }
    xml_.Open("upd:Relationships").Close();
    if (!revision_.superseded.empty()) {
      xml_.Open("upd:SupersededUpdates").Close();
      for (const Guid& guid : revision_.superseded) WriteIdentity(guid);
      xml_.End("upd:SupersededUpdates");
    }
    if (!revision_.prerequisites.empty()) {
      xml_.Open("upd:Prerequisites").Close();
      for (const Clause& clause : revision_.prerequisites) WriteClause(clause);
      xml_.End("upd:Prerequisites");
    }
    if (!revision_.bundled.empty()) {
      xml_.Open("upd:BundledUpdates").Close();
      for (const auto& group : revision_.bundled) {
        xml_.Open("upd:AtLeastOne").Close();
        for (const UpdateId& member : group) {
          xml_.Open("upd:UpdateIdentity")
              .Attribute("UpdateID", member.guid.ToString())
              .Attribute("RevisionNumber", std::to_string(member.revision))
              .CloseEmpty();
        }
        xml_.End("upd:AtLeastOne");
      }
      xml_.End("upd:BundledUpdates");
    }
    xml_.End("upd:Relationships");
  }

  void WriteClause(const Clause& clause) {
    if (clause.bare) {
      WriteIdentity(clause.alternatives.front());
      return;
    }
    xml_.Open("upd:AtLeastOne");
    if (clause.is_category) xml_.Attribute("IsCategory", "true");
    xml_.Close();
    for (const Guid& guid : clause.alternatives) WriteIdentity(guid);
    xml_.End("upd:AtLeastOne");
  }

  void WriteRules() {
    const bool metadata = revision_.manifest_bytes > 0 || !revision_.drivers.empty() ||
                          revision_.handler == Handler::kMsiPatch;
    if (!rules_.is_installed && !rules_.is_installable && !metadata) return;
    xml_.Open("upd:ApplicabilityRules").Close();
    WriteExpression("upd:IsInstalled", rules_.is_installed);
    WriteExpression("upd:IsSuperseded", rules_.is_superseded);
    WriteExpression("upd:IsInstallable", rules_.is_installable);
    if (metadata) WriteMetadata();
    xml_.End("upd:ApplicabilityRules");
  }

  void WriteExpression(std::string_view name, const std::optional<Rule>& rule) {
    if (!rule.has_value()) return;
    xml_.Open(name).Close();
    WriteRule(*rule, /*inside_logical=*/false);
    xml_.End(name);
  }

  void WriteRule(const Rule& rule, bool inside_logical) {
    const bool logical = PrefixOf(rule) == "lar";
    xml_.Open(rule.name);
    for (const auto& [name, value] : rule.attributes) xml_.Attribute(name, value);
    if (!logical || (!inside_logical && !rule.operands.empty())) DeclarePrefix(PrefixOf(rule));
    if (rule.operands.empty()) {
      xml_.CloseEmpty();
      return;
    }
    xml_.Close();
    for (const Rule& operand : rule.operands) WriteRule(operand, inside_logical || logical);
    xml_.End(rule.name);
  }

  void WriteMetadata() {
    xml_.Open("upd:Metadata").Close();
    if (revision_.manifest_bytes > 0) {
      xml_.Open("cbsar:CbsPackageApplicabilityMetadata");
      DeclarePrefix("cbsar");
      xml_.Close();
      AppendCbsManifest(catalogue_.options().seed, revision_, out_);
      xml_.End("cbsar:CbsPackageApplicabilityMetadata");
    }
    if (revision_.handler == Handler::kMsiPatch) WritePatchMetadata();
    for (const DriverSpec& driver : revision_.drivers) WriteDriver(driver);
    xml_.End("upd:Metadata");
  }

  void WritePatchMetadata() {
    xml_.Open("mar:MsiPatchMetadata");
    DeclarePrefix("mar");
    xml_.Close();
    xml_.Open("MsiPatch")
        .Attribute("SchemaVersion", "1.0.0.0")
        .Attribute("PatchGUID", "{" + ToUpperAscii(revision_.id.guid.ToString()) + "}")
        .Attribute("MinMsiVersion", "3")
        .Attribute("xmlns", "http://www.microsoft.com/msi/patch_applicability.xsd")
        .Close();
    xml_.Open("TargetProduct").Attribute("MinMsiVersion", "200").Close();
    xml_.Open("TargetProductCode").Attribute("Validate", "true").Close();
    xml_.Text(OfficeProductCode(revision_.recipe.a, 0)).End("TargetProductCode");
    xml_.Open("TargetVersion").Attribute("Validate", "true").Attribute("ComparisonType", "Equal");
    xml_.Close().Text("16.0.0.0").End("TargetVersion").End("TargetProduct").End("MsiPatch");
    xml_.End("mar:MsiPatchMetadata");
  }

  void WriteDriver(const DriverSpec& driver) {
    xml_.Open("drv:WindowsDriverMetaData")
        .Attribute("HardwareID", driver.hardware_id)
        .Attribute("DriverVerDate", driver.date)
        .Attribute("DriverVerVersion", driver.version)
        .Attribute("WhqlDriverID", std::to_string(1000000 + revision_.knowledge_base))
        .Attribute("Class", driver.device_class)
        .Attribute("Company", driver.provider)
        .Attribute("Provider", driver.provider)
        .Attribute("Manufacturer", driver.provider)
        .Attribute("Model", driver.model);
    DeclarePrefix("drv");
    xml_.Close();
    xml_.Element("drv:CompatibleProvider", driver.provider);
    xml_.Open("drv:FeatureScore")
        .Attribute("OperatingSystem", "amd64.10.0")
        .Attribute("FeatureScore", "FF")
        .CloseEmpty();
    xml_.End("drv:WindowsDriverMetaData");
  }

  void WriteFiles() {
    if (revision_.files.empty()) return;
    xml_.Open("upd:Files").Close();
    for (const std::uint32_t index : revision_.files) {
      const FileSpec& file = catalogue_.files()[index];
      xml_.Open("upd:File")
          .Attribute("Digest", file.digests.sha1.ToBase64())
          .Attribute("DigestAlgorithm", "SHA1")
          .Attribute("FileName", file.name)
          .Attribute("Size", std::to_string(file.size_bytes))
          .Attribute("Modified", UtcTime::FromUnixSeconds(revision_.created_unix - 8492).ToXml());
      if (!file.patching_type.empty()) xml_.Attribute("PatchingType", file.patching_type);
      xml_.Close();
      WriteSha256(file);
      xml_.End("upd:File");
    }
    xml_.End("upd:Files");
  }

  void WriteHandlerData() {
    if (revision_.handler == Handler::kNone || revision_.handler == Handler::kDriver) return;
    xml_.Open("upd:HandlerSpecificData").Attribute("xsi:type", HandlerType());
    xml_.Attribute("xmlns:xsi", kXsi);
    if (IsNewCategory()) DeclarePrefix("pub");
    xml_.Close();
    switch (revision_.handler) {
      case Handler::kCategory:
        WriteCategoryInformation();
        break;
      case Handler::kCommandLine:
        WriteCommand();
        break;
      case Handler::kCbs:
        xml_.Open("cbs:CbsData").Attribute("PackageIdentity", "");
        DeclarePrefix("cbs");
        xml_.CloseEmpty();
        break;
      case Handler::kMsiPatch:
        xml_.Open("msp:MspData").Attribute("CommandLine", "DISABLESRCPROMPT=1 LOCALCACHESRCRES=0");
        DeclarePrefix("msp");
        xml_.CloseEmpty();
        break;
      default:
        xml_.Open("osi:OSInstallData").Attribute("InitialModule", "UpdateAgent.dll");
        DeclarePrefix("osi");
        xml_.CloseEmpty();
    }
    xml_.End("upd:HandlerSpecificData");
  }

  std::string_view HandlerType() const {
    switch (revision_.handler) {
      case Handler::kCategory:
        return "cat:Category";
      case Handler::kCommandLine:
        return "cmd:CommandLineInstallation";
      case Handler::kCbs:
        return "cbs:Cbs";
      case Handler::kMsiPatch:
        return "msp:WindowsInstaller";
      default:
        return "OSInstallerMetadata";
    }
  }

  bool IsNewCategory() const {
    return IsCategory(revision_) && revision_.kind != Kind::kCompany &&
           revision_.kind != Kind::kProductFamily;
  }

  void WriteCategoryInformation() {
    xml_.Open("cat:CategoryInformation");
    switch (revision_.kind) {
      case Kind::kCompany:
      case Kind::kProductFamily:
        xml_.Attribute("CategoryType",
                       revision_.kind == Kind::kCompany ? "Company" : "ProductFamily")
            .Attribute("ProhibitsSubcategories", "false")
            .Attribute("ProhibitsUpdates", "true")
            .Attribute("DisplayOrder", revision_.kind == Kind::kCompany ? "1" : "2");
        break;
      case Kind::kProduct:
        xml_.Attribute("CategoryType", "Product")
            .Attribute("ProhibitsSubcategories", "true")
            .Attribute("ExcludedByDefault", "true");
        break;
      case Kind::kClassification:
        xml_.Attribute("CategoryType", "UpdateClassification")
            .Attribute("ProhibitsSubcategories", "true")
            .Attribute("ExcludedByDefault", "false");
        break;
      default:  // roots and sub-categories carry no CategoryType
        xml_.Attribute("ProhibitsSubcategories", "false").Attribute("ProhibitsUpdates", "true");
    }
    if (IsNewCategory()) DeclarePrefix("cat");
    xml_.CloseEmpty();
  }

  void WriteCommand() {
    const std::string program =
        revision_.files.empty() ? "setup.exe" : catalogue_.files()[revision_.files.front()].name;
    const bool definitions = revision_.recipe.kind == RecipeKind::kSignatureDelta ||
                             revision_.recipe.kind == RecipeKind::kSignatureEngine;
    xml_.Open("cmd:InstallCommand").Attribute("Program", program);
    if (definitions) {
      xml_.Attribute("Arguments", "WD /q");
    } else {
      xml_.Attribute("Arguments", "/quiet /norestart")
          .Attribute("RebootByDefault", "false")
          .Attribute("DefaultResult", "Failed");
    }
    DeclarePrefix("cmd");
    xml_.Close();
    xml_.Open("cmd:ReturnCode")
        .Attribute("Code", "0")
        .Attribute("Result", "Succeeded")
        .CloseEmpty();
    if (!definitions) {
      xml_.Open("cmd:ReturnCode")
          .Attribute("Code", "3010")
          .Attribute("Result", "Succeeded")
          .Attribute("Reboot", "true")
          .CloseEmpty();
    }
    xml_.End("cmd:InstallCommand");
  }

  const Catalogue& catalogue_;
  const Revision& revision_;
  const RuleSet rules_;
  std::string& out_;
  XmlText xml_;
};

}  // namespace

std::string Document(const Catalogue& catalogue, const Revision& revision) {
  std::string out;
  Writer(catalogue, revision, out).Write();
  return out;
}

}  // namespace gapferry::catalogue
