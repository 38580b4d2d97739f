#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "protocol/common_messages.h"

// Messages of the Client and SimpleAuth services, [MS-WUSP] 3.1.5 and 6. One struct per request and
// answer; members in the order of the WSDL, which is the order on the wire.

namespace gapferry::protocol {

struct GetConfigRequest {
  std::string protocol_version;
};
struct ConfigurationProperty {
  std::string name;
  std::string value;
};
struct GetConfigResponse {
  UtcTime last_change;
  bool is_registration_required = true;
  std::vector<AuthPlugIn> auth_info;
  std::vector<std::int32_t> allowed_event_ids;  ///< empty: element left out, all events
  std::vector<ConfigurationProperty> properties;
};

/// SimpleAuth service.
struct SimpleAuthorizationRequest {
  std::string client_id;
  std::optional<std::string> target_group_name;
  std::optional<std::string> dns_name;
};
struct SimpleAuthorizationResponse {
  AuthorizationCookie cookie;
};

struct GetCookieRequest {
  std::vector<AuthorizationCookie> auth_cookies;
  std::optional<Cookie> old_cookie;
  UtcTime last_change;
  UtcTime current_time;
  std::string protocol_version;
};
struct GetCookieResponse {
  Cookie cookie;
};

struct ComputerInfo {
  std::string dns_name;
  std::int32_t os_major_version = 0;
  std::int32_t os_minor_version = 0;
  std::int32_t os_build_number = 0;
  std::int32_t os_service_pack_major = 0;
  std::int32_t os_service_pack_minor = 0;
  std::optional<std::string> os_locale;
  std::optional<std::string> manufacturer;
  std::optional<std::string> model;
  std::optional<std::string> bios_version;
  std::optional<std::string> bios_name;
  UtcTime bios_release_date;
  std::optional<std::string> processor_architecture;
  std::int32_t suite_mask = 0;
  std::int32_t old_product_type = 0;
  std::int32_t new_product_type = 0;
  std::int32_t system_metrics = 0;
  std::int32_t client_version_major = 0;
  std::int32_t client_version_minor = 0;
  std::int32_t client_version_build = 0;
  std::int32_t client_version_qfe = 0;
  std::optional<std::string> os_description;
  std::optional<std::string> oem;
  std::optional<std::string> device_type;
  std::optional<std::string> firmware_version;
  std::optional<std::string> mobile_operator;
};
struct RegisterComputerRequest {
  Cookie cookie;
  ComputerInfo computer;
};
struct RegisterComputerResponse {};

struct CategoryRelationship {
  std::int32_t index_of_and_group = 0;
  Guid category_id;
};
/// Carries no cookie.
struct StartCategoryScanRequest {
  std::vector<CategoryRelationship> requested_categories;
};
struct StartCategoryScanResponse {
  std::vector<Guid> preferred_category_ids;
  std::vector<Guid> requested_category_ids_in_error;
};

struct InstalledDriver {
  std::optional<std::string> matching_id;
  UtcTime driver_ver_date;
  std::int64_t driver_ver_version = 0;  ///< four 16-bit parts
  std::optional<std::string> device_class;
  std::optional<std::string> manufacturer;
  std::optional<std::string> provider;
  std::optional<std::string> model;
  std::optional<Guid> matching_computer_hwid;
  std::int32_t driver_rank = -1;
};
struct Device {
  std::vector<std::string> hardware_ids;
  std::vector<std::string> compatible_ids;
  std::optional<InstalledDriver> installed_driver;
};
/// Not in the specification; sent by Windows 11.
struct ProductsParameters {
  bool sync_current_version_only = false;
  std::string device_attributes;
  std::string caller_attributes;
  std::string products;
};
struct SyncUpdatesParameters {
  bool express_query = false;
  std::vector<std::int32_t> installed_non_leaf_update_ids;
  std::vector<std::int32_t> other_cached_update_ids;
  std::vector<Device> system_spec;
  std::vector<std::int32_t> cached_driver_ids;
  bool skip_software_sync = false;
  std::vector<Guid> filter_category_ids;
  std::optional<bool> need_two_group_out_of_scope_updates;
  std::optional<bool> also_perform_regular_sync;   ///< not in the specification
  std::optional<std::vector<Guid>> computer_spec;  ///< hardware ids
  std::optional<std::string> feature_score_matching_key;
  std::optional<ProductsParameters> products_parameters;
};
struct SyncUpdatesRequest {
  Cookie cookie;
  SyncUpdatesParameters parameters;
};

enum class DeploymentAction {
  kInstall,
  kUninstall,
  kOptionalInstall,
  kPreDeploymentCheck,
  kBlock,
  kEvaluate,
  kBundle,
};
std::string_view DeploymentActionName(DeploymentAction action);

struct Deployment {
  std::int32_t id = 0;
  DeploymentAction action = DeploymentAction::kEvaluate;
  std::optional<UtcTime> deadline;
  bool is_assigned = true;
  UtcTime last_change_time;  ///< written as a date
  std::optional<std::string> download_priority;
  std::vector<std::string> hardware_ids;
  bool with_auto_fields =
      true;  ///< AutoSelect, AutoDownload, SupersedenceBehavior: protocol >= 1.8
};
struct UpdateInfo {
  std::int32_t id = 0;
  std::optional<Deployment> deployment;  ///< an agent fails the scan without it
  bool is_leaf = true;
  std::optional<TextValue> xml;  ///< decoded messages hold PlainText
};
struct SyncInfo {
  std::vector<UpdateInfo> new_updates;
  /// In place of `new_updates` what EncodeUpdates made of them; never filled by a decoder.
  std::vector<AnswerPiece> prepared_updates;
  std::vector<std::int32_t> out_of_scope_revision_ids;
  std::vector<UpdateInfo> changed_updates;
  bool truncated = false;
  std::optional<Cookie> new_cookie;
  std::vector<std::int32_t> deployed_out_of_scope_revision_ids;
  bool driver_sync_not_needed = false;
};
struct SyncUpdatesResponse {
  SyncInfo result;
};

struct SyncPrinterCatalogRequest {
  Cookie cookie;
  std::vector<std::int32_t> installed_non_leaf_update_ids;
  std::vector<std::int32_t> printer_update_ids;
};
struct SyncPrinterCatalogResponse {
  SyncInfo result;
};

struct RefreshCacheRequest {
  Cookie cookie;
  std::vector<UpdateId> global_ids;
};
struct RefreshCacheResult {
  std::int32_t revision_id = 0;
  UpdateId global_id;
  bool is_leaf = true;
  std::optional<Deployment> deployment;
};
struct RefreshCacheResponse {
  std::vector<RefreshCacheResult> results;
};

/// XmlUpdateFragmentType. Unknown words are dropped while decoding.
enum class FragmentType {
  kPublished,
  kCore,
  kExtended,
  kVerificationRule,
  kLocalizedProperties,
  kEula,
  kFileUrl,
  kFileDecryption,
};

struct GetExtendedUpdateInfoRequest {
  Cookie cookie;
  std::vector<std::int32_t> revision_ids;
  std::vector<FragmentType> info_types;
  std::vector<std::string> locales;
  std::optional<std::string> device_attributes;  ///< not in the specification
  std::optional<std::string> geo_id;
  std::optional<std::string> caller_attributes;
};
struct UpdateFragment {
  std::int32_t id = 0;
  TextValue xml;  ///< decoded messages hold PlainText
};
struct FileLocation {
  Sha1Digest file_digest;
  std::string url;
  std::optional<std::string> file_digest_algorithm;  ///< GetExtendedUpdateInfo2 only
};
struct GetExtendedUpdateInfoResponse {
  std::vector<UpdateFragment> updates;
  std::vector<FileLocation> file_locations;
  std::vector<std::int32_t> out_of_scope_revision_ids;
};

struct GetExtendedUpdateInfo2Request {
  Cookie cookie;
  std::vector<UpdateId> update_ids;
  std::vector<FragmentType> info_types;
  std::vector<std::string> locales;
  std::optional<std::string> caller_attributes;
};
struct FileDecryption {
  Sha1Digest file_digest;
  std::optional<Bytes> decryption_key;  ///< secret
  std::vector<Bytes> security_data;     ///< secret
};
struct GetExtendedUpdateInfo2Response {
  std::vector<UpdateFragment> updates;
  std::vector<FileLocation> file_locations;
  std::vector<FileDecryption> file_decryption_data;
};

struct GetFileLocationsRequest {
  Cookie cookie;
  std::vector<Bytes> file_digests;  ///< 20 bytes each, as received
};
struct GetFileLocationsResponse {
  std::vector<FileLocation> file_locations;
  std::optional<Cookie> new_cookie;
};

}  // namespace gapferry::protocol
