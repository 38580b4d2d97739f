#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

/// What a downstream server does about a fault of its upstream (companion of MS-WSUSSS 1.5).
enum class FaultReaction {
  kStop,       ///< nothing helps but a person
  kAuthorize,  ///< authorize and repeat the same call, once; then stop
  kRetry,      ///< repeat after a pause, `attempts` times in all; a batch of updates is divided
  kStartOver,  ///< drop all anchors, read the configuration again, ask for everything, once
  /// As kStartOver when an anchor was sent with the call: it may be what is not understood. Else
  /// kStop.
  kStartOverAfterAnchor,
  kListAgain,  ///< ask for complete lists before content is asked for again, once
};

struct FaultRule {
  protocol::FaultCode code;
  FaultReaction reaction;
  int attempts;           ///< of the same call, in all
  std::string_view next;  ///< for the operator, when it ends the run
};

/// Every fault that a server of MS-WSUSSS sends has its row; kUnknown stands for one without an
/// ErrorCode or with one that nobody knows.
std::span<const FaultRule> FaultRules();
/// That of kUnknown for codes without a row (they belong to MS-WUSP).
const FaultRule& RuleOf(protocol::FaultCode code);

/// `error` with the next step of its fault, unless it has one or is no fault.
Error WithFaultNext(Error error);

}  // namespace gapferry::exporter
