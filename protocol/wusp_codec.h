#pragma once

#include "protocol/soap_codec.h"
#include "protocol/wusp_messages.h"

// Decode, Encode, EncodeBody and NameOf of soap_codec.h for the messages of wusp_messages.h.
// Answers that can be large: SyncUpdatesResponse, SyncPrinterCatalogResponse,
// GetExtendedUpdateInfoResponse, GetExtendedUpdateInfo2Response: use EncodeBody.
