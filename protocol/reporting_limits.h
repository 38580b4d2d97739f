#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "protocol/reporting_messages.h"

// What other servers accept in rollup messages (MS-WSUSSS 3.1.4.14.3, 3.1.4.15.3 and the types of
// the WSDL): one field beyond it fails a call of hundreds of computers. Pure.

namespace gapferry::protocol {

/// `text` cut to at most `units` UTF-16 code units (what a Windows server counts as characters), at
/// a character's boundary.
std::string CutCharacters(std::string_view text, std::size_t units);

/// Lengths and ranges brought into what the WSDL can express; lists of at most 100 entries.
ComputerRollupDetails Fit(ComputerRollupDetails details);
/// The same for what names a kind of computer; counts below zero become zero, activity stays.
ClientSummary Fit(ClientSummary kind);
ServerSummary Fit(ServerSummary summary);

/// 1 to 4 integers with dots, at most 32 characters; anything else becomes "0.0.0.0".
std::string FitVersion(std::string_view version);
/// Not before 1753-01-01, which is "never".
UtcTime FitTime(UtcTime time);

}  // namespace gapferry::protocol
