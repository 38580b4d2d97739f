// Envelopes and every request decoder: what is accepted comes out again as it was understood.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::protocol {
namespace {

// Encoding what was decoded, decoding and encoding again must give the same text.
template <class Message>
void Check(const SoapMessage& message) {
  const auto first = Decode<Message>(message);
  if (!first) return;
  const std::string text = Encode(*first);
  auto parsed = SoapMessage::Parse(text, SoapLimits::Answer());
  if (!parsed) std::abort();
  const auto second = Decode<Message>(*parsed);
  if (!second || Encode(*second) != text) std::abort();
}

template <class... Messages>
void CheckAll(const SoapMessage& message) {
  (Check<Messages>(message), ...);
}

}  // namespace
}  // namespace gapferry::protocol

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry::protocol;
  auto message = SoapMessage::Parse(std::string(reinterpret_cast<const char*>(data), size),
                                    SoapLimits::Request());
  if (!message) return 0;
  if (message->IsFault()) {
    if (!DecodeFault(*message)) std::abort();
    return 0;
  }
  CheckAll<GetConfigRequest, GetCookieRequest, RegisterComputerRequest, StartCategoryScanRequest,
           SyncUpdatesRequest, SyncPrinterCatalogRequest, RefreshCacheRequest,
           GetExtendedUpdateInfoRequest, GetExtendedUpdateInfo2Request, GetFileLocationsRequest,
           SimpleAuthorizationRequest>(*message);
  CheckAll<GetAuthConfigRequest, DssAuthorizationRequest, DssGetCookieRequest, GetConfigDataRequest,
           GetRevisionIdListRequest, GetUpdateDataRequest, GetUpdateDecryptionDataRequest,
           DownloadFilesRequest, GetDeploymentsRequest, GetDriverIdListRequest,
           GetDriverSetDataRequest, GetRelatedRevisionsRequest, PingRequest>(*message);
  CheckAll<ReportEventBatchRequest, ReportEventBatch2Request, GetRequiredInventoryTypeRequest,
           ReportInventoryRequest, GetRollupConfigurationRequest, RollupDownstreamServersRequest,
           RollupComputersRequest, GetOutOfSyncComputersRequest, RollupComputerStatusRequest>(
      *message);
  return 0;
}
