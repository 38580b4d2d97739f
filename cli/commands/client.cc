// gapferry client scan|download|install|restart|report: a real WUSP client, for tests,
// demonstrations and for asking a server what a given computer would be offered.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/client_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "client/install.h"
#include "client/report.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

const Option kServer{"--server", Takes::kText, "URL",
                     "root of the update server, such as http://wsus:8530", true};
const Option kAs{"--as", Takes::kText, "FACTS.yaml",
                 "the computer to be; default: a plain workstation with this host's name"};
const Option kState{
    "--state", Takes::kText, "DIR",
    "what an agent keeps on disk; default: one per computer name below the user's state directory"};
const Option kPlain{"--no-xpress", Takes::kNothing, {}, "ask for answers that are not compressed"};
const std::vector<ExitCode> kExits = {ExitCode::kFailed,  ExitCode::kNotFound,  ExitCode::kBusy,
                                      ExitCode::kCorrupt, ExitCode::kUntrusted, ExitCode::kNoSpace};

const Option kUpdate{"--update", Takes::kList, "GUID", "only this offered update; may be repeated"};

constexpr std::uint64_t kMaxConnections = 16;
constexpr int kManyRoundTrips = 100'000;  // to count, not to give up

Result<std::vector<Guid>> ReadGuids(const std::vector<std::string>& words) {
  std::vector<Guid> guids;
  for (const std::string& word : words) {
    TRY_ASSIGN(const Guid guid, Guid::Parse(word));
    guids.push_back(guid);
  }
  return guids;
}

// A folder for a state that nobody needs afterwards.
class ScratchFolder {
 public:
  static Result<std::unique_ptr<ScratchFolder>> Create() {
    std::string name = (std::filesystem::temp_directory_path() / "gapferry-scan-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      return Fail(ErrorCode::kInternal,
                  fmt::format("{}: {}", name, std::generic_category().message(errno)));
    }
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(name));
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// ---- scan --------------------------------------------------------------------------------------

// What a computer's first scan would cost, with a state that is thrown away and nothing left on the
// server. A computer that is known there goes by its own id, as its groups matter.
Result<ExitCode> RunDryScan(Context& context, client::ScanOptions options) {
  Client client;
  TRY_ASSIGN(client.facts, ReadFacts(context));
  const std::filesystem::path known = StateDirectory(context, client.facts.name);
  std::error_code ignored;
  if (!client.facts.client_id && std::filesystem::exists(known / "state.json", ignored)) {
    TRY_ASSIGN(const client::ClientState state, client::ClientState::Open(known, std::nullopt));
    client.facts.client_id = state.client_id();
  }
  TRY_ASSIGN(const auto folder, ScratchFolder::Create());
  TRY_ASSIGN(client::ClientState state,
             client::ClientState::Open(folder->path() / "state", client.facts.client_id));
  client.state = std::make_unique<client::ClientState>(std::move(state));
  TRY(Connect(context, client, /*may_register=*/false));
  options.with_extended = false;
  const int windows_limit = options.max_round_trips;
  options.max_round_trips = kManyRoundTrips;
  options.assume_installed = context.args().Has("worst-case");
  const UtcTime began = SystemClock().Now();
  auto scanned = client::Scan(*client.session, *client.state, client.facts, SystemClock(),
                              context.progress(), options);
  if (!scanned) {
    if (scanned.error().reason == "RegistrationRequired") {
      scanned.error().next = fmt::format("gapferry client scan --server {}, which registers",
                                         *context.args().Text("server"));
    }
    return std::unexpected(std::move(scanned).error());
  }
  const client::WuspCounters& counters = client.session->counters();
  const double seconds = static_cast<double>(SystemClock().Now().ticks - began.ticks) /
                         static_cast<double>(UtcTime::kTicksPerSecond);
  context.Print(fmt::format("a first scan of {} takes {} round trips (Windows gives up after {})",
                            client.facts.name, scanned->round_trips, windows_limit));
  if (scanned->round_trips > windows_limit) {
    context.Warn("Windows computers would not come to the end of it: raise serve.page_updates");
  }
  context.Print(fmt::format("{} revisions, {} requests, {} over the wire, the largest answer {}",
                            scanned->revisions_cached, counters.requests,
                            FormatByteCount(counters.answer_bytes),
                            FormatByteCount(counters.largest_answer_bytes)));
  context.Emit({{"computer", client.facts.name},
                {"round_trips", scanned->round_trips},
                {"requests", counters.requests},
                {"answer_bytes", counters.answer_bytes},
                {"largest_answer_bytes", counters.largest_answer_bytes},
                {"revisions", scanned->revisions_cached},
                {"seconds", seconds}});
  return ExitCode::kDone;
}

Result<void> ExplainAll(Context& context, const Client& client, const std::vector<Guid>& updates,
                        json& out) {
  for (const Guid& update : updates) {
    const auto explanations = client::Explain(*client.state, client.facts, update);
    if (explanations.empty()) {
      const std::string why =
          "the server has not told of it: it is not there, declined, expired or blocked there (on "
          "the "
          "server: gapferry update show), or a category or "
          "detectoid that it needs does not hold on this computer";
      context.Print(fmt::format("{}  {}", update.ToString(), why));
      out.push_back({{"update_id", update.ToString()}, {"reason", "not-told"}, {"detail", why}});
    }
    for (const client::Explanation& explanation : explanations) {
      PrintExplanation(context, explanation);
      out.push_back(ExplanationToJson(explanation));
    }
  }
  return {};
}

Result<ExitCode> RunScan(Context& context) {
  client::ScanOptions options;
  options.with_drivers = !context.args().Has("no-drivers");
  TRY_ASSIGN(options.categories, ReadGuids(context.args().List("category")));
  TRY_ASSIGN(const std::vector<Guid> asked, ReadGuids(context.args().List("why")));
  if (context.args().Has("dry-run")) return RunDryScan(context, std::move(options));
  if (context.args().Has("worst-case")) {
    return Fail(ErrorCode::kUsage, "--worst-case goes with --dry-run");
  }
  TRY_ASSIGN(const auto client, OpenClient(context));
  TRY_ASSIGN(const client::ScanResult scan,
             client::Scan(*client->session, *client->state, client->facts, SystemClock(),
                          context.progress(), options));
  if (!scan.unknown_operators.empty()) {
    std::string names;
    for (const std::string& name : scan.unknown_operators) names += " " + name;
    context.Say("rules that cannot be told count as not applicable:" + names);
  }
  for (const Guid& category : scan.unknown_categories) {
    context.Warn(fmt::format("the server does not know the category {}", category.ToString()));
  }
  PrintScan(context, scan);
  json result = ScanToJson(*client, scan);
  if (!asked.empty()) TRY(ExplainAll(context, *client, asked, result["why"]));
  context.Emit(result);
  return ExitCode::kDone;
}

// ---- download ----------------------------------------------------------------------------------

Result<ExitCode> RunDownload(Context& context) {
  const std::uint64_t connections = context.args().Number("connections").value_or(4);
  if (connections < 1 || connections > kMaxConnections) {
    return Fail(ErrorCode::kUsage, fmt::format("--connections {}: 1 to {} are possible",
                                               connections, kMaxConnections));
  }
  TRY_ASSIGN(const auto client, OpenClient(context));
  TRY_ASSIGN(std::vector<client::OfferedUpdate> wanted, WantedUpdates(context, *client));
  // Locations are asked for anew: they name the server of today, and nothing held back since.
  TRY(client::Locate(*client->session, *client->state, client->facts, wanted,
                     context.args().Has("licences")));
  std::vector<std::unique_ptr<CurlFetcher>> more;
  std::vector<Fetcher*> fetchers = {client->fetcher.get()};
  while (fetchers.size() < connections) {
    TRY_ASSIGN(CurlOptions curl, CurlOptionsOf(context));
    TRY_ASSIGN(auto fetcher, CurlFetcher::Create(std::move(curl)));
    fetchers.push_back(fetcher.get());
    more.push_back(std::move(fetcher));
  }
  TRY_ASSIGN(const client::DownloadResult result,
             client::Download(fetchers, *client->state, wanted, SystemClock(), context.progress(),
                              context.stop()));
  std::size_t failed = 0;
  for (const client::DownloadedUpdate& update : result.updates) {
    context.Print(fmt::format("{}  {}  {} file(s)", update.error ? "incomplete" : "verified",
                              TitleOf(update.title), update.files.size()));
    if (!update.error) continue;
    ++failed;
    context.Warn(fmt::format("update {}: {}", update.id.ToString(), update.error->message));
  }
  context.Print(fmt::format("{} fetched in {} requests, {} were there from an earlier run",
                            FormatByteCount(result.fetched_bytes), result.requests,
                            FormatByteCount(result.resumed_bytes)));
  if (failed > 0 && failed == result.updates.size()) {
    return std::unexpected(*result.updates.front().error);
  }
  context.Emit(DownloadToJson(result, client->state->content_directory()));
  return failed == 0 ? ExitCode::kDone : ExitCode::kPartlyDone;
}

// ---- install, restart --------------------------------------------------------------------------

std::unexpected<Error> WithDownload(Context& context, Error error) {
  if (error.reason == "not-downloaded") {
    error.next = "gapferry client download --server URL" +
                 (context.args().Has("as") ? " --as " + *context.args().Text("as") : std::string());
  }
  return std::unexpected(std::move(error));
}

Result<ExitCode> RunInstall(Context& context) {
  TRY_ASSIGN(const auto client, OpenState(context));
  TRY_ASSIGN(const auto wanted, WantedUpdates(context, *client));
  client::InstallOptions options;
  options.needs_restart = context.args().Has("needs-restart");
  TRY_ASSIGN(options.failures, ReadFailures(context.args().List("failed")));
  for (const auto& [guid, hresult] : options.failures) {
    if (std::ranges::find(wanted, guid, [](const auto& u) { return u.id.guid; }) == wanted.end()) {
      return Fail(ErrorCode::kNotFound,
                  fmt::format("--failed: update {} is not among the {} that are to be installed",
                              guid.ToString(), wanted.size()));
    }
  }
  const auto steps = client::PretendInstall(*client->state, wanted, options, SystemClock());
  if (!steps) return WithDownload(context, steps.error());
  json list = json::array();
  for (const client::InstallStep& step : *steps) {
    std::string line = fmt::format("{}  {}", step.outcome, TitleOf(step.title));
    if (step.hresult != 0) {
      line += fmt::format(", 0x{:08x}", static_cast<std::uint32_t>(step.hresult));
    }
    context.Print(line);
    list.push_back({{"update_id", step.id.guid.ToString()},
                    {"revision", step.id.revision},
                    {"title", step.title},
                    {"outcome", step.outcome},
                    {"hresult", step.hresult}});
  }
  if (steps->empty()) context.Print("nothing was offered");
  context.Emit({{"updates", std::move(list)}});
  return ExitCode::kDone;
}

Result<ExitCode> RunRestart(Context& context) {
  TRY_ASSIGN(const auto client, OpenState(context));
  TRY(RequireScan(context, *client));
  TRY_ASSIGN(const std::size_t waited, client::PretendRestart(*client->state, SystemClock()));
  context.Print(fmt::format("restarted: {} updates are installed now", waited));
  context.Emit({{"installed", waited}});
  return ExitCode::kDone;
}

// ---- report ------------------------------------------------------------------------------------

Result<ExitCode> RunReport(Context& context) {
  TRY_ASSIGN(const std::vector<Guid> marked, ReadGuids(context.args().List("installed")));
  TRY_ASSIGN(const auto failures, ReadFailures(context.args().List("failed")));
  TRY_ASSIGN(const auto client, OpenClient(context));
  TRY(RequireScan(context, *client));
  for (const Guid& guid : marked) {
    TRY(client::MarkInstalled(*client->state, guid, SystemClock()));
  }
  for (const auto& [guid, hresult] : failures) {
    TRY(client::MarkFailed(*client->state, guid, hresult, SystemClock()));
  }
  TRY_ASSIGN(const client::ReportResult result,
             client::Report(*client->session, *client->state, client->facts, SystemClock()));
  context.Print(fmt::format("{} events reported: {} updates needed, {} installed",
                            result.event_ids.size(), result.needed, result.installed));
  context.Emit({{"events", result.event_ids},
                {"needed", result.needed},
                {"installed", result.installed},
                {"marked_installed", GuidsToJson(marked)},
                {"client_id", client->state->client_id().ToString()}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> ClientCommands() {
  std::vector<Command> commands = {
      {.path = {"client", "scan"},
       .summary = "ask a server, as a Windows computer, which updates it offers",
       .description =
           "Does what the Windows Update Agent does against a WSUS: registers, evaluates "
           "applicability rules against a description of a computer, and lists what is "
           "approved for it and applicable to it. -v also says why the rest is not, --why which "
           "rule decides.\nWith --dry-run nothing is registered or kept: it counts the round trips "
           "and bytes of a first scan.\n\n" +
           std::string(client::FactsFormatHelp()),
       .examples = {{"gapferry client scan --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client scan --server http://wsus:8530 --as pc1.yaml --why "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "why this update is offered or not"},
                    {"gapferry client scan --server http://wsus:8530 --dry-run --worst-case",
                     "what the longest scan of a fresh computer costs"}},
       .options = {kServer,
                   kCaFile,
                   kAs,
                   kState,
                   {"--category", Takes::kList, "GUID",
                    "scan for this category only, as Windows set-up does; may be repeated"},
                   {"--why", Takes::kList, "GUID",
                    "explain this update, rule by rule; may be repeated"},
                   {"--no-drivers", Takes::kNothing, {}, "leave the driver pass out"},
                   {"--dry-run", Takes::kNothing, {}, "count what a first scan costs"},
                   {"--worst-case",
                    Takes::kNothing,
                    {},
                    "with --dry-run: as if every category and detectoid held"},
                   kPlain},
       .exits = kExits,
       .run = RunScan},
      {.path = {"client", "download"},
       .summary = "download what the last scan offered, verified",
       .description =
           "Fetches the files of offered updates by ranges of 1 MiB in random order, continues "
           "where an earlier run stopped, and checks size, SHA-1 and SHA-256 before a file gets "
           "its name.",
       .examples = {{"gapferry client download --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client download --server http://wsus:8530 --as pc1.yaml --update "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "only this one"}},
       .options = {kServer,
                   kCaFile,
                   kAs,
                   kState,
                   kUpdate,
                   {"--connections", Takes::kNumber, "N", "at once, 1 to 16; default 4"},
                   {"--licences", Takes::kNothing, {}, "the texts of licences, too"},
                   kPlain},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt,
                 ExitCode::kUntrusted, ExitCode::kNoSpace},
       .run = RunDownload},
      {.path = {"client", "install"},
       .summary = "act as if downloaded updates had been installed; nothing is executed",
       .description = "What is offered (or named by --update) counts as installed from now on, or "
                      "as removed where the server wants it uninstalled, and the events of it are "
                      "queued for 'client report'.",
       .examples = {{"gapferry client install --as pc1.yaml"},
                    {"gapferry client install --as pc1.yaml --update "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 --needs-restart",
                     "installed when the computer has restarted"},
                    {"gapferry client install --as pc1.yaml --failed "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10=0x80070643",
                     "this one fails"}},
       .options = {kAs,
                   kState,
                   kUpdate,
                   {"--needs-restart", Takes::kNothing, {}, "they wait for 'client restart'"},
                   {"--failed", Takes::kList, "GUID=HRESULT",
                    "this update fails; may be repeated"}},
       .exits = {ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt},
       .run = RunInstall},
      {.path = {"client", "restart"},
       .summary = "act as if the computer had restarted",
       .description = "What waited for a restart is installed from now on.",
       .examples = {{"gapferry client restart --as pc1.yaml"}},
       .options = {kAs, kState},
       .exits = {ExitCode::kBusy, ExitCode::kCorrupt},
       .run = RunRestart},
      {.path = {"client", "report"},
       .summary = "report scan, downloads and installations to the server",
       .description = "Sends the events an agent sends: the scan and its inventory, each download "
                      "and installation. Updates named with --installed count as installed in "
                      "later scans.",
       .examples = {{"gapferry client report --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client report --server http://wsus:8530 --as pc1.yaml --installed "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "this update has been installed"},
                    {"gapferry client report --server http://wsus:8530 --as pc1.yaml --failed "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10=0x80070643",
                     "the installation of this one has failed"}},
       .options = {kServer,
                   kCaFile,
                   kAs,
                   kState,
                   {"--installed", Takes::kList, "GUID",
                    "take this update as installed; may be repeated"},
                   {"--failed", Takes::kList, "GUID=HRESULT",
                    "its installation has failed; may be repeated"},
                   kPlain},
       .exits = kExits,
       .run = RunReport},
  };
  for (Command& command : commands) command = WithServerNext(std::move(command));
  return commands;
}

}  // namespace gapferry::cli
