#pragma once

#include "mirror/rollup_intake.h"
#include "protocol/reporting_messages.h"
#include "server/client_cookies.h"
#include "server/soap_endpoint.h"

namespace gapferry::server {

/// The Reporting service: events of clients (MS-WUSP 3.1.5.14) and the rollup of downstream servers
/// (MS-WSUSSS 3.1.4.13 to 3.1.4.17). What is acknowledged is durable. ReportEventBatch2 carries no
/// cookie, so that anybody could forge reports with it: it is refused. Thread-safe.
class ReportingService {
 public:
  explicit ReportingService(const ServiceShared& shared) : shared_(shared), cookies_(shared) {}
  void AddOperations(SoapEndpoint& endpoint);

 private:
  Result<protocol::ReportEventBatchResponse> ReportEventBatch(
      CallContext& call, const protocol::ReportEventBatchRequest& ask);
  Result<protocol::ReportEventBatch2Response> ReportEventBatch2(
      CallContext& call, const protocol::ReportEventBatch2Request& ask);
  Result<protocol::GetRequiredInventoryTypeResponse> GetRequiredInventoryType(
      CallContext& call, const protocol::GetRequiredInventoryTypeRequest& ask);
  Result<protocol::ReportInventoryResponse> ReportInventory(
      CallContext& call, const protocol::ReportInventoryRequest& ask);

  Result<protocol::GetRollupConfigurationResponse> GetRollupConfiguration(
      CallContext& call, const protocol::GetRollupConfigurationRequest& ask);
  Result<protocol::RollupDownstreamServersResponse> RollupDownstreamServers(
      CallContext& call, const protocol::RollupDownstreamServersRequest& ask);
  Result<protocol::RollupComputersResponse> RollupComputers(
      CallContext& call, const protocol::RollupComputersRequest& ask);
  Result<protocol::GetOutOfSyncComputersResponse> GetOutOfSyncComputers(
      CallContext& call, const protocol::GetOutOfSyncComputersRequest& ask);
  Result<protocol::RollupComputerStatusResponse> RollupComputerStatus(
      CallContext& call, const protocol::RollupComputerStatusRequest& ask);

  mirror::RollupIntake Intake() const;
  Result<void> RequireDetail() const;

  const ServiceShared& shared_;  // must outlive
  ClientCookies cookies_;
};

}  // namespace gapferry::server
