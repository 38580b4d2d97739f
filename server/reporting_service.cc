#include "server/reporting_service.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/rollup_intake.h"
#include "protocol/reporting_codec.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::size_t kMaxEventsPerBatch = 5'000;
const protocol::GetRollupConfigurationResponse kLimits;  // what Windows announces

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

// ---- Rollup of servers below (wsusss.md 4.3, 4.6) ----------------------------------------------

namespace {

/// How many elements one request may have, as GetRollupConfiguration announces.
Result<void> CheckCount(std::size_t count, std::int32_t limit, const char* parameter) {
  if (count <= static_cast<std::size_t>(limit)) return {};
  Log(LogLevel::kWarning, "rollup refused: above the announced size",
      {{"parameter", parameter}, {"elements", count}, {"limit", limit}});
  return FailFault(FaultCode::kInvalidParameters, parameter);
}

/// Errors of a server below become faults, all of them logged: its rollup stops there.
Result<void> AsRollupFault(Result<void> done, const char* parameter) {
  if (done.has_value() || done.error().code != ErrorCode::kUsage) return done;
  Log(LogLevel::kWarning, "rollup refused",
      {{"parameter", parameter}, {"error", EscapeForDisplay(done.error().message)}});
  // MS-WSUSSS 3.1.4.15: the word for a parent that is not known.
  const bool unknown_parent = done.error().reason == "unknown-parent";
  return FailFault(unknown_parent ? FaultCode::kInternalServerError : FaultCode::kInvalidParameters,
                   parameter);
}

}  // namespace

mirror::RollupIntake ReportingService::Intake() const {
  return {[this](const mirror::ActivityWriter::Work& work) { return shared_.activity.Run(work); },
          shared_.identity.guid};
}

/// With sums alone, calls 3 to 5 must be refused.
Result<void> ReportingService::RequireDetail() const {
  if (shared_.config.serve.rollup == mirror::RollupDetail::kDetailed) return {};
  return FailFault(FaultCode::kInvalidParameters, "this server takes summaries only");
}

Result<protocol::GetRollupConfigurationResponse> ReportingService::GetRollupConfiguration(
    CallContext& call, const protocol::GetRollupConfigurationRequest&) {
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  protocol::GetRollupConfigurationResponse answer;
  answer.do_detailed_rollup = shared_.config.serve.rollup == mirror::RollupDetail::kDetailed;
  TRY_ASSIGN(answer.rollup_reset_guid, activity->RollupResetGuid());
  answer.server_id = shared_.identity.guid;
  return answer;
}

Result<protocol::RollupDownstreamServersResponse> ReportingService::RollupDownstreamServers(
    CallContext&, const protocol::RollupDownstreamServersRequest& ask) {
  const std::int32_t limit = kLimits.downstream_servers_max_batch_size;
  std::size_t summaries = 0;
  for (const auto& server : ask.servers) summaries += server.client_summaries.size();
  TRY(CheckCount(std::max(summaries, ask.servers.size()), limit, "downstreamServers"));
  TRY(AsRollupFault(Intake().Servers(ask), "downstreamServers"));
  return protocol::RollupDownstreamServersResponse{};
}

Result<protocol::RollupComputersResponse> ReportingService::RollupComputers(
    CallContext&, const protocol::RollupComputersRequest& ask) {
  TRY(RequireDetail());
  TRY(CheckCount(ask.computers.size(), kLimits.computers_max_batch_size, "computers"));
  protocol::RollupComputersResponse answer;
  const auto take = [&]() -> Result<void> {
    TRY_ASSIGN(answer.changes, Intake().Computers(ask));
    return {};
  };
  TRY(AsRollupFault(take(), "computers"));
  return answer;
}

Result<protocol::GetOutOfSyncComputersResponse> ReportingService::GetOutOfSyncComputers(
    CallContext& call, const protocol::GetOutOfSyncComputersRequest& ask) {
  TRY(RequireDetail());
  TRY(CheckCount(ask.last_rollup_numbers.size(), kLimits.out_of_sync_computers_max_batch_size,
                 "lastRollupNumbers"));
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  protocol::GetOutOfSyncComputersResponse answer;
  TRY_ASSIGN(answer.computer_ids, activity->OutOfSync(ask));
  return answer;
}

Result<protocol::RollupComputerStatusResponse> ReportingService::RollupComputerStatus(
    CallContext&, const protocol::RollupComputerStatusRequest& ask) {
  TRY(RequireDetail());
  TRY(CheckCount(ask.computers.size(), kLimits.computer_status_max_batch_size, "computers"));
  const Result<void> done = Intake().Status(ask);
  // MS-WSUSSS 3.1.4.17: false is the word for busy.
  if (!done.has_value() && done.error().code == ErrorCode::kBusy) {
    return protocol::RollupComputerStatusResponse{false};
  }
  TRY(AsRollupFault(done, "computers"));
  return protocol::RollupComputerStatusResponse{true};
}

}  // namespace gapferry::server
