// gapferry client load: many simulated computers at once, to measure a server.
#include <fmt/format.h>

#include <algorithm>
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

/// FIRST:CATCH-UP:IDLE, such as 1:6:13.
Result<client::LoadOptions::Mix> MixOf(Context& context) {
  client::LoadOptions::Mix mix;
  const auto text = context.args().Text("mix");
  if (!text) return mix;
  const std::vector<std::string_view> parts = Split(*text, ':');
  unsigned* const shares[] = {&mix.first, &mix.catch_up, &mix.idle};
  for (std::size_t i = 0; i < std::size(shares) && parts.size() == std::size(shares); ++i) {
    const auto share = ParseInt<std::uint16_t>(parts[i]);
    if (!share) break;
    *shares[i] = *share;
    if (i + 1 == std::size(shares)) return mix;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("--mix '{}' is no three numbers such as 1:6:13 (first, catch-up, idle)",
                          EscapeForDisplay(*text, 40)));
}

client::LoadScan KindOf(std::string_view word) {
  using client::LoadScan;
  if (word == "idle") return LoadScan::kIdle;
  if (word == "catch-up") return LoadScan::kCatchUp;
  if (word == "mixed") return LoadScan::kMixed;
  return word == "none" ? LoadScan::kNone : LoadScan::kFirst;
}

void Print(Context& context, const client::LoadResult& result) {
  context.Print(
      fmt::format("{} computers over {} connections, {} revisions each; ready after {:.1f} s",
                  result.clients, result.connections, result.revisions, result.prepared_seconds));
  context.Print(Latency("scans", result.scan));
  if (result.reports > 0) {
    context.Print(Latency("reports", result.report) + fmt::format(", {} events", result.events));
  }
  context.Print(Latency("requests", result.request));
  if (const auto latest = std::ranges::max_element(result.latest); latest != result.latest.end()) {
    context.Print(fmt::format("latest answer: {:.1f} ms, asked in second {}",
                              static_cast<double>(*latest) / 1000, latest - result.latest.begin()));
  }
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
  json latest = json::array();
  for (const std::uint64_t value : result.latest)
    latest.push_back(static_cast<double>(value) / 1000);
  const double seconds = std::max(result.seconds, 1e-6);
  return {{"clients", result.clients},
          {"connections", result.connections},
          {"revisions", result.revisions},
          {"prepared_seconds", result.prepared_seconds},
          {"seconds", result.seconds},
          {"scans", result.scans},
          {"reports", result.reports},
          {"events", result.events},
          {"requests", result.requests},
          {"scans_per_second", static_cast<double>(result.scans) / seconds},
          {"requests_per_second", static_cast<double>(result.requests) / seconds},
          {"answer_bytes", result.answer_bytes},
          {"updates", result.updates},
          {"late", result.late},
          {"errors", result.errors},
          {"error_texts", result.error_texts},
          {"request_latency", LatencyToJson(result.request)},
          {"scan_latency", LatencyToJson(result.scan)},
          {"report_latency", LatencyToJson(result.report)},
          {"latest_ms_by_second", std::move(latest)}};
}

Result<ExitCode> RunLoadCommand(Context& context) {
  client::LoadOptions options;
  options.server = *context.args().Text("server");
  options.use_xpress = !context.args().Has("no-xpress");
  TRY_ASSIGN(options.clients, NumberOf(context, "clients", 100, 1, kMaxClients));
  TRY_ASSIGN(options.connections,
             NumberOf(context, "connections", 0, 0, client::LoadOptions::kMaxConnections));
  TRY_ASSIGN(const std::uint64_t seconds, NumberOf(context, "seconds", 30, 1, 7 * 86'400));
  options.duration = std::chrono::seconds(seconds);
  TRY_ASSIGN(options.missing, NumberOf(context, "missing", 30, 1, kMaxClients));
  TRY_ASSIGN(options.rate, RateOf(context));
  options.scan = KindOf(context.args().TextOr("scan", "first"));
  TRY_ASSIGN(options.mix, MixOf(context));
  TRY_ASSIGN(const std::uint64_t holds, NumberOf(context, "holds", 100, 0, 100));
  options.holds_percent = static_cast<unsigned>(holds);
  TRY_ASSIGN(options.events, NumberOf(context, "events", 0, 0, client::LoadOptions::kMaxEvents));
  TRY_ASSIGN(const CurlOptions curl, CurlOptionsOf(context));
  options.ca_file = curl.ca_file;
  TRY_ASSIGN(const client::LoadResult result,
             client::RunLoad(options, context.progress(), context.stop()));
  Print(context, result);
  context.Emit(ToJson(result));
  if (result.scans == 0 && result.reports == 0 && result.errors > 0) {
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
           "scans with them until the time is over, and prints latencies and rates. Software "
           "passes "
           "only. By default every category and detectoid counts as true, so a first scan is the "
           "longest there is; with --holds a share of them does, as on real computers.\n"
           "With --events each scan is followed by a report. Events name updates that no catalogue "
           "has; their number and sizes are those of Windows.\n"
           "Never against a server in use: the computers stay in its list.",
       .examples = {{"gapferry client load --server http://wsus:8530 --clients 2000 --scan idle "
                     "--rate 50 --seconds 60",
                     "2000 computers that know everything, 50 scans a second"},
                    {"gapferry client load --server http://wsus:8530 --clients 200 --seconds 30",
                     "first scans, as many as it can answer"},
                    {"gapferry client load --server https://wsus:8531 --ca-file ca.pem --clients "
                     "2000 --connections 256 --scan mixed --holds 30 --rate 20 --events 5",
                     "Monday morning: 20 scans a second of all kinds, and their reports"}},
       .options =
           {{"--server", Takes::kText, "URL", "root of the update server, such as http://wsus:8530",
             true},
            kCaFile,
            {"--clients", Takes::kNumber, "N", "simulated computers; default 100"},
            {"--connections", Takes::kNumber, "N",
             "at once, each a thread here, up to 2048; default one per computer, 32 at most. "
             "A server takes 1024 of one address by default"},
            {"--seconds", Takes::kNumber, "S", "how long to measure; default 30"},
            {"--rate", Takes::kText, "R",
             "scans begun per second by all together; default as fast as possible"},
            {"--scan",
             Takes::kText,
             "KIND",
             "what computers know before: nothing, all, most, or some of each; none: no scans, "
             "reports only; default first",
             false,
             {"first", "idle", "catch-up", "mixed", "none"}},
            {"--mix", Takes::kText, "F:C:I",
             "of mixed scans, how many are first, catch-up and idle ones; default 1:6:13"},
            {"--holds", Takes::kNumber, "PERCENT",
             "of categories and detectoids that count as true; default 100"},
            {"--events", Takes::kNumber, "N",
             "after each scan a report of 1 to N events, in turn; default 0: none"},
            {"--missing", Takes::kNumber, "N", "updates a catch-up lacks; default 30"},
            {"--no-xpress", Takes::kNothing, {}, "ask for answers that are not compressed"}},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kUntrusted},
       .run = RunLoadCommand})};
}

}  // namespace gapferry::cli
