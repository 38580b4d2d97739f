#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/fetcher.h"
#include "protocol/reporting_messages.h"
#include "protocol/soap.h"
#include "protocol/wusp_messages.h"

namespace gapferry::testing {

/// One revision as the fake serves it.
struct FakeRevision {
  std::int32_t id = 0;
  protocol::UpdateId update;
  bool is_leaf = true;
  bool is_driver = false;
  protocol::DeploymentAction action = protocol::DeploymentAction::kEvaluate;
  std::optional<UtcTime> deadline;
  std::vector<std::vector<Guid>> prerequisites;
  std::string core;
  std::string extended = "<ExtendedProperties />";
  std::string title;
  std::map<Sha1Digest, std::string> files;  ///< digest -> bytes that a GET returns
};

/// A WUSP server in memory that follows the delivery rules of MS-WUSP (companion 7.3 to 7.8) and
/// can be told to misbehave. Speaks SOAP and xpress bytes, so client and codecs are both exercised.
class FakeWsus : public Fetcher {
 public:
  std::vector<FakeRevision> revisions;
  std::size_t page_size = 30;
  bool is_registration_required = true;
  UtcTime cookie_expiration{};
  /// Faults to give before anything else, by operation.
  std::map<std::string, std::deque<protocol::FaultCode>> faults;
  /// Called for each content request before it is answered; may change status or bytes.
  std::function<void(const FetchRequest&, int& status, std::string& body)> on_content;

  // What was seen.
  std::vector<std::string> calls;
  std::vector<protocol::SyncUpdatesParameters> syncs;
  std::vector<protocol::ReportingEvent> events;
  std::optional<protocol::ComputerInfo> registered;
  std::optional<protocol::SimpleAuthorizationRequest> authorized;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  int cookies_given = 0;

  Result<FetchResponse> Fetch(const FetchRequest& request, Sink& sink,
                              std::stop_token stop) override;
  std::size_t Count(std::string_view call) const;

 private:
  Result<std::string> Answer(const protocol::SoapMessage& message);
  protocol::Cookie NewCookie();
  protocol::SyncInfo Sync(const protocol::SyncUpdatesParameters& parameters);
  Result<FetchResponse> Content(const FetchRequest& request, Sink& sink);
};

/// Core fragment with these parts; `rules` goes below ApplicabilityRules.
std::string FakeCore(const protocol::UpdateId& id, std::string_view type,
                     std::string_view relations, std::string_view rules);

}  // namespace gapferry::testing
