#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guid.h"
#include "protocol/answer_body.h"
#include "protocol/update_id.h"

// Types that several services share. Field names follow ours; the wire names stand in the codecs.
// Texts are UTF-8. An absent array and an empty one are the same.

namespace gapferry::protocol {

struct Cookie {
  UtcTime expiration;
  Bytes encrypted_data;  ///< empty: no cookie (an agent's first oldCookie has only the time)
  bool operator==(const Cookie&) const = default;
};

struct AuthorizationCookie {
  std::string plug_in_id;
  Bytes cookie_data;
  bool operator==(const AuthorizationCookie&) const = default;
};

struct AuthPlugIn {
  std::string plug_in_id;
  std::string service_url;  ///< relative to the server's root
  std::string parameter;
  bool operator==(const AuthPlugIn&) const = default;
};

/// The text of an `Xml` or `XmlUpdateBlob` element.
struct PlainText {
  std::string text;  ///< as it is meant; escaped when written
};
struct EscapedText {
  std::string text;  ///< escaped already
};
using TextValue = std::variant<PlainText, EscapedText, std::shared_ptr<const PreparedText>,
                               std::shared_ptr<const StoredBytes>>;

}  // namespace gapferry::protocol
