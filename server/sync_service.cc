#include "server/sync_service.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "protocol/sync_codec.h"
#include "server/revision_list.h"
#include "server/sync_languages.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::size_t kMaxDigests = 100;
constexpr std::string_view kOurProtocolVersion = "1.20";

/// A DNS name by its syntax: labels of letters, digits, '-' and '_'.
bool IsDnsName(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

Result<void> CheckVersion(std::uint32_t packed) {
  if (packed == 0) return FailFault(FaultCode::kInvalidParameters, "protocolVersion");
  if (packed >> 16 != 1) return FailFault(FaultCode::kIncompatibleProtocolVersion);
  return {};
}

}  // namespace

void SyncService::AddSyncOperations(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &SyncService::GetAuthConfig));
  endpoint.Add(MakeOperation(*this, &SyncService::GetCookie));
  endpoint.Add(MakeOperation(*this, &SyncService::GetConfigData));
  endpoint.Add(MakeOperation(*this, &SyncService::GetRevisionIdList));
  endpoint.Add(MakeOperation(*this, &SyncService::GetUpdateData));
  endpoint.Add(MakeOperation(*this, &SyncService::GetUpdateDecryptionData));
  endpoint.Add(MakeOperation(*this, &SyncService::GetDeployments));
  endpoint.Add(MakeOperation(*this, &SyncService::DownloadFiles));
  endpoint.Add(MakeOperation(*this, &SyncService::GetDriverIdList));
  endpoint.Add(MakeOperation(*this, &SyncService::GetDriverSetData));
  endpoint.Add(MakeOperation(*this, &SyncService::GetRelatedRevisions));
  AddMonitoring(endpoint);
}

void SyncService::AddAuthorizationOperations(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &SyncService::Authorize));
  AddMonitoring(endpoint);
}

void SyncService::AddMonitoring(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &SyncService::Ping));
}

Result<protocol::GetAuthConfigResponse> SyncService::GetAuthConfig(
    CallContext&, const protocol::GetAuthConfigRequest&) {
  protocol::GetAuthConfigResponse answer;
  answer.last_change = shared_.config_last_change;
  answer.auth_info = {{"DssTargeting", std::string(protocol::path::kDssAuth), ""}};
  return answer;
}

Result<protocol::DssAuthorizationResponse> SyncService::Authorize(
    CallContext& call, const protocol::DssAuthorizationRequest& ask) {
  if (!IsDnsName(ask.account_name)) {
    return FailFault(FaultCode::kInvalidParameters, "machineName");  // Windows' word, note 28
  }
  const Result<Guid> guid = Guid::Parse(ask.account_guid);
  if (!guid.has_value() || guid->IsZero()) {
    return FailFault(FaultCode::kInvalidParameters, "accountGuid");
  }
  ServerCookie content;
  content.server = *guid;
  content.name = ask.account_name;
  content.mirror = shared_.identity.guid;
  content.epoch = call.index->intent().state.name.epoch;
  content.expires = call.now + shared_.config.serve.downstream_cookie_lifetime;
  TRY(shared_.activity.Run(
      [&](mirror::Activity& activity) { return activity.ServerContact(*guid, ask.account_name); }));
  TRY_ASSIGN(Bytes sealed, shared_.cookies.Seal(CookiePurpose::kServerAuthorization,
                                                EncodeCookie(content), call.now));
  return protocol::DssAuthorizationResponse{{"DssTargeting", std::move(sealed)}};
}

Result<protocol::DssGetCookieResponse> SyncService::GetCookie(
    CallContext& call, const protocol::DssGetCookieRequest& ask) {
  if (ask.auth_cookies.size() != 1) {
    return FailFault(FaultCode::kInvalidParameters, "authCookies");
  }
  const Result<Bytes> plain =
      shared_.cookies.Open(CookiePurpose::kServerAuthorization, ask.auth_cookies[0].cookie_data);
  if (!plain.has_value()) return FailFault(FaultCode::kInvalidAuthorizationCookie);
  Result<ServerCookie> content = DecodeServerCookie(*plain);
  if (!content.has_value() || content->expires <= call.now) {
    return FailFault(FaultCode::kInvalidAuthorizationCookie);
  }
  content->protocol_version = PackProtocolVersion(ask.protocol_version);
  TRY(CheckVersion(content->protocol_version));
  content->expires =
      std::min(content->expires, call.now + shared_.config.serve.downstream_cookie_lifetime);
  TRY_ASSIGN(Bytes sealed,
             shared_.cookies.Seal(CookiePurpose::kServer, EncodeCookie(*content), call.now));
  return protocol::DssGetCookieResponse{{content->expires, std::move(sealed)}};
}

Result<ServerCookie> SyncService::OpenCookie(CallContext& call,
                                             const std::optional<protocol::Cookie>& cookie) {
  if (!cookie) return FailFault(FaultCode::kInvalidCookie);
  const Result<Bytes> plain = shared_.cookies.Open(CookiePurpose::kServer, cookie->encrypted_data);
  if (!plain.has_value()) return FailFault(FaultCode::kInvalidCookie);
  Result<ServerCookie> content = DecodeServerCookie(*plain);
  if (!content.has_value() || content->expires <= call.now) {
    return FailFault(FaultCode::kInvalidCookie);  // this protocol has no CookieExpired
  }
  // One of another mirror. After ServerChanged the caller would go on with the same cookie
  // (MS-WSUSSS 2.2.9.3) and be told so for ever; with a new one it is told of by its anchors, which
  // it drops. For the same reason an epoch of before a restore is no fault here: anchors that this
  // history lacks are (CheckAnchor), and the others are still good.
  if (content->mirror != shared_.identity.guid) return FailFault(FaultCode::kInvalidCookie);
  TRY(CheckVersion(content->protocol_version));
  return std::move(*content);
}

Result<mirror::Generation> SyncService::CheckAnchor(CallContext& call,
                                                    const std::optional<std::string>& text,
                                                    const char* parameter) {
  if (!text || text->empty()) return mirror::Generation{0};
  const std::optional<SyncAnchor> anchor = SyncAnchor::Parse(*text);
  if (!anchor && IsVendorAnchor(*text)) return FailFault(FaultCode::kServerChanged);
  if (!anchor) return FailFault(FaultCode::kInvalidParameters, parameter);
  TRY_ASSIGN(const auto state, call.worker.mirror.catalog().StateCommittedAt(anchor->committed_at));
  // An empty answer to a foreign anchor would hide updates for ever (wsusss.md 3.6).
  if (!state || state->name.generation != anchor->generation) {
    return FailFault(FaultCode::kServerChanged);
  }
  return anchor->generation;
}

SyncAnchor SyncService::AnchorOfNow(const CallContext& call) const {
  const mirror::PublishedState& state = call.index->intent().state;
  return {state.name.generation, state.committed_at};
}

Result<protocol::GetConfigDataResponse> SyncService::GetConfigData(
    CallContext& call, const protocol::GetConfigDataRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  TRY_ASSIGN(const mirror::Generation anchor, CheckAnchor(call, ask.config_anchor, "configAnchor"));
  protocol::GetConfigDataResponse answer;
  answer.catalog_only_sync = false;
  answer.lazy_sync = shared_.config.content.download != mirror::ContentPolicy::kAll;
  answer.server_hosts_psf_files = shared_.config.content.express;
  answer.max_updates_per_request = kMaxUpdatesPerRequest;
  answer.new_config_anchor = AnchorOfNow(call).ToString();
  answer.protocol_version = std::string(kOurProtocolVersion);
  answer.max_updates_per_decryption_request = kMaxUpdatesPerRequest;
  // Languages have no generation of their own: older anchors get the list, which is merged.
  if (anchor != call.index->intent().state.name.generation) {
    TRY_ASSIGN(const mirror::Subscription subscription,
               call.worker.mirror.catalog().ReadSubscription());
    answer.languages = SyncLanguages(subscription.languages);
  }
  return answer;
}

Result<protocol::GetRevisionIdListResponse> SyncService::GetRevisionIdList(
    CallContext& call, const protocol::GetRevisionIdListRequest& ask) {
  TRY_ASSIGN(const ServerCookie cookie, OpenCookie(call, ask.cookie));
  TRY_ASSIGN(const mirror::Generation anchor, CheckAnchor(call, ask.filter.anchor, "filter"));
  protocol::GetRevisionIdListResponse answer;
  answer.anchor = AnchorOfNow(call).ToString();
  answer.list =
      ListRevisions(call.index->shared_catalog(), ask.filter, anchor, cookie.protocol_version);
  return answer;
}

Result<protocol::DownloadFilesResponse> SyncService::DownloadFiles(
    CallContext& call, const protocol::DownloadFilesRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  if (ask.file_digests.empty() || ask.file_digests.size() > kMaxDigests) {
    return FailFault(FaultCode::kInvalidParameters, "fileDigestList");
  }
  std::set<Sha1Digest> asked;
  for (const Bytes& raw : ask.file_digests) {
    const Result<Sha1Digest> digest = Sha1Digest::FromBytes(raw);
    if (!digest.has_value()) return FailFault(FaultCode::kInvalidParameters, "fileDigestList");
    asked.insert(*digest);
  }
  std::vector<Sha1Digest> wanted;
  std::string missing;
  for (const Sha1Digest& digest : asked) {
    if (call.index->holdings().Find(digest) != nullptr) continue;
    if (call.index->catalog().DeclaresFile(digest)) {
      wanted.push_back(digest);
    } else {
      missing += (missing.empty() ? "" : "|") + digest.ToBase64();
    }
  }
  if (!missing.empty()) return FailFault(FaultCode::kFileDigestsMissing, missing);
  // Behind a gap the list travels back with the next return (wsusss.md 3.5).
  if (!wanted.empty()) TRY(call.worker.mirror.content().AddWanted(wanted));
  return protocol::DownloadFilesResponse{};
}

// Driver sets are the vendor's own; our limits of 0 keep callers away. Drivers are ordinary
// revisions here.
Result<protocol::GetDriverIdListResponse> SyncService::GetDriverIdList(
    CallContext& call, const protocol::GetDriverIdListRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  TRY(CheckAnchor(call, ask.filter.anchor, "filter"));
  protocol::GetDriverIdListResponse answer;
  answer.anchor = AnchorOfNow(call).ToString();
  return answer;
}

Result<protocol::GetDriverSetDataResponse> SyncService::GetDriverSetData(
    CallContext& call, const protocol::GetDriverSetDataRequest& ask) {
  TRY(OpenCookie(call, ask.cookie));
  if (!ask.has_driver_sets) return FailFault(FaultCode::kInvalidParameters, "driverSets");
  return protocol::GetDriverSetDataResponse{};
}

// Not used in the protocol; to be ignored when called (MS-WSUSSS 3.1.4.9).
Result<protocol::GetRelatedRevisionsResponse> SyncService::GetRelatedRevisions(
    CallContext&, const protocol::GetRelatedRevisionsRequest&) {
  return protocol::GetRelatedRevisionsResponse{};
}

Result<protocol::PingResponse> SyncService::Ping(CallContext& call, const protocol::PingRequest&) {
  protocol::PingResponse answer;
  answer.services_time = call.now;
  return answer;
}

}  // namespace gapferry::server
