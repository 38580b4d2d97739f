#include "server/update_server.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/content_store.h"
#include "mirror/fragment_store.h"
#include "protocol/soap.h"
#include "server/client_service.h"
#include "server/housekeeping.h"
#include "server/http_content.h"
#include "server/index_keeper.h"
#include "server/reporting_service.h"
#include "server/service_manager.h"
#include "server/soap_endpoint.h"
#include "server/static_files.h"
#include "server/sync_service.h"

namespace gapferry::server {
namespace {

constexpr std::uint64_t kReportingBodyBytes = 64ULL << 20;
constexpr std::size_t kReportingNodes = 8'000'000;
constexpr std::string_view kContentPrefix = "/content/";
constexpr std::string_view kSelfUpdatePrefix = "/selfupdate/";
/// What people and scripts fetch to see that an update server is there (docs/behaviours.md).
constexpr std::string_view kVersionProbes[] = {"clientwebservice/susserverversion.xml",
                                               "susserverversion.xml"};
constexpr std::string_view kVersionAnswer =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
    "<SusServerVersion ProtocolVersion=\"3.2\" Product=\"gapferry\" />";

bool BelongsTo(std::string_view path, std::string_view prefix) {
  return path.size() > prefix.size() && EqualsIgnoreCase(path.substr(0, prefix.size()), prefix);
}

/// A path without case and without the slash in front.
std::string RouteOf(std::string_view path) {
  std::string route = ToLowerAscii(path);
  if (route.starts_with('/')) route.erase(0, 1);
  return route;
}

/// The SHA-1 that "/Content/AB/<40 hex>.<ext>" names; nothing when the path has another shape or
/// the folder is not the last two digits.
std::optional<Sha1Digest> ContentName(std::string_view path) {
  if (!BelongsTo(path, kContentPrefix)) return std::nullopt;
  path.remove_prefix(kContentPrefix.size());
  constexpr std::size_t kHexDigits = 40;
  constexpr std::size_t kNameAt = 3;
  if (path.size() < kNameAt + kHexDigits + 2 || path[2] != '/') return std::nullopt;
  const std::string_view hex = path.substr(kNameAt, kHexDigits);
  const std::string_view rest = path.substr(kNameAt + kHexDigits);
  if (rest[0] != '.' || !mirror::IsContentExtension(rest.substr(1))) return std::nullopt;
  if (!EqualsIgnoreCase(path.substr(0, 2), hex.substr(kHexDigits - 2))) return std::nullopt;
  const Result<Sha1Digest> digest = Sha1Digest::FromHex(hex);
  if (!digest.has_value()) return std::nullopt;
  return *digest;
}

/// When the settings that GetConfig tells changed last: the configuration file's time.
Result<UtcTime> ConfigChangeTime(const std::filesystem::path& mirror) {
  const std::filesystem::path path = mirror / "gapferry.yaml";
  struct ::stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return FailErrno(errno, path.string());
  // Hundredths of a second, as the real server's: clients give the text back.
  const std::int64_t hundredths = facts.st_mtim.tv_nsec / 10'000'000;
  return UtcTime{facts.st_mtim.tv_sec * UtcTime::kTicksPerSecond + hundredths * 100'000};
}

class Router : public HttpHandler {
 public:
  Router(std::filesystem::path mirror, mirror::MirrorOptions mirror_options, ServiceShared shared,
         StaticFiles self_update);

  std::uint64_t BodyLimit(const Request& request) const override {
    const std::string route = RouteOf(request.path);
    const bool reporting = route.starts_with("reportingwebservice/");
    const std::uint64_t limit = shared_.config.serve.max_request_bytes;
    return reporting ? std::max(limit, kReportingBodyBytes) : limit;
  }
  std::optional<Reply> HandleInline(const Request& request) override;
  Reply Handle(Request& request, WorkerContext& worker) override;
  Result<std::unique_ptr<WorkerContext>> MakeWorker() override;

 private:
  Reply ServeContent(const Request& request, const Sha1Digest& sha1) const;

  const std::filesystem::path mirror_;
  const mirror::MirrorOptions mirror_options_;
  const ServiceShared shared_;
  const StaticFiles self_update_;
  ClientService clients_;
  SyncService servers_;
  ReportingService reporting_;
  std::map<std::string, SoapEndpoint, std::less<>> endpoints_;  // by route
};

Router::Router(std::filesystem::path mirror, mirror::MirrorOptions mirror_options,
               ServiceShared shared, StaticFiles self_update)
    : mirror_(std::move(mirror)),
      mirror_options_(mirror_options),
      shared_(std::move(shared)),
      self_update_(std::move(self_update)),
      clients_(shared_),
      servers_(shared_),
      reporting_(shared_) {
  const auto endpoint = [this, budget = AnswerBudget::Make(SoapEndpoint::kAnswerBudgetBytes)](
                            std::string_view path,
                            const ServiceDescription& description) -> SoapEndpoint& {
    SoapEndpoint::Settings settings;
    settings.cache_control = "private, max-age=0";
    settings.style = protocol::SoapStyle::kClassic;
    settings.description = &description;
    settings.path = path;
    settings.budget = budget;
    if (path == protocol::path::kClient) {
      settings.cache_control = "private";
      settings.style = protocol::SoapStyle::kClient;
    }
    if (&description == &description::Reporting()) settings.max_nodes = kReportingNodes;
    return endpoints_.emplace(RouteOf(path), SoapEndpoint(std::move(settings))).first->second;
  };
  namespace path = protocol::path;
  clients_.AddClientOperations(endpoint(path::kClient, description::Client()));
  clients_.AddAuthorizationOperations(endpoint(path::kSimpleAuth, description::SimpleAuth()));
  servers_.AddSyncOperations(endpoint(path::kServerSync, description::ServerSync()));
  servers_.AddAuthorizationOperations(endpoint(path::kDssAuth, description::DssAuth()));
  for (const std::string_view name : {path::kReporting, path::kReportingAlias}) {
    SoapEndpoint& reporting = endpoint(name, description::Reporting());
    reporting_.AddOperations(reporting);
    servers_.AddMonitoring(reporting);
  }
}

std::optional<Reply> Router::HandleInline(const Request& request) {
  if (BelongsTo(request.path, kContentPrefix)) {
    const std::optional<Sha1Digest> sha1 = ContentName(request.path);
    if (!sha1) return PlainReply(404, "no such file");
    return ServeContent(request, *sha1);
  }
  if (BelongsTo(request.path, kSelfUpdatePrefix)) {
    // The files are Microsoft's to sign; clients since Windows 10 never ask (wusp.md 2).
    return self_update_.Serve(request,
                              std::string_view(request.path).substr(kSelfUpdatePrefix.size()));
  }
  const std::string route = RouteOf(request.path);
  if (endpoints_.contains(route)) return std::nullopt;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads && request.path == "/") {
    return PlainReply(200, "gapferry update server '" + shared_.identity.name + "'");
  }
  if (reads && std::ranges::find(kVersionProbes, route) != std::end(kVersionProbes)) {
    Reply reply = PlainReply(200, kVersionAnswer);
    reply.headers[0].second = "text/xml";
    return reply;
  }
  return PlainReply(404, "nothing is served here");
}

Reply Router::ServeContent(const Request& request, const Sha1Digest& sha1) const {
  const std::shared_ptr<const ScanIndex> index = shared_.keeper.Current();
  const mirror::ContentFile* held = index->holdings().Find(sha1);
  if (held == nullptr) return PlainReply(404, "this file is not held");
  Result<File> opened =
      File::OpenRead(mirror_ / "content" / mirror::ContentPath(sha1, held->extension));
  if (!opened.has_value()) {
    Log(LogLevel::kError, "content file unreadable",
        {{"sha1", sha1.ToHex()}, {"error", opened.error().message}});
    return PlainReply(404, "this file is not held");
  }
  auto file = std::make_shared<const File>(std::move(*opened));
  struct ::stat facts {};
  if (::fstat(file->fd(), &facts) != 0 ||
      static_cast<std::uint64_t>(facts.st_size) != held->size_bytes) {
    Log(LogLevel::kError, "content file has another size than recorded",
        {{"sha1", sha1.ToHex()}, {"expected", held->size_bytes}, {"size", facts.st_size}});
    return PlainReply(404, "this file is not held");
  }
  const FileFacts about{"\"" + sha1.ToHex() + "\"", UtcTime::FromUnixSeconds(facts.st_mtim.tv_sec),
                        std::string(MimeType(held->extension))};
  return ServeFile(request, std::move(file), held->size_bytes, about);
}

Reply Router::Handle(Request& request, WorkerContext& worker) {
  const auto found = endpoints_.find(RouteOf(request.path));
  if (found == endpoints_.end()) return PlainReply(404, "nothing is served here");
  CallContext call{request, static_cast<ServiceWorker&>(worker), shared_.keeper.Current(),
                   shared_.clock.Now()};
  return found->second.Handle(call, std::move(request.body));
}

Result<std::unique_ptr<WorkerContext>> Router::MakeWorker() {
  mirror::MirrorOptions options = mirror_options_;
  options.database.cache_bytes = 4 << 20;  // many workers; pages are shared by mmap
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(mirror_, options, shared_.config));
  TRY_ASSIGN(auto documents, mirror::DocumentStore::Open(mirror_, options.database));
  return std::make_unique<ServiceWorker>(std::move(mirror), std::move(documents));
}

/// Fragments of another derivation than this program's are made again before anybody asks.
Result<void> CheckFragments(mirror::Mirror& mirror) {
  TRY_ASSIGN(mirror::FragmentStore * fragments, mirror.fragments());
  TRY_ASSIGN(const std::int32_t derivation, fragments->Derivation());
  if (derivation == protocol::kFragmentDerivation) return {};
  Log(LogLevel::kWarning, "fragments are made again",
      {{"from", derivation}, {"to", protocol::kFragmentDerivation}});
  // A large catalogue takes minutes, longer than a service manager waits for a start.
  const std::jthread patience([](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      NotifyServiceManager("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=fragments are made again");
      wake.wait_for(lock, stop, std::chrono::seconds(20), [] { return false; });
    }
  });
  TRY(mirror::RebuildFragments(mirror));
  return {};
}

}  // namespace

struct UpdateServer::Impl {
  // Each uses those before it.
  mirror::Identity identity;
  std::unique_ptr<mirror::ActivityWriter> activity;
  std::unique_ptr<IndexKeeper> keeper;
  std::unique_ptr<Router> router;
  std::unique_ptr<HttpServer> http;
  std::jthread housekeeping;
};

UpdateServer::UpdateServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UpdateServer::~UpdateServer() = default;

Result<std::unique_ptr<UpdateServer>> UpdateServer::Start(
    const std::filesystem::path& path, const mirror::MirrorOptions& mirror_options,
    UpdateServerOptions options) {
  TRY_ASSIGN(auto mirror, options.config
                              ? mirror::Mirror::Open(path, mirror_options, *options.config)
                              : mirror::Mirror::Open(path, mirror_options));
  const mirror::Config config = mirror.config();
  TRY(CheckFragments(mirror));
  TRY_ASSIGN(const mirror::CookieKey key, mirror::ReadCookieKey(path));
  TRY_ASSIGN(const UtcTime config_change, ConfigChangeTime(path));
  auto impl = std::make_unique<Impl>();
  impl->identity = mirror.identity();
  TRY_ASSIGN(impl->activity,
             mirror::ActivityWriter::Start(path / "activity.db", *mirror_options.clock,
                                           mirror_options.database));
  const ScanOptions scan{config.serve.evaluate_unapproved, config.content.express};
  TRY_ASSIGN(impl->keeper, IndexKeeper::Start(std::move(mirror), scan));
  StaticFiles self_update;
  if (!config.serve.self_update.empty()) {
    auto indexed = StaticFiles::Index(path / config.serve.self_update);
    if (!indexed.has_value()) {
      Error error = std::move(indexed).error();
      error.message = "serve.self_update: " + error.message;
      error.next = "correct 'serve.self_update' in " + (path / "gapferry.yaml").string();
      return std::unexpected(std::move(error));
    }
    self_update = *std::move(indexed);
  }
  std::uint16_t http_port = 0;
  for (const Listener& listener : options.http.listeners) {
    if (!listener.tls) http_port = listener.port;
  }
  impl->router = std::make_unique<Router>(
      path, mirror_options,
      ServiceShared{impl->identity, config, CookieBox(key), config_change, *mirror_options.clock,
                    *impl->keeper, *impl->activity, http_port},
      std::move(self_update));
  std::vector<std::filesystem::path> certificates;
  for (const std::string& file : {options.http.certificate_file, options.http.key_file}) {
    if (!file.empty()) certificates.emplace_back(file);
  }
  impl->http = std::make_unique<HttpServer>(std::move(options.http), *impl->router);
  TRY(impl->http->Start());
  Housekeeping keeping{
      *impl->activity,         *impl->keeper,
      *mirror_options.clock,   config.limits.events_kept_days,
      std::move(certificates), [http = impl->http.get()] { return http->ReloadCertificate(); }};
  impl->housekeeping = std::jthread(
      [keeping = std::move(keeping)](std::stop_token stop) mutable { keeping.Run(stop); });
  return std::unique_ptr<UpdateServer>(new UpdateServer(std::move(impl)));
}

const std::vector<Listener>& UpdateServer::listeners() const { return impl_->http->listeners(); }
const mirror::Identity& UpdateServer::identity() const { return impl_->identity; }
std::size_t UpdateServer::revisions() const {
  return impl_->keeper->Current()->catalog().revisions().size();
}
Result<void> UpdateServer::ReloadCertificate() { return impl_->http->ReloadCertificate(); }
void UpdateServer::Stop() { impl_->http->Stop(); }

HttpServerOptions HttpOptionsOf(const mirror::Config& config, const std::filesystem::path& mirror) {
  HttpServerOptions options;
  options.listeners.push_back({config.serve.http.host, config.serve.http.port, false});
  if (config.serve.https) {
    options.listeners.push_back(
        {config.serve.https->listen.host, config.serve.https->listen.port, true});
    options.certificate_file = (mirror / config.serve.https->certificate).string();
    options.key_file = (mirror / config.serve.https->key).string();
  }
  const unsigned processors = std::max(1U, std::thread::hardware_concurrency());
  options.io_threads = config.serve.threads == 0 ? std::max(2U, processors) : config.serve.threads;
  options.worker_threads = std::max(8U, 2 * options.io_threads);
  options.max_connections = config.serve.max_connections;
  // A connection has one request at most, and bodies have a limit of their own: when all computers
  // come at once they wait their turn.
  options.worker_queue = options.max_connections;
  options.max_connections_per_address = config.serve.max_connections_per_address;
  options.header_limit_bytes = static_cast<std::uint32_t>(config.serve.max_header_bytes);
  options.idle_timeout = config.serve.idle_timeout;
  options.stall_timeout = config.serve.client_timeout;
  options.header_timeout =
      std::min<std::chrono::milliseconds>(options.header_timeout, config.serve.client_timeout);
  return options;
}

}  // namespace gapferry::server
