#pragma once

#include "protocol/common_messages.h"
#include "server/service_context.h"

namespace gapferry::server {

/// Opens, checks and renews the cookies of clients (MS-WUSP 2.2.2.4). Thread-safe.
class ClientCookies {
 public:
  explicit ClientCookies(const ServiceShared& shared) : shared_(shared) {}

  /// Faults: InvalidCookie (not ours, or none), ServerChanged (another epoch or history),
  /// CookieExpired.
  Result<ClientCookie> Open(CallContext& call, const protocol::Cookie& cookie) const;
  /// Faults with InvalidAuthorizationCookie.
  Result<ClientCookie> OpenAuthorization(CallContext& call, ByteView sealed) const;
  /// Seals `content` with the state of now; its expiry stays.
  Result<protocol::Cookie> Seal(CallContext& call, ClientCookie content) const;
  Result<Bytes> SealAuthorization(CallContext& call, ClientCookie content) const;

 private:
  const ServiceShared& shared_;  // must outlive
};

}  // namespace gapferry::server
