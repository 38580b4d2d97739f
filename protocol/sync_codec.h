#pragma once

#include "protocol/soap_codec.h"
#include "protocol/sync_messages.h"

// Decode, Encode, EncodeBody and NameOf of soap_codec.h for the messages of sync_messages.h.
// Answer that can be large: GetUpdateDataResponse: use EncodeBody.
