#pragma once

#include <string_view>

#include "base/canonical_json.h"
#include "mirror/exchange/return_records.h"

// One function per record of a return and direction; for the sources of exchange/ only.

namespace gapferry::mirror::exchange {

/// Printable ASCII of at most `max_bytes`; anything else becomes '?'.
std::string ToAscii(std::string_view text, std::size_t max_bytes);

JsonValue::Object EncodeRecord(const ReturnReceipt& receipt);
JsonValue::Object EncodeRecord(const ReturnRequest& request);
JsonValue::Object EncodeRecord(const ReturnEffect::Block& block);
JsonValue::Object EncodeRecord(const ReturnEffect::Resend& resend);
JsonValue::Object EncodeRecord(const ReturnEffect::Blocked& blocked);
JsonValue::Object EncodeRecord(const ReturnEffect::Withheld& withheld);
JsonValue::Object EncodeRecord(const DownstreamServer& server);
JsonValue::Object EncodeRecord(const Computer& computer);
JsonValue::Object EncodeRecord(const StatusChange& change);
JsonValue::Object EncodeRecord(const InstallActivity& activity);

ReturnReceipt ReadReceipt(JsonFields& fields);
ReturnRequest ReadRequest(JsonFields& fields);
ReturnEffect::Block ReadBlock(JsonFields& fields);
ReturnEffect::Resend ReadResend(JsonFields& fields);
ReturnEffect::Blocked ReadBlocked(JsonFields& fields);
ReturnEffect::Withheld ReadWithheld(JsonFields& fields);
DownstreamServer ReadServer(JsonFields& fields);
Computer ReadComputer(JsonFields& fields);
StatusChange ReadStatus(JsonFields& fields);
InstallActivity ReadActivity(JsonFields& fields);

}  // namespace gapferry::mirror::exchange
