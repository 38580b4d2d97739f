// gapferry serve: the update server of a mirror.
#include <fmt/format.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/signals.h"
#include "mirror/mirror.h"
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

void WaitForStop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait(lock, stop, [] { return false; });
}

void ReloadCertificate(UpdateServer& running) {
  const Result<void> reloaded = running.ReloadCertificate();
  if (reloaded.has_value()) {
    Log(LogLevel::kInfo, "certificate reloaded");
  } else {
    Log(LogLevel::kError, "certificate not reloaded, the old one stays in use",
        {{"error", reloaded.error().message}});
  }
}

Result<ExitCode> RunServe(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(const mirror::Config config, mirror::LoadConfig(path / "gapferry.yaml"));
  server::UpdateServerOptions options;
  TRY_ASSIGN(options.http, HttpOptions(context, config, path));
  Result<std::unique_ptr<UpdateServer>> started =
      UpdateServer::Start(path, mirror::MirrorOptions{}, std::move(options));
  if (!started.has_value()) {
    Error error = std::move(started).error();
    if (error.code == ErrorCode::kBusy && error.next.empty()) {
      error.next = "gapferry serve --listen ADDRESS:PORT";
    }
    return std::unexpected(std::move(error));
  }
  UpdateServer& running = **started;
  OnHangup([&running] { ReloadCertificate(running); });
  Announce(context, running, config);
  WaitForStop(context.stop());
  context.Say("stopping: requests in progress are finished");
  OnHangup({});
  running.Stop();
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
      "without a restart. SIGHUP reads certificate and key again.";
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
