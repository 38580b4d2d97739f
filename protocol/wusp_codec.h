#pragma once

#include "protocol/soap_codec.h"
#include "protocol/wusp_messages.h"

// Decode, Encode, EncodeBody and NameOf of soap_codec.h for the messages of wusp_messages.h.
// Answers that can be large: SyncUpdatesResponse, SyncPrinterCatalogResponse,
// GetExtendedUpdateInfoResponse, GetExtendedUpdateInfo2Response: use EncodeBody.

namespace gapferry::protocol {

/// New updates as they stand in the answer to a scan (MS-WUSP 3.1.5.7), without what is around
/// them: for SyncInfo::prepared_updates. The same in every answer, whatever is before or behind.
AnswerBody EncodeUpdates(const std::vector<UpdateInfo>& updates);

}  // namespace gapferry::protocol
