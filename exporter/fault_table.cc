#include "exporter/fault_table.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace gapferry::exporter {
namespace {

using protocol::FaultCode;
using enum FaultReaction;

constexpr std::string_view kAgain =
    "type the same command again later: it goes on where it stopped";
constexpr std::string_view kLook =
    "look into the upstream's log for the time of this error; then type the same command again";

constexpr std::array kRules{
    FaultRule{FaultCode::kInvalidParameters, kStartOverAfterAnchor, 1,
              "check products, classifications and languages: gapferry subscription show"},
    FaultRule{FaultCode::kTooManyIds, kStartOverAfterAnchor, 1,
              "check products, classifications and languages: gapferry subscription show"},
    FaultRule{FaultCode::kInvalidCookie, kAuthorize, 1,
              "check that the clocks of this machine and of the upstream agree, then try again"},
    FaultRule{FaultCode::kCookieExpired, kAuthorize, 1,
              "check that the clocks of this machine and of the upstream agree, then try again"},
    FaultRule{FaultCode::kInvalidAuthorizationCookie, kAuthorize, 1,
              "check that the clocks of this machine and of the upstream agree, then try again"},
    FaultRule{
        FaultCode::kIncompatibleProtocolVersion, kStop, 1,
        "set upstream.wsus in gapferry.yaml to a server that speaks version 1 of the protocol"},
    FaultRule{FaultCode::kInternalServerError, kRetry, 3, kLook},
    FaultRule{FaultCode::kServerBusy, kRetry, 4, kAgain},
    FaultRule{FaultCode::kServerChanged, kStartOver, 1,
              "wait until the upstream has settled, then: gapferry sync --full"},
    FaultRule{FaultCode::kFileDigestsMissing, kListAgain, 1, "gapferry sync --full"},
    FaultRule{FaultCode::kUnknown, kStop, 1, kLook},
};

}  // namespace

std::span<const FaultRule> FaultRules() { return kRules; }

const FaultRule& RuleOf(FaultCode code) {
  const auto found = std::find_if(kRules.begin(), kRules.end(),
                                  [&](const FaultRule& rule) { return rule.code == code; });
  return found != kRules.end() ? *found : kRules.back();
}

Error WithFaultNext(Error error) {
  const auto code = protocol::FaultCodeOf(error);
  if (code && error.next.empty()) error.next = std::string(RuleOf(*code).next);
  return error;
}

}  // namespace gapferry::exporter
