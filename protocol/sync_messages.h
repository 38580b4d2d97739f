#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "protocol/common_messages.h"
#include "protocol/update_id_list.h"

// Messages of the Server Sync and DSS Authorization services, [MS-WSUSSS] 3.1.4 and 6.1. Members in
// the order of the WSDL, which real servers write.

namespace gapferry::protocol {

struct GetAuthConfigRequest {};
struct GetAuthConfigResponse {
  UtcTime last_change;
  std::vector<AuthPlugIn> auth_info;
};

/// DSS Authorization service.
struct DssAuthorizationRequest {
  std::string account_name;  ///< a DNS name
  std::string account_guid;  ///< text, since a server must answer InvalidParameters to a bad one
};
struct DssAuthorizationResponse {
  AuthorizationCookie cookie;
};

struct DssGetCookieRequest {
  std::vector<AuthorizationCookie> auth_cookies;
  std::optional<Cookie> old_cookie;
  std::string protocol_version;
};
struct DssGetCookieResponse {
  Cookie cookie;
};

struct GetConfigDataRequest {
  std::optional<Cookie> cookie;
  std::optional<std::string> config_anchor;
};
struct SyncLanguage {
  std::int32_t language_id = 0;  ///< LCID; 0 = "all"
  std::string short_language;
  std::string long_language;
  bool enabled = false;
  bool operator==(const SyncLanguage&) const = default;
};
struct GetConfigDataResponse {
  bool catalog_only_sync = false;
  bool lazy_sync = false;
  bool server_hosts_psf_files = false;
  std::int32_t max_computer_ids_per_request = 0;
  std::int32_t max_driver_sets_per_request = 0;
  std::int32_t max_pnp_hardware_ids_per_request = 0;
  std::int32_t max_updates_per_request = 100;
  std::string new_config_anchor;
  std::string protocol_version;
  std::vector<SyncLanguage> languages;
  std::int32_t max_updates_per_decryption_request = 100;
};

struct IdAndDelta {
  Guid id;
  bool delta = false;
};
struct LanguageAndDelta {
  std::int32_t id = 0;
  bool delta = false;
};
struct SyncFilter {
  std::optional<std::string> anchor;
  bool get_config = false;
  std::optional<bool> get_63_language_only;
  std::vector<IdAndDelta> categories;
  std::vector<IdAndDelta> classifications;
  std::vector<LanguageAndDelta> languages;
};
struct GetRevisionIdListRequest {
  std::optional<Cookie> cookie;
  SyncFilter filter;
};
struct GetRevisionIdListResponse {
  std::string anchor;
  std::vector<UpdateId> new_revisions;
  /// Written instead of new_revisions when set; decoded messages have none.
  std::shared_ptr<const UpdateIdList> list = nullptr;
};

struct GetUpdateDataRequest {
  std::optional<Cookie> cookie;
  std::vector<UpdateId> update_ids;
  bool has_update_ids = true;  ///< false: the list is absent, not empty
};
struct UpdateData {
  UpdateId id;
  /// Exactly one of the two. Decoded messages hold PlainText.
  std::optional<TextValue> blob;
  std::vector<Sha1Digest> file_digests;
  /// A cabinet. Decoded messages hold bytes in memory.
  std::shared_ptr<const StoredBytes> compressed_blob;
};
struct FileUrl {
  Sha1Digest file_digest;
  std::optional<std::string> mu_url;
  std::string uss_url;
};
struct GetUpdateDataResponse {
  std::vector<UpdateData> updates;
  std::vector<FileUrl> file_urls;
};

struct GetUpdateDecryptionDataRequest {
  std::optional<Cookie> cookie;
  std::vector<UpdateId> update_ids;
  bool has_update_ids = true;  ///< false: the list is absent, not empty
};
struct SyncFileDecryption {
  Sha1Digest file_digest;
  std::optional<Bytes> decryption_key;  ///< secret
};
struct UpdateFileDecryption {
  UpdateId update_id;
  std::vector<SyncFileDecryption> files;
};
struct GetUpdateDecryptionDataResponse {
  std::vector<UpdateFileDecryption> updates;
};

struct DownloadFilesRequest {
  std::optional<Cookie> cookie;
  std::vector<Bytes> file_digests;  ///< 20 bytes each, as received
};
struct DownloadFilesResponse {};

struct GetDeploymentsRequest {
  std::optional<Cookie> cookie;
  std::optional<std::string> deployment_anchor;
  std::optional<std::string> sync_anchor;
};
struct SyncTargetGroup {
  Guid id;
  Guid parent_id;  ///< zero when there is none
  std::string name;
  bool is_builtin = false;
};
/// `action` on the wire, [MS-WSUSSS] 3.1.4.10.3.4.
enum class SyncDeploymentAction : std::int32_t {
  kInstall = 0,
  kUninstall = 1,
  kScanOnly = 2,
  kBlock = 3,
};
struct SyncDeployment {
  UpdateId update;
  std::int32_t action = 0;  ///< SyncDeploymentAction; others are kept and ignored by callers
  std::string admin_name;
  UtcTime deadline;  ///< kEndOfTime = none (compare with a tolerance)
  bool is_assigned = true;
  UtcTime go_live_time;
  Guid deployment_guid;
  Guid target_group_id;
  std::int32_t download_priority = 2;
};
struct GetDeploymentsResponse {
  std::string anchor;
  std::vector<SyncTargetGroup> groups;
  std::vector<SyncDeployment> deployments;
  std::vector<Guid> dead_deployments;
  std::vector<Guid> hidden_updates;
  std::vector<Guid> accepted_eulas;
};

/// [MS-WSUSSS] 3.1.4.7 and 3.1.4.8: asked of the vendor's service only.
struct HardwareIdAndDelta {
  std::string id;
  bool delta = false;
};
struct DriverFilter {
  std::optional<std::string> anchor;
  std::vector<IdAndDelta> categories;
  std::vector<IdAndDelta> computer_ids;
  std::vector<HardwareIdAndDelta> pnp_hardware_ids;
};
struct GetDriverIdListRequest {
  std::optional<Cookie> cookie;
  DriverFilter filter;
};
struct GetDriverIdListResponse {
  std::string anchor;
  std::vector<UpdateId> new_revisions;
  std::vector<Guid> new_driver_sets;
  std::vector<Guid> removed_driver_sets;
};
struct GetDriverSetDataRequest {
  std::optional<Cookie> cookie;
  std::vector<Guid> driver_sets;
  bool has_driver_sets = true;  ///< false: the list is absent, not empty
};
struct DriverSetData {
  Guid id;
  std::optional<std::string> xml;
};
struct GetDriverSetDataResponse {
  std::vector<DriverSetData> driver_sets;
};

struct GetRelatedRevisionsRequest {
  std::optional<Cookie> cookie;
  std::vector<Guid> update_ids;
};
struct GetRelatedRevisionsResponse {
  std::vector<UpdateId> revisions;
};

/// Namespace IMonitorable; offered by Server Sync and DSS Authorization.
struct PingRequest {
  std::int32_t ping_level = 0;
};
struct PingResponse {
  bool success = true;
  UtcTime services_time;
};

}  // namespace gapferry::protocol
