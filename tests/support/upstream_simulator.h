#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/fetcher.h"
#include "base/guid.h"
#include "base/hash.h"
#include "protocol/reporting_messages.h"
#include "protocol/soap.h"
#include "protocol/sync_messages.h"

namespace gapferry::testing_support {

/// An update server of MS-WSUSSS and its content in memory, behind the Fetcher interface: what it
/// holds can change between calls, and it can fault, forget, shorten, corrupt and stall. Keeps what
/// it was asked. Its connections may be used by several threads; the members only between calls.
class UpstreamSimulator {
 public:
  struct Revision {
    std::string document;
    bool is_category = false;
    std::vector<Sha1Digest> files;
    std::uint64_t changed = 0;  ///< the anchor's counter
  };

  // What it holds.
  std::map<protocol::UpdateId, Revision> revisions;
  std::map<std::string, std::string> content;  ///< "/Content/AB/HASH.ext" -> bytes
  std::vector<protocol::SyncTargetGroup> groups;
  std::vector<protocol::SyncDeployment> deployments;
  std::vector<Guid> dead;
  std::vector<Guid> hidden;
  std::vector<Guid> eulas;
  std::map<Sha1Digest, Bytes> file_keys;
  std::uint64_t counter = 1;
  std::vector<protocol::SyncLanguage> languages = {{0, "all", "all", false},
                                                   {1033, "en", "English", true}};
  std::vector<protocol::SyncLanguage> language_changes;  ///< answered to a config anchor
  UtcTime cookie_expiration = kEndOfTime;                ///< of the cookies it gives

  // How it misbehaves.
  std::map<std::string, std::vector<protocol::FaultCode>> faults;  ///< by operation, in order
  /// By operation and number of the call, from 1.
  std::map<std::string, std::map<int, protocol::FaultCode>> fault_at;
  std::string retry_after;                     ///< with every fault
  bool only_newest_cookie = false;             ///< InvalidCookie to any other
  std::set<protocol::UpdateId> undeliverable;  ///< listed, but GetUpdateData answers a fault
  std::set<protocol::UpdateId> unlisted;       ///< delivered when asked for by name
  std::size_t max_updates_per_answer = 1000;   ///< short answers
  std::int32_t limit = 100;
  std::int32_t decryption_limit = 100;
  bool catalog_only = false;
  int refuse_connections = 0;         ///< the next N calls fail
  std::size_t cut_content_after = 0;  ///< the next content GET breaks after so many bytes
  std::function<void(std::string_view operation)> on_call;

  // What it was asked.
  std::vector<std::string> calls;  ///< operations, content paths with their ranges
  std::vector<protocol::GetRevisionIdListRequest> lists;
  std::vector<protocol::GetConfigDataRequest> configs;
  std::vector<protocol::GetDeploymentsRequest> deployment_requests;
  std::vector<std::string> announced;  ///< protocol versions
  std::vector<std::size_t> batch_sizes;
  std::vector<std::size_t> decryption_sizes;
  int most_at_once = 0;  ///< requests under way at the same time, with `dwell`
  /// How long each GetUpdateData takes, so that others can come meanwhile.
  std::chrono::milliseconds dwell{0};
  std::vector<Sha1Digest> asked_to_download;

  // Rollup.
  bool detailed = true;
  Guid server_id = *Guid::Parse("aaaaaaaa-0000-4000-8000-000000000001");
  Guid reset_guid = *Guid::Parse("aaaaaaaa-0000-4000-8000-000000000002");
  std::vector<protocol::DownstreamServerRollup> servers;
  std::map<std::string, protocol::ComputerRollup> computers;
  std::map<std::string, std::int32_t> rollup_numbers;
  std::map<std::string, std::map<Guid, std::int32_t>> states;
  std::set<std::string> deleted_computers;
  int busy = 0;
  std::string protocol_version = "1.20";
  bool offers_rollup = true;          ///< else the Reporting service is not there
  std::int32_t servers_limit = 5000;  ///< as announced
  std::int32_t computers_limit = 2;
  std::int32_t out_of_sync_limit = 20'000;
  std::int32_t status_limit = 2;
  std::map<std::string, int> lost_answers;   ///< by operation: taken, but nobody hears
  std::map<std::string, int> lost_requests;  ///< by operation: nobody hears
  std::map<Guid, UtcTime> rolled_up;         ///< LastRollupTime of each server
  std::int64_t installs = 0;                 ///< added, successes and failures
  std::vector<protocol::RollupDownstreamServersRequest> server_requests;
  std::vector<protocol::RollupComputersRequest> computer_requests;
  std::vector<protocol::GetOutOfSyncComputersRequest> out_of_sync_requests;
  std::vector<protocol::RollupComputerStatusRequest> status_requests;

  /// A category document; `type` as in CategoryInformation, empty for a detectoid.
  protocol::UpdateId AddCategory(const Guid& guid, std::string_view type, std::string_view title);
  /// A software update of `product` and `classification` with one file per text in `files`.
  protocol::UpdateId AddUpdate(const Guid& guid, std::int32_t revision, std::string_view title,
                               const Guid& product, const Guid& classification,
                               const std::vector<std::string>& files,
                               const std::vector<protocol::UpdateId>& members = {},
                               bool expired = false);

  /// Makes the files of an update encrypted: its document says FileDecryption.
  void Secure(const protocol::UpdateId& id);

  std::unique_ptr<Fetcher> NewFetcher();
  int Count(std::string_view operation) const;

 private:
  class Connection;
  std::atomic<int> at_once_ = 0;
  std::uint8_t cookies_given_ = 0;
  Result<FetchResponse> Answer(const FetchRequest& request, Sink& sink);
  Result<FetchResponse> Get(const FetchRequest& request, Sink& sink, const std::string& path);
  std::string Soap(const protocol::SoapMessage& message, int& status);
  std::optional<std::string> RollupSoap(const protocol::SoapMessage& message, int& status);
  std::string Fault(protocol::FaultCode code, std::string_view operation, int& status);
};

}  // namespace gapferry::testing_support
