#pragma once

#include <string>

#include "base/result.h"
#include "cli/command.h"
#include "cli/context.h"
#include "manifests/card.h"

namespace gapferry::cli {

/// Before a card counts: somebody has compared its fingerprint. --fingerprint TEXT answers, when it
/// is this one (upper or lower case, hyphens and blanks as people type them); kUntrusted, reason
/// "fingerprint-differs", when it is another; kUsage when it is none. Without it `question` is
/// asked on the terminal; --yes answers. Without a terminal kUsage, reason "needs-answer", whose
/// next command is `command` ("gapferry site add FILE") with the option.
Result<void> ConfirmCard(Context& context, const manifests::Card& card, const std::string& command,
                         const std::string& question);

/// --fingerprint.
Option FingerprintOption();

}  // namespace gapferry::cli
