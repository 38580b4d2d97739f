#include "server/reporting_service.h"

#include "base/log.h"
#include "base/text.h"
#include "mirror/activity.h"
#include "protocol/reporting_codec.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::size_t kMaxEventsPerBatch = 5'000;

/// What a peer asked that its data does not allow becomes InvalidParameters; a busy writer stays.
Result<void> AsFault(Result<void> done, const char* parameter) {
  if (done.has_value()) return done;
  const ErrorCode code = done.error().code;
  if (code != ErrorCode::kUsage && code != ErrorCode::kUntrusted && code != ErrorCode::kNotFound) {
    return done;
  }
  Log(LogLevel::kDebug, "report refused", {{"error", EscapeForDisplay(done.error().message)}});
  return FailFault(FaultCode::kInvalidParameters, parameter);
}

}  // namespace

void ReportingService::AddOperations(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &ReportingService::ReportEventBatch));
  endpoint.Add(MakeOperation(*this, &ReportingService::ReportEventBatch2));
  endpoint.Add(MakeOperation(*this, &ReportingService::GetRequiredInventoryType));
  endpoint.Add(MakeOperation(*this, &ReportingService::ReportInventory));
  endpoint.Add(MakeOperation(*this, &ReportingService::GetRollupConfiguration));
  endpoint.Add(MakeOperation(*this, &ReportingService::RollupDownstreamServers));
  endpoint.Add(MakeOperation(*this, &ReportingService::RollupComputers));
  endpoint.Add(MakeOperation(*this, &ReportingService::GetOutOfSyncComputers));
  endpoint.Add(MakeOperation(*this, &ReportingService::RollupComputerStatus));
}

Result<protocol::ReportEventBatchResponse> ReportingService::ReportEventBatch(
    CallContext& call, const protocol::ReportEventBatchRequest& ask) {
  if (!ask.cookie) return FailFault(FaultCode::kInvalidCookie);
  TRY_ASSIGN(const ClientCookie cookie, cookies_.Open(call, *ask.cookie));
  if (ask.events.size() > kMaxEventsPerBatch) {
    return FailFault(FaultCode::kInvalidParameters, "eventBatch");
  }
  if (!ask.events.empty()) {
    const auto store = [&](mirror::Activity& activity) -> Result<void> {
      TRY(activity.Report(cookie.client_id, ask.events));
      return {};
    };
    TRY(AsFault(shared_.activity.Run(store), "eventBatch"));
  }
  return protocol::ReportEventBatchResponse{true};
}

Result<protocol::ReportEventBatch2Response> ReportingService::ReportEventBatch2(
    CallContext&, const protocol::ReportEventBatch2Request&) {
  return FailFault(FaultCode::kInvalidParameters, "ReportEventBatch2 is not offered");
}

Result<protocol::GetRequiredInventoryTypeResponse> ReportingService::GetRequiredInventoryType(
    CallContext& call, const protocol::GetRequiredInventoryTypeRequest& ask) {
  if (!ask.cookie) return FailFault(FaultCode::kInvalidCookie);
  TRY(cookies_.Open(call, *ask.cookie));
  return protocol::GetRequiredInventoryTypeResponse{0};
}

Result<protocol::ReportInventoryResponse> ReportingService::ReportInventory(
    CallContext& call, const protocol::ReportInventoryRequest& ask) {
  if (!ask.cookie) return FailFault(FaultCode::kInvalidCookie);
  TRY(cookies_.Open(call, *ask.cookie));
  return protocol::ReportInventoryResponse{true};  // none was required, none is kept
}

Result<protocol::GetRollupConfigurationResponse> ReportingService::GetRollupConfiguration(
    CallContext& call, const protocol::GetRollupConfigurationRequest&) {
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  protocol::GetRollupConfigurationResponse answer;
  answer.do_detailed_rollup = true;
  TRY_ASSIGN(answer.rollup_reset_guid, activity->RollupResetGuid());
  answer.server_id = shared_.identity.guid;
  return answer;
}

Result<protocol::RollupDownstreamServersResponse> ReportingService::RollupDownstreamServers(
    CallContext&, const protocol::RollupDownstreamServersRequest& ask) {
  const protocol::GetRollupConfigurationResponse limits;
  std::size_t summaries = 0;
  for (const auto& server : ask.servers) summaries += server.client_summaries.size();
  const auto limit = static_cast<std::size_t>(limits.downstream_servers_max_batch_size);
  if (summaries > limit || ask.servers.size() > limit) {
    return FailFault(FaultCode::kInvalidParameters, "downstreamServers");
  }
  const auto take = [&](mirror::Activity& activity) { return activity.RollupServers(ask); };
  TRY(AsFault(shared_.activity.Run(take), "downstreamServers"));
  return protocol::RollupDownstreamServersResponse{};
}

Result<protocol::RollupComputersResponse> ReportingService::RollupComputers(
    CallContext&, const protocol::RollupComputersRequest& ask) {
  const protocol::GetRollupConfigurationResponse limits;
  if (ask.computers.size() > static_cast<std::size_t>(limits.computers_max_batch_size)) {
    return FailFault(FaultCode::kInvalidParameters, "computers");
  }
  protocol::RollupComputersResponse answer;
  const auto take = [&](mirror::Activity& activity) -> Result<void> {
    TRY_ASSIGN(answer.changes, activity.RollupComputers(ask));
    return {};
  };
  TRY(AsFault(shared_.activity.Run(take), "computers"));
  return answer;
}

Result<protocol::GetOutOfSyncComputersResponse> ReportingService::GetOutOfSyncComputers(
    CallContext& call, const protocol::GetOutOfSyncComputersRequest& ask) {
  const protocol::GetRollupConfigurationResponse limits;
  if (ask.last_rollup_numbers.size() >
      static_cast<std::size_t>(limits.out_of_sync_computers_max_batch_size)) {
    return FailFault(FaultCode::kInvalidParameters, "lastRollupNumbers");
  }
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  protocol::GetOutOfSyncComputersResponse answer;
  TRY_ASSIGN(answer.computer_ids, activity->OutOfSync(ask));
  return answer;
}

Result<protocol::RollupComputerStatusResponse> ReportingService::RollupComputerStatus(
    CallContext&, const protocol::RollupComputerStatusRequest& ask) {
  const protocol::GetRollupConfigurationResponse limits;
  if (ask.computers.size() > static_cast<std::size_t>(limits.computer_status_max_batch_size)) {
    return FailFault(FaultCode::kInvalidParameters, "computers");
  }
  const Result<void> done =
      shared_.activity.Run([&](mirror::Activity& activity) { return activity.RollupStatus(ask); });
  // MS-WSUSSS 3.1.4.17: false is the word for busy.
  if (!done.has_value() && done.error().code == ErrorCode::kBusy) {
    return protocol::RollupComputerStatusResponse{false};
  }
  TRY(AsFault(done, "computers"));
  return protocol::RollupComputerStatusResponse{true};
}

}  // namespace gapferry::server
