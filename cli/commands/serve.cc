// gapferry serve: the update server of a mirror.
#include <fmt/format.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/signals.h"
#include "mirror/mirror.h"
#include "mirror/schedule_facts.h"
#include "server/job_runner.h"
#include "server/service_manager.h"
#include "server/update_server.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;
using server::Listener;
using server::UpdateServer;

std::string UrlOf(const Listener& listener) {
  const bool v6 = listener.address.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", listener.tls ? "https" : "http",
                     v6 ? "[" + listener.address + "]" : listener.address, listener.port);
}

bool IsAnyAddress(const Listener& listener) {
  return listener.address == "0.0.0.0" || listener.address == "::";
}

/// What an administrator types into the policies of clients.
std::string ClientUrl(const Listener& listener) {
  if (!IsAnyAddress(listener)) return UrlOf(listener);
  return fmt::format("{}://NAME-OF-THIS-MACHINE:{}", listener.tls ? "https" : "http",
                     listener.port);
}

void Announce(Context& context, const UpdateServer& running, const mirror::Config& config) {
  json ready = {{"message_type", "ready"},
                {"name", config.name},
                {"guid", running.identity().guid.ToString()},
                {"revisions", running.revisions()},
                {"listeners", json::array()}};
  context.Print(
      fmt::format("mirror '{}' is served, {} revisions", config.name, running.revisions()));
  for (const Listener& listener : running.listeners()) {
    context.Print(fmt::format("listening on {}", UrlOf(listener)));
    ready["listeners"].push_back({{"url", UrlOf(listener)},
                                  {"address", listener.address},
                                  {"port", listener.port},
                                  {"tls", listener.tls}});
  }
  const Listener& first = running.listeners().back();  // HTTPS where there is one
  context.Print(
      fmt::format("point Windows clients at it: policies WUServer and WUStatusServer = {}\n"
                  "point a WSUS below it at this machine, port {}{}",
                  ClientUrl(first), first.port, first.tls ? ", with SSL" : ""));
  context.Emit(ready);
  std::fflush(stdout);
}

/// Where --listen wants the plain listener, else as the configuration says.
Result<server::HttpServerOptions> HttpOptions(Context& context, const mirror::Config& config,
                                              const std::filesystem::path& path) {
  server::HttpServerOptions options = server::HttpOptionsOf(config, path);
  if (const auto text = context.args().Text("listen")) {
    TRY_ASSIGN(const auto listen, mirror::ListenAddress::Parse(*text), "--listen");
    options.listeners[0].address = listen.host;
    options.listeners[0].port = listen.port;
  }
  return options;
}

/// The jobs that start by themselves; refused where they could never work.
Result<void> CheckSchedule(const Context& context, const mirror::Config& config) {
  auto fits = mirror::CheckSchedule(config);
  if (fits) return {};
  return WithNext(std::move(fits).error(),
                  NextCommand(context, config.schedule.sync.is_empty() ? "schedule remove rollup"
                                                                       : "schedule remove sync"));
}

void AnnounceSchedule(Context& context, const mirror::Config& config) {
  for (const std::string_view kind : mirror::kScheduledKinds) {
    const std::string text = mirror::KindText(config.schedule, kind);
    if (text != "never") context.Print(fmt::format("{} starts by itself: {}", kind, text));
  }
}

/// The sockets of the service manager instead of the listeners of the configuration. One named
/// "https" speaks TLS; without names the first is plain and the second speaks TLS.
Result<void> UseInherited(std::vector<server::InheritedSocket> sockets,
                          server::HttpServerOptions& http) {
  if (sockets.empty()) return {};
  http.listeners.clear();
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    const std::string& name = sockets[i].name;
    const bool is_named = name == "http" || name == "https";
    Listener listener;
    listener.tls = is_named ? name == "https" : i == 1;
    listener.inherited_fd = sockets[i].fd;
    http.listeners.push_back(listener);
    if (listener.tls && http.certificate_file.empty()) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("the service manager gives a socket for HTTPS ('{}'), but "
                              "'serve.https' in gapferry.yaml names no certificate",
                              EscapeForDisplay(name)));
    }
  }
  return {};
}

void WaitForStop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait(lock, stop, [] { return false; });
}

void ReloadCertificate(UpdateServer& running) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  server::NotifyServiceManager(
      fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                  std::chrono::duration_cast<std::chrono::microseconds>(now).count()));
  const Result<void> reloaded = running.ReloadCertificate();
  if (reloaded.has_value()) {
    Log(LogLevel::kInfo, "certificate reloaded");
  } else {
    Log(LogLevel::kError, "certificate not reloaded, the old one stays in use",
        {{"error", reloaded.error().message}});
  }
  server::NotifyServiceManager("READY=1");
}

/// What to do when it does not start.
std::unexpected<Error> WithServeNext(const Context& context, const std::filesystem::path& mirror,
                                     Error error) {
  const std::string file = ShellWord((mirror / "gapferry.yaml").string());
  if (error.reason == "bad-configuration") {
    return WithNext(std::move(error), "correct this place of " + file);
  }
  if (error.reason == server::kBadCertificate) {
    return WithNext(std::move(error), "correct 'serve.https' in " + file);
  }
  if (error.code == ErrorCode::kBusy || error.message.starts_with("cannot listen")) {
    return WithNext(std::move(error), NextCommand(context, "serve --listen ADDRESS:PORT"));
  }
  return std::unexpected(std::move(error));
}

Result<ExitCode> RunServe(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  auto read = mirror::LoadConfig(path / "gapferry.yaml");
  if (!read) return WithServeNext(context, path, std::move(read).error());
  const mirror::Config config = *std::move(read);
  TRY(CheckSchedule(context, config));
  server::UpdateServerOptions options;
  options.config = config;
  TRY_ASSIGN(options.http, HttpOptions(context, config, path));
  TRY_ASSIGN(auto inherited, server::TakeInheritedSockets());
  TRY(UseInherited(std::move(inherited), options.http));
  Result<std::unique_ptr<UpdateServer>> started =
      UpdateServer::Start(path, mirror::MirrorOptions{}, std::move(options));
  if (!started) return WithServeNext(context, path, std::move(started).error());
  UpdateServer& running = **started;
  OnHangup([&running] { ReloadCertificate(running); });
  server::JobRunnerOptions jobs;
  jobs.mirror = path;
  jobs.schedule = config.schedule;
  const auto runner = server::JobRunner::Start(std::move(jobs));
  AnnounceSchedule(context, config);
  Announce(context, running, config);
  server::NotifyServiceManager("READY=1\nSTATUS=serving");
  WaitForStop(context.stop());
  context.Say("stopping: requests in progress are finished, a job in progress is stopped");
  runner->RequestStop();
  server::NotifyServiceManager("STOPPING=1");
  OnHangup({});
  running.Stop();
  runner->Stop();
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> ServeCommands() {
  Command serve;
  serve.path = {"serve"};
  serve.summary = "serve clients and other update servers";
  serve.description =
      "Answers Windows clients (WUSP), update servers below (WSUSSS) and their downloads until it "
      "is stopped by Ctrl-C or SIGTERM. Approvals, imports and syncs by other commands are seen "
      "without a restart. SIGHUP reads certificate and key again. Jobs that 'gapferry schedule "
      "set' "
      "asks for are started by it, one at a time, each in a process of its own.";
  serve.examples = {
      {"gapferry serve", "listens where gapferry.yaml says, 0.0.0.0:8530 by default"},
      {"gapferry serve --listen 127.0.0.1:0 --json", "takes a free port and tells it"}};
  serve.options = {{"--listen",
                    Takes::kText,
                    "ADDRESS:PORT",
                    "instead of serve.http.listen; port 0: a free one",
                    false,
                    {}}};
  serve.exits = {ExitCode::kFailed, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt};
  serve.run = RunServe;
  return {serve};
}

}  // namespace gapferry::cli
