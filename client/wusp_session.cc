#include "client/wusp_session.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "client/pause.h"
#include "protocol/reporting_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::client {

namespace {

using namespace protocol;  // NOLINT: every message type is from there

constexpr std::string_view kProtocolVersion = "2.90";
constexpr std::string_view kUserAgent =
    "Windows-Update-Agent/1507.2601.30012.0 Client-Protocol/2.90";
constexpr std::string_view kPlugIn = "SimpleTargeting";
constexpr std::uint64_t kMaxAnswerBytes = 512ULL << 20;
constexpr std::size_t kMaxDigests = 1000;  // in one call
constexpr int kMaxRecoveries = 5;          // faults answered within one call

std::string RegistrationDigest(const ComputerInfo& info) {
  RegisterComputerRequest request;
  request.computer = info;
  return Sha256(Encode(request)).ToHex();
}

// What an HTTP status without a fault in its body means to the caller.
std::unexpected<Error> FailStatus(int status, const std::string& url) {
  const bool transient = status == 408 || status == 429 || status >= 500;
  const ErrorCode code = transient       ? ErrorCode::kTransient
                         : status == 404 ? ErrorCode::kNotFound
                                         : ErrorCode::kUnsupported;
  return Fail(code, fmt::format("{} answered HTTP {}", DisplayUrl(url), status));
}

}  // namespace

struct WuspSession::Impl {
  Fetcher& fetcher;
  std::string server;
  const Facts& facts;
  Guid client_id;
  RevisionCache& cache;
  const Clock& clock;
  WuspOptions options;
  std::stop_token stop;
  WuspCounters counters = {};
  std::vector<AuthPlugIn> auth_plug_ins = {};

  const Session& session() const { return cache.session(); }
  template <class Change>
  void ChangeSession(Change change) {
    Session changed = session();
    change(changed);
    cache.SetSession(std::move(changed));
  }

  // One POST with its retries; the answer is parsed and no fault.
  template <class Response, class Request>
  Result<Response> Call(std::string_view path, const Request& request) {
    for (int attempt = 1;; ++attempt) {
      auto response = CallOnce<Response>(path, request);
      if (response) return response;
      AttemptOutcome outcome;
      outcome.error = response.error().code;
      outcome.reason = response.error().reason;
      const auto wait = RetryWait(options.retry, attempt, outcome, RandomNumber(), clock.Now());
      if (!wait) return response;
      Log(LogLevel::kInfo, "repeating a call",
          {{"call", NameOf<Request>().element}, {"error", response.error().message}});
      TRY(Pause(*wait, stop));
    }
  }

  template <class Response, class Request>
  Result<Response> CallOnce(std::string_view path, const Request& request) {
    const MessageName name = NameOf<Request>();
    const std::string body = Encode(request);
    FetchRequest fetch;
    fetch.method = "POST";
    fetch.url = ResolveAgainstRoot(server, path);
    fetch.headers = {{"Cache-Control", "no-cache"},
                     {"Pragma", "no-cache"},
                     {"Content-Type", std::string(SoapContentType(SoapVersion::k11))},
                     {"User-Agent", std::string(kUserAgent)},
                     {"SOAPAction", SoapActionHeader(name.name_space, name.element)}};
    if (options.use_xpress) fetch.headers.emplace_back("Accept-Encoding", "xpress");
    fetch.body = AsBytes(body);
    fetch.max_body_bytes = kMaxAnswerBytes;
    ++counters.requests;
    MemorySink sink(kMaxAnswerBytes);
    TRY_ASSIGN(const FetchResponse response, fetcher.Fetch(fetch, sink, stop),
               std::string(name.element));
    counters.answer_bytes += response.body_bytes;
    counters.largest_answer_bytes = std::max(counters.largest_answer_bytes, response.body_bytes);
    if (response.status != 200 && response.status != 500) {
      return FailStatus(response.status, fetch.url);
    }
    TRY_ASSIGN(std::string text,
               DecodeContent(sink.Take(), response.Header("Content-Encoding"), kMaxAnswerBytes));
    auto message = SoapMessage::Parse(std::move(text), SoapLimits::Answer());
    if (!message) {
      if (response.status == 500) return FailStatus(response.status, fetch.url);
      return WithContext(std::move(message).error(), name.element);
    }
    if (message->IsFault()) {
      TRY_ASSIGN(const SoapFault fault, DecodeFault(*message), std::string(name.element));
      return std::unexpected(FaultError(fault, name.element));
    }
    return Decode<Response>(*message);
  }

  Result<void> GetConfig() {
    TRY_ASSIGN(
        const GetConfigResponse config,
        (Call<GetConfigResponse>(path::kClient, GetConfigRequest{std::string(kProtocolVersion)})));
    auth_plug_ins = config.auth_info;
    ChangeSession([&](Session& s) {
      s.has_config = true;
      s.config_last_change = config.last_change;
      s.is_registration_required = config.is_registration_required;
      for (const ConfigurationProperty& property : config.properties) {
        if (property.name != "MaxExtendedUpdatesPerRequest") continue;
        if (const auto number = ParseInt<std::int32_t>(property.value); number && *number > 0) {
          s.max_extended_per_request = std::min(*number, 10'000);
        }
      }
    });
    return {};
  }

  Result<std::vector<AuthorizationCookie>> Authorize() {
    if (auth_plug_ins.empty()) TRY(GetConfig());
    if (auth_plug_ins.empty()) return std::vector<AuthorizationCookie>();
    auto plug_in = std::ranges::find(auth_plug_ins, kPlugIn, &AuthPlugIn::plug_in_id);
    if (plug_in == auth_plug_ins.end()) plug_in = auth_plug_ins.begin();
    SimpleAuthorizationRequest request;
    request.client_id = client_id.ToString();
    request.target_group_name = facts.target_group;
    request.dns_name = facts.name;
    const std::string url =
        plug_in->service_url.empty() ? std::string(path::kSimpleAuth) : plug_in->service_url;
    TRY_ASSIGN(const SimpleAuthorizationResponse response,
               (Call<SimpleAuthorizationResponse>(url, request)));
    return std::vector<AuthorizationCookie>{response.cookie};
  }

  // The old cookie carries what the server has told us; without it everything is told again.
  Result<void> GetCookie() {
    GetCookieRequest request;
    TRY_ASSIGN(request.auth_cookies, Authorize());
    request.last_change = session().config_last_change;
    request.current_time = clock.Now();
    request.protocol_version = kProtocolVersion;
    request.old_cookie = session().cookie;
    if (request.old_cookie->encrypted_data.empty()) {
      request.old_cookie->expiration = request.current_time;
    }
    ++counters.handshakes;
    TRY_ASSIGN(const GetCookieResponse response, (Call<GetCookieResponse>(path::kClient, request)));
    ChangeSession([&](Session& s) {
      s.cookie = response.cookie;
      s.user_group = facts.target_group.value_or("");
    });
    return {};
  }

  Result<void> Register() {
    RegisterComputerRequest request;
    request.cookie = session().cookie;
    request.computer = ComputerInfoOf(facts);
    const auto response = Call<RegisterComputerResponse>(path::kClient, request);
    if (!response && FaultCodeOf(response.error()) != FaultCode::kRegistrationNotRequired) {
      return std::unexpected(response.error());
    }
    ChangeSession([&](Session& s) { s.registered_as = RegistrationDigest(request.computer); });
    return {};
  }

  Result<void> EnsureReady() {
    if (!session().has_config) TRY(GetConfig());
    if (session().user_group != facts.target_group.value_or("")) {
      ChangeSession([](Session& s) { s.cookie = {}; });
    }
    if (session().cookie.encrypted_data.empty() || session().cookie.expiration <= clock.Now()) {
      TRY(GetCookie());
    }
    if (options.may_register && session().is_registration_required &&
        session().registered_as != RegistrationDigest(ComputerInfoOf(facts))) {
      TRY(Register());
    }
    return cache.Commit();
  }

  // Our ids mean nothing to the server any more: it maps them anew (MS-WUSP 3.1.5.9).
  Result<void> RefreshCache() {
    RefreshCacheRequest request;
    for (const auto& [id, revision] : cache.revisions()) {
      if (!revision.is_driver) request.global_ids.push_back(revision.core.id);
    }
    if (request.global_ids.empty()) {
      cache.Clear();
      return cache.Commit();
    }
    request.cookie = session().cookie;
    ++counters.refreshes;
    TRY_ASSIGN(const RefreshCacheResponse response,
               (Call<RefreshCacheResponse>(path::kClient, request)));
    cache.Renumber(response.results);
    return cache.Commit();
  }

  // The server's file locations have moved: it wants to be asked for them (MS-WUSP 2.2.2.4). They
  // are asked for anew before each download as well, so what it answers need not be kept.
  Result<void> RelocateFiles() {
    GetFileLocationsRequest request;
    request.cookie = session().cookie;
    for (const auto& [id, revision] : cache.revisions()) {
      for (const UpdateFile& file : revision.extended.files) {
        if (request.file_digests.size() == kMaxDigests) break;
        request.file_digests.emplace_back(file.sha1.bytes.begin(), file.sha1.bytes.end());
      }
    }
    TRY_ASSIGN(const GetFileLocationsResponse response,
               (Call<GetFileLocationsResponse>(path::kClient, request)));
    return TakeCookie(response.new_cookie);
  }

  Result<void> TakeCookie(const std::optional<Cookie>& cookie) {
    if (!cookie) return {};
    ChangeSession([&](Session& s) { s.cookie = *cookie; });
    return cache.Commit();
  }

  // Does what the fault asks for; fails with `error` when nothing can be done about it.
  Result<void> Recover(const Error& error) {
    switch (FaultCodeOf(error).value_or(FaultCode::kUnknown)) {
      case FaultCode::kCookieExpired:
        TRY(GetCookie());
        return cache.Commit();
      case FaultCode::kConfigChanged:
        TRY(GetConfig());
        TRY(GetCookie());
        return cache.Commit();
      case FaultCode::kRegistrationRequired:
        if (!options.may_register) return std::unexpected(error);
        TRY(Register());
        return cache.Commit();
      case FaultCode::kFileLocationChanged:
        return RelocateFiles();
      case FaultCode::kInvalidCookie:
      case FaultCode::kServerChanged:
        auth_plug_ins.clear();
        ChangeSession([](Session& s) {
          Session fresh;
          fresh.server = s.server;
          fresh.user_group = s.user_group;
          s = std::move(fresh);
        });
        TRY(EnsureReady());
        return RefreshCache();
      default:
        return std::unexpected(error);
    }
  }

  template <class Response, class Make>
  Result<Response> CallWithCookie(std::string_view path, Make make) {
    for (int recoveries = 0;; ++recoveries) {
      TRY(EnsureReady());
      auto response = Call<Response>(path, make());
      if (response || recoveries == kMaxRecoveries) return response;
      TRY(Recover(response.error()));
    }
  }
};

WuspSession::WuspSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WuspSession::WuspSession(WuspSession&&) noexcept = default;
WuspSession::~WuspSession() = default;

Result<WuspSession> WuspSession::Open(Fetcher& fetcher, std::string server, const Facts& facts,
                                      const Guid& client_id, RevisionCache& cache,
                                      const Clock& clock, WuspOptions options,
                                      std::stop_token stop) {
  if (!server.starts_with("http://") && !server.starts_with("https://")) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no http or https URL of a server",
                                               EscapeForDisplay(DisplayUrl(server))));
  }
  while (server.ends_with('/')) server.pop_back();
  // The client is part of the key: another client's cookie would report in its name.
  const std::string key = server + "#" + client_id.ToString();
  if (cache.session().server != key) {
    cache.Clear();
    Session fresh;
    fresh.server = key;
    fresh.user_group = facts.target_group.value_or("");
    cache.SetSession(std::move(fresh));
  }
  auto impl = std::unique_ptr<Impl>(new Impl{fetcher, std::move(server), facts, client_id, cache,
                                             clock, std::move(options), std::move(stop)});
  return WuspSession(std::move(impl));
}

Result<SyncInfo> WuspSession::SyncUpdates(const std::function<SyncUpdatesParameters()>& make) {
  TRY_ASSIGN(SyncUpdatesResponse response,
             (impl_->CallWithCookie<SyncUpdatesResponse>(path::kClient, [&] {
               return SyncUpdatesRequest{impl_->session().cookie, make()};
             })));
  return std::move(response.result);
}

Result<StartCategoryScanResponse> WuspSession::StartCategoryScan(const std::vector<Guid>& wanted) {
  StartCategoryScanRequest request;
  // Each category is an alternative of its own (IndexOfAndGroup).
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    request.requested_categories.push_back({static_cast<std::int32_t>(i), wanted[i]});
  }
  return impl_->Call<StartCategoryScanResponse>(path::kClient, request);
}

Result<std::vector<FileLocation>> WuspSession::GetFileLocations(
    const std::vector<Sha1Digest>& digests) {
  std::vector<FileLocation> locations;
  for (std::size_t at = 0; at < digests.size(); at += kMaxDigests) {
    const std::size_t end = std::min(digests.size(), at + kMaxDigests);
    TRY_ASSIGN(GetFileLocationsResponse response,
               (impl_->CallWithCookie<GetFileLocationsResponse>(path::kClient, [&] {
                 GetFileLocationsRequest request;
                 request.cookie = impl_->session().cookie;
                 for (std::size_t i = at; i < end; ++i) {
                   request.file_digests.emplace_back(digests[i].bytes.begin(),
                                                     digests[i].bytes.end());
                 }
                 return request;
               })));
    TRY(impl_->TakeCookie(response.new_cookie));
    std::ranges::move(response.file_locations, std::back_inserter(locations));
  }
  return locations;
}

Result<GetExtendedUpdateInfoResponse> WuspSession::GetExtendedUpdateInfo(
    const std::function<std::vector<std::int32_t>()>& make, bool with_eulas) {
  return impl_->CallWithCookie<GetExtendedUpdateInfoResponse>(path::kClient, [&] {
    GetExtendedUpdateInfoRequest request;
    request.cookie = impl_->session().cookie;
    request.revision_ids = make();
    std::ranges::sort(request.revision_ids);
    request.info_types = {FragmentType::kExtended, FragmentType::kLocalizedProperties};
    if (with_eulas) request.info_types.push_back(FragmentType::kEula);
    const std::string& locale = impl_->facts.locale;
    request.locales = {locale};
    if (const std::size_t dash = locale.find('-'); dash != std::string::npos) {
      request.locales.push_back(locale.substr(0, dash));
    }
    request.device_attributes = DeviceAttributesOf(impl_->facts, impl_->server);
    return request;
  });
}

Result<void> WuspSession::ReportEvents(const std::vector<ReportingEvent>& events) {
  TRY_ASSIGN(const ReportEventBatchResponse response,
             (impl_->CallWithCookie<ReportEventBatchResponse>(path::kReporting, [&] {
               ReportEventBatchRequest request;
               request.cookie = impl_->session().cookie;
               request.client_time = impl_->clock.Now();
               request.events = events;
               return request;
             })));
  if (response.result) return {};
  return Fail(ErrorCode::kTransient, "the server did not take the events");
}

bool WuspSession::may_register() const { return impl_->options.may_register; }

const WuspCounters& WuspSession::counters() const { return impl_->counters; }

std::int32_t WuspSession::max_extended_per_request() const {
  return impl_->session().max_extended_per_request;
}

ComputerInfo ComputerInfoOf(const Facts& facts) {
  ComputerInfo info;
  const auto number = [](std::uint32_t value) { return static_cast<std::int32_t>(value); };
  info.dns_name = facts.name;
  info.os_major_version = number(facts.os_version.part[0]);
  info.os_minor_version = number(facts.os_version.part[1]);
  info.os_build_number = number(facts.os_version.part[2]);
  info.os_service_pack_major = number(facts.service_pack_major);
  info.os_service_pack_minor = number(facts.service_pack_minor);
  info.os_locale = facts.locale;
  info.manufacturer = facts.make;
  info.model = facts.model;
  info.bios_version = facts.bios;
  info.bios_name = facts.bios;
  info.bios_release_date = UtcTime::FromUnixSeconds(1'643'760'000);  // 2022-02-02
  info.processor_architecture = ToUpperAscii(facts.architecture);
  info.suite_mask = number(facts.suite_mask);
  info.old_product_type = number(facts.product_type);
  info.new_product_type = number(facts.sku);
  info.client_version_major = 1507;
  info.client_version_minor = 2601;
  info.client_version_build = 30012;
  info.os_description = facts.OsDescription();
  info.oem = facts.make;
  info.device_type = facts.model;
  info.firmware_version = facts.bios;
  info.mobile_operator = "Not Present";
  return info;
}

std::string DeviceAttributesOf(const Facts& facts, std::string_view server) {
  return fmt::format(
      "App=WU_OS;AppVer=1507.2601.30012.0;DeviceFamily={};InstallationType={};OEMModel={};"
      "OSArchitecture={};OSSkuId={};OSUILocale={};OSVersion={};UpdateServiceUrl={};",
      facts.product_type == 1 ? "Windows.Desktop" : "Windows.Server",
      facts.product_type == 1 ? "Client" : "Server", facts.model, ToUpperAscii(facts.architecture),
      facts.sku, facts.locale, facts.os_version.ToString(), server);
}

}  // namespace gapferry::client
