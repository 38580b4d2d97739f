#include "tests/support/fake_wsus.h"

#include <fmt/core.h>

#include <algorithm>

#include "protocol/reporting_codec.h"
#include "protocol/wusp_codec.h"
#include "protocol/xpress.h"

namespace gapferry::testing {

using namespace protocol;  // NOLINT

namespace {

constexpr std::string_view kRoot = "http://wsus.test:8530";

std::unexpected<Error> FailFault() { return Fail(ErrorCode::kInternal, "fault", ""); }

}  // namespace

std::size_t FakeWsus::Count(std::string_view call) const {
  return static_cast<std::size_t>(std::ranges::count(calls, call));
}

Cookie FakeWsus::NewCookie() {
  Cookie cookie;
  cookie.expiration = cookie_expiration;
  const std::string text = fmt::format("cookie {}", ++cookies_given);
  cookie.encrypted_data.assign(text.begin(), text.end());
  return cookie;
}

Result<FetchResponse> FakeWsus::Fetch(const FetchRequest& request, Sink& sink, std::stop_token) {
  if (request.method == "GET") return Content(request, sink);
  TRY_ASSIGN(const SoapMessage message,
             SoapMessage::Parse(std::string(AsText(request.body)), SoapLimits::Request()));
  calls.push_back(message.name());
  FetchResponse response;
  response.status = 200;
  std::string body;
  auto& queue = faults[message.name()];
  if (!queue.empty()) {
    SoapFault fault;
    fault.code = queue.front();
    queue.pop_front();
    body = EncodeFault(fault, SoapStyle::kClient, SoapVersion::k11);
    response.status = 500;
  } else {
    TRY_ASSIGN(body, Answer(message));
  }
  const bool xpress = std::ranges::any_of(request.headers, [](const HttpHeader& header) {
    return header.first == "Accept-Encoding" && header.second == "xpress";
  });
  if (xpress && response.status == 200) {
    std::string encoded;
    XpressEncoder().AppendBlocks(AsBytes(body), encoded);
    body = std::move(encoded);
    response.headers.emplace_back("Content-Encoding", "xpress");
  }
  response.body_bytes = body.size();
  TRY(sink.Write(AsBytes(body)));
  return response;
}

Result<std::string> FakeWsus::Answer(const SoapMessage& message) {
  const std::string& name = message.name();
  if (name == "GetConfig") {
    GetConfigResponse response;
    response.is_registration_required = is_registration_required;
    response.auth_info = {{"SimpleTargeting", "SimpleAuthWebService/SimpleAuth.asmx", ""}};
    response.properties = {{"MaxExtendedUpdatesPerRequest", "2"}, {"ProtocolVersion", "3.2"}};
    return Encode(response);
  }
  if (name == "GetAuthorizationCookie") {
    TRY_ASSIGN(authorized, Decode<SimpleAuthorizationRequest>(message));
    return Encode(SimpleAuthorizationResponse{{"SimpleTargeting", {1, 2, 3}}});
  }
  if (name == "GetCookie") return Encode(GetCookieResponse{NewCookie()});
  if (name == "RegisterComputer") {
    TRY_ASSIGN(const auto request, Decode<RegisterComputerRequest>(message));
    registered = request.computer;
    return Encode(RegisterComputerResponse{});
  }
  if (name == "SyncUpdates") {
    TRY_ASSIGN(const auto request, Decode<SyncUpdatesRequest>(message));
    syncs.push_back(request.parameters);
    return Encode(SyncUpdatesResponse{Sync(request.parameters)});
  }
  if (name == "RefreshCache") {
    TRY_ASSIGN(const auto request, Decode<RefreshCacheRequest>(message));
    RefreshCacheResponse response;
    for (const FakeRevision& revision : revisions) {
      if (std::ranges::find(request.global_ids, revision.update) == request.global_ids.end())
        continue;
      Deployment deployment;
      deployment.id = revision.id + 1000;
      deployment.action = revision.action;
      response.results.push_back({revision.id, revision.update, revision.is_leaf, deployment});
    }
    return Encode(response);
  }
  if (name == "GetExtendedUpdateInfo") {
    TRY_ASSIGN(const auto request, Decode<GetExtendedUpdateInfoRequest>(message));
    GetExtendedUpdateInfoResponse response;
    for (const FakeRevision& revision : revisions) {
      if (std::ranges::find(request.revision_ids, revision.id) == request.revision_ids.end())
        continue;
      response.updates.push_back({revision.id, PlainText{revision.extended}});
      response.updates.push_back(
          {revision.id,
           PlainText{fmt::format("<LocalizedProperties><Language>en</Language><Title>{}"
                                 "</Title></LocalizedProperties>",
                                 revision.title)}});
      for (const auto& [digest, bytes] : revision.files) {
        response.file_locations.push_back(
            {digest, fmt::format("{}/Content/{}", kRoot, digest.ToHex(HexCase::kUpper)), {}});
      }
    }
    return Encode(response);
  }
  if (name == "StartCategoryScan") {
    TRY_ASSIGN(const auto request, Decode<StartCategoryScanRequest>(message));
    StartCategoryScanResponse response;
    for (const CategoryRelationship& wanted : request.requested_categories) {
      const bool known = std::ranges::any_of(revisions, [&](const FakeRevision& revision) {
        return revision.update.guid == wanted.category_id;
      });
      auto& list =
          known ? response.preferred_category_ids : response.requested_category_ids_in_error;
      list.push_back(wanted.category_id);
    }
    return Encode(response);
  }
  if (name == "GetFileLocations") {
    TRY_ASSIGN(const auto request, Decode<GetFileLocationsRequest>(message));
    GetFileLocationsResponse response;
    for (const Bytes& raw : request.file_digests) {
      TRY_ASSIGN(const Sha1Digest digest, Sha1Digest::FromBytes(raw));
      response.file_locations.push_back(
          {digest, fmt::format("{}/Content/{}", kRoot, digest.ToHex(HexCase::kUpper)), {}});
    }
    response.new_cookie = NewCookie();
    return Encode(response);
  }
  if (name == "ReportEventBatch") {
    TRY_ASSIGN(const auto request, Decode<ReportEventBatchRequest>(message));
    events.insert(events.end(), request.events.begin(), request.events.end());
    return Encode(ReportEventBatchResponse{true});
  }
  return FailFault();
}

SyncInfo FakeWsus::Sync(const SyncUpdatesParameters& parameters) {
  std::set<Guid> installed;
  std::set<std::int32_t> known(parameters.installed_non_leaf_update_ids.begin(),
                               parameters.installed_non_leaf_update_ids.end());
  for (const FakeRevision& revision : revisions) {
    if (known.contains(revision.id)) installed.insert(revision.update.guid);
  }
  known.insert(parameters.other_cached_update_ids.begin(),
               parameters.other_cached_update_ids.end());
  SyncInfo info;
  for (const FakeRevision& revision : revisions) {
    if (revision.is_driver != parameters.skip_software_sync) continue;
    const bool deliverable = std::ranges::all_of(revision.prerequisites, [&](const auto& clause) {
      return std::ranges::any_of(clause,
                                 [&](const Guid& guid) { return installed.contains(guid); });
    });
    if (!deliverable) continue;
    if (known.erase(revision.id) > 0) continue;
    if (info.new_updates.size() == page_size) {
      info.truncated = true;
      continue;
    }
    UpdateInfo update;
    update.id = revision.id;
    update.is_leaf = revision.is_leaf;
    update.deployment.emplace();
    update.deployment->id = revision.id + 1000;
    update.deployment->action = revision.action;
    update.deployment->deadline = revision.deadline;
    update.xml = PlainText{revision.core};
    info.new_updates.push_back(std::move(update));
  }
  if (!parameters.skip_software_sync) {
    info.out_of_scope_revision_ids.assign(known.begin(), known.end());
  }
  info.new_cookie = NewCookie();
  return info;
}

Result<FetchResponse> FakeWsus::Content(const FetchRequest& request, Sink& sink) {
  calls.push_back("content");
  FetchResponse response;
  response.status = 404;
  std::string body;
  std::uint64_t total = 0;
  for (const FakeRevision& revision : revisions) {
    for (const auto& [digest, bytes] : revision.files) {
      if (!request.url.ends_with(digest.ToHex(HexCase::kUpper))) continue;
      total = bytes.size();
      const std::uint64_t last = request.range_last.value_or(bytes.size() - 1);
      ranges.emplace_back(request.range_first, last);
      body = bytes.substr(request.range_first, last - request.range_first + 1);
      response.status = 206;
    }
  }
  if (on_content) on_content(request, response.status, body);
  if (response.status == 206) {
    response.headers.emplace_back(
        "Content-Range",
        fmt::format("bytes {}-{}/{}", request.range_first, request.range_last.value_or(0), total));
    TRY(sink.Write(AsBytes(body)));
    response.body_bytes = body.size();
  }
  return response;
}

std::string FakeCore(const UpdateId& id, std::string_view type, std::string_view relations,
                     std::string_view rules) {
  std::string core = fmt::format(
      "<UpdateIdentity UpdateID=\"{}\" RevisionNumber=\"{}\" /><Properties UpdateType=\"{}\" />",
      id.guid.ToString(), id.revision, type);
  if (!relations.empty()) core += fmt::format("<Relationships>{}</Relationships>", relations);
  if (!rules.empty()) core += fmt::format("<ApplicabilityRules>{}</ApplicabilityRules>", rules);
  return core;
}

}  // namespace gapferry::testing
