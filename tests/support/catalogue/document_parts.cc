#include <fmt/format.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support/catalogue/cbs_manifest.h"
#include "tests/support/catalogue/document_writer.h"
#include "tests/support/catalogue/recipe.h"

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kXsi = "http://www.w3.org/2001/XMLSchema-instance";

}  // namespace

void DocumentWriter::WriteRules() {
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

void DocumentWriter::WriteExpression(std::string_view name, const std::optional<Rule>& rule) {
  if (!rule.has_value()) return;
  xml_.Open(name).Close();
  WriteRule(*rule, /*inside_logical=*/false);
  xml_.End(name);
}

void DocumentWriter::WriteRule(const Rule& rule, bool inside_logical) {
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

void DocumentWriter::WriteMetadata() {
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

void DocumentWriter::WritePatchMetadata() {
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

void DocumentWriter::WriteDriver(const DriverSpec& driver) {
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

void DocumentWriter::WriteFiles() {
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

void DocumentWriter::WriteHandlerData() {
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

std::string_view DocumentWriter::HandlerType() const {
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

bool DocumentWriter::IsNewCategory() const {
  return IsCategory(revision_) && revision_.kind != Kind::kCompany &&
         revision_.kind != Kind::kProductFamily;
}

void DocumentWriter::WriteCategoryInformation() {
  xml_.Open("cat:CategoryInformation");
  switch (revision_.kind) {
    case Kind::kCompany:
    case Kind::kProductFamily:
      xml_.Attribute("CategoryType", revision_.kind == Kind::kCompany ? "Company" : "ProductFamily")
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

void DocumentWriter::WriteCommand() {
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
  xml_.Open("cmd:ReturnCode").Attribute("Code", "0").Attribute("Result", "Succeeded").CloseEmpty();
  if (!definitions) {
    xml_.Open("cmd:ReturnCode")
        .Attribute("Code", "3010")
        .Attribute("Result", "Succeeded")
        .Attribute("Reboot", "true")
        .CloseEmpty();
  }
  xml_.End("cmd:InstallCommand");
}

}  // namespace gapferry::catalogue
