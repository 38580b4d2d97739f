#pragma once

#include "protocol/sync_messages.h"
#include "server/soap_endpoint.h"
#include "server/sync_anchor.h"

namespace gapferry::server {

/// The Server Sync and DSS Authorization services of MS-WSUSSS, as upstream of other update
/// servers. Keeps nothing per caller but what the caller's cookie holds. Thread-safe.
class SyncService {
 public:
  /// Hard limit of GetUpdateData and GetUpdateDecryptionData, told in GetConfigData.
  static constexpr std::int32_t kMaxUpdatesPerRequest = 100;

  explicit SyncService(const ServiceShared& shared) : shared_(shared) {}
  void AddSyncOperations(SoapEndpoint& endpoint);
  void AddAuthorizationOperations(SoapEndpoint& endpoint);
  void AddMonitoring(SoapEndpoint& endpoint);  ///< Ping, which several services have

 private:
  Result<protocol::GetAuthConfigResponse> GetAuthConfig(CallContext& call,
                                                        const protocol::GetAuthConfigRequest& ask);
  Result<protocol::DssAuthorizationResponse> Authorize(
      CallContext& call, const protocol::DssAuthorizationRequest& ask);
  Result<protocol::DssGetCookieResponse> GetCookie(CallContext& call,
                                                   const protocol::DssGetCookieRequest& ask);
  Result<protocol::GetConfigDataResponse> GetConfigData(CallContext& call,
                                                        const protocol::GetConfigDataRequest& ask);
  Result<protocol::GetRevisionIdListResponse> GetRevisionIdList(
      CallContext& call, const protocol::GetRevisionIdListRequest& ask);
  Result<protocol::GetUpdateDataResponse> GetUpdateData(CallContext& call,
                                                        const protocol::GetUpdateDataRequest& ask);
  Result<protocol::GetUpdateDecryptionDataResponse> GetUpdateDecryptionData(
      CallContext& call, const protocol::GetUpdateDecryptionDataRequest& ask);
  Result<protocol::GetDeploymentsResponse> GetDeployments(
      CallContext& call, const protocol::GetDeploymentsRequest& ask);
  Result<protocol::DownloadFilesResponse> DownloadFiles(CallContext& call,
                                                        const protocol::DownloadFilesRequest& ask);
  Result<protocol::GetDriverIdListResponse> GetDriverIdList(
      CallContext& call, const protocol::GetDriverIdListRequest& ask);
  Result<protocol::GetDriverSetDataResponse> GetDriverSetData(
      CallContext& call, const protocol::GetDriverSetDataRequest& ask);
  Result<protocol::GetRelatedRevisionsResponse> GetRelatedRevisions(
      CallContext& call, const protocol::GetRelatedRevisionsRequest& ask);
  Result<protocol::PingResponse> Ping(CallContext& call, const protocol::PingRequest& ask);

  /// Faults: InvalidCookie (none, not ours, expired, of another mirror), those of the protocol
  /// version in it.
  Result<ServerCookie> OpenCookie(CallContext& call, const std::optional<protocol::Cookie>& cookie);
  /// 0 for an absent or empty anchor. Faults: InvalidParameters naming `parameter` for another
  /// shape, ServerChanged for a state that is not in our history, such as the vendor's.
  Result<mirror::Generation> CheckAnchor(CallContext& call, const std::optional<std::string>& text,
                                         const char* parameter);
  SyncAnchor AnchorOfNow(const CallContext& call) const;

  const ServiceShared& shared_;  // must outlive
};

}  // namespace gapferry::server
