#include "protocol/update_document_reader.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "protocol/update_namespaces.h"

namespace gapferry::protocol {

namespace {

using Node = UpdateDocumentReader::Node;

struct Rule {
  Node parent;
  std::string_view name;
  Node node;
  std::string_view ns = update_ns::kUpdate;
};

// Grouped by parent; the reader scans the few rows of the parent at hand.
constexpr Rule kGrammar[] = {
    {Node::kDocument, "Update", Node::kUpdate},
    {Node::kUpdate, "UpdateIdentity", Node::kIdentity},
    {Node::kUpdate, "Properties", Node::kProperties},
    {Node::kUpdate, "LocalizedPropertiesCollection", Node::kLocalizedCollection},
    {Node::kUpdate, "Relationships", Node::kRelationships},
    {Node::kUpdate, "ApplicabilityRules", Node::kRules},
    {Node::kUpdate, "Files", Node::kFiles},
    {Node::kUpdate, "HandlerSpecificData", Node::kHandlerData},
    {Node::kProperties, "InstallationBehavior", Node::kInstallBehavior},
    {Node::kProperties, "UninstallationBehavior", Node::kUninstallBehavior},
    {Node::kProperties, "SupportUrl", Node::kSupportUrl},
    {Node::kProperties, "KBArticleID", Node::kKbArticle},
    {Node::kProperties, "SecurityBulletinID", Node::kBulletin},
    {Node::kProperties, "CveID", Node::kCve},
    {Node::kProperties, "Language", Node::kLanguage},
    {Node::kProperties, "SecuredFragment", Node::kSecuredFragment},
    {Node::kSecuredFragment, "FileDecryption", Node::kFileDecryption},
    {Node::kLocalizedCollection, "LocalizedProperties", Node::kLocalized},
    {Node::kLocalizedCollection, "EulaFile", Node::kEulaFile},
    {Node::kLocalized, "Language", Node::kLocalizedLanguage},
    {Node::kLocalized, "Title", Node::kTitle},
    {Node::kLocalized, "Description", Node::kDescription},
    {Node::kEulaFile, "AdditionalDigest", Node::kEulaDigest},
    {Node::kRelationships, "Prerequisites", Node::kPrerequisites},
    {Node::kRelationships, "BundledUpdates", Node::kBundled},
    {Node::kRelationships, "SupersededUpdates", Node::kSuperseded},
    {Node::kPrerequisites, "AtLeastOne", Node::kPrerequisiteGroup},
    {Node::kPrerequisites, "UpdateIdentity", Node::kPrerequisiteId},
    {Node::kPrerequisiteGroup, "UpdateIdentity", Node::kPrerequisiteId},
    {Node::kBundled, "AtLeastOne", Node::kBundledGroup},
    {Node::kBundled, "UpdateIdentity", Node::kBundledId},
    {Node::kBundledGroup, "UpdateIdentity", Node::kBundledId},
    {Node::kSuperseded, "UpdateIdentity", Node::kSupersededId},
    {Node::kRules, "IsInstalled", Node::kInstalledRule},
    {Node::kRules, "IsInstallable", Node::kInstallableRule},
    {Node::kRules, "Metadata", Node::kRulesMetadata},
    {Node::kRulesMetadata, "WindowsDriverMetaData", Node::kDriver, update_ns::kDriver},
    {Node::kDriver, "CompatibleProvider", Node::kCompatibleProvider, update_ns::kDriver},
    {Node::kDriver, "FeatureScore", Node::kFeatureScore, update_ns::kDriver},
    {Node::kDriver, "DistributionComputerHardwareId", Node::kDistributionId, update_ns::kDriver},
    {Node::kDriver, "TargetComputerHardwareId", Node::kTargetId, update_ns::kDriver},
    {Node::kFiles, "File", Node::kFile},
    {Node::kFile, "AdditionalDigest", Node::kFileDigest},
};

Node Classify(Node parent, const XmlElement& element) {
  // Handler data has a namespace per handler; what matters there is told by names alone.
  if (parent == Node::kHandlerData) return Node::kHandlerElement;
  if (parent == Node::kOther) return Node::kOther;
  for (const Rule& rule : kGrammar) {
    if (rule.parent == parent && rule.name == element.name && rule.ns == element.ns)
      return rule.node;
  }
  return Node::kOther;
}

bool IsOnceOnly(Node node) {
  switch (node) {
    case Node::kIdentity:
    case Node::kProperties:
    case Node::kLocalizedCollection:
    case Node::kRelationships:
    case Node::kRules:
    case Node::kFiles:
    case Node::kHandlerData:
    case Node::kPrerequisites:
    case Node::kBundled:
    case Node::kSuperseded:
      return true;
    default:
      return false;
  }
}

bool KeepsText(Node node) {
  switch (node) {
    case Node::kSupportUrl:
    case Node::kKbArticle:
    case Node::kBulletin:
    case Node::kCve:
    case Node::kLanguage:
    case Node::kSecuredFragment:
    case Node::kLocalizedLanguage:
    case Node::kTitle:
    case Node::kDescription:
    case Node::kEulaDigest:
    case Node::kFileDigest:
    case Node::kCompatibleProvider:
    case Node::kDistributionId:
    case Node::kTargetId:
      return true;
    default:
      return false;
  }
}

std::unexpected<Error> FailValue(std::string_view what, std::string_view value) {
  return Fail(ErrorCode::kCorrupt, fmt::format("{} has the value '{}', which is out of its range",
                                               what, EscapeForDisplay(value, 80)));
}

std::string Attribute(const XmlElement& element, std::string_view name) {
  const std::string_view* value = element.Find(name);
  return value == nullptr ? std::string() : std::string(*value);
}

Result<bool> BoolAttribute(const XmlElement& element, std::string_view name, bool fallback) {
  const std::string_view* value = element.Find(name);
  if (value == nullptr) return fallback;
  if (*value == "true" || *value == "1" || *value == "True") return true;
  if (*value == "false" || *value == "0" || *value == "False") return false;
  return FailValue(name, *value);
}

template <class T>
Result<std::optional<T>> NumberAttribute(const XmlElement& element, std::string_view name) {
  const std::string_view* value = element.Find(name);
  if (value == nullptr || value->empty()) return std::optional<T>();
  const std::optional<T> number = ParseInt<T>(*value);
  if (!number) return FailValue(name, *value);
  return number;
}

Result<Guid> ReadGuid(std::string_view what, std::string_view text) {
  const auto guid = Guid::Parse(TrimAscii(text));
  if (!guid) return FailValue(what, text);
  return *guid;
}

Result<std::optional<Guid>> GuidAttribute(const XmlElement& element, std::string_view name) {
  const std::string_view* value = element.Find(name);
  if (value == nullptr || value->empty()) return std::optional<Guid>();
  TRY_ASSIGN(const Guid guid, ReadGuid(name, *value));
  return std::optional<Guid>(guid);
}

Result<Guid> RequiredGuid(const XmlElement& element, std::string_view name) {
  TRY_ASSIGN(const std::optional<Guid> guid, GuidAttribute(element, name));
  if (!guid) return Fail(ErrorCode::kCorrupt, fmt::format("{} without {}", element.name, name));
  return *guid;
}

Result<UpdateId> ReadUpdateId(const XmlElement& element) {
  UpdateId id;
  TRY_ASSIGN(id.guid, RequiredGuid(element, "UpdateID"));
  TRY_ASSIGN(const auto revision, NumberAttribute<std::int32_t>(element, "RevisionNumber"));
  if (!revision || *revision < 0) {
    return FailValue("RevisionNumber", Attribute(element, "RevisionNumber"));
  }
  id.revision = *revision;
  return id;
}

Result<UpdateFile> ReadFile(const XmlElement& element) {
  UpdateFile file;
  file.file_name = Attribute(element, "FileName");
  const std::string algorithm = Attribute(element, "DigestAlgorithm");
  if (!algorithm.empty() && !EqualsIgnoreCase(algorithm, "SHA1")) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("file '{}' has a digest of the unknown kind '{}'",
                            EscapeForDisplay(file.file_name), EscapeForDisplay(algorithm, 40)));
  }
  TRY_ASSIGN(file.sha1, Sha1Digest::FromBase64(Attribute(element, "Digest")),
             "file '" + EscapeForDisplay(file.file_name) + "'");
  TRY_ASSIGN(const auto size, NumberAttribute<std::uint64_t>(element, "Size"));
  if (!size)
    return Fail(ErrorCode::kCorrupt,
                "file '" + EscapeForDisplay(file.file_name) + "' without Size");
  file.size = *size;
  file.modified = Attribute(element, "Modified");
  file.patching_type = Attribute(element, "PatchingType");
  TRY_ASSIGN(file.is_encrypted, BoolAttribute(element, "IsEncrypted", false));
  return file;
}

}  // namespace

Result<void> UpdateDocumentReader::Start(const XmlElement& element) {
  const Node node = Classify(path_.back(), element);
  if (path_.size() == 1 && node != Node::kUpdate) {
    return Fail(ErrorCode::kCorrupt, fmt::format("the document's root is '{}', expected Update",
                                                 EscapeForDisplay(element.name, 60)));
  }
  collecting_ = KeepsText(node);
  if (collecting_) text_.clear();
  if (IsOnceOnly(node)) {
    if (seen_[static_cast<std::size_t>(node)]) {
      return Fail(ErrorCode::kCorrupt, fmt::format("{} occurs twice", element.name));
    }
    seen_[static_cast<std::size_t>(node)] = true;
  }
  path_.push_back(node);
  return Enter(node, element);
}

Result<void> UpdateDocumentReader::CountItem() {
  if (++items_ <= limits_.items) return {};
  return Fail(ErrorCode::kCorrupt,
              fmt::format("more than {} relations, files and texts", limits_.items));
}

Result<void> UpdateDocumentReader::Enter(Node node, const XmlElement& element) {
  switch (node) {
    case Node::kIdentity: {
      TRY_ASSIGN(document_.id, ReadUpdateId(element));
      return {};
    }
    case Node::kProperties:
      return EnterProperties(element);
    case Node::kInstallBehavior:
      document_.has_install_behavior = true;
      document_.install_reboot_behavior = Attribute(element, "RebootBehavior");
      document_.install_impact = Attribute(element, "Impact");
      return {};
    case Node::kUninstallBehavior:
      document_.has_uninstall_behavior = true;
      return {};
    case Node::kSecuredFragment:
      document_.has_secured_fragment = true;
      return {};
    case Node::kFileDecryption:
      document_.needs_file_keys = true;
      return {};
    case Node::kLocalized:
      document_.localized.emplace_back();
      return CountItem();
    case Node::kEulaFile: {
      TRY_ASSIGN(UpdateFile file, ReadFile(element), "EULA");
      document_.eula_files.push_back(
          {std::move(file), Attribute(element, "Language"), Attribute(element, "GeoId")});
      return CountItem();
    }
    case Node::kFile: {
      TRY_ASSIGN(UpdateFile file, ReadFile(element));
      document_.files.push_back(std::move(file));
      return CountItem();
    }
    case Node::kFileDigest:
    case Node::kEulaDigest:
      sha256_digest_ = EqualsIgnoreCase(Attribute(element, "Algorithm"), "SHA256");
      return {};
    case Node::kInstalledRule:
      document_.has_installed_rule = true;
      return {};
    case Node::kInstallableRule:
      document_.has_installable_rule = true;
      return {};
    case Node::kHandlerData:
      for (const XmlAttribute& attribute : element.attributes) {
        if (attribute.name != "type") continue;
        const std::size_t colon = attribute.value.find(':');
        document_.handler_data_type =
            attribute.value.substr(colon == std::string_view::npos ? 0 : colon + 1);
      }
      return {};
    case Node::kHandlerElement:
      return EnterHandlerElement(element);
    case Node::kDriver:
    case Node::kFeatureScore:
      return EnterDriver(element);
    default:
      return EnterRelation(node, element);
  }
}

Result<void> UpdateDocumentReader::EnterRelation(Node node, const XmlElement& element) {
  const Node parent = path_[path_.size() - 2];
  switch (node) {
    case Node::kPrerequisiteGroup: {
      PrerequisiteClause clause;
      TRY_ASSIGN(clause.is_category, BoolAttribute(element, "IsCategory", false));
      document_.prerequisites.push_back(std::move(clause));
      return CountItem();
    }
    case Node::kPrerequisiteId: {
      TRY_ASSIGN(const Guid guid, RequiredGuid(element, "UpdateID"));
      if (parent == Node::kPrerequisites) document_.prerequisites.emplace_back();
      document_.prerequisites.back().any_of.push_back(guid);
      return CountItem();
    }
    case Node::kBundledGroup:
      document_.bundled.emplace_back();
      return CountItem();
    case Node::kBundledId: {
      TRY_ASSIGN(const UpdateId id, ReadUpdateId(element));
      if (parent == Node::kBundled) document_.bundled.emplace_back();
      document_.bundled.back().any_of.push_back(id);
      return CountItem();
    }
    case Node::kSupersededId: {
      TRY_ASSIGN(const Guid guid, RequiredGuid(element, "UpdateID"));
      document_.superseded.push_back(guid);
      return CountItem();
    }
    default:
      return {};
  }
}

Result<void> UpdateDocumentReader::EnterProperties(const XmlElement& element) {
  UpdateDocument& d = document_;
  TRY_ASSIGN(d.type, ParseUpdateType(Attribute(element, "UpdateType")));
  TRY_ASSIGN(d.explicitly_deployable, BoolAttribute(element, "ExplicitlyDeployable", false));
  TRY_ASSIGN(d.auto_select_on_web_sites, BoolAttribute(element, "AutoSelectOnWebSites", false));
  TRY_ASSIGN(d.os_upgrade, BoolAttribute(element, "OSUpgrade", false));
  TRY_ASSIGN(d.is_public, BoolAttribute(element, "IsPublic", true));
  TRY_ASSIGN(d.is_beta, BoolAttribute(element, "IsBeta", false));
  TRY_ASSIGN(d.is_locally_published, BoolAttribute(element, "IsLocallyPublished", false));
  TRY_ASSIGN(d.per_user, BoolAttribute(element, "PerUser", false));
  d.is_expired = EqualsIgnoreCase(Attribute(element, "PublicationState"), "Expired");
  TRY_ASSIGN(d.eula_id, GuidAttribute(element, "EulaID"));
  TRY_ASSIGN(d.publisher_id, GuidAttribute(element, "PublisherID"));
  if (const std::string date = Attribute(element, "CreationDate"); !date.empty()) {
    const auto time = UtcTime::ParseXml(date);
    if (!time) return FailValue("CreationDate", date);
    d.creation_date = *time;
  }
  d.handler = Attribute(element, "Handler");
  d.default_language = Attribute(element, "DefaultPropertiesLanguage");
  d.legacy_name = Attribute(element, "LegacyName");
  d.detectoid_type = Attribute(element, "DetectoidType");
  d.msrc_severity = Attribute(element, "MsrcSeverity");
  d.compatible_protocol_version = Attribute(element, "CompatibleProtocolVersion");
  TRY_ASSIGN(d.max_download_bytes, NumberAttribute<std::uint64_t>(element, "MaxDownloadSize"));
  TRY_ASSIGN(d.min_download_bytes, NumberAttribute<std::uint64_t>(element, "MinDownloadSize"));
  return {};
}

Result<void> UpdateDocumentReader::EnterHandlerElement(const XmlElement& element) {
  if (element.name == "CategoryInformation") {
    CategoryInformation category;
    category.type = Attribute(element, "CategoryType");
    TRY_ASSIGN(category.prohibits_subcategories,
               BoolAttribute(element, "ProhibitsSubcategories", false));
    TRY_ASSIGN(category.prohibits_updates, BoolAttribute(element, "ProhibitsUpdates", false));
    TRY_ASSIGN(category.excluded_by_default, BoolAttribute(element, "ExcludedByDefault", false));
    TRY_ASSIGN(category.display_order, NumberAttribute<std::int32_t>(element, "DisplayOrder"));
    document_.category = std::move(category);
  } else if (element.name == "InstallCommand") {
    document_.command_lines.push_back(
        {Attribute(element, "Program"), Attribute(element, "Arguments")});
    return CountItem();
  } else if (element.name == "MsiData") {
    document_.command_lines.push_back(
        {Attribute(element, "MsiFile"), Attribute(element, "CommandLine")});
    return CountItem();
  } else if (element.name == "OSInstallData") {
    document_.command_lines.push_back({Attribute(element, "InitialModule"), {}});
    return CountItem();
  }
  return {};
}

Result<void> UpdateDocumentReader::EnterDriver(const XmlElement& element) {
  TRY(CountItem());
  if (element.name == "FeatureScore") {
    const std::string score = Attribute(element, "FeatureScore");
    const auto raw = HexDecode(score.size() == 1 ? "0" + score : score);
    if (!raw || raw->size() != 1) return FailValue("FeatureScore", score);
    document_.drivers.back().feature_scores.push_back(
        {Attribute(element, "OperatingSystem"), raw->front()});
    return {};
  }
  DriverMetadata driver;
  driver.hardware_id = Attribute(element, "HardwareID");
  driver.ver_date = Attribute(element, "DriverVerDate");
  driver.ver_version = Attribute(element, "DriverVerVersion");
  driver.whql_driver_id = Attribute(element, "WhqlDriverID");
  driver.driver_class = Attribute(element, "Class");
  driver.company = Attribute(element, "Company");
  driver.provider = Attribute(element, "Provider");
  driver.manufacturer = Attribute(element, "Manufacturer");
  driver.model = Attribute(element, "Model");
  document_.drivers.push_back(std::move(driver));
  return {};
}

Result<void> UpdateDocumentReader::Text(std::string_view text) {
  if (!collecting_) return {};
  text_ += text;
  if (text_.size() <= limits_.text_bytes) return {};
  return Fail(ErrorCode::kCorrupt,
              fmt::format("a text is longer than {} bytes", limits_.text_bytes));
}

Result<void> UpdateDocumentReader::End() {
  const Node node = path_.back();
  TRY(Leave(node));
  collecting_ = false;
  path_.pop_back();
  return {};
}

Result<void> UpdateDocumentReader::KeepDigest(std::string_view text, UpdateFile& file) const {
  if (!sha256_digest_) return {};
  TRY_ASSIGN(file.sha256, Sha256Digest::FromBase64(text),
             "SHA-256 of file '" + EscapeForDisplay(file.file_name) + "'");
  return {};
}

Result<void> UpdateDocumentReader::Leave(Node node) {
  UpdateDocument& d = document_;
  const std::string_view trimmed = TrimAscii(text_);
  const auto append = [&](std::vector<std::string>& list) -> Result<void> {
    list.emplace_back(trimmed);
    return CountItem();
  };
  switch (node) {
    case Node::kSupportUrl:
      d.support_url = trimmed;
      return {};
    case Node::kKbArticle:
      return append(d.kb_articles);
    case Node::kBulletin:
      return append(d.security_bulletins);
    case Node::kCve:
      return append(d.cve_ids);
    case Node::kLanguage:
      return append(d.languages);
    case Node::kSecuredFragment:  // as a text, or as a child
      d.needs_file_keys = d.needs_file_keys || trimmed == "FileDecryption";
      return {};
    case Node::kLocalizedLanguage:
      d.localized.back().language = trimmed;
      return {};
    case Node::kTitle:
      d.localized.back().title = text_;
      return {};
    case Node::kDescription:
      d.localized.back().description = text_;
      return {};
    case Node::kEulaDigest:
      return KeepDigest(text_, d.eula_files.back().file);
    case Node::kFileDigest:
      return KeepDigest(text_, d.files.back());
    case Node::kCompatibleProvider:
      return append(d.drivers.back().compatible_providers);
    case Node::kDistributionId:
    case Node::kTargetId: {
      TRY_ASSIGN(const Guid guid, ReadGuid("a computer's hardware id", text_));
      auto& driver = d.drivers.back();
      (node == Node::kTargetId ? driver.target_computer_ids : driver.distribution_computer_ids)
          .push_back(guid);
      return CountItem();
    }
    default:
      return {};
  }
}

Result<UpdateDocument> UpdateDocumentReader::Finish() {
  for (const auto& [node, name] :
       {std::pair(Node::kIdentity, "UpdateIdentity"), std::pair(Node::kProperties, "Properties")}) {
    if (!seen_[static_cast<std::size_t>(node)]) {
      return Fail(ErrorCode::kCorrupt, fmt::format("the document has no {}", name));
    }
  }
  std::vector<std::string> languages;
  for (const LocalizedText& text : document_.localized) {
    if (text.language.empty()) {
      return Fail(ErrorCode::kCorrupt, "LocalizedProperties without Language");
    }
    languages.push_back(ToLowerAscii(text.language));
  }
  std::ranges::sort(languages);
  if (const auto twice = std::ranges::adjacent_find(languages); twice != languages.end()) {
    return Fail(ErrorCode::kCorrupt, fmt::format("LocalizedProperties of '{}' occur twice",
                                                 EscapeForDisplay(*twice, 40)));
  }
  return std::move(document_);
}

}  // namespace gapferry::protocol
