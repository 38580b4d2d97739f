#include "protocol/wusp_codec.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocol/soap_fields.h"

namespace gapferry::protocol {
namespace {

constexpr std::array<std::pair<DeploymentAction, std::string_view>, 7> kActions{{
    {DeploymentAction::kInstall, "Install"},
    {DeploymentAction::kUninstall, "Uninstall"},
    {DeploymentAction::kOptionalInstall, "OptionalInstall"},
    {DeploymentAction::kPreDeploymentCheck, "PreDeploymentCheck"},
    {DeploymentAction::kBlock, "Block"},
    {DeploymentAction::kEvaluate, "Evaluate"},
    {DeploymentAction::kBundle, "Bundle"},
}};

constexpr std::array<std::pair<FragmentType, std::string_view>, 8> kFragmentTypes{{
    {FragmentType::kPublished, "Published"},
    {FragmentType::kCore, "Core"},
    {FragmentType::kExtended, "Extended"},
    {FragmentType::kVerificationRule, "VerificationRule"},
    {FragmentType::kLocalizedProperties, "LocalizedProperties"},
    {FragmentType::kEula, "Eula"},
    {FragmentType::kFileUrl, "FileUrl"},
    {FragmentType::kFileDecryption, "FileDecryption"},
}};

}  // namespace

std::string_view DeploymentActionName(DeploymentAction action) {
  for (const auto& [value, name] : kActions) {
    if (value == action) return name;
  }
  return "Evaluate";
}

static bool ParseScalar(std::string_view text, DeploymentAction& out) {
  for (const auto& [value, name] : kActions) {
    if (name == text) {
      out = value;
      return true;
    }
  }
  return false;
}
static std::string FormatScalar(DeploymentAction action) {
  return std::string(DeploymentActionName(action));
}

// Words we do not know are left out, not refused: newer agents may ask for more. Each counts once:
// the answer has as many parts as words times ids.
template <class Io>
static void FragmentTypes(Io& io, Ref<Io, std::vector<FragmentType>> types) {
  std::vector<std::string> words;
  for (const FragmentType type : types) {
    for (const auto& [value, name] : kFragmentTypes) {
      if (value == type) words.emplace_back(name);
    }
  }
  io.List("infoTypes", "XmlUpdateFragmentType", words, EmptyList::kOmit);
  if constexpr (Io::kReads) {
    for (const std::string& word : words) {
      for (const auto& [value, name] : kFragmentTypes) {
        if (name == word && std::ranges::find(types, value) == types.end()) types.push_back(value);
      }
    }
  }
}

// ---- GetConfig ---------------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, GetConfigRequest> m) {
  io.Lenient("protocolVersion", m.protocol_version);
}
template <class Io>
void Fields(Io& io, Ref<Io, ConfigurationProperty> m) {
  io.Lenient("Name", m.name);
  io.Lenient("Value", m.value);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetConfigResponse> m) {
  io.Group("GetConfigResult", [&] {
    io.Value("LastChange", m.last_change);
    io.Value("IsRegistrationRequired", m.is_registration_required);
    io.List("AuthInfo", "AuthPlugInInfo", m.auth_info, EmptyList::kOmit);
    io.List("AllowedEventIds", "int", m.allowed_event_ids, EmptyList::kOmit);
    io.List("Properties", "ConfigurationProperty", m.properties, EmptyList::kOmit);
  });
}

// ---- Authorization and cookies -----------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, SimpleAuthorizationRequest> m) {
  io.Lenient("clientId", m.client_id);
  io.Optional("targetGroupName", m.target_group_name);
  io.Optional("dnsName", m.dns_name);
}
template <class Io>
void Fields(Io& io, Ref<Io, SimpleAuthorizationResponse> m) {
  io.Struct("GetAuthorizationCookieResult", m.cookie);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetCookieRequest> m) {
  io.List("authCookies", "AuthorizationCookie", m.auth_cookies, EmptyList::kOmit);
  io.OptionalStruct("oldCookie", m.old_cookie);
  io.Lenient("lastChange", m.last_change);
  io.Lenient("currentTime", m.current_time);
  io.Lenient("protocolVersion", m.protocol_version);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetCookieResponse> m) {
  io.Struct("GetCookieResult", m.cookie);
}

// ---- RegisterComputer --------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, ComputerInfo> m) {
  io.Lenient("DnsName", m.dns_name);
  io.Lenient("OSMajorVersion", m.os_major_version);
  io.Lenient("OSMinorVersion", m.os_minor_version);
  io.Lenient("OSBuildNumber", m.os_build_number);
  io.Lenient("OSServicePackMajorNumber", m.os_service_pack_major);
  io.Lenient("OSServicePackMinorNumber", m.os_service_pack_minor);
  io.Optional("OSLocale", m.os_locale);
  io.Optional("ComputerManufacturer", m.manufacturer);
  io.Optional("ComputerModel", m.model);
  io.Optional("BiosVersion", m.bios_version);
  io.Optional("BiosName", m.bios_name);
  io.Lenient("BiosReleaseDate", m.bios_release_date);
  io.Optional("ProcessorArchitecture", m.processor_architecture);
  io.Lenient("SuiteMask", m.suite_mask);
  io.Lenient("OldProductType", m.old_product_type);
  io.Lenient("NewProductType", m.new_product_type);
  io.Lenient("SystemMetrics", m.system_metrics);
  io.Lenient("ClientVersionMajorNumber", m.client_version_major);
  io.Lenient("ClientVersionMinorNumber", m.client_version_minor);
  io.Lenient("ClientVersionBuildNumber", m.client_version_build);
  io.Lenient("ClientVersionQfeNumber", m.client_version_qfe);
  io.Optional("OSDescription", m.os_description);
  io.Optional("OEM", m.oem);
  io.Optional("DeviceType", m.device_type);
  io.Optional("FirmwareVersion", m.firmware_version);
  io.Optional("MobileOperator", m.mobile_operator);
}
template <class Io>
void Fields(Io& io, Ref<Io, RegisterComputerRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.Struct("computerInfo", m.computer);
}
template <class Io>
void Fields(Io&, Ref<Io, RegisterComputerResponse>) {}

// ---- StartCategoryScan -------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, CategoryRelationship> m) {
  io.Lenient("IndexOfAndGroup", m.index_of_and_group);
  io.Value("CategoryId", m.category_id);
}
template <class Io>
void Fields(Io& io, Ref<Io, StartCategoryScanRequest> m) {
  io.List("requestedCategories", "CategoryRelationship", m.requested_categories, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, StartCategoryScanResponse> m) {
  io.List("preferredCategoryIds", "guid", m.preferred_category_ids, EmptyList::kOmit);
  io.List("requestedCategoryIdsInError", "guid", m.requested_category_ids_in_error,
          EmptyList::kOmit);
}

// ---- SyncUpdates -------------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, InstalledDriver> m) {
  io.Optional("MatchingID", m.matching_id);
  io.Lenient("DriverVerDate", m.driver_ver_date);
  io.Lenient("DriverVerVersion", m.driver_ver_version);
  io.Optional("Class", m.device_class);
  io.Optional("Manufacturer", m.manufacturer);
  io.Optional("Provider", m.provider);
  io.Optional("Model", m.model);
  io.Optional("MatchingComputerHWID", m.matching_computer_hwid);
  io.Lenient("DriverRank", m.driver_rank);
}
template <class Io>
void Fields(Io& io, Ref<Io, Device> m) {
  io.List("HardwareIDs", "string", m.hardware_ids, EmptyList::kOmit);
  io.List("CompatibleIDs", "string", m.compatible_ids, EmptyList::kOmit);
  io.OptionalStruct("installedDriver", m.installed_driver);
}
template <class Io>
void Fields(Io& io, Ref<Io, ProductsParameters> m) {
  io.Lenient("SyncCurrentVersionOnly", m.sync_current_version_only);
  io.Lenient("DeviceAttributes", m.device_attributes);
  io.Lenient("CallerAttributes", m.caller_attributes);
  io.Lenient("Products", m.products);
}

namespace {
struct CategoryIdentifier {
  Guid id;
};
}  // namespace
template <class Io>
void Fields(Io& io, Ref<Io, CategoryIdentifier> m) {
  io.Value("Id", m.id);
}

template <class Io>
static void FilterCategories(Io& io, Ref<Io, std::vector<Guid>> ids) {
  std::vector<CategoryIdentifier> items;
  for (const Guid& id : ids) items.push_back({id});
  io.List("FilterCategoryIds", "CategoryIdentifier", items, EmptyList::kOmit);
  if constexpr (Io::kReads) {
    for (const CategoryIdentifier& item : items) ids.push_back(item.id);
  }
}

template <class Io>
static void ComputerSpec(Io& io, Ref<Io, std::optional<std::vector<Guid>>> spec) {
  bool present = spec.has_value();
  std::vector<Guid> ids = spec.value_or(std::vector<Guid>());
  io.LenientGroup("ComputerSpec", present,
                  [&] { io.List("HardwareIDs", "guid", ids, EmptyList::kOmit); });
  if constexpr (Io::kReads) {
    if (present) spec = std::move(ids);
  }
}

template <class Io>
void Fields(Io& io, Ref<Io, SyncUpdatesParameters> m) {
  io.Lenient("ExpressQuery", m.express_query);
  io.List("InstalledNonLeafUpdateIDs", "int", m.installed_non_leaf_update_ids, EmptyList::kOmit);
  io.List("OtherCachedUpdateIDs", "int", m.other_cached_update_ids, EmptyList::kOmit);
  io.List("SystemSpec", "Device", m.system_spec, EmptyList::kOmit);
  io.List("CachedDriverIDs", "int", m.cached_driver_ids, EmptyList::kOmit);
  io.Lenient("SkipSoftwareSync", m.skip_software_sync);
  FilterCategories(io, m.filter_category_ids);
  io.Optional("NeedTwoGroupOutOfScopeUpdates", m.need_two_group_out_of_scope_updates);
  io.Optional("AlsoPerformRegularSync", m.also_perform_regular_sync);
  ComputerSpec(io, m.computer_spec);
  io.Optional("FeatureScoreMatchingKey", m.feature_score_matching_key);
  io.OptionalStruct("ProductsParameters", m.products_parameters);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncUpdatesRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.Struct("parameters", m.parameters);
}

template <class Io>
void Fields(Io& io, Ref<Io, Deployment> m) {
  static const std::string kZero = "0";
  io.Value("ID", m.id);
  io.Value("Action", m.action);
  io.Optional("Deadline", m.deadline);
  io.Value("IsAssigned", m.is_assigned);
  if constexpr (Io::kReads) {
    DateOnly date;
    io.Value("LastChangeTime", date);
    m.last_change_time = date.time;
    m.with_auto_fields = io.Has("AutoSelect");
  } else {
    io.Value("LastChangeTime", DateOnly{m.last_change_time});
  }
  io.Optional("DownloadPriority", m.download_priority);
  io.List("HardwareIds", "string", m.hardware_ids, EmptyList::kOmit);
  if constexpr (!Io::kReads) {
    if (!m.with_auto_fields) return;
    io.Value("AutoSelect", kZero);
    io.Value("AutoDownload", kZero);
    io.Value("SupersedenceBehavior", kZero);
  }
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateInfo> m) {
  io.Value("ID", m.id);
  io.OptionalStruct("Deployment", m.deployment);
  io.Value("IsLeaf", m.is_leaf);
  io.OptionalText("Xml", m.xml);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncInfo> m) {
  if (m.prepared_updates.empty()) {
    io.List("NewUpdates", "UpdateInfo", m.new_updates, EmptyList::kOmit);
  } else if constexpr (!Io::kReads) {
    io.Group("NewUpdates", [&] { io.Pieces(m.prepared_updates); });
  }
  io.List("OutOfScopeRevisionIDs", "int", m.out_of_scope_revision_ids, EmptyList::kOmit);
  io.List("ChangedUpdates", "UpdateInfo", m.changed_updates, EmptyList::kOmit);
  io.Value("Truncated", m.truncated);
  io.OptionalStruct("NewCookie", m.new_cookie);
  io.List("DeployedOutOfScopeRevisionIds", "int", m.deployed_out_of_scope_revision_ids,
          EmptyList::kOmit);
  io.Lenient("DriverSyncNotNeeded", m.driver_sync_not_needed);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncUpdatesResponse> m) {
  io.Struct("SyncUpdatesResult", m.result);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncPrinterCatalogRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.List("installedNonLeafUpdateIDs", "int", m.installed_non_leaf_update_ids, EmptyList::kOmit);
  io.List("printerUpdateIDs", "int", m.printer_update_ids, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncPrinterCatalogResponse> m) {
  io.Struct("SyncPrinterCatalogResult", m.result);
}

AnswerBody EncodeUpdates(const std::vector<UpdateInfo>& updates) {
  AnswerBody body;
  FieldWriter writer(body, EmptyElementOf(SoapStyle::kClient));
  for (const UpdateInfo& update : updates) writer.Struct("UpdateInfo", update);
  writer.Finish();
  return body;
}

// ---- RefreshCache ------------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, RefreshCacheRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.List("globalIDs", "UpdateIdentity", m.global_ids, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, RefreshCacheResult> m) {
  io.Value("RevisionID", m.revision_id);
  io.Struct("GlobalID", m.global_id);
  io.Value("IsLeaf", m.is_leaf);
  io.OptionalStruct("Deployment", m.deployment);
}
template <class Io>
void Fields(Io& io, Ref<Io, RefreshCacheResponse> m) {
  io.List("RefreshCacheResult", "RefreshCacheResult", m.results, EmptyList::kWrite);
}

// ---- GetExtendedUpdateInfo ---------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, GetExtendedUpdateInfoRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.List("revisionIDs", "int", m.revision_ids, EmptyList::kOmit);
  FragmentTypes(io, m.info_types);
  io.List("locales", "string", m.locales, EmptyList::kOmit);
  io.Optional("deviceAttributes", m.device_attributes);
  io.Optional("GeoId", m.geo_id);
  io.Optional("callerAttributes", m.caller_attributes);
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateFragment> m) {
  io.Value("ID", m.id);
  io.Text("Xml", m.xml);
}
template <class Io>
void Fields(Io& io, Ref<Io, FileLocation> m) {
  io.Value("FileDigest", m.file_digest);
  io.Value("Url", m.url);
  io.Optional("FileDigestAlgorithm", m.file_digest_algorithm);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetExtendedUpdateInfoResponse> m) {
  io.Group("GetExtendedUpdateInfoResult", [&] {
    io.List("Updates", "Update", m.updates, EmptyList::kOmit);
    io.List("FileLocations", "FileLocation", m.file_locations, EmptyList::kOmit);
    io.List("OutOfScopeRevisionIDs", "int", m.out_of_scope_revision_ids, EmptyList::kOmit);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, GetExtendedUpdateInfo2Request> m) {
  io.LenientStruct("cookie", m.cookie);
  io.List("updateIDs", "UpdateIdentity", m.update_ids, EmptyList::kOmit);
  FragmentTypes(io, m.info_types);
  io.List("locales", "string", m.locales, EmptyList::kOmit);
  io.Optional("callerAttributes", m.caller_attributes);
}
template <class Io>
void Fields(Io& io, Ref<Io, FileDecryption> m) {
  io.Value("FileDigest", m.file_digest);
  io.Optional("DecryptionKey", m.decryption_key);
  io.List("SecurityData", "base64Binary", m.security_data, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetExtendedUpdateInfo2Response> m) {
  io.Group("GetExtendedUpdateInfo2Result", [&] {
    io.List("Updates", "Update", m.updates, EmptyList::kOmit);
    io.List("FileLocations", "FileLocation", m.file_locations, EmptyList::kOmit);
    io.List("FileDecryptionData", "FileDecryption", m.file_decryption_data, EmptyList::kOmit);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, GetFileLocationsRequest> m) {
  io.LenientStruct("cookie", m.cookie);
  io.List("fileDigests", "base64Binary", m.file_digests, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetFileLocationsResponse> m) {
  io.Group("GetFileLocationsResult", [&] {
    io.List("FileLocations", "FileLocation", m.file_locations, EmptyList::kOmit);
    io.OptionalStruct("NewCookie", m.new_cookie);
  });
}

// ---- The messages ------------------------------------------------------------------------------

#define CLIENT_OPERATION(Operation)                                                     \
  GAPFERRY_SOAP_MESSAGE(Operation##Request, ns::kClient, #Operation, SoapStyle::kAgent) \
  GAPFERRY_SOAP_MESSAGE(Operation##Response, ns::kClient, #Operation "Response", SoapStyle::kClient)

CLIENT_OPERATION(GetConfig)
CLIENT_OPERATION(GetCookie)
CLIENT_OPERATION(RegisterComputer)
CLIENT_OPERATION(StartCategoryScan)
CLIENT_OPERATION(SyncUpdates)
CLIENT_OPERATION(SyncPrinterCatalog)
CLIENT_OPERATION(RefreshCache)
CLIENT_OPERATION(GetExtendedUpdateInfo)
CLIENT_OPERATION(GetExtendedUpdateInfo2)
CLIENT_OPERATION(GetFileLocations)
GAPFERRY_SOAP_MESSAGE(SimpleAuthorizationRequest, ns::kSimpleAuth, "GetAuthorizationCookie",
                      SoapStyle::kAgent)
GAPFERRY_SOAP_MESSAGE(SimpleAuthorizationResponse, ns::kSimpleAuth,
                      "GetAuthorizationCookieResponse", SoapStyle::kClassic)

}  // namespace gapferry::protocol
