#include <fmt/format.h>

#include <set>

#include "base/clock.h"
#include "base/text.h"
#include "tests/support/catalogue/document_writer.h"
#include "tests/support/catalogue/localized.h"

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kBase = "http://schemas.microsoft.com/msus/2002/12/";
constexpr std::string_view kPublisher = "395392a0-19c0-48b7-a927-f7c15066d905";

void CollectPrefixes(const Rule& rule, std::set<std::string_view>& prefixes) {
  prefixes.insert(PrefixOf(rule));
  for (const Rule& operand : rule.operands) CollectPrefixes(operand, prefixes);
}

}  // namespace

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

bool IsCategory(const Revision& revision) { return revision.handler == Handler::kCategory; }

void DocumentWriter::Write() {
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

// The oldest categories spell their own GUID in upper case, and nobody else does.
std::string DocumentWriter::OwnGuid() const {
  const std::string text = revision_.id.guid.ToString();
  const bool upper = revision_.kind == Kind::kCompany || revision_.kind == Kind::kProductFamily;
  return upper ? ToUpperAscii(text) : text;
}

void DocumentWriter::WriteRoot() {
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

void DocumentWriter::DeclarePrefix(std::string_view prefix) {
  xml_.Attribute(fmt::format("xmlns:{}", prefix), NamespaceOf(prefix));
}

void DocumentWriter::WriteProperties() {
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

bool DocumentWriter::IsSoftware() const {
  return !IsCategory(revision_) && revision_.kind != Kind::kDetectoid;
}

void DocumentWriter::WriteSoftwareAttributes() {
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

void DocumentWriter::WritePropertyChildren() {
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
    xml_.Element("upd:CveID", fmt::format("CVE-2026-{}", 10000 + revision_.knowledge_base % 50000));
  }
  xml_.Element("upd:KBArticleID", std::to_string(revision_.knowledge_base));
}

void DocumentWriter::WriteLocalized() {
  xml_.Open("upd:LocalizedPropertiesCollection").Close();
  for (const std::string_view language : Languages(revision_.languages)) {
    xml_.Open("upd:LocalizedProperties").Close();
    xml_.Element("upd:Language", language);
    // Names of companies and families are the same in all languages.
    const bool translate = IsSoftware();
    xml_.Element("upd:Title", translate ? LocalTitle(language, revision_.title) : revision_.title);
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

void DocumentWriter::WriteSha256(const FileSpec& file) {
  xml_.Open("upd:AdditionalDigest").Attribute("Algorithm", "SHA256").Close();
  xml_.Text(file.digests.sha256.ToBase64()).End("upd:AdditionalDigest");
}

void DocumentWriter::WriteIdentity(const Guid& guid) {
  xml_.Open("upd:UpdateIdentity").Attribute("UpdateID", guid.ToString()).CloseEmpty();
}

void DocumentWriter::WriteRelationships() {
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

void DocumentWriter::WriteClause(const Clause& clause) {
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

std::string Document(const Catalogue& catalogue, const Revision& revision) {
  std::string out;
  DocumentWriter(catalogue, revision, out).Write();
  return out;
}

}  // namespace gapferry::catalogue
