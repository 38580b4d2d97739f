#include "exporter/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"

namespace gapferry::exporter {

namespace ns = protocol::ns;
namespace path = protocol::path;
using protocol::FaultCode;
using protocol::SoapMessage;

namespace {

constexpr std::uint64_t kMaxAnswerBytes = 512ULL << 20;
constexpr std::chrono::minutes kRenewBefore{10};
constexpr std::string_view kPlugIn = "DssTargeting";

std::uint32_t RandomBits() {
  std::array<std::uint8_t, 4> bytes{};
  FillRandom(bytes);
  return LoadLe32(bytes.data());
}

bool IsFault(const Error& error, FaultCode code) { return protocol::FaultCodeOf(error) == code; }

}  // namespace

bool WaitOrStop(std::chrono::milliseconds time, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any condition;
  std::unique_lock lock(mutex);
  condition.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

std::string ContentRootOf(std::string_view url) {
  const bool https = ToLowerAscii(url.substr(0, 6)) == "https:";
  const std::size_t from = url.find("://") == std::string_view::npos ? 0 : url.find("://") + 3;
  const std::string_view root = url.substr(0, url.find_first_of("/?#", from));
  if (!https) return std::string(root);
  std::string_view authority = root.substr(from);
  const std::size_t colon = authority.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos;
  const auto port = has_port ? ParseInt<std::uint16_t>(authority.substr(colon + 1)) : 443;
  const std::string_view host = authority.substr(0, has_port ? colon : authority.size());
  if (!port || *port == 443 || *port == 0) return fmt::format("http://{}", host);
  return fmt::format("http://{}:{}", host, *port - 1);
}

struct Upstream::Exchange {
  std::string url;
  std::string action;
  std::string operation;
  std::string body;
};

Upstream::Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options,
                   std::stop_token stop)
    : fetcher_(fetcher), clock_(clock), options_(std::move(options)), stop_(std::move(stop)) {
  if (!options_.wait) options_.wait = WaitOrStop;
}

// ---- One exchange ------------------------------------------------------------------------------

Result<std::string> Upstream::PostOnce(const Exchange& exchange, protocol::AttemptOutcome& outcome,
                                       std::string& retry_after) {
  FetchRequest request;
  request.method = "POST";
  request.url = exchange.url;
  request.headers = {{"Content-Type", std::string(SoapContentType(protocol::SoapVersion::k11))},
                     {"SOAPAction", exchange.action},
                     {"Accept-Encoding", "xpress"}};
  request.body = AsBytes(exchange.body);
  request.max_body_bytes = kMaxAnswerBytes;
  MemorySink sink(kMaxAnswerBytes);
  TRY_ASSIGN(const FetchResponse answer, fetcher_.Fetch(request, sink, stop_));
  outcome.http_status = answer.status;
  retry_after = answer.Header("Retry-After");
  TRY_ASSIGN(
      std::string text,
      protocol::DecodeContent(sink.Take(), answer.Header("Content-Encoding"), kMaxAnswerBytes));
  const bool is_xml = ToLowerAscii(answer.Header("Content-Type")).find("xml") != std::string::npos;
  if (answer.status == 200 || (answer.status == 500 && is_xml)) return text;
  const ErrorCode code = answer.status >= 500 || answer.status == 408 || answer.status == 429
                             ? ErrorCode::kTransient
                         : answer.status == 404 ? ErrorCode::kNotFound
                                                : ErrorCode::kUnsupported;
  return Fail(code, "http-status",
              fmt::format("POST {}: HTTP status {}", DisplayUrl(exchange.url), answer.status));
}

// The answer's text, a fault of the upstream turned into an error.
Result<std::string> Upstream::Post(const Exchange& exchange, int attempts) {
  protocol::RetryPolicy policy = options_.retry;
  policy.attempts = std::min(policy.attempts, attempts);
  for (int attempt = 1;; ++attempt) {
    protocol::AttemptOutcome outcome;
    std::string retry_after;
    Result<std::string> text = PostOnce(exchange, outcome, retry_after);
    if (text && outcome.http_status == 500) {
      auto message = SoapMessage::Parse(*text, protocol::SoapLimits::Request());
      auto fault = message ? DecodeFault(*message)
                           : Result<protocol::SoapFault>(std::unexpected(message.error()));
      text = fault ? Result<std::string>(
                         std::unexpected(protocol::FaultError(*fault, exchange.operation)))
                   : Result<std::string>(std::unexpected(Error{
                         ErrorCode::kTransient,
                         fmt::format("{}: HTTP status 500 without a fault", exchange.operation),
                         "http-status",
                         {}}));
    }
    if (text) return text;
    outcome.error = text.error().code;
    outcome.reason = text.error().reason;
    outcome.retry_after = retry_after;
    const auto wait = RetryWait(policy, attempt, outcome, RandomBits(), clock_.Now());
    if (!wait) return text;
    if (options_.note) {
      options_.note(fmt::format("{}; trying again in {} s", text.error().message,
                                (wait->count() + 999) / 1000));
    }
    if (!options_.wait(*wait, stop_)) {
      return Fail(ErrorCode::kCancelled, fmt::format("{}: stopped", exchange.operation));
    }
  }
}

template <class Response, class Request>
Result<Response> Upstream::Call(std::string_view service, const Request& request, int attempts) {
  const protocol::MessageName name = protocol::NameOf<Request>();
  Exchange exchange{ResolveAgainstRoot(options_.url, service),
                    protocol::SoapActionHeader(name.name_space, name.element),
                    std::string(name.element), protocol::Encode(request)};
  TRY_ASSIGN(std::string text, Post(exchange, attempts));
  TRY_ASSIGN(const SoapMessage message,
             SoapMessage::Parse(std::move(text), protocol::SoapLimits::Answer()),
             exchange.operation);
  if (message.IsFault()) {  // with status 200: a proxy's doing
    TRY_ASSIGN(const auto fault, DecodeFault(message));
    return std::unexpected(protocol::FaultError(fault, exchange.operation));
  }
  return protocol::Decode<Response>(message);
}

// ---- Authorization -----------------------------------------------------------------------------

Result<void> Upstream::Authorize() {
  cookie_.reset();
  TRY_ASSIGN(const auto config, (Call<protocol::GetAuthConfigResponse>(
                                    path::kServerSync, protocol::GetAuthConfigRequest{}, 4)));
  const auto plug_in = std::find_if(config.auth_info.begin(), config.auth_info.end(),
                                    [](const auto& p) { return p.plug_in_id == kPlugIn; });
  if (plug_in == config.auth_info.end()) {
    return Fail(
        ErrorCode::kUnsupported, "no-plug-in",
        fmt::format("upstream {}: offers no {} authorization", DisplayUrl(options_.url), kPlugIn));
  }
  const std::string service =
      plug_in->service_url.empty() ? std::string(path::kDssAuth) : plug_in->service_url;
  protocol::DssAuthorizationRequest authorization{options_.account_name,
                                                  options_.account_guid.ToString()};
  TRY_ASSIGN(const auto authorized,
             Call<protocol::DssAuthorizationResponse>(service, authorization, 4));
  protocol::DssGetCookieRequest request;
  request.auth_cookies.push_back(authorized.cookie);
  request.protocol_version = options_.protocol_version;
  TRY_ASSIGN(const auto answer,
             Call<protocol::DssGetCookieResponse>(path::kServerSync, request, 4));
  cookie_ = answer.cookie;
  cookie_obtained_ = clock_.Now();
  return {};
}

// Renewed between calls when less than a quarter of its life or ten minutes are left, whichever is
// later: an expired cookie must not be sent (MS-WSUSSS 3.2.4.1). A cookie that was old when it came
// (a clock that is off) is used until the upstream refuses it.
bool Upstream::CookieIsFresh() const {
  if (!cookie_) return false;
  const UtcTime now = clock_.Now();
  const std::int64_t life = cookie_->expiration.ticks - cookie_obtained_.ticks;
  if (life <= 0) return true;
  const std::int64_t margin =
      std::min(life / 4, std::chrono::seconds(kRenewBefore).count() * UtcTime::kTicksPerSecond);
  return now.ticks < cookie_->expiration.ticks - margin;
}

template <class Response, class Request>
Result<Response> Upstream::CallWithCookie(Request request, int attempts) {
  for (int round = 1;; ++round) {
    if (!CookieIsFresh()) TRY(Authorize(), "authorization");
    request.cookie = cookie_;
    auto answer = Call<Response>(path::kServerSync, request, attempts);
    if (answer || round == 2) return answer;
    const bool refused = IsFault(answer.error(), FaultCode::kInvalidCookie) ||
                         IsFault(answer.error(), FaultCode::kCookieExpired) ||
                         IsFault(answer.error(), FaultCode::kInvalidAuthorizationCookie);
    if (!refused) return answer;
    cookie_.reset();
  }
}

// ---- Operations --------------------------------------------------------------------------------

Result<protocol::GetConfigDataResponse> Upstream::GetConfigData(std::optional<std::string> anchor) {
  protocol::GetConfigDataRequest request;
  request.config_anchor = std::move(anchor);
  TRY_ASSIGN(auto answer, CallWithCookie<protocol::GetConfigDataResponse>(std::move(request), 4));
  if (answer.max_updates_per_request <= 0) {
    return Fail(ErrorCode::kUnsupported, "bad-limit",
                fmt::format("GetConfigData: MaxNumberOfUpdatesPerRequest is {}",
                            answer.max_updates_per_request));
  }
  answer.max_updates_per_request = std::min(answer.max_updates_per_request, 1000);
  return answer;
}

Result<protocol::GetRevisionIdListResponse> Upstream::GetRevisionIdList(
    protocol::SyncFilter filter) {
  if (!filter.get_config && filter.categories.empty() != filter.classifications.empty()) {
    return Fail(ErrorCode::kUsage, "half-filter",
                "GetRevisionIdList: products and classifications must be given together");
  }
  filter.get_63_language_only = false;  // required from protocol 1.2 on
  protocol::GetRevisionIdListRequest request;
  request.filter = std::move(filter);
  return CallWithCookie<protocol::GetRevisionIdListResponse>(std::move(request), 4);
}

Result<protocol::GetUpdateDataResponse> Upstream::GetUpdateData(
    std::vector<protocol::UpdateId> ids) {
  protocol::GetUpdateDataRequest request;
  request.update_ids = std::move(ids);
  // InternalServerError is an answer here; connection failures are worth another attempt.
  for (int attempt = 1;; ++attempt) {
    auto answer = CallWithCookie<protocol::GetUpdateDataResponse>(request, 1);
    if (answer || answer.error().code != ErrorCode::kTransient ||
        IsFault(answer.error(), FaultCode::kInternalServerError)) {
      return answer;
    }
    protocol::AttemptOutcome outcome;
    outcome.error = ErrorCode::kTransient;
    outcome.reason = answer.error().reason;
    const auto wait = RetryWait(options_.retry, attempt, outcome, RandomBits(), clock_.Now());
    if (!wait) return answer;
    if (options_.note) options_.note(answer.error().message + "; trying again");
    if (!options_.wait(*wait, stop_)) return Fail(ErrorCode::kCancelled, "GetUpdateData: stopped");
  }
}

Result<protocol::GetDeploymentsResponse> Upstream::GetDeployments(std::optional<std::string> anchor,
                                                                  const std::string& sync_anchor) {
  protocol::GetDeploymentsRequest request;
  request.deployment_anchor = std::move(anchor);
  request.sync_anchor = sync_anchor;
  return CallWithCookie<protocol::GetDeploymentsResponse>(std::move(request), 4);
}

Result<void> Upstream::DownloadFiles(const std::vector<Sha1Digest>& digests) {
  protocol::DownloadFilesRequest request;
  for (const Sha1Digest& digest : digests) {
    request.file_digests.emplace_back(digest.bytes.begin(), digest.bytes.end());
  }
  TRY(CallWithCookie<protocol::DownloadFilesResponse>(std::move(request), 4));
  return {};
}

// ---- Rollup ------------------------------------------------------------------------------------

Result<protocol::GetRollupConfigurationResponse> Upstream::GetRollupConfiguration() {
  protocol::GetRollupConfigurationRequest request;
  request.cookie = protocol::RollupCookie();
  return Call<protocol::GetRollupConfigurationResponse>(path::kReporting, request, 4);
}

Result<void> Upstream::RollupDownstreamServers(protocol::RollupDownstreamServersRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  // Counters are added by the upstream: a repeated request would count twice (companion 4.3).
  TRY(Call<protocol::RollupDownstreamServersResponse>(path::kReporting, request, 1));
  return {};
}

Result<protocol::RollupComputersResponse> Upstream::RollupComputers(
    protocol::RollupComputersRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  return Call<protocol::RollupComputersResponse>(path::kReporting, request, 4);
}

Result<protocol::GetOutOfSyncComputersResponse> Upstream::GetOutOfSyncComputers(
    protocol::GetOutOfSyncComputersRequest request) {
  request.cookie = protocol::RollupCookie();
  return Call<protocol::GetOutOfSyncComputersResponse>(path::kReporting, request, 4);
}

Result<bool> Upstream::RollupComputerStatus(protocol::RollupComputerStatusRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  TRY_ASSIGN(const auto answer,
             Call<protocol::RollupComputerStatusResponse>(path::kReporting, request, 4));
  return answer.result;
}

}  // namespace gapferry::exporter
