// gapferry client load: many simulated computers at once, to measure a server.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/client_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "client/load.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxClients = 1'000'000;

json LatencyToJson(const client::LatencySummary& latency) {
  const auto milliseconds = [](std::uint64_t value) { return static_cast<double>(value) / 1000; };
  return {{"count", latency.count},
          {"p50_ms", milliseconds(latency.p50)},
          {"p99_ms", milliseconds(latency.p99)},
          {"max_ms", milliseconds(latency.max)}};
}

std::string Latency(std::string_view what, const client::LatencySummary& latency) {
  const auto milliseconds = [](std::uint64_t value) { return static_cast<double>(value) / 1000; };
  return fmt::format("{}: {}, p50 {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms", what, latency.count,
                     milliseconds(latency.p50), milliseconds(latency.p99),
                     milliseconds(latency.max));
}

Result<std::uint64_t> NumberOf(Context& context, std::string_view name, std::uint64_t fallback,
                               std::uint64_t least, std::uint64_t most) {
  const std::uint64_t number = context.args().Number(name).value_or(fallback);
  if (number >= least && number <= most) return number;
  return Fail(ErrorCode::kUsage,
              fmt::format("--{} {}: {} to {} are possible", name, number, least, most));
}

Result<double> RateOf(Context& context) {
  const std::string text = context.args().TextOr("rate", "0");
  // Scans per second, with up to three decimals.
  const std::size_t dot = text.find('.');
  const auto whole = ParseInt<std::uint32_t>(text.substr(0, dot));
  std::string decimals = dot == std::string::npos ? "0" : text.substr(dot + 1);
  decimals.resize(3, '0');
  const auto thousandths = ParseInt<std::uint32_t>(decimals);
  if (!whole || !thousandths) {
    return Fail(ErrorCode::kUsage, fmt::format("--rate '{}' is no number such as 50 or 0.5",
                                               EscapeForDisplay(text, 40)));
  }
  return static_cast<double>(*whole) + static_cast<double>(*thousandths) / 1000;
}

void Print(Context& context, const client::LoadResult& result) {
  context.Print(
      fmt::format("{} computers over {} connections, {} revisions each; ready after {:.1f} s",
                  result.clients, result.connections, result.revisions, result.prepared_seconds));
  context.Print(Latency("scans", result.scan));
  context.Print(Latency("requests", result.request));
  const double seconds = std::max(result.seconds, 1e-6);
  context.Print(fmt::format(
      "{:.1f} s: {:.1f} scans and {:.1f} requests per second, {} per second, {} updates delivered",
      result.seconds, static_cast<double>(result.scans) / seconds,
      static_cast<double>(result.requests) / seconds,
      FormatByteCount(
          static_cast<std::uint64_t>(static_cast<double>(result.answer_bytes) / seconds)),
      result.updates));
  if (result.late > 0) {
    context.Warn(
        fmt::format("{} scans began more than a second late: the server or this machine is too "
                    "slow for the rate",
                    result.late));
  }
  for (const auto& [text, count] : result.error_texts) {
    context.Warn(fmt::format("{} times: {}", count, text));
  }
}

json ToJson(const client::LoadResult& result) {
  const double seconds = std::max(result.seconds, 1e-6);
  return {{"clients", result.clients},
          {"connections", result.connections},
          {"revisions", result.revisions},
          {"prepared_seconds", result.prepared_seconds},
          {"seconds", result.seconds},
          {"scans", result.scans},
          {"requests", result.requests},
          {"scans_per_second", static_cast<double>(result.scans) / seconds},
          {"requests_per_second", static_cast<double>(result.requests) / seconds},
          {"answer_bytes", result.answer_bytes},
          {"updates", result.updates},
          {"late", result.late},
          {"errors", result.errors},
          {"error_texts", result.error_texts},
          {"request_latency", LatencyToJson(result.request)},
          {"scan_latency", LatencyToJson(result.scan)}};
}

Result<ExitCode> RunLoadCommand(Context& context) {
  client::LoadOptions options;
  options.server = *context.args().Text("server");
  options.use_xpress = !context.args().Has("no-xpress");
  TRY_ASSIGN(options.clients, NumberOf(context, "clients", 100, 1, kMaxClients));
  TRY_ASSIGN(options.connections, NumberOf(context, "connections", 0, 0, 256));
  TRY_ASSIGN(const std::uint64_t seconds, NumberOf(context, "seconds", 30, 1, 7 * 86'400));
  options.duration = std::chrono::seconds(seconds);
  TRY_ASSIGN(options.missing, NumberOf(context, "missing", 30, 1, kMaxClients));
  TRY_ASSIGN(options.rate, RateOf(context));
  const std::string kind = context.args().TextOr("scan", "first");
  options.scan = kind == "idle"       ? client::LoadScan::kIdle
                 : kind == "catch-up" ? client::LoadScan::kCatchUp
                                      : client::LoadScan::kFirst;
  TRY_ASSIGN(const client::LoadResult result,
             client::RunLoad(options, context.progress(), context.stop()));
  Print(context, result);
  context.Emit(ToJson(result));
  if (result.scans == 0 && result.errors > 0) {
    return Fail(ErrorCode::kTransient, result.error_texts.begin()->first);
  }
  return result.errors == 0 ? ExitCode::kDone : ExitCode::kPartlyDone;
}

}  // namespace

std::vector<Command> ClientLoadCommands() {
  return {WithServerNext(
      {.path = {"client", "load"},
       .summary = "measure a server with many simulated computers",
       .description =
           "Registers the computers load-00001.example and so on (the same in every run), then "
           "scans "
           "with them until the time is over, and prints latencies and rates. Software passes "
           "only; "
           "every category and detectoid counts as true, so a first scan is the longest there is.\n"
           "Never against a server in use: the computers stay in its list.",
       .examples = {{"gapferry client load --server http://wsus:8530 --clients 2000 --scan idle "
                     "--rate 50 --seconds 60",
                     "2000 computers that know everything, 50 scans a second"},
                    {"gapferry client load --server http://wsus:8530 --clients 200 --seconds 30",
                     "first scans, as many as it can answer"}},
       .options = {{"--server", Takes::kText, "URL",
                    "root of the update server, such as http://wsus:8530", true},
                   {"--clients", Takes::kNumber, "N", "simulated computers; default 100"},
                   {"--connections", Takes::kNumber, "N",
                    "at once; default one per computer, 32 at most"},
                   {"--seconds", Takes::kNumber, "S", "how long to measure; default 30"},
                   {"--rate", Takes::kText, "R",
                    "scans begun per second by all together; default as fast as possible"},
                   {"--scan",
                    Takes::kText,
                    "KIND",
                    "what computers know before: nothing, all, or most; default first",
                    false,
                    {"first", "idle", "catch-up"}},
                   {"--missing", Takes::kNumber, "N", "updates a catch-up lacks; default 30"},
                   {"--no-xpress", Takes::kNothing, {}, "ask for answers that are not compressed"}},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kUntrusted},
       .run = RunLoadCommand})};
}

}  // namespace gapferry::cli
