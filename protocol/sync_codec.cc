#include "protocol/sync_codec.h"

#include "protocol/soap_fields.h"

namespace gapferry::protocol {

// ---- Authorization and cookies -----------------------------------------------------------------

template <class Io>
void Fields(Io&, Ref<Io, GetAuthConfigRequest>) {}
template <class Io>
void Fields(Io& io, Ref<Io, GetAuthConfigResponse> m) {
  io.Group("GetAuthConfigResult", [&] {
    io.Lenient("LastChange", m.last_change);
    io.List("AuthInfo", "AuthPlugInInfo", m.auth_info, EmptyList::kWrite);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, DssAuthorizationRequest> m) {
  io.Lenient("accountName", m.account_name);
  io.Lenient("accountGuid", m.account_guid);
}
template <class Io>
void Fields(Io& io, Ref<Io, DssAuthorizationResponse> m) {
  io.Struct("GetAuthorizationCookieResult", m.cookie);
}
template <class Io>
void Fields(Io& io, Ref<Io, DssGetCookieRequest> m) {
  io.List("authCookies", "AuthorizationCookie", m.auth_cookies, EmptyList::kOmit);
  io.OptionalStruct("oldCookie", m.old_cookie);
  io.Lenient("protocolVersion", m.protocol_version);
}
template <class Io>
void Fields(Io& io, Ref<Io, DssGetCookieResponse> m) {
  io.Struct("GetCookieResult", m.cookie);
}

// ---- GetConfigData -----------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, GetConfigDataRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Optional("configAnchor", m.config_anchor);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncLanguage> m) {
  io.Value("LanguageID", m.language_id);
  io.Lenient("ShortLanguage", m.short_language);
  io.Lenient("LongLanguage", m.long_language);
  io.Lenient("Enabled", m.enabled);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetConfigDataResponse> m) {
  io.Group("GetConfigDataResult", [&] {
    io.Lenient("CatalogOnlySync", m.catalog_only_sync);
    io.Lenient("LazySync", m.lazy_sync);
    io.Lenient("ServerHostsPsfFiles", m.server_hosts_psf_files);
    io.Lenient("MaxNumberOfComputerIdsInRequest", m.max_computer_ids_per_request);
    io.Lenient("MaxNumberOfDriverSetsPerRequest", m.max_driver_sets_per_request);
    io.Lenient("MaxNumberOfPnpHardwareIdsInRequest", m.max_pnp_hardware_ids_per_request);
    io.Lenient("MaxNumberOfUpdatesPerRequest", m.max_updates_per_request);
    io.Lenient("NewConfigAnchor", m.new_config_anchor);
    io.Lenient("ProtocolVersion", m.protocol_version);
    io.List("LanguageUpdateList", "ServerSyncLanguageData", m.languages, EmptyList::kWrite);
    io.Lenient("MaxUpdatesPerRequestInGetUpdateDecryptionData",
               m.max_updates_per_decryption_request);
  });
}

// ---- GetRevisionIdList -------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, IdAndDelta> m) {
  io.Value("Id", m.id);
  io.Lenient("Delta", m.delta);
}
template <class Io>
void Fields(Io& io, Ref<Io, LanguageAndDelta> m) {
  io.Value("Id", m.id);
  io.Lenient("Delta", m.delta);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncFilter> m) {
  io.Optional("Anchor", m.anchor);
  io.Lenient("GetConfig", m.get_config);
  io.Optional("Get63LanguageOnly", m.get_63_language_only);
  io.List("Categories", "IdAndDelta", m.categories, EmptyList::kOmit);
  io.List("Classifications", "IdAndDelta", m.classifications, EmptyList::kOmit);
  io.List("Languages", "LanguageAndDelta", m.languages, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRevisionIdListRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.LenientStruct("filter", m.filter);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRevisionIdListResponse> m) {
  io.Group("GetRevisionIdListResult", [&] {
    io.Lenient("Anchor", m.anchor);
    if constexpr (!Io::kReads) {
      if (m.list) return io.Markup("NewRevisions", MarkupOf(m.list));
    }
    io.List("NewRevisions", "UpdateIdentity", m.new_revisions, EmptyList::kWrite);
  });
}

// ---- GetUpdateData, GetUpdateDecryptionData ----------------------------------------------------

template <class Io, class T>
static void RequestedIds(Io& io, std::string_view name, std::string_view item,
                         Ref<Io, std::vector<T>> ids, Ref<Io, bool> present) {
  if constexpr (Io::kReads) present = io.Has(name);
  io.List(name, item, ids, present ? EmptyList::kWrite : EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetUpdateDataRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  RequestedIds<Io, UpdateId>(io, "updateIds", "UpdateIdentity", m.update_ids, m.has_update_ids);
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateData> m) {
  io.Struct("Id", m.id);
  io.OptionalText("XmlUpdateBlob", m.blob);
  io.List("FileDigestList", "base64Binary", m.file_digests, EmptyList::kOmit);
  io.OptionalStored("XmlUpdateBlobCompressed", m.compressed_blob);
}
template <class Io>
void Fields(Io& io, Ref<Io, FileUrl> m) {
  io.Value("FileDigest", m.file_digest);
  io.Optional("MUUrl", m.mu_url);
  io.Lenient("UssUrl", m.uss_url);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetUpdateDataResponse> m) {
  io.Group("GetUpdateDataResult", [&] {
    io.List("updates", "ServerSyncUpdateData", m.updates, EmptyList::kWrite);
    io.List("fileUrls", "ServerSyncUrlData", m.file_urls, EmptyList::kWrite);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, GetUpdateDecryptionDataRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  RequestedIds<Io, UpdateId>(io, "updateIds", "UpdateIdentity", m.update_ids, m.has_update_ids);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncFileDecryption> m) {
  io.Value("FileDigest", m.file_digest);
  io.Secret("DecryptionKey", m.decryption_key);
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateFileDecryption> m) {
  io.Struct("UpdateId", m.update_id);
  io.List("FileDecryptionData", "ServerSyncFileDecryption", m.files, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetUpdateDecryptionDataResponse> m) {
  io.Group("GetUpdateDecryptionDataResult", [&] {
    io.List("UpdateFileDecryptionData", "ServerSyncUpdateFileDecryption", m.updates,
            EmptyList::kWrite);
  });
}

// ---- DownloadFiles, GetDeployments -------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, DownloadFilesRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.List("fileDigestList", "base64Binary", m.file_digests, EmptyList::kOmit);
}
template <class Io>
void Fields(Io&, Ref<Io, DownloadFilesResponse>) {}

template <class Io>
void Fields(Io& io, Ref<Io, GetDeploymentsRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Optional("deploymentAnchor", m.deployment_anchor);
  io.Optional("syncAnchor", m.sync_anchor);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncTargetGroup> m) {
  io.Value("TargetGroupID", m.id);
  io.Lenient("ParentGroupId", m.parent_id);
  io.Lenient("Name", m.name);
  io.Lenient("IsBuiltin", m.is_builtin);
}
template <class Io>
void Fields(Io& io, Ref<Io, SyncDeployment> m) {
  io.Value("UpdateId", m.update.guid);
  io.Value("RevisionNumber", m.update.revision);
  io.Value("Action", m.action);
  io.Lenient("AdminName", m.admin_name);
  io.Lenient("Deadline", m.deadline);
  io.Lenient("IsAssigned", m.is_assigned);
  io.Lenient("GoLiveTime", m.go_live_time);
  io.Value("DeploymentGuid", m.deployment_guid);
  io.Value("TargetGroupId", m.target_group_id);
  io.Lenient("DownloadPriority", m.download_priority);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetDeploymentsResponse> m) {
  io.Group("GetDeploymentsResult", [&] {
    io.Lenient("Anchor", m.anchor);
    io.List("Groups", "ServerSyncTargetGroup", m.groups, EmptyList::kWrite);
    io.List("Deployments", "ServerSyncDeployment", m.deployments, EmptyList::kWrite);
    io.List("DeadDeployments", "guid", m.dead_deployments, EmptyList::kWrite);
    io.List("HiddenUpdates", "guid", m.hidden_updates, EmptyList::kWrite);
    io.List("AcceptedEulas", "guid", m.accepted_eulas, EmptyList::kWrite);
  });
}

// ---- Drivers -----------------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, HardwareIdAndDelta> m) {
  io.Lenient("Id", m.id);
  io.Lenient("Delta", m.delta);
}
template <class Io>
void Fields(Io& io, Ref<Io, DriverFilter> m) {
  if constexpr (!Io::kReads) io.Group("DssProtocolVersion", [] {});  // present, ignored
  io.Optional("Anchor", m.anchor);
  io.List("Categories", "IdAndDelta", m.categories, EmptyList::kWrite);
  io.List("ComputerIds", "IdAndDelta", m.computer_ids, EmptyList::kWrite);
  io.List("PnpHardwareIds", "HardwareIdAndDelta", m.pnp_hardware_ids, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetDriverIdListRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.LenientStruct("filter", m.filter);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetDriverIdListResponse> m) {
  io.Group("GetDriverIdListResult", [&] {
    io.Lenient("Anchor", m.anchor);
    io.List("NewRevisions", "UpdateIdentity", m.new_revisions, EmptyList::kWrite);
    io.List("NewDriverSets", "guid", m.new_driver_sets, EmptyList::kWrite);
    io.List("RemovedDriverSets", "guid", m.removed_driver_sets, EmptyList::kWrite);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, GetDriverSetDataRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  RequestedIds<Io, Guid>(io, "driverSets", "guid", m.driver_sets, m.has_driver_sets);
}
template <class Io>
void Fields(Io& io, Ref<Io, DriverSetData> m) {
  io.Value("DriverSetId", m.id);
  io.Optional("DriverSetXml", m.xml);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetDriverSetDataResponse> m) {
  io.Group("GetDriverSetDataResult", [&] {
    io.List("DriverSets", "ServerSyncDriverSetData", m.driver_sets, EmptyList::kWrite);
  });
}

// ---- Operations nobody calls -------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, GetRelatedRevisionsRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.List("updateIDs", "guid", m.update_ids, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRelatedRevisionsResponse> m) {
  io.List("GetRelatedRevisionsForUpdatesResult", "UpdateIdentity", m.revisions, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, PingRequest> m) {
  io.Lenient("pingLevel", m.ping_level);
}
template <class Io>
void Fields(Io& io, Ref<Io, PingResponse> m) {
  io.Group("PingResult", [&] {
    io.Value("SuccessFlag", m.success);
    io.Value("ServicesTime", m.services_time);
    if constexpr (!Io::kReads) {  // required by the schema, meaningless here
      io.Value("IsHttps", false);
      io.Value("ConfigFileLastModifiedTime", m.services_time);
      io.Value("ConfigFileNextExpirationTime", m.services_time);
      io.Value("ConfigFileExpirationModuloInMinutes", std::int32_t{0});
    }
  });
}

// ---- The messages ------------------------------------------------------------------------------

#define SYNC_MESSAGES(Message, name_space, element)                                 \
  GAPFERRY_SOAP_MESSAGE(Message##Request, name_space, element, SoapStyle::kClassic) \
  GAPFERRY_SOAP_MESSAGE(Message##Response, name_space, element "Response", SoapStyle::kClassic)

SYNC_MESSAGES(GetAuthConfig, ns::kServerSync, "GetAuthConfig")
SYNC_MESSAGES(DssAuthorization, ns::kDssAuth, "GetAuthorizationCookie")
SYNC_MESSAGES(DssGetCookie, ns::kServerSync, "GetCookie")
SYNC_MESSAGES(GetConfigData, ns::kServerSync, "GetConfigData")
SYNC_MESSAGES(GetRevisionIdList, ns::kServerSync, "GetRevisionIdList")
SYNC_MESSAGES(GetUpdateData, ns::kServerSync, "GetUpdateData")
SYNC_MESSAGES(GetUpdateDecryptionData, ns::kServerSync, "GetUpdateDecryptionData")
SYNC_MESSAGES(DownloadFiles, ns::kServerSync, "DownloadFiles")
SYNC_MESSAGES(GetDeployments, ns::kServerSync, "GetDeployments")
SYNC_MESSAGES(GetDriverIdList, ns::kServerSync, "GetDriverIdList")
SYNC_MESSAGES(GetDriverSetData, ns::kServerSync, "GetDriverSetData")
SYNC_MESSAGES(GetRelatedRevisions, ns::kServerSync, "GetRelatedRevisionsForUpdates")
SYNC_MESSAGES(Ping, ns::kMonitorable, "Ping")

}  // namespace gapferry::protocol
