#pragma once

#include "protocol/reporting_messages.h"
#include "protocol/soap_codec.h"

// Decode, Encode and NameOf of soap_codec.h for the messages of reporting_messages.h.
