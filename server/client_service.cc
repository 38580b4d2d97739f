#include "server/client_service.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "base/text.h"
#include "mirror/fragment_store.h"
#include "protocol/fragments.h"
#include "protocol/wusp_codec.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::size_t kMaxRequestedCategories = 200;  // MS-WUSP note 52
constexpr std::chrono::hours kAuthorizationLifetime{4};
constexpr std::size_t kMaxNameBytes = 256;

/// The names a client's policy gives, parted by ';'.
std::vector<std::string> TargetGroupNames(const ClientCookie& cookie) {
  std::vector<std::string> names;
  for (const std::string_view name : Split(cookie.target_group, ';')) {
    if (!TrimAscii(name).empty()) names.emplace_back(TrimAscii(name));
  }
  return names;
}

bool IsProtocolVersion(std::string_view text) { return PackProtocolVersion(text) != 0; }

}  // namespace

void ClientService::AddClientOperations(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &ClientService::GetConfig));
  endpoint.Add(MakeOperation(*this, &ClientService::GetCookie));
  endpoint.Add(MakeOperation(*this, &ClientService::RegisterComputer));
  endpoint.Add(MakeOperation(*this, &ClientService::StartCategoryScan));
  endpoint.Add(MakeOperation(*this, &ClientService::SyncUpdates));
  endpoint.Add(MakeOperation(*this, &ClientService::SyncPrinterCatalog));
  endpoint.Add(MakeOperation(*this, &ClientService::RefreshCache));
  endpoint.Add(MakeOperation(*this, &ClientService::GetExtendedUpdateInfo));
  endpoint.Add(MakeOperation(*this, &ClientService::GetExtendedUpdateInfo2));
  endpoint.Add(MakeOperation(*this, &ClientService::GetFileLocations));
}

void ClientService::AddAuthorizationOperations(SoapEndpoint& endpoint) {
  endpoint.Add(MakeOperation(*this, &ClientService::Authorize));
}

Result<protocol::GetConfigResponse> ClientService::GetConfig(
    CallContext&, const protocol::GetConfigRequest& ask) {
  if (!IsProtocolVersion(ask.protocol_version)) {
    return FailFault(FaultCode::kInvalidParameters, "protocolVersion");
  }
  protocol::GetConfigResponse answer;
  answer.last_change = shared_.config_last_change;
  answer.is_registration_required = true;
  answer.auth_info = {{"SimpleTargeting", std::string(protocol::path::kSimpleAuth), ""}};
  answer.properties = {
      {"MaxExtendedUpdatesPerRequest", "50"},
      {"PackageServerShare", "\\\\" + shared_.identity.name + "\\UpdateServicesPackages"},
      {"ProtocolVersion", "3.2"},
      {"IsInventoryRequired", "0"},
      {"ClientReportingLevel", "2"}};
  return answer;
}

Result<protocol::SimpleAuthorizationResponse> ClientService::Authorize(
    CallContext& call, const protocol::SimpleAuthorizationRequest& ask) {
  if (TrimAscii(ask.client_id).empty() || ask.client_id.size() > kMaxNameBytes) {
    return FailFault(FaultCode::kInvalidParameters, "clientId");
  }
  if (ask.dns_name.value_or("").size() > kMaxNameBytes) {
    return FailFault(FaultCode::kInvalidParameters, "dnsName");
  }
  if (ask.target_group_name.value_or("").size() > 4 * kMaxNameBytes) {
    return FailFault(FaultCode::kInvalidParameters, "targetGroupName");
  }
  ClientCookie content;
  content.client_id = std::string(TrimAscii(ask.client_id));
  content.dns_name = ask.dns_name.value_or("");
  content.target_group = ask.target_group_name.value_or("");
  content.issued = call.now;
  content.expires = call.now + kAuthorizationLifetime;
  TRY_ASSIGN(Bytes sealed, cookies_.SealAuthorization(call, std::move(content)));
  return protocol::SimpleAuthorizationResponse{{"SimpleTargeting", std::move(sealed)}};
}

Result<protocol::GetCookieResponse> ClientService::GetCookie(
    CallContext& call, const protocol::GetCookieRequest& ask) {
  if (ask.auth_cookies.size() != 1) return FailFault(FaultCode::kInvalidAuthorizationCookie);
  if (!IsProtocolVersion(ask.protocol_version)) {
    return FailFault(FaultCode::kInvalidParameters, "protocolVersion");
  }
  TRY_ASSIGN(ClientCookie content,
             cookies_.OpenAuthorization(call, ask.auth_cookies[0].cookie_data));
  content.protocol_version = PackProtocolVersion(ask.protocol_version);
  content.config_last_change = ask.last_change;
  content.issued = call.now;
  content.expires = call.now + shared_.config.serve.cookie_lifetime;
  // An old cookie of this client keeps its anchor; anything else counts as none (wusp.md 4.3).
  if (ask.old_cookie && !ask.old_cookie->encrypted_data.empty()) {
    const Result<Bytes> plain =
        shared_.cookies.Open(CookiePurpose::kClient, ask.old_cookie->encrypted_data);
    const Result<ClientCookie> old =
        plain.has_value() ? DecodeClientCookie(*plain) : std::unexpected(plain.error());
    const bool own = old.has_value() && EqualsIgnoreCase(old->client_id, content.client_id);
    if (own) content.derivation = old->derivation;
    if (own && old->state.epoch == call.index->intent().state.name.epoch) {
      TRY_ASSIGN(const auto known, call.worker.mirror.catalog().Knows(old->state));
      if (known != mirror::StateKnowledge::kOtherHistory) {
        content.anchor = old->anchor;
        content.category_anchor = old->category_anchor;
      }
    }
  }
  TRY(KeepGroups(call, content));
  TRY_ASSIGN(protocol::Cookie cookie, cookies_.Seal(call, std::move(content)));
  return protocol::GetCookieResponse{std::move(cookie)};
}

std::vector<Guid> ClientService::GroupsOf(const CallContext& call,
                                          const ClientCookie& cookie) const {
  if (shared_.config.serve.targeting == mirror::Targeting::kServer) {
    return call.index->GroupsOf(cookie.client_id);
  }
  return call.index->GroupsNamed(TargetGroupNames(cookie));
}

Result<void> ClientService::KeepGroups(CallContext& call, const ClientCookie& cookie) {
  if (shared_.config.serve.targeting == mirror::Targeting::kServer) return {};
  const std::vector<Guid> groups = GroupsOf(call, cookie);
  // Not what the index says: it follows an assignment a moment later.
  TRY_ASSIGN(std::vector<Guid> assigned,
             call.worker.mirror.intent().AssignedGroups(cookie.client_id));
  if (assigned.empty()) assigned.push_back(mirror::kUnassignedComputers);
  if (groups == assigned) return {};
  Result<void> kept =
      call.worker.mirror.intent().AssignComputer(cookie.client_id, groups, "computer");
  // The scan itself goes by the names; the next cookie keeps them.
  if (!kept.has_value()) {
    Log(LogLevel::kWarning, "groups of a computer not kept",
        {{"computer", EscapeForDisplay(cookie.client_id)}, {"error", kept.error().message}});
  }
  return {};
}

Result<protocol::RegisterComputerResponse> ClientService::RegisterComputer(
    CallContext& call, const protocol::RegisterComputerRequest& ask) {
  TRY_ASSIGN(const ClientCookie cookie, cookies_.Open(call, ask.cookie));
  const std::vector<std::string> requested = TargetGroupNames(cookie);
  TRY(shared_.activity.Run([&](mirror::Activity& activity) {
    return activity.Register(cookie.client_id, ask.computer, call.request.peer_address, requested);
  }));
  return protocol::RegisterComputerResponse{};
}

Result<protocol::StartCategoryScanResponse> ClientService::StartCategoryScan(
    CallContext& call, const protocol::StartCategoryScanRequest& ask) {
  if (ask.requested_categories.empty() ||
      ask.requested_categories.size() >= kMaxRequestedCategories) {
    return FailFault(FaultCode::kInvalidParameters, "requestedCategories");
  }
  // MS-WUSP 3.1.5.6: an unknown category removes its whole group.
  const CatalogIndex& catalog = call.index->catalog();
  const auto type_of = [&catalog](const Guid& guid) {
    const UpdateOrdinal u = catalog.FindUpdate(guid);
    const RevisionOrdinal r = u == kNone ? kNone : catalog.updates()[u].latest;
    const bool category =
        r != kNone && catalog.revisions()[r].type == mirror::UpdateType::kCategory;
    return category ? catalog.revisions()[r].category_type : mirror::CategoryType::kNone;
  };
  std::map<std::int32_t, std::vector<Guid>> groups;
  std::set<std::int32_t> in_error;
  protocol::StartCategoryScanResponse answer;
  for (const auto& relationship : ask.requested_categories) {
    groups[relationship.index_of_and_group].push_back(relationship.category_id);
    if (type_of(relationship.category_id) == mirror::CategoryType::kNone) {
      answer.requested_category_ids_in_error.push_back(relationship.category_id);
      in_error.insert(relationship.index_of_and_group);
    }
  }
  for (const auto& [number, members] : groups) {
    if (in_error.contains(number)) continue;
    std::vector<Guid> products;
    std::size_t classifications = 0;
    for (const Guid& guid : members) {
      const mirror::CategoryType type = type_of(guid);
      if (type == mirror::CategoryType::kClassification) {
        ++classifications;
      } else {
        products.push_back(guid);
      }
    }
    if (products.size() != 1 || classifications > 1) {
      answer.preferred_category_ids.clear();
      break;
    }
    answer.preferred_category_ids.push_back(products[0]);
  }
  return answer;
}

Result<protocol::RefreshCacheResponse> ClientService::RefreshCache(
    CallContext& call, const protocol::RefreshCacheRequest& ask) {
  TRY_ASSIGN(const ClientCookie cookie, cookies_.Open(call, ask.cookie));
  if (ask.global_ids.size() > shared_.config.serve.max_ids_per_request) {
    return FailFault(FaultCode::kInvalidParameters, "globalIDs");
  }
  const CatalogIndex& catalog = call.index->catalog();
  const auto scope = call.index->ScopeOf(GroupsOf(call, cookie));
  const bool auto_fields = cookie.protocol_version >= PackProtocolVersion("1.8");
  protocol::RefreshCacheResponse answer;
  TRY_ASSIGN(const bool old, CachesOldFragments(call, cookie));
  if (old) return answer;  // the client drops all and asks for it again
  for (const protocol::UpdateId& id : ask.global_ids) {
    const RevisionOrdinal r = catalog.Find(id);
    if (r == kNone) continue;  // the client drops it and asks again
    const std::uint32_t position = scope->PositionOf(r);
    const std::uint32_t driver = scope->DriverPositionOf(r);
    if (position == kNone && driver == kNone) continue;
    const PlacedRevision& placed =
        position != kNone ? scope->placed[position] : scope->drivers[driver];
    answer.results.push_back({catalog.revisions()[r].id, id, catalog.IsLeaf(r),
                              call.index->Present(placed, auto_fields)});
  }
  return answer;
}

Result<bool> ClientService::CachesOldFragments(CallContext& call, const ClientCookie& cookie) {
  if (cookie.derivation != 0) return cookie.derivation != protocol::kFragmentDerivation;
  // A handshake without the old cookie: what it has cached is as old as its last scan.
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  TRY_ASSIGN(const auto last_scan, activity->LastScan(cookie.client_id));
  if (!last_scan || *last_scan == kNever) return false;
  TRY_ASSIGN(mirror::FragmentStore * fragments, call.worker.mirror.fragments());
  TRY_ASSIGN(const UtcTime since, fragments->DerivedSince());
  return *last_scan < since;
}

}  // namespace gapferry::server
