#include "tests/support/upstream_simulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"

namespace gapferry::testing_support {

using protocol::Decode;
using protocol::Encode;
using protocol::FaultCode;
using protocol::SoapMessage;
using protocol::UpdateId;

namespace {

constexpr std::string_view kHead =
    R"(<upd:Update xmlns:pub="http://schemas.microsoft.com/msus/2002/12/Publishing" )"
    R"(xmlns:upd="http://schemas.microsoft.com/msus/2002/12/Update" )"
    R"(xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">)";
constexpr std::string_view kCategoryHandler =
    "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category";

std::string Texts(std::string_view title) {
  return fmt::format(
      "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language>"
      "<upd:Title>{}</upd:Title></upd:LocalizedProperties></upd:LocalizedPropertiesCollection>",
      title);
}

std::mutex& ContentMutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

UpdateId UpstreamSimulator::AddCategory(const Guid& guid, std::string_view type,
                                        std::string_view title) {
  const UpdateId id{guid, 100};
  Revision revision;
  revision.is_category = true;
  revision.changed = ++counter;
  const std::string update_type = type.empty() ? "Detectoid" : "Category";
  const std::string data =
      type.empty() ? ""
                   : fmt::format(R"(<upd:HandlerSpecificData xmlns:cat="{}" )"
                                 R"(xsi:type="cat:Category"><cat:CategoryInformation )"
                                 R"(CategoryType="{}" ProhibitsSubcategories="false" )"
                                 R"(ProhibitsUpdates="false" /></upd:HandlerSpecificData>)",
                                 kCategoryHandler, type);
  revision.document = fmt::format(
      R"({}<upd:UpdateIdentity UpdateID="{}" RevisionNumber="100" />)"
      R"(<upd:Properties UpdateType="{}" DefaultPropertiesLanguage="en" />{}{}</upd:Update>)",
      kHead, guid.ToString(), update_type, Texts(title), data);
  revisions[id] = std::move(revision);
  return id;
}

UpdateId UpstreamSimulator::AddUpdate(const Guid& guid, std::int32_t number, std::string_view title,
                                      const Guid& product, const Guid& classification,
                                      const std::vector<std::string>& files,
                                      const std::vector<UpdateId>& members, bool expired) {
  const UpdateId id{guid, number};
  Revision revision;
  revision.changed = ++counter;
  std::string file_list;
  for (const std::string& bytes : files) {
    const Sha1Digest sha1 = Sha1(bytes);
    revision.files.push_back(sha1);
    const std::string hex = sha1.ToHex(HexCase::kUpper);
    content[fmt::format("/Content/{}/{}.cab", hex.substr(38), hex)] = bytes;
    file_list += fmt::format(
        R"(<upd:File Digest="{}" DigestAlgorithm="SHA1" FileName="x.cab" Size="{}" )"
        R"(Modified="2026-01-01T00:00:00Z" PatchingType="SelfContained">)"
        R"(<upd:AdditionalDigest Algorithm="SHA256">{}</upd:AdditionalDigest></upd:File>)",
        sha1.ToBase64(), bytes.size(), Sha256(bytes).ToBase64());
  }
  std::string bundled;
  for (const UpdateId& member : members) {
    bundled += fmt::format(R"(<upd:UpdateIdentity UpdateID="{}" RevisionNumber="{}" />)",
                           member.guid.ToString(), member.revision);
  }
  if (!bundled.empty()) bundled = "<upd:BundledUpdates>" + bundled + "</upd:BundledUpdates>";
  if (!file_list.empty()) file_list = "<upd:Files>" + file_list + "</upd:Files>";
  revision.document = fmt::format(
      R"({}<upd:UpdateIdentity UpdateID="{}" RevisionNumber="{}" /><upd:Properties )"
      R"(UpdateType="Software" DefaultPropertiesLanguage="en" ExplicitlyDeployable="true" )"
      R"(PublicationState="{}" CreationDate="2026-01-01T00:00:00Z" />{}<upd:Relationships>)"
      R"(<upd:Prerequisites><upd:AtLeastOne IsCategory="true"><upd:UpdateIdentity UpdateID="{}" />)"
      R"(</upd:AtLeastOne><upd:AtLeastOne IsCategory="true"><upd:UpdateIdentity UpdateID="{}" />)"
      R"(</upd:AtLeastOne></upd:Prerequisites>{}</upd:Relationships>{}</upd:Update>)",
      kHead, guid.ToString(), number, expired ? "Expired" : "Published", Texts(title),
      product.ToString(), classification.ToString(), bundled, file_list);
  revisions[id] = std::move(revision);
  return id;
}

void UpstreamSimulator::Secure(const UpdateId& id) {
  constexpr std::string_view kEnd = R"(CreationDate="2026-01-01T00:00:00Z" />)";
  std::string& document = revisions.at(id).document;
  document.replace(document.find(kEnd), kEnd.size(),
                   R"(CreationDate="2026-01-01T00:00:00Z"><upd:SecuredFragment>FileDecryption)"
                   R"(</upd:SecuredFragment></upd:Properties>)");
  revisions.at(id).changed = ++counter;
}

int UpstreamSimulator::Count(std::string_view operation) const {
  return static_cast<int>(std::count(calls.begin(), calls.end(), operation));
}

class UpstreamSimulator::Connection : public Fetcher {
 public:
  explicit Connection(UpstreamSimulator& simulator) : simulator_(simulator) {}
  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                              std::stop_token stop) override {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped");
    const int now = ++simulator_.at_once_;
    if (simulator_.dwell.count() > 0 && request.method == "POST") {
      std::this_thread::sleep_for(simulator_.dwell);
    }
    Result<FetchResponse> answer = [&] {
      const std::lock_guard lock(ContentMutex());
      simulator_.most_at_once = std::max(simulator_.most_at_once, now);
      return simulator_.Answer(request, sink);
    }();
    --simulator_.at_once_;
    return answer;
  }

 private:
  UpstreamSimulator& simulator_;
};

std::unique_ptr<Fetcher> UpstreamSimulator::NewFetcher() {
  return std::make_unique<Connection>(*this);
}

Result<FetchResponse> UpstreamSimulator::Answer(const FetchRequest& request, Sink& sink) {
  if (refuse_connections > 0) {
    --refuse_connections;
    return Fail(ErrorCode::kTransient, "connection refused");
  }
  const std::size_t scheme = request.url.find("://");
  const std::string path = request.url.substr(request.url.find('/', scheme + 3));
  if (request.method == "GET") return Get(request, sink, path);
  TRY_ASSIGN(const SoapMessage message, SoapMessage::Parse(std::string(AsText(request.body)),
                                                           protocol::SoapLimits::Request()));
  calls.push_back(message.name());
  if (on_call) on_call(message.name());
  FetchResponse response;
  response.status = 200;
  response.headers = {{"Content-Type", "text/xml; charset=utf-8"}};
  const auto is_lost = [&](std::map<std::string, int>& of) {
    const auto found = of.find(message.name());
    return found != of.end() && found->second > 0 && found->second-- > 0;
  };
  const Error lost{ErrorCode::kTransient, "connection reset", "", ""};
  if (is_lost(lost_requests)) return std::unexpected(lost);
  const std::string body = Soap(message, response.status);
  if (response.status != 200 && !retry_after.empty()) {
    response.headers.emplace_back("Retry-After", retry_after);
  }
  if (is_lost(lost_answers)) return std::unexpected(lost);
  if (response.status == 200 && request.on_answer) TRY(request.on_answer(response));
  TRY(sink.Write(AsBytes(body)));
  return response;
}

Result<FetchResponse> UpstreamSimulator::Get(const FetchRequest& request, Sink& sink,
                                             const std::string& path) {
  calls.push_back(fmt::format("{} {}-", path, request.range_first));
  FetchResponse response;
  const auto found = content.find(path);
  if (found == content.end()) {
    response.status = 404;
    return response;
  }
  response.status = request.range_first > 0 ? 206 : 200;
  std::string_view bytes = std::string_view(found->second).substr(request.range_first);
  const std::size_t cut = std::exchange(cut_content_after, 0);
  if (cut > 0) bytes = bytes.substr(0, cut);
  if (bytes.size() > request.max_body_bytes) {
    return Fail(ErrorCode::kCorrupt, "answer-too-large", "answer too large");
  }
  TRY(sink.Write(AsBytes(bytes)));
  response.body_bytes = bytes.size();
  if (cut > 0) return Fail(ErrorCode::kTransient, "connection reset");
  return response;
}

std::string UpstreamSimulator::Fault(FaultCode code, std::string_view operation, int& status) {
  status = 500;
  protocol::SoapFault fault;
  fault.code = code;
  fault.method = std::string(operation);
  return EncodeFault(fault, protocol::SoapStyle::kClassic, protocol::SoapVersion::k11);
}

namespace {

std::uint64_t AnchorCounter(const std::optional<std::string>& anchor) {
  if (!anchor) return 0;
  return std::stoull(anchor->substr(0, anchor->find(',')));
}

bool Names(const std::string& document, const std::vector<protocol::IdAndDelta>& ids) {
  return ids.empty() || std::any_of(ids.begin(), ids.end(), [&](const auto& one) {
           return document.find(one.id.ToString()) != std::string::npos;
         });
}

}  // namespace

std::string UpstreamSimulator::Soap(const SoapMessage& message, int& status) {
  const std::string& operation = message.name();
  auto& planned = faults[operation];
  if (!planned.empty()) {
    const FaultCode code = planned.front();
    planned.erase(planned.begin());
    return Fault(code, operation, status);
  }
  if (const auto at = fault_at.find(operation); at != fault_at.end()) {
    const auto fault = at->second.find(Count(operation));
    if (fault != at->second.end()) return Fault(fault->second, operation, status);
  }
  const std::string anchor = fmt::format("{},2026-10-04 16:33:26.668", counter);
  if (operation == "GetAuthConfig") {
    protocol::GetAuthConfigResponse answer;
    answer.auth_info = {{"DssTargeting", "DssAuthWebService/DssAuthWebService.asmx", ""}};
    return Encode(answer);
  }
  if (operation == "GetAuthorizationCookie") {
    return Encode(protocol::DssAuthorizationResponse{{"DssTargeting", {9}}});
  }
  if (operation == "GetCookie") {
    announced.push_back(Decode<protocol::DssGetCookieRequest>(message)->protocol_version);
    return Encode(protocol::DssGetCookieResponse{{cookie_expiration, {1, ++cookies_given_}}});
  }
  const auto is_old = [&](const auto& request) {
    return only_newest_cookie && request.cookie->encrypted_data != Bytes{1, cookies_given_};
  };
  if (operation == "GetConfigData") {
    configs.push_back(*Decode<protocol::GetConfigDataRequest>(message));
    protocol::GetConfigDataResponse answer;
    answer.max_updates_per_request = limit;
    answer.catalog_only_sync = catalog_only;
    answer.protocol_version = protocol_version;
    answer.new_config_anchor = anchor;
    answer.languages = configs.back().config_anchor ? language_changes : languages;
    answer.max_updates_per_decryption_request = decryption_limit;
    return Encode(answer);
  }
  if (operation == "GetRevisionIdList") {
    const auto request = *Decode<protocol::GetRevisionIdListRequest>(message);
    lists.push_back(request);
    protocol::GetRevisionIdListResponse answer;
    answer.anchor = anchor;
    const std::uint64_t after = AnchorCounter(request.filter.anchor);
    for (const auto& [id, revision] : revisions) {
      const bool selected = request.filter.get_config
                                ? revision.is_category
                                : !revision.is_category &&
                                      Names(revision.document, request.filter.categories) &&
                                      Names(revision.document, request.filter.classifications);
      if (selected && revision.changed > after && !unlisted.contains(id))
        answer.new_revisions.push_back(id);
    }
    return Encode(answer);
  }
  if (operation == "GetUpdateData") {
    const auto request = *Decode<protocol::GetUpdateDataRequest>(message);
    if (is_old(request)) return Fault(FaultCode::kInvalidCookie, operation, status);
    batch_sizes.push_back(request.update_ids.size());
    protocol::GetUpdateDataResponse answer;
    for (const UpdateId& id : request.update_ids) {
      const auto found = revisions.find(id);
      if (found == revisions.end() || undeliverable.contains(id)) {
        return Fault(FaultCode::kInternalServerError, operation, status);
      }
      if (answer.updates.size() == max_updates_per_answer) continue;
      protocol::UpdateData data;
      data.id = id;
      data.blob = protocol::PlainText{found->second.document};
      data.file_digests = found->second.files;
      for (const Sha1Digest& sha1 : data.file_digests) {
        const std::string hex = sha1.ToHex(HexCase::kUpper);
        answer.file_urls.push_back(
            {sha1, fmt::format("http://vendor/Content/{}/{}.cab", hex.substr(38), hex), ""});
      }
      answer.updates.push_back(std::move(data));
    }
    return protocol::Flatten(EncodeBody(answer), 1 << 26).value_or("");
  }
  if (operation == "GetUpdateDecryptionData") {
    const auto request = *Decode<protocol::GetUpdateDecryptionDataRequest>(message);
    decryption_sizes.push_back(request.update_ids.size());
    protocol::GetUpdateDecryptionDataResponse answer;
    for (const UpdateId& id : request.update_ids) {
      protocol::UpdateFileDecryption one;
      one.update_id = id;
      for (const Sha1Digest& sha1 : revisions.at(id).files) {
        const auto key = file_keys.find(sha1);
        one.files.push_back(
            {sha1, key == file_keys.end() ? std::nullopt : std::optional(key->second)});
      }
      answer.updates.push_back(std::move(one));
    }
    return Encode(answer);
  }
  if (operation == "GetDeployments") {
    deployment_requests.push_back(*Decode<protocol::GetDeploymentsRequest>(message));
    protocol::GetDeploymentsResponse answer;
    answer.anchor = anchor;
    answer.groups = groups;
    answer.deployments = deployments;
    answer.dead_deployments = dead;
    answer.hidden_updates = hidden;
    answer.accepted_eulas = eulas;
    return Encode(answer);
  }
  if (operation == "DownloadFiles") {
    const auto request = *Decode<protocol::DownloadFilesRequest>(message);
    for (const Bytes& digest : request.file_digests) {
      asked_to_download.push_back(*Sha1Digest::FromBytes(digest));
    }
    return Encode(protocol::DownloadFilesResponse{});
  }
  if (const auto answer = RollupSoap(message, status)) return *answer;
  return Fault(FaultCode::kInvalidParameters, operation, status);
}

std::optional<std::string> UpstreamSimulator::RollupSoap(const SoapMessage& message, int& status) {
  const std::string& operation = message.name();
  if (!offers_rollup && operation == "GetRollupConfiguration") {
    status = 404;
    return std::string();
  }
  if (operation == "GetRollupConfiguration") {
    protocol::GetRollupConfigurationResponse answer;
    answer.do_detailed_rollup = detailed;
    answer.server_id = server_id;
    answer.rollup_reset_guid = reset_guid;
    answer.downstream_servers_max_batch_size = servers_limit;
    answer.computers_max_batch_size = computers_limit;
    answer.out_of_sync_computers_max_batch_size = out_of_sync_limit;
    answer.computer_status_max_batch_size = status_limit;
    return Encode(answer);
  }
  if (operation == "RollupDownstreamServers") {
    auto request = *Decode<protocol::RollupDownstreamServersRequest>(message);
    server_requests.push_back(request);
    for (auto& server : request.servers) {
      UtcTime& known = rolled_up.emplace(server.server_id, kNever).first->second;
      if (known > server.last_rollup_time) continue;  // older news
      known = server.last_rollup_time;
      for (const auto& kind : server.client_summaries) {
        for (const auto& one : kind.activity) {
          installs += one.install_success_count + one.install_failure_count;
        }
      }
      servers.push_back(std::move(server));
    }
    return Encode(protocol::RollupDownstreamServersResponse{});
  }
  if (operation == "RollupComputers") {
    const auto request = *Decode<protocol::RollupComputersRequest>(message);
    computer_requests.push_back(request);
    protocol::RollupComputersResponse answer;
    for (const auto& computer : request.computers) {
      const auto known = computers.find(computer.computer_id);
      if (deleted_computers.contains(computer.computer_id)) {
        answer.changes.push_back({computer.computer_id, protocol::ComputerChange::kDeleted});
        continue;
      }
      const bool new_parent =
          known == computers.end() || known->second.parent_server_id != computer.parent_server_id;
      if (new_parent && !computer.details) {
        answer.changes.push_back({computer.computer_id, protocol::ComputerChange::kNewParent});
      }
      auto details = known == computers.end() ? std::nullopt : known->second.details;
      auto& taken = computers[computer.computer_id] = computer;
      if (!taken.details) taken.details = std::move(details);
    }
    return Encode(answer);
  }
  if (operation == "GetOutOfSyncComputers") {
    const auto request = *Decode<protocol::GetOutOfSyncComputersRequest>(message);
    out_of_sync_requests.push_back(request);
    protocol::GetOutOfSyncComputersResponse answer;
    for (const auto& one : request.last_rollup_numbers) {
      if (computers.contains(one.computer_id) &&
          rollup_numbers[one.computer_id] != one.rollup_number) {
        answer.computer_ids.push_back(one.computer_id);
      }
    }
    return Encode(answer);
  }
  if (operation != "RollupComputerStatus") return std::nullopt;
  const auto request = *Decode<protocol::RollupComputerStatusRequest>(message);
  status_requests.push_back(request);
  if (busy > 0) {
    --busy;
    return Encode(protocol::RollupComputerStatusResponse{false});
  }
  for (const auto& computer : request.computers) {
    if (!computers.contains(computer.computer_id)) continue;
    if (computer.is_full_rollup) states[computer.computer_id].clear();
    for (const auto& row : computer.update_status) {
      states[computer.computer_id][row.update_id] = row.state;
    }
    rollup_numbers[computer.computer_id] = computer.rollup_number;
  }
  return Encode(protocol::RollupComputerStatusResponse{true});
}

}  // namespace gapferry::testing_support
