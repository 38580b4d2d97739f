#include "server/client_cookies.h"

#include "mirror/catalog.h"

namespace gapferry::server {

using protocol::FaultCode;

Result<ClientCookie> ClientCookies::Open(CallContext& call, const protocol::Cookie& cookie) const {
  Result<Bytes> plain = shared_.cookies.Open(CookiePurpose::kClient, cookie.encrypted_data);
  if (!plain.has_value()) return FailFault(FaultCode::kInvalidCookie);
  Result<ClientCookie> content = DecodeClientCookie(*plain);
  if (!content.has_value()) return FailFault(FaultCode::kInvalidCookie);
  const mirror::StateName& now = call.index->intent().state.name;
  if (content->state.epoch != now.epoch) return FailFault(FaultCode::kServerChanged);
  if (!(content->state == now)) {
    // A mirror put back from a copy keeps its epoch, but not the history after it.
    TRY_ASSIGN(const mirror::StateKnowledge known,
               call.worker.mirror.catalog().Knows(content->state));
    if (known == mirror::StateKnowledge::kOtherHistory) {
      return FailFault(FaultCode::kServerChanged);
    }
  }
  if (content->expires <= call.now) return FailFault(FaultCode::kCookieExpired);
  return std::move(*content);
}

Result<ClientCookie> ClientCookies::OpenAuthorization(CallContext& call, ByteView sealed) const {
  Result<Bytes> plain = shared_.cookies.Open(CookiePurpose::kClientAuthorization, sealed);
  if (!plain.has_value()) return FailFault(FaultCode::kInvalidAuthorizationCookie);
  Result<ClientCookie> content = DecodeClientCookie(*plain);
  if (!content.has_value() || content->expires <= call.now) {
    return FailFault(FaultCode::kInvalidAuthorizationCookie);
  }
  return std::move(*content);
}

Result<protocol::Cookie> ClientCookies::Seal(CallContext& call, ClientCookie content) const {
  content.state = call.index->intent().state.name;
  TRY_ASSIGN(Bytes sealed,
             shared_.cookies.Seal(CookiePurpose::kClient, EncodeCookie(content), call.now));
  return protocol::Cookie{content.expires, std::move(sealed)};
}

Result<Bytes> ClientCookies::SealAuthorization(CallContext& call, ClientCookie content) const {
  content.state = call.index->intent().state.name;
  return shared_.cookies.Seal(CookiePurpose::kClientAuthorization, EncodeCookie(content), call.now);
}

}  // namespace gapferry::server
