#pragma once

#include "mirror/activity.h"
#include "protocol/wusp_messages.h"
#include "server/client_cookies.h"
#include "server/page_chunks.h"
#include "server/registered_computers.h"
#include "server/soap_endpoint.h"

namespace gapferry::server {

/// The Client and SimpleAuth services of MS-WUSP. Thread-safe.
class ClientService {
 public:
  explicit ClientService(const ServiceShared& shared)
      : shared_(shared), cookies_(shared), chunks_(shared.config.serve.page_cache_bytes) {}
  void AddClientOperations(SoapEndpoint& endpoint);
  void AddAuthorizationOperations(SoapEndpoint& endpoint);

 private:
  Result<protocol::GetConfigResponse> GetConfig(CallContext& call,
                                                const protocol::GetConfigRequest& ask);
  Result<protocol::SimpleAuthorizationResponse> Authorize(
      CallContext& call, const protocol::SimpleAuthorizationRequest& ask);
  Result<protocol::GetCookieResponse> GetCookie(CallContext& call,
                                                const protocol::GetCookieRequest& ask);
  Result<protocol::RegisterComputerResponse> RegisterComputer(
      CallContext& call, const protocol::RegisterComputerRequest& ask);
  Result<protocol::StartCategoryScanResponse> StartCategoryScan(
      CallContext& call, const protocol::StartCategoryScanRequest& ask);
  Result<protocol::SyncUpdatesResponse> SyncUpdates(CallContext& call,
                                                    const protocol::SyncUpdatesRequest& ask);
  Result<protocol::SyncPrinterCatalogResponse> SyncPrinterCatalog(
      CallContext& call, const protocol::SyncPrinterCatalogRequest& ask);
  Result<protocol::RefreshCacheResponse> RefreshCache(CallContext& call,
                                                      const protocol::RefreshCacheRequest& ask);
  Result<protocol::GetExtendedUpdateInfoResponse> GetExtendedUpdateInfo(
      CallContext& call, const protocol::GetExtendedUpdateInfoRequest& ask);
  Result<protocol::GetExtendedUpdateInfo2Response> GetExtendedUpdateInfo2(
      CallContext& call, const protocol::GetExtendedUpdateInfo2Request& ask);
  Result<protocol::GetFileLocationsResponse> GetFileLocations(
      CallContext& call, const protocol::GetFileLocationsRequest& ask);

  /// ConfigChanged and RegistrationRequired.
  Result<void> CheckClient(CallContext& call, const ClientCookie& cookie);
  Result<void> CheckLists(const protocol::SyncUpdatesParameters& parameters);
  /// The groups whose deployments count: as assigned, or by the names the client sent.
  std::vector<Guid> GroupsOf(const CallContext& call, const ClientCookie& cookie) const;
  /// With client-side targeting: keeps the groups for people who look at computers.
  Result<void> KeepGroups(CallContext& call, const ClientCookie& cookie);
  /// Whether what the client caches was derived otherwise than what it would be given today.
  Result<bool> CachesOldFragments(CallContext& call, const ClientCookie& cookie);
  Result<protocol::SyncInfo> SoftwarePass(CallContext& call, ClientCookie& cookie,
                                          const protocol::SyncUpdatesParameters& parameters);
  Result<protocol::SyncInfo> DriverPass(CallContext& call, const ClientCookie& cookie,
                                        const protocol::SyncUpdatesParameters& parameters);
  /// Puts what is new into `info`, as much as one answer takes (serve.page_bytes; one larger
  /// fragment travels alone). Returns whether the client will ask again because of it.
  Result<bool> FillPage(CallContext& call, const SoftwareScanAnswer& found, bool auto_fields,
                        protocol::SyncInfo& info);
  /// What the client is told of matching drivers; stops at page_updates when `paged`.
  Result<protocol::SyncInfo> PresentDrivers(CallContext& call, const ClientCookie& cookie,
                                            DriverScanAnswer found, bool paged);
  void NoteScanCompleted(CallContext& call, const ClientCookie& cookie);

  const ServiceShared& shared_;  // must outlive
  ClientCookies cookies_;
  PageChunks chunks_;
  RegisteredComputers computers_;
};

}  // namespace gapferry::server
