#include "cli/client_support.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"

namespace gapferry::cli {

using nlohmann::json;

static std::filesystem::path DefaultState(const std::string& computer) {
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

const Option kCaFile{
    "--ca-file", Takes::kText, "FILE",
    "PEM file with the authority of an https server; default: the system's authorities"};

Result<CurlOptions> CurlOptionsOf(Context& context) {
  CurlOptions options;
  options.ca_file = context.args().TextOr("ca-file", "");
  if (options.ca_file.empty()) return options;
  TRY(File::OpenRead(options.ca_file), "--ca-file");
  return options;
}

Result<client::Facts> ReadFacts(Context& context) {
  if (const auto file = context.args().Text("as")) return client::Facts::Load(*file);
  return client::Facts::OfThisHost();
}

std::filesystem::path StateDirectory(Context& context, const std::string& computer) {
  return context.args().TextOr("state", DefaultState(computer).string());
}

Result<std::unique_ptr<Client>> OpenState(Context& context) {
  auto opened = std::make_unique<Client>();
  TRY_ASSIGN(opened->facts, ReadFacts(context));
  TRY_ASSIGN(client::ClientState state,
             client::ClientState::Open(StateDirectory(context, opened->facts.name),
                                       opened->facts.client_id));
  opened->state = std::make_unique<client::ClientState>(std::move(state));
  return opened;
}

Result<void> Connect(Context& context, Client& client, bool may_register) {
  TRY_ASSIGN(CurlOptions curl, CurlOptionsOf(context));
  TRY_ASSIGN(client.fetcher, CurlFetcher::Create(std::move(curl)));
  client::WuspOptions options;
  options.use_xpress = !context.args().Has("no-xpress");
  options.may_register = may_register;
  TRY_ASSIGN(
      client::WuspSession session,
      client::WuspSession::Open(*client.fetcher, *context.args().Text("server"), client.facts,
                                client.state->client_id(), client.state->cache(), SystemClock(),
                                options, context.stop()));
  client.session = std::make_unique<client::WuspSession>(std::move(session));
  return {};
}

/// What to do when --server names no server, or one that does not answer.
static Error WithServerNext(const Context& context, Error error) {
  const std::string server = EscapeForDisplay(context.args().TextOr("server", ""));
  if (server.empty() || !error.next.empty()) return error;
  if (error.code == ErrorCode::kUsage && server.find("://") == std::string::npos) {
    error.next = "gapferry client scan --server " + ShellWord("http://" + server + ":8530");
  } else if (error.code == ErrorCode::kUntrusted && server.starts_with("https://") &&
             !context.args().Has("ca-file")) {
    error.next = "name the authority of the server's certificate: --ca-file FILE.pem";
  } else if (error.code == ErrorCode::kTransient) {
    const char* slash = server.ends_with('/') ? "" : "/";
    error.next = "check that an update server answers: curl " +
                 ShellWord(server + slash + "ClientWebService/client.asmx?wsdl");
  }
  return error;
}

Command WithServerNext(Command command) {
  const auto names_server = [](const Option& option) { return option.name == "--server"; };
  if (std::ranges::none_of(command.options, names_server)) return command;
  command.run = [run = std::move(command.run)](Context& context) -> Result<ExitCode> {
    auto ended = run(context);
    if (!ended) return std::unexpected(WithServerNext(context, std::move(ended).error()));
    return ended;
  };
  return command;
}

Result<std::unique_ptr<Client>> OpenClient(Context& context) {
  TRY_ASSIGN(auto opened, OpenState(context));
  TRY(Connect(context, *opened, /*may_register=*/true));
  return opened;
}

Result<void> RequireScan(Context& context, const Client& client) {
  if (client.state->last_scan()) return {};
  Error error{ErrorCode::kUsage, "this client has not scanned yet", {}, {}};
  error.next = "gapferry client scan --server URL" +
               (context.args().Has("as") ? " --as " + *context.args().Text("as") : std::string());
  return std::unexpected(std::move(error));
}

Result<std::vector<client::OfferedUpdate>> WantedUpdates(Context& context, const Client& client) {
  TRY(RequireScan(context, client));
  std::vector<client::OfferedUpdate> wanted = client::Judge(*client.state, client.facts).offered;
  const std::vector<std::string> names = context.args().List("update");
  if (names.empty()) return wanted;
  std::vector<Guid> guids;
  for (const std::string& text : names) {
    TRY_ASSIGN(const Guid guid, Guid::Parse(text));
    guids.push_back(guid);
    if (std::ranges::find(wanted, guid, [](const auto& u) { return u.id.guid; }) == wanted.end()) {
      Error error{ErrorCode::kNotFound,
                  fmt::format("update {} is not offered to {}", guid.ToString(), client.facts.name),
                  {},
                  {}};
      error.next = fmt::format("gapferry client scan --server URL --why {}", guid.ToString());
      return std::unexpected(std::move(error));
    }
  }
  std::erase_if(wanted, [&](const client::OfferedUpdate& update) {
    return std::ranges::find(guids, update.id.guid) == guids.end();
  });
  return wanted;
}

// As Windows writes it, or as a number of either sign.
static std::optional<std::int32_t> ParseHresult(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    std::uint32_t value = 0;
    if (text.size() < 3 || text.size() > 10) return std::nullopt;
    for (const char c : text.substr(2)) {
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      value = value << 4 | static_cast<std::uint32_t>(digit);
    }
    return static_cast<std::int32_t>(value);
  }
  const auto value = ParseInt<std::int32_t>(text);
  return value ? std::optional(*value) : std::nullopt;
}

Result<std::map<Guid, std::int32_t>> ReadFailures(const std::vector<std::string>& words) {
  std::map<Guid, std::int32_t> failures;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const auto hresult = equals == std::string::npos
                             ? std::nullopt
                             : ParseHresult(std::string_view(word).substr(equals + 1));
    if (!hresult || *hresult == 0) {
      return Fail(ErrorCode::kUsage, fmt::format("'{}' is no failure such as GUID=0x80070643",
                                                 EscapeForDisplay(word)));
    }
    TRY_ASSIGN(const Guid guid, Guid::Parse(std::string_view(word).substr(0, equals)));
    failures[guid] = *hresult;
  }
  return failures;
}

std::string TitleOf(const std::string& title) {
  return title.empty() ? "(no title)" : EscapeForDisplay(title);
}

static json FileToJson(const client::OfferedFile& offered) {
  json object = {{"name", offered.file.file_name},
                 {"sha1", offered.file.sha1.ToHex()},
                 {"sha256", nullptr},
                 {"size", offered.file.size},
                 {"url", offered.url}};
  if (offered.file.sha256) object["sha256"] = offered.file.sha256->ToHex();
  return object;
}

static json OfferToJson(const client::OfferedUpdate& update) {
  json object = {{"update_id", update.id.guid.ToString()},
                 {"revision", update.id.revision},
                 {"title", update.title},
                 {"action", protocol::DeploymentActionName(update.action)},
                 {"deadline", nullptr},
                 {"bundle", update.is_bundle},
                 {"files", json::array()},
                 {"bytes", update.bytes},
                 {"eula", update.has_eula}};
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
                 {"restart_pending", GuidsToJson(scan.restart_pending)},
                 {"failed", GuidsToJson(scan.failed)},
                 {"downloaded", GuidsToJson(scan.downloaded)},
                 {"unknown_categories", GuidsToJson(scan.unknown_categories)},
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
    if (update.has_eula) line += ", has a licence";
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

json ExplanationToJson(const client::Explanation& explanation) {
  return {{"update_id", explanation.id.guid.ToString()},
          {"revision", explanation.id.revision},
          {"title", explanation.title},
          {"action", protocol::DeploymentActionName(explanation.action)},
          {"reason", explanation.reason},
          {"detail", explanation.detail},
          {"rules", explanation.lines}};
}

void PrintExplanation(Context& context, const client::Explanation& explanation) {
  context.Print(fmt::format("{}  {}", explanation.id.ToString(), TitleOf(explanation.title)));
  context.Print(
      fmt::format("  deployed as {}", protocol::DeploymentActionName(explanation.action)));
  if (!explanation.reason.empty()) {
    context.Print(fmt::format("  not offered: {}{}{}", explanation.reason,
                              explanation.detail.empty() ? "" : ": ", explanation.detail));
  }
  for (const std::string& line : explanation.lines) context.Print("  " + line);
}

}  // namespace gapferry::cli
