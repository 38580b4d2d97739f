#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/reporting_messages.h"

// How activity.db keeps structs of the protocol as JSON; for the sources of mirror/ only. What is
// missing or of another type when read keeps its default.

namespace gapferry::mirror {

std::string WriteDetails(const protocol::ComputerRollupDetails& details);
protocol::ComputerRollupDetails ReadDetails(std::string_view json);

/// What names the kind of a computer in client summaries: equal kinds give equal texts.
std::string OsKey(const protocol::ClientSummary& kind);
std::string OsKey(const protocol::ComputerRollupDetails& details);
protocol::ClientSummary ReadOsKey(std::string_view json);

std::string WriteSummary(const protocol::ServerSummary& summary);
protocol::ServerSummary ReadSummary(std::string_view json);

std::string WriteClients(const std::vector<protocol::ClientSummary>& clients);
std::vector<protocol::ClientSummary> ReadClients(std::string_view json);

std::string WriteEvent(const protocol::ReportingEvent& event);
protocol::ReportingEvent ReadEvent(std::string_view json);

}  // namespace gapferry::mirror
