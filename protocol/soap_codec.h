#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "protocol/answer_body.h"
#include "protocol/soap.h"

// Bytes <-> struct for every message of wusp_messages.h, sync_messages.h and reporting_messages.h,
// in both directions. The functions are templates over the message struct and are instantiated for
// each of them in wusp_codec.cc, sync_codec.cc and reporting_codec.cc: any other type is a link
// error. Elements are read by local name, in any order; unknown ones are ignored; an absent array
// is an empty one. Elements are written in the order of the WSDL, in the shape (SoapStyle) of the
// service that writes them.

namespace gapferry::protocol {

/// Element, namespace and shape of a message; the SOAPAction of a request is made of the first two.
struct MessageName {
  std::string_view name_space;
  std::string_view element;  ///< "SyncUpdates", "SyncUpdatesResponse"
  SoapStyle style;
};
template <class Message>
MessageName NameOf();

/// Fails with kUnsupported when `message` is another operation, with kCorrupt when a required
/// element is missing or a value is none of its type (the text names the element's path and the
/// value), or an array has more than kMaxArrayItems members.
template <class Message>
Result<Message> Decode(const SoapMessage& message);
inline constexpr std::size_t kMaxArrayItems = 5'000'000;

/// The envelope as one string; for messages without prepared or stored texts.
template <class Message>
std::string Encode(const Message& message, SoapVersion version = SoapVersion::k11);

/// The envelope as pieces: prepared texts, stored documents and cabinets stay references.
template <class Message>
AnswerBody EncodeBody(const Message& message, SoapVersion version = SoapVersion::k11);

}  // namespace gapferry::protocol
