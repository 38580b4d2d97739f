#include "exporter/upstream.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "base/guarded.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "exporter/fault_table.h"
#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"

namespace gapferry::exporter {

namespace ns = protocol::ns;
namespace path = protocol::path;
using protocol::FaultCode;
using protocol::SoapMessage;

namespace {

constexpr std::uint64_t kMaxAnswerBytes = 512ULL << 20;
constexpr std::uint64_t kMaxFaultBytes = 4ULL << 20;
constexpr std::chrono::minutes kRenewBefore{10};
constexpr std::string_view kPlugIn = "DssTargeting";

// Text of an answer that is parsed as a whole. Deployments are about 600 bytes each; all others are
// a few kilobytes of configuration or short lists of ids.
constexpr std::size_t kMaxDeploymentsBytes = 128 << 20;
constexpr std::size_t kMaxSmallAnswerBytes = 16 << 20;

// A small answer, parsed as a whole.
class WholeAnswer : public protocol::AnswerReader {
 public:
  explicit WholeAnswer(std::string operation)
      : operation_(std::move(operation)),
        limit_(operation_ == "GetDeployments" ? kMaxDeploymentsBytes : kMaxSmallAnswerBytes) {}
  Result<void> Feed(std::string_view utf8) override {
    if (utf8.size() > limit_ - text_.size()) {
      return Fail(ErrorCode::kCorrupt, "answer-too-large",
                  fmt::format("{}: answer larger than {} bytes", operation_, limit_));
    }
    text_ += utf8;
    return {};
  }
  Result<void> Finish() override {
    if (!TrimAscii(text_).ends_with("Envelope>")) {
      return Fail(ErrorCode::kTransient, "answer-cut",
                  fmt::format("{}: the answer ends early", operation_));
    }
    TRY_ASSIGN(auto message, SoapMessage::Parse(std::move(text_), protocol::SoapLimits::Answer()),
               operation_);
    if (message.IsFault()) {  // with status 200: a proxy's doing
      TRY_ASSIGN(const auto fault, DecodeFault(message));
      return std::unexpected(protocol::FaultError(fault, operation_));
    }
    message_.emplace(std::move(message));
    return {};
  }
  const SoapMessage& message() const { return *message_; }

 private:
  std::string operation_;
  std::size_t limit_;
  std::string text_;
  std::optional<SoapMessage> message_;
};

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

struct Upstream::Session {
  struct State {
    std::optional<protocol::Cookie> cookie;
    UtcTime obtained;
    Demands demands;
  };
  Guarded<State> state;
  std::mutex authorizing;  // held over the three calls; the others wait for their cookie
};

Upstream::Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options,
                   std::stop_token stop)
    : Upstream(fetcher, clock, std::move(options), std::move(stop), std::make_shared<Session>()) {}

Upstream::Upstream(Fetcher& fetcher, const Clock& clock, UpstreamOptions options,
                   std::stop_token stop, std::shared_ptr<Session> session)
    : fetcher_(fetcher),
      clock_(clock),
      options_(std::move(options)),
      stop_(std::move(stop)),
      session_(std::move(session)) {
  if (!options_.wait) options_.wait = WaitOrStop;
}

Upstream Upstream::Connect(Fetcher& fetcher, std::stop_token stop) const {
  return Upstream(fetcher, clock_, options_, std::move(stop), session_);
}

Upstream::Demands Upstream::TakeDemands() {
  return std::exchange(session_->state.Lock()->demands, {});
}

// ---- One exchange ------------------------------------------------------------------------------

namespace {

// The body of one answer: that of a success goes to its reader while it comes, a fault or an error
// page is kept.
class BodySink : public Sink {
 public:
  explicit BodySink(protocol::AnswerReader& reader) : answer_(reader, kMaxAnswerBytes) {}

  Result<void> Begin(const FetchResponse& head) {
    is_success_ = true;
    return answer_.SetEncoding(head.Header("Content-Encoding"));
  }
  Result<void> Write(ByteView bytes) override {
    return is_success_ ? answer_.Write(bytes) : other_.Write(bytes);
  }
  Result<void> Finish() { return answer_.Finish(); }
  Bytes TakeOther() { return other_.Take(); }

 private:
  protocol::AnswerSink answer_;
  MemorySink other_{kMaxFaultBytes};
  bool is_success_ = false;
};

ErrorCode CodeOfStatus(int status) {
  if (status >= 500 || status == 408 || status == 429) return ErrorCode::kTransient;
  return status == 404 ? ErrorCode::kNotFound : ErrorCode::kUnsupported;
}

// What helps when the answer is of somebody in between, or of no update server.
std::string_view NextOfStatus(int status) {
  if (status == 401 || status == 403) {
    return "let the upstream accept this machine without a login, or with upstream."
           "client_certificate; check upstream.wsus in gapferry.yaml";
  }
  if (status == 404) {
    return "set upstream.wsus in gapferry.yaml to the root of an update server, such as "
           "http://wsus.example:8530";
  }
  if (CodeOfStatus(status) == ErrorCode::kTransient) return "";
  return "look into the log of the upstream and of the proxies on the way; check upstream.wsus in "
         "gapferry.yaml";
}

// A page with status 200 is a login or an error of something on the way: not one byte of it is
// looked at as an answer.
Result<void> RequireXml(const FetchResponse& head) {
  const std::string type = ToLowerAscii(head.Header("Content-Type"));
  if (head.status != 200 || type.empty() || type.find("xml") != std::string::npos) return {};
  return Fail(ErrorCode::kCorrupt, "no-soap",
              fmt::format("the answer is '{}', no SOAP message", EscapeForDisplay(type, 60)));
}

Result<void> FaultOf(Bytes body, const FetchResponse& answer, const std::string& operation) {
  TRY_ASSIGN(
      std::string text,
      protocol::DecodeContent(std::move(body), answer.Header("Content-Encoding"), kMaxFaultBytes));
  auto message = SoapMessage::Parse(std::move(text), protocol::SoapLimits::Request());
  auto fault = message ? DecodeFault(*message)
                       : Result<protocol::SoapFault>(std::unexpected(message.error()));
  if (fault) return std::unexpected(protocol::FaultError(*fault, operation));
  return Fail(ErrorCode::kTransient, "http-status",
              fmt::format("{}: HTTP status 500 without a fault", operation));
}

}  // namespace

Result<void> Upstream::PostOnce(const Exchange& exchange, protocol::AnswerReader& reader,
                                protocol::AttemptOutcome& outcome, std::string& retry_after) {
  BodySink sink(reader);
  FetchRequest request;
  request.method = "POST";
  request.url = exchange.url;
  request.headers = {{"Content-Type", std::string(SoapContentType(protocol::SoapVersion::k11))},
                     {"SOAPAction", exchange.action},
                     {"Accept-Encoding", "xpress"}};
  request.body = AsBytes(exchange.body);
  request.max_body_bytes = kMaxAnswerBytes;
  request.once = exchange.operation == "RollupDownstreamServers";  // its counters are added
  request.on_answer = [&](const FetchResponse& head) -> Result<void> {
    TRY(RequireXml(head));
    return sink.Begin(head);
  };
  TRY_ASSIGN(const FetchResponse answer, fetcher_.Fetch(request, sink, stop_));
  outcome.http_status = answer.status;
  retry_after = answer.Header("Retry-After");
  if (answer.status == 200) return sink.Finish();
  const bool is_xml = ToLowerAscii(answer.Header("Content-Type")).find("xml") != std::string::npos;
  if (answer.status == 500 && is_xml) return FaultOf(sink.TakeOther(), answer, exchange.operation);
  return std::unexpected(
      Error{CodeOfStatus(answer.status),
            fmt::format("POST {}: HTTP status {}", DisplayUrl(exchange.url), answer.status),
            "http-status", std::string(NextOfStatus(answer.status))});
}

namespace {

// A rollup call carries the time of its attempt, by which the upstream corrects all others, and its
// counters are added: RollupCalls decides what is told again, and when.
bool RepeatedByCaller(std::string_view operation) {
  return operation == "RollupDownstreamServers" || operation == "RollupComputers" ||
         operation == "GetOutOfSyncComputers" || operation == "RollupComputerStatus";
}

}  // namespace

// All calls go to one URL: the message says which it was.
void Upstream::Name(const Exchange& exchange, Error& error) const {
  if (!error.message.starts_with(exchange.operation)) {
    error.message = fmt::format("{}: {}", exchange.operation, error.message);
  }
  if (error.code == ErrorCode::kCorrupt && error.reason.empty()) error.reason = "bad-answer";
  if (protocol::FaultCodeOf(error) == FaultCode::kIncompatibleProtocolVersion) {
    error.message += fmt::format(" to our version {}", options_.protocol_version);
  }
}

Result<void> Upstream::Post(const Exchange& exchange, const ReaderFactory& reader) {
  for (int attempt = 1;; ++attempt) {
    protocol::AttemptOutcome outcome;
    std::string retry_after;
    auto answered = PostOnce(exchange, reader(), outcome, retry_after);
    if (answered) return answered;
    Error& error = answered.error();
    Name(exchange, error);
    protocol::RetryPolicy policy = options_.retry;
    if (const auto fault = protocol::FaultCodeOf(error)) {
      const FaultRule& rule = RuleOf(*fault);
      policy.attempts = std::min(policy.attempts, rule.attempts);
      // An unknown id among those asked for: the batch is divided instead.
      if (*fault == FaultCode::kInternalServerError &&
          (exchange.operation == "GetUpdateData" ||
           exchange.operation == "GetUpdateDecryptionData")) {
        return answered;
      }
      auto state = session_->state.Lock();
      if (rule.reaction == FaultReaction::kStartOver) state->demands.start_over = true;
      if (rule.reaction == FaultReaction::kListAgain) state->demands.list_again = true;
    }
    if (RepeatedByCaller(exchange.operation)) policy.attempts = 1;
    outcome.error = error.code;
    outcome.reason = error.reason;
    outcome.retry_after = retry_after;
    const auto wait = RetryWait(policy, attempt, outcome, protocol::RandomBits(), clock_.Now());
    if (!wait) return std::unexpected(WithFaultNext(std::move(error)));
    if (options_.note) {
      options_.note(
          fmt::format("{}; trying again in {} s", error.message, (wait->count() + 999) / 1000));
    }
    if (!options_.wait(*wait, stop_)) {
      return Fail(ErrorCode::kCancelled, fmt::format("{}: stopped", exchange.operation));
    }
  }
}

template <class Request>
Result<void> Upstream::Send(std::string_view service, const Request& request,
                            const ReaderFactory& reader) {
  const protocol::MessageName name = protocol::NameOf<Request>();
  const Exchange exchange{ResolveAgainstRoot(options_.url, service),
                          protocol::SoapActionHeader(name.name_space, name.element),
                          std::string(name.element), protocol::Encode(request)};
  return Post(exchange, reader);
}

template <class Response, class Request>
Result<Response> Upstream::Call(std::string_view service, const Request& request) {
  const std::string operation(protocol::NameOf<Request>().element);
  std::optional<WholeAnswer> answer;
  TRY(Send(service, request,
           [&]() -> protocol::AnswerReader& { return answer.emplace(operation); }));
  return protocol::Decode<Response>(answer->message());
}

// ---- Authorization -----------------------------------------------------------------------------

Result<void> Upstream::Authorize() {
  const std::lock_guard lock(session_->authorizing);
  session_->state.Lock()->cookie.reset();
  TRY(NewCookie());
  return {};
}

// With `authorizing` held. An authorization cookie that is refused is asked for once more.
Result<protocol::Cookie> Upstream::NewCookie() {
  auto cookie = AuthorizeOnce();
  const bool is_refused =
      !cookie && protocol::FaultCodeOf(cookie.error()) == FaultCode::kInvalidAuthorizationCookie;
  return is_refused ? AuthorizeOnce() : std::move(cookie);
}

Result<protocol::Cookie> Upstream::AuthorizeOnce() {
  TRY_ASSIGN(const auto config, (Call<protocol::GetAuthConfigResponse>(
                                    path::kServerSync, protocol::GetAuthConfigRequest{})));
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
             Call<protocol::DssAuthorizationResponse>(service, authorization));
  protocol::DssGetCookieRequest request;
  request.auth_cookies.push_back(authorized.cookie);
  request.protocol_version = options_.protocol_version;
  TRY_ASSIGN(const auto answer, Call<protocol::DssGetCookieResponse>(path::kServerSync, request));
  auto state = session_->state.Lock();
  state->cookie = answer.cookie;
  state->obtained = clock_.Now();
  return answer.cookie;
}

namespace {

// Renewed between calls when less than a quarter of its life or ten minutes are left, whichever is
// later: an expired cookie must not be sent (MS-WSUSSS 3.2.4.1). A cookie that was old when it came
// (a clock that is off) is used until the upstream refuses it.
bool IsFresh(const protocol::Cookie& cookie, UtcTime obtained, UtcTime now) {
  const std::int64_t life = cookie.expiration.ticks - obtained.ticks;
  if (life <= 0) return true;
  const std::int64_t margin =
      std::min(life / 4, std::chrono::seconds(kRenewBefore).count() * UtcTime::kTicksPerSecond);
  return now.ticks < cookie.expiration.ticks - margin;
}

}  // namespace

Result<protocol::Cookie> Upstream::FreshCookie() {
  const auto current = [&]() -> std::optional<protocol::Cookie> {
    auto state = session_->state.Lock();
    if (!state->cookie || !IsFresh(*state->cookie, state->obtained, clock_.Now())) return {};
    return state->cookie;
  };
  if (auto cookie = current()) return *std::move(cookie);
  const std::lock_guard lock(session_->authorizing);
  if (auto cookie = current()) return *std::move(cookie);  // another connection was faster
  return NewCookie();
}

// Unless another connection has a new one already.
void Upstream::Refused(const protocol::Cookie& cookie) {
  auto state = session_->state.Lock();
  if (state->cookie == cookie) state->cookie.reset();
}

template <class Request, class Function>
auto Upstream::WithCookie(Request request, Function call) -> decltype(call(request)) {
  for (int round = 1;; ++round) {
    auto cookie = FreshCookie();
    if (!cookie) return WithContext(std::move(cookie.error()), "authorization");
    request.cookie = *cookie;
    auto answer = call(request);
    if (answer || round == 2) return answer;
    const auto fault = protocol::FaultCodeOf(answer.error());
    if (!fault || RuleOf(*fault).reaction != FaultReaction::kAuthorize) return answer;
    Refused(*cookie);
  }
}

template <class Response, class Request>
Result<Response> Upstream::CallWithCookie(Request request) {
  return WithCookie(std::move(request),
                    [&](const Request& ready) { return Call<Response>(path::kServerSync, ready); });
}

// ---- Operations --------------------------------------------------------------------------------

Result<protocol::GetConfigDataResponse> Upstream::GetConfigData(std::optional<std::string> anchor) {
  protocol::GetConfigDataRequest request;
  request.config_anchor = std::move(anchor);
  TRY_ASSIGN(auto answer, CallWithCookie<protocol::GetConfigDataResponse>(std::move(request)));
  if (answer.max_updates_per_request <= 0) {
    return Fail(ErrorCode::kUnsupported, "bad-limit",
                fmt::format("GetConfigData: MaxNumberOfUpdatesPerRequest is {}",
                            answer.max_updates_per_request));
  }
  answer.max_updates_per_request = std::min(answer.max_updates_per_request, 1000);
  // A missing or senseless limit is never "unlimited".
  answer.max_updates_per_decryption_request =
      std::clamp(answer.max_updates_per_decryption_request, 1, 1000);
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
  using Answer = Result<protocol::GetRevisionIdListResponse>;
  return WithCookie(std::move(request), [&](const auto& ready) -> Answer {
    std::optional<protocol::RevisionListAnswer> answer;
    TRY(Send(path::kServerSync, ready,
             [&]() -> protocol::AnswerReader& { return answer.emplace(); }));
    return answer->Take();
  });
}

Result<void> Upstream::GetUpdateData(std::vector<protocol::UpdateId> ids,
                                     const protocol::UpdateDataAnswer::Receiver& receiver,
                                     std::uint64_t max_document_bytes) {
  protocol::GetUpdateDataRequest request;
  request.update_ids = std::move(ids);
  return WithCookie(std::move(request), [&](const protocol::GetUpdateDataRequest& ready) {
    std::optional<protocol::UpdateDataAnswer> answer;
    return Send(path::kServerSync, ready, [&]() -> protocol::AnswerReader& {
      return answer.emplace(receiver, max_document_bytes);
    });
  });
}

Result<protocol::GetUpdateDecryptionDataResponse> Upstream::GetUpdateDecryptionData(
    std::vector<protocol::UpdateId> ids) {
  protocol::GetUpdateDecryptionDataRequest request;
  request.update_ids = std::move(ids);
  return CallWithCookie<protocol::GetUpdateDecryptionDataResponse>(std::move(request));
}

Result<protocol::GetDeploymentsResponse> Upstream::GetDeployments(std::optional<std::string> anchor,
                                                                  const std::string& sync_anchor) {
  protocol::GetDeploymentsRequest request;
  request.deployment_anchor = std::move(anchor);
  request.sync_anchor = sync_anchor;
  return CallWithCookie<protocol::GetDeploymentsResponse>(std::move(request));
}

Result<void> Upstream::DownloadFiles(const std::vector<Sha1Digest>& digests) {
  protocol::DownloadFilesRequest request;
  for (const Sha1Digest& digest : digests) {
    request.file_digests.emplace_back(digest.bytes.begin(), digest.bytes.end());
  }
  TRY(CallWithCookie<protocol::DownloadFilesResponse>(std::move(request)));
  return {};
}

// ---- Rollup ------------------------------------------------------------------------------------

Result<protocol::GetRollupConfigurationResponse> Upstream::GetRollupConfiguration() {
  protocol::GetRollupConfigurationRequest request;
  request.cookie = protocol::RollupCookie();
  return Call<protocol::GetRollupConfigurationResponse>(path::kReporting, request);
}

Result<void> Upstream::RollupDownstreamServers(protocol::RollupDownstreamServersRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  TRY(Call<protocol::RollupDownstreamServersResponse>(path::kReporting, request));
  return {};
}

Result<protocol::RollupComputersResponse> Upstream::RollupComputers(
    protocol::RollupComputersRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  return Call<protocol::RollupComputersResponse>(path::kReporting, request);
}

Result<protocol::GetOutOfSyncComputersResponse> Upstream::GetOutOfSyncComputers(
    protocol::GetOutOfSyncComputersRequest request) {
  request.cookie = protocol::RollupCookie();
  return Call<protocol::GetOutOfSyncComputersResponse>(path::kReporting, request);
}

Result<bool> Upstream::RollupComputerStatus(protocol::RollupComputerStatusRequest request) {
  request.cookie = protocol::RollupCookie();
  request.client_time = clock_.Now();
  TRY_ASSIGN(const auto answer,
             Call<protocol::RollupComputerStatusResponse>(path::kReporting, request));
  return answer.result;
}

}  // namespace gapferry::exporter
