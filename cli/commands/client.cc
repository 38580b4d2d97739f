// gapferry client scan|download|report: a real WUSP client, for tests, demonstrations and for
// asking a server what a given computer would be offered.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/curl_fetcher.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "client/client_state.h"
#include "client/download.h"
#include "client/facts.h"
#include "client/report.h"
#include "client/scan.h"
#include "client/wusp_session.h"

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

std::filesystem::path DefaultState(const std::string& computer) {
  std::string name;
  for (const char c : computer) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || (c == '.' && !name.empty());
    name += plain ? c : '_';
  }
  std::filesystem::path base;
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0') {
    base = state;
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    base = std::filesystem::path(home) / ".local/state";
  } else {
    base = ".";
  }
  return base / "gapferry/clients" / name;
}

// Everything a client command works with; members refer to earlier ones.
struct Client {
  client::Facts facts;
  std::unique_ptr<client::ClientState> state;
  std::unique_ptr<CurlFetcher> fetcher;
  std::unique_ptr<client::WuspSession> session;
};

Result<std::unique_ptr<Client>> OpenClient(Context& context) {
  auto opened = std::make_unique<Client>();
  opened->facts = client::Facts::OfThisHost();
  if (const auto file = context.args().Text("as")) {
    TRY_ASSIGN(opened->facts, client::Facts::Load(*file));
  }
  const std::filesystem::path directory =
      context.args().TextOr("state", DefaultState(opened->facts.name).string());
  TRY_ASSIGN(client::ClientState state,
             client::ClientState::Open(directory, opened->facts.client_id));
  opened->state = std::make_unique<client::ClientState>(std::move(state));
  TRY_ASSIGN(opened->fetcher, CurlFetcher::Create({}));
  client::WuspOptions options;
  options.use_xpress = !context.args().Has("no-xpress");
  TRY_ASSIGN(
      client::WuspSession session,
      client::WuspSession::Open(*opened->fetcher, *context.args().Text("server"), opened->facts,
                                opened->state->client_id(), opened->state->cache(), SystemClock(),
                                options, context.stop()));
  opened->session = std::make_unique<client::WuspSession>(std::move(session));
  return opened;
}

std::string TitleOf(const std::string& title) {
  return title.empty() ? "(no title)" : EscapeForDisplay(title);
}

json FileToJson(const client::OfferedFile& offered) {
  json object = {{"name", offered.file.file_name},
                 {"sha1", offered.file.sha1.ToHex()},
                 {"sha256", nullptr},
                 {"size", offered.file.size},
                 {"url", offered.url}};
  if (offered.file.sha256) object["sha256"] = offered.file.sha256->ToHex();
  return object;
}

json OfferToJson(const client::OfferedUpdate& update) {
  json object = {{"update_id", update.id.guid.ToString()},
                 {"revision", update.id.revision},
                 {"title", update.title},
                 {"action", protocol::DeploymentActionName(update.action)},
                 {"deadline", nullptr},
                 {"bundle", update.is_bundle},
                 {"files", json::array()},
                 {"bytes", update.bytes}};
  if (update.deadline) object["deadline"] = update.deadline->ToXml();
  for (const client::OfferedFile& file : update.files) object["files"].push_back(FileToJson(file));
  return object;
}

json GuidsToJson(const std::vector<Guid>& guids) {
  json list = json::array();
  for (const Guid& guid : guids) list.push_back(guid.ToString());
  return list;
}

json ScanToJson(const Client& client, const client::ScanResult& scan) {
  json object = {{"computer", client.facts.name},
                 {"client_id", client.state->client_id().ToString()},
                 {"offered", json::array()},
                 {"not_offered", json::array()},
                 {"needed", GuidsToJson(scan.needed)},
                 {"installed", GuidsToJson(scan.installed)},
                 {"unknown_rules", scan.unknown_operators},
                 {"round_trips", scan.round_trips},
                 {"requests", client.session->counters().requests},
                 {"handshakes", client.session->counters().handshakes},
                 {"cache_refreshes", client.session->counters().refreshes},
                 {"answer_bytes", client.session->counters().answer_bytes},
                 {"revisions_cached", scan.revisions_cached},
                 {"revisions_new", scan.new_revisions},
                 {"revisions_changed", scan.changed_revisions},
                 {"revisions_dropped", scan.dropped_revisions}};
  for (const auto& update : scan.offered) object["offered"].push_back(OfferToJson(update));
  for (const auto& other : scan.not_offered) {
    object["not_offered"].push_back({{"update_id", other.id.guid.ToString()},
                                     {"revision", other.id.revision},
                                     {"title", other.title},
                                     {"reason", other.reason},
                                     {"detail", other.detail}});
  }
  return object;
}

void PrintScan(Context& context, const client::ScanResult& scan) {
  if (scan.offered.empty()) context.Print("no updates are offered");
  for (const client::OfferedUpdate& update : scan.offered) {
    std::string line = fmt::format("{}  {}  {}", protocol::DeploymentActionName(update.action),
                                   TitleOf(update.title), FormatByteCount(update.bytes));
    if (update.deadline) line += fmt::format(", by {}", update.deadline->ToXml());
    context.Print(line);
    context.Print(fmt::format("    {}, {} file(s)", update.id.ToString(), update.files.size()));
    if (context.global().verbose == 0) continue;
    for (const client::OfferedFile& file : update.files) {
      context.Print(fmt::format("    {}  {}", EscapeForDisplay(file.file.file_name),
                                file.url.empty() ? "no location" : EscapeForDisplay(file.url)));
    }
  }
  if (context.global().verbose > 0) {
    for (const client::NotOffered& other : scan.not_offered) {
      context.Print(fmt::format("not offered: {}  {}{}{}", TitleOf(other.title), other.reason,
                                other.detail.empty() ? "" : ": ", other.detail));
      context.Print(fmt::format("    {}", other.id.ToString()));
    }
  }
  context.Print(fmt::format(
      "{} offered, {} not; {} revisions known, {} new, {} changed, {} gone; {} round trips",
      scan.offered.size(), scan.not_offered.size(), scan.revisions_cached, scan.new_revisions,
      scan.changed_revisions, scan.dropped_revisions, scan.round_trips));
}

Result<ExitCode> RunScan(Context& context) {
  TRY_ASSIGN(const auto client, OpenClient(context));
  client::ScanOptions options;
  options.with_drivers = !context.args().Has("no-drivers");
  TRY_ASSIGN(const client::ScanResult scan,
             client::Scan(*client->session, *client->state, client->facts, SystemClock(),
                          context.progress(), options));
  if (!scan.unknown_operators.empty()) {
    std::string names;
    for (const std::string& name : scan.unknown_operators) names += " " + name;
    context.Say("rules of unknown kinds count as not applicable:" + names);
  }
  PrintScan(context, scan);
  context.Emit(ScanToJson(*client, scan));
  return ExitCode::kDone;
}

std::unexpected<Error> FailUnscanned(Context& context) {
  Error error{ErrorCode::kUsage, "this client has not scanned yet", {}, {}};
  error.next = fmt::format("gapferry client scan --server {}", *context.args().Text("server"));
  return std::unexpected(std::move(error));
}

json DownloadToJson(const client::DownloadResult& result, const std::filesystem::path& content) {
  json object = {{"updates", json::array()},
                 {"content", content.string()},
                 {"fetched_bytes", result.fetched_bytes},
                 {"resumed_bytes", result.resumed_bytes},
                 {"requests", result.requests}};
  for (const client::DownloadedUpdate& update : result.updates) {
    json entry = {{"update_id", update.id.guid.ToString()},
                  {"revision", update.id.revision},
                  {"title", update.title},
                  {"complete", !update.error.has_value()},
                  {"error", nullptr},
                  {"files", json::array()}};
    if (update.error) entry["error"] = update.error->message;
    for (const client::DownloadedFile& file : update.files) {
      entry["files"].push_back({{"name", file.file.file_name},
                                {"path", file.path.string()},
                                {"size", file.file.size},
                                {"sha1", file.file.sha1.ToHex()},
                                {"was_there", file.was_there}});
    }
    object["updates"].push_back(std::move(entry));
  }
  return object;
}

Result<ExitCode> RunDownload(Context& context) {
  TRY_ASSIGN(const auto client, OpenClient(context));
  if (!client->state->last_scan()) return FailUnscanned(context);
  std::vector<client::OfferedUpdate> wanted = client::Judge(*client->state, client->facts).offered;
  for (const std::string& text : context.args().List("update")) {
    TRY_ASSIGN(const Guid guid, Guid::Parse(text));
    if (std::ranges::find(wanted, guid, [](const auto& u) { return u.id.guid; }) == wanted.end()) {
      return Fail(ErrorCode::kNotFound, fmt::format("update {} is not offered to {}",
                                                    guid.ToString(), client->facts.name));
    }
  }
  if (const auto names = context.args().List("update"); !names.empty()) {
    std::erase_if(wanted, [&](const client::OfferedUpdate& update) {
      return std::ranges::none_of(
          names, [&](const std::string& text) { return *Guid::Parse(text) == update.id.guid; });
    });
  }
  // Locations are asked for anew: they name the server of today, and nothing held back since.
  TRY(client::Locate(*client->session, *client->state, client->facts, wanted));
  TRY_ASSIGN(const client::DownloadResult result,
             client::Download(*client->fetcher, *client->state, wanted, SystemClock(),
                              context.progress(), context.stop()));
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

Result<ExitCode> RunReport(Context& context) {
  TRY_ASSIGN(const auto client, OpenClient(context));
  if (!client->state->last_scan()) return FailUnscanned(context);
  std::vector<Guid> marked;
  for (const std::string& text : context.args().List("installed")) {
    TRY_ASSIGN(const Guid guid, Guid::Parse(text));
    TRY(client::MarkInstalled(*client->state, guid, SystemClock()));
    marked.push_back(guid);
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
  return {
      {.path = {"client", "scan"},
       .summary = "ask a server, as a Windows computer, which updates it offers",
       .description =
           "Does what the Windows Update Agent does against a WSUS: registers, evaluates "
           "applicability rules against a description of a computer, and lists what is "
           "approved for it and applicable to it. -v also says why the rest is not.\n\n" +
           std::string(client::FactsFormatHelp()),
       .examples = {{"gapferry client scan --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client scan --server http://wsus:8530 --as pc1.yaml -v",
                     "also why other updates are not offered"},
                    {"gapferry client scan --server http://wsus:8530 --json --state /tmp/pc1"}},
       .options = {kServer,
                   kAs,
                   kState,
                   {"--no-drivers", Takes::kNothing, {}, "leave the driver pass out"},
                   kPlain},
       .exits = kExits,
       .run = RunScan},
      {.path = {"client", "download"},
       .summary = "download what the last scan offered, verified",
       .description =
           "Fetches the files of offered updates by ranges, continues where an earlier "
           "run stopped, and checks size, SHA-1 and SHA-256 before a file gets its name.",
       .examples = {{"gapferry client download --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client download --server http://wsus:8530 --as pc1.yaml --update "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "only this one"}},
       .options = {kServer,
                   kAs,
                   kState,
                   {"--update", Takes::kList, "GUID", "only this offered update; may be repeated"},
                   kPlain},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kBusy, ExitCode::kCorrupt,
                 ExitCode::kUntrusted, ExitCode::kNoSpace},
       .run = RunDownload},
      {.path = {"client", "report"},
       .summary = "report scan, downloads and installations to the server",
       .description = "Sends the events an agent sends: the scan and its inventory, each download, "
                      "and the installations named with --installed, which count as installed in "
                      "later scans.",
       .examples = {{"gapferry client report --server http://wsus:8530 --as pc1.yaml"},
                    {"gapferry client report --server http://wsus:8530 --as pc1.yaml --installed "
                     "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10",
                     "this update has been installed"}},
       .options = {kServer,
                   kAs,
                   kState,
                   {"--installed", Takes::kList, "GUID",
                    "take this update as installed; may be repeated"},
                   kPlain},
       .exits = kExits,
       .run = RunReport},
  };
}

}  // namespace gapferry::cli
