#include "client/load_connection.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/hash.h"
#include "base/text.h"
#include "client/report.h"
#include "client/scan.h"
#include "client/wusp_session.h"
#include "protocol/reporting_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::client {

namespace {

using namespace protocol;  // NOLINT: every message type is from there

constexpr std::uint64_t kMaxAnswerBytes = 512ULL << 20;
constexpr int kMaxWalk = 5000;  // round trips
constexpr std::string_view kProtocolVersion = "2.90";
constexpr std::size_t kMostSeconds = 7 * 86'400;

// What real computers list on average in the event of their status.
constexpr std::size_t kNeeded = 22;
constexpr std::size_t kInstalled = 38;

/// Equal in every run, shared by all computers: they are told by no catalogue.
std::vector<Guid> StatusGuids(std::size_t from, std::size_t count) {
  std::vector<Guid> guids(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Sha256Digest digest = Sha256(fmt::format("gapferry load update {}", from + i));
    std::copy_n(digest.bytes.begin(), guids[i].bytes.size(), guids[i].bytes.begin());
  }
  return guids;
}

/// Scan found, status, then what an installation brings, again and again.
std::vector<ReportingEvent> EventsOf(const LoadComputer& computer, std::size_t count) {
  static constexpr std::int32_t kInstallation[] = {167, 162, 181, 183};
  Facts facts;
  facts.name = computer.name;
  ScanResult scan;
  scan.needed = StatusGuids(0, kNeeded);
  scan.installed = StatusGuids(kNeeded, kInstalled);
  std::vector<ReportingEvent> events = ScanEvents(scan, facts, computer.id, SystemClock().Now());
  const ReportingEvent found = events.front();
  for (std::size_t i = 0; events.size() < count; ++i) {
    ReportingEvent event = found;
    event.event_instance_id = Guid::Random();
    event.event_id = kInstallation[i % std::size(kInstallation)];
    event.update = {scan.needed[i / std::size(kInstallation) % kNeeded], 200};
    event.replacement_strings = {"2026-11 Cumulative Update for Windows 11 (KB5000001)"};
    events.push_back(std::move(event));
  }
  events.resize(count);
  return events;
}

}  // namespace

std::uint64_t MicrosecondsSince(SteadyTime began) {
  const auto time = std::chrono::steady_clock::now() - began;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(
      0, std::chrono::duration_cast<std::chrono::microseconds>(time).count()));
}

void IdLists::Take(const SyncOutline& outline, unsigned holds_percent) {
  for (const SyncOutline::Update& update : outline.fresh) {
    // Spread over the ids, the same for every computer and run.
    const bool holds =
        static_cast<std::uint32_t>(update.id) * 2654435761U >> 16U < holds_percent * 65536U / 100U;
    (update.is_leaf || !holds ? other : installed).push_back(update.id);
  }
  if (outline.out_of_scope.empty()) return;
  std::vector<std::int32_t> gone = outline.out_of_scope;
  std::ranges::sort(gone);
  const auto is_gone = [&gone](std::int32_t id) { return std::ranges::binary_search(gone, id); };
  std::erase_if(installed, is_gone);
  std::erase_if(other, is_gone);
}

void IdLists::Sort() {
  std::ranges::sort(installed);
  std::ranges::sort(other);
}

void LoadCounts::AddError(const Error& error) {
  ++errors;
  const std::string text = EscapeForDisplay(error.message, 200);
  if (error_texts.size() < kMaxErrorTexts || error_texts.contains(text)) ++error_texts[text];
}

void LoadCounts::AddRequest(std::uint64_t at_microseconds, std::uint64_t took_microseconds) {
  request.Add(took_microseconds);
  const auto second = static_cast<std::size_t>(at_microseconds / 1'000'000);
  if (second >= kMostSeconds) return;
  if (latest.size() <= second) latest.resize(second + 1);
  latest[second] = std::max(latest[second], took_microseconds);
}

void LoadCounts::Merge(const LoadCounts& other) {
  scans += other.scans;
  reports += other.reports;
  events += other.events;
  answer_bytes += other.answer_bytes;
  updates += other.updates;
  late += other.late;
  errors += other.errors;
  request.Merge(other.request);
  scan.Merge(other.scan);
  report.Merge(other.report);
  for (const auto& [text, count] : other.error_texts) {
    if (error_texts.size() < kMaxErrorTexts || error_texts.contains(text)) {
      error_texts[text] += count;
    }
  }
  latest.resize(std::max(latest.size(), other.latest.size()));
  for (std::size_t i = 0; i < other.latest.size(); ++i) {
    latest[i] = std::max(latest[i], other.latest[i]);
  }
}

Result<std::unique_ptr<LoadConnection>> LoadConnection::Create(const LoadOptions& options,
                                                               std::stop_token stop) {
  CurlOptions curl;
  curl.ca_file = options.ca_file;
  TRY_ASSIGN(auto fetcher, CurlFetcher::Create(std::move(curl)));
  return std::unique_ptr<LoadConnection>(
      new LoadConnection(options, std::move(fetcher), std::move(stop)));
}

void LoadConnection::BeginMeasuring(SteadyTime began) {
  *counts_ = {};
  measuring_since_ = began;
}

template <class Request>
Result<std::string> LoadConnection::Post(std::string_view path, const Request& request) {
  const MessageName name = NameOf<Request>();
  const std::string body = Encode(request);
  FetchRequest fetch;
  fetch.method = "POST";
  fetch.url = ResolveAgainstRoot(options_.server, path);
  fetch.headers = {{"Content-Type", std::string(SoapContentType(SoapVersion::k11))},
                   {"SOAPAction", SoapActionHeader(name.name_space, name.element)}};
  if (options_.use_xpress) fetch.headers.emplace_back("Accept-Encoding", "xpress");
  fetch.body = AsBytes(body);
  fetch.max_body_bytes = kMaxAnswerBytes;
  MemorySink sink(kMaxAnswerBytes);
  const SteadyTime began = std::chrono::steady_clock::now();
  TRY_ASSIGN(const FetchResponse response, fetcher_->Fetch(fetch, sink, stop_),
             std::string(name.element));
  const std::uint64_t took = MicrosecondsSince(began);
  const std::uint64_t at = measuring_since_ ? MicrosecondsSince(*measuring_since_) : 0;
  counts_->AddRequest(at - std::min(at, took), took);
  counts_->answer_bytes += response.body_bytes;
  if (response.status != 200 && response.status != 500) {
    return Fail(ErrorCode::kTransient, fmt::format("{}: HTTP {}", name.element, response.status));
  }
  return DecodeContent(sink.Take(), response.Header("Content-Encoding"), kMaxAnswerBytes);
}

template <class Response, class Request>
Result<Response> LoadConnection::Call(std::string_view path, const Request& request) {
  TRY_ASSIGN(std::string body, Post(path, request));
  const std::string_view element = NameOf<Request>().element;
  TRY_ASSIGN(const SoapMessage message, SoapMessage::Parse(std::move(body), SoapLimits::Answer()),
             std::string(element));
  if (message.IsFault()) {
    TRY_ASSIGN(const SoapFault fault, DecodeFault(message), std::string(element));
    return std::unexpected(FaultError(fault, element));
  }
  return Decode<Response>(message);
}

Result<void> LoadConnection::Join(LoadComputer& computer) {
  TRY_ASSIGN(
      const GetConfigResponse config,
      (Call<GetConfigResponse>(path::kClient, GetConfigRequest{std::string(kProtocolVersion)})));
  SimpleAuthorizationRequest ask;
  ask.client_id = computer.id.ToString();
  ask.dns_name = computer.name;
  TRY_ASSIGN(const SimpleAuthorizationResponse granted,
             (Call<SimpleAuthorizationResponse>(path::kSimpleAuth, ask)));
  GetCookieRequest cookie;
  cookie.auth_cookies = {granted.cookie};
  if (!computer.cookie.encrypted_data.empty()) cookie.old_cookie = computer.cookie;
  cookie.last_change = config.last_change;
  cookie.current_time = SystemClock().Now();
  cookie.protocol_version = kProtocolVersion;
  TRY_ASSIGN(const GetCookieResponse given, (Call<GetCookieResponse>(path::kClient, cookie)));
  computer.cookie = given.cookie;
  if (!config.is_registration_required) return {};
  Facts facts;
  facts.name = computer.name;
  TRY((Call<RegisterComputerResponse>(
      path::kClient, RegisterComputerRequest{computer.cookie, ComputerInfoOf(facts)})));
  return {};
}

Result<SyncOutline> LoadConnection::Sync(LoadComputer& computer, const IdLists& lists) {
  for (int attempt = 0;; ++attempt) {
    SyncUpdatesRequest request;
    request.cookie = computer.cookie;
    SyncUpdatesParameters& parameters = request.parameters;
    parameters.installed_non_leaf_update_ids = lists.installed;
    parameters.other_cached_update_ids = lists.other;
    parameters.need_two_group_out_of_scope_updates = true;
    parameters.also_perform_regular_sync = false;
    parameters.computer_spec.emplace();
    TRY_ASSIGN(const std::string body, Post(path::kClient, request));
    auto outline = ScanSyncAnswer(body);
    if (outline) {
      computer.cookie = outline->cookie;
      return outline;
    }
    const std::string_view fault = FaultCodeIn(body);
    if (fault.empty()) return outline;
    if (attempt > 0 || fault == "InvalidParameters" || fault == "InternalServerError") {
      return Fail(ErrorCode::kTransient, fmt::format("SyncUpdates: fault {}", fault));
    }
    TRY(Join(computer));
  }
}

Result<bool> LoadConnection::Scan(LoadComputer& computer, IdLists& lists,
                                  std::optional<SteadyTime> until) {
  for (int round = 0; round < kMaxWalk; ++round) {
    if (until && std::chrono::steady_clock::now() >= *until) return false;
    TRY_ASSIGN(const SyncOutline outline, Sync(computer, lists));
    counts_->updates += outline.fresh.size();
    lists.Take(outline, options_.holds_percent);
    const bool unlocked =
        std::ranges::any_of(outline.fresh, [](const auto& update) { return !update.is_leaf; });
    if (!outline.truncated && !unlocked) return true;
  }
  return Fail(ErrorCode::kCorrupt, "the server does not come to an end");
}

Result<void> LoadConnection::Report(LoadComputer& computer, std::size_t events) {
  ReportEventBatchRequest request;
  request.cookie = computer.cookie;
  request.client_time = SystemClock().Now();
  request.events = EventsOf(computer, events);
  const SteadyTime began = std::chrono::steady_clock::now();
  TRY_ASSIGN(const ReportEventBatchResponse answer,
             (Call<ReportEventBatchResponse>(path::kReporting, request)));
  if (!answer.result) return Fail(ErrorCode::kTransient, "ReportEventBatch: refused");
  counts_->report.Add(MicrosecondsSince(began));
  ++counts_->reports;
  counts_->events += events;
  return {};
}

}  // namespace gapferry::client
