#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/curl_fetcher.h"
#include "base/guid.h"
#include "base/result.h"
#include "cli/command.h"
#include "cli/context.h"
#include "client/client_state.h"
#include "client/download.h"
#include "client/facts.h"
#include "client/scan.h"
#include "client/wusp_session.h"

// What the `client` commands share: opening a simulated computer, and showing what it found.

namespace gapferry::cli {

/// Everything a client command works with; members refer to earlier ones.
struct Client {
  client::Facts facts;
  std::unique_ptr<client::ClientState> state;
  std::unique_ptr<CurlFetcher> fetcher;
  std::unique_ptr<client::WuspSession> session;
};

/// --ca-file, a PEM file with the authority of the server's certificate; for every command with
/// --server.
extern const Option kCaFile;
/// Fails with kUsage when --ca-file cannot be read.
Result<CurlOptions> CurlOptionsOf(Context& context);

/// --as, else a plain workstation with this host's name.
Result<client::Facts> ReadFacts(Context& context);
/// --state, else one per computer below the user's state directory.
std::filesystem::path StateDirectory(Context& context, const std::string& computer);
/// Facts and state; no server yet.
Result<std::unique_ptr<Client>> OpenState(Context& context);
/// The session with --server, too.
Result<std::unique_ptr<Client>> OpenClient(Context& context);
Result<void> Connect(Context& context, Client& client, bool may_register);

/// The same command, whose errors say what to do when --server (if it has that) does not answer.
Command WithServerNext(Command command);

/// Fails with kUsage when there was no scan yet.
Result<void> RequireScan(Context& context, const Client& client);
/// What the last scan offered, or the updates named by --update alone. Fails with kUsage when there
/// was no scan, with kNotFound for an update that is not offered.
Result<std::vector<client::OfferedUpdate>> WantedUpdates(Context& context, const Client& client);

/// "GUID=HRESULT" as 0x80070643 or a number. Fails with kUsage.
Result<std::map<Guid, std::int32_t>> ReadFailures(const std::vector<std::string>& words);

std::string TitleOf(const std::string& title);
nlohmann::json GuidsToJson(const std::vector<Guid>& guids);
nlohmann::json ScanToJson(const Client& client, const client::ScanResult& scan);
void PrintScan(Context& context, const client::ScanResult& scan);
nlohmann::json DownloadToJson(const client::DownloadResult& result,
                              const std::filesystem::path& content);
nlohmann::json ExplanationToJson(const client::Explanation& explanation);
void PrintExplanation(Context& context, const client::Explanation& explanation);

}  // namespace gapferry::cli
