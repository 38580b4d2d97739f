#include "client/report.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"

namespace gapferry::client {

namespace {

using protocol::ReportingEvent;

constexpr std::size_t kMaxBatch = 50;
constexpr std::string_view kClientVersion = "1507.2601.30012.0";

std::string ArchitectureWord(const Facts& facts) {
  if (facts.architecture == "amd64") return "Amd64Compatible";
  if (facts.architecture == "x86") return "X86Compatible";
  return "Unknown";  // the enumeration has no word for ARM64
}

// What every event says about the computer it comes from.
ReportingEvent BaseEvent(const Facts& facts, const Guid& client_id, UtcTime when,
                         std::int32_t event_id, bool is_bundle) {
  ReportingEvent event;
  event.target_sid = client_id.ToString();
  event.time_at_target = when;
  event.event_instance_id = Guid::Random();
  event.event_id = event_id;
  event.misc_data = {fmt::format("Q={}", is_bundle ? 2 : 1),
                     fmt::format("G={}", kClientVersion),
                     fmt::format("J={}", std::hash<Guid>()(client_id) % 1000),
                     "K=" + facts.bios,
                     "L=2022-02-02T00:00:00",
                     fmt::format("c={}", facts.product_type)};
  event.computer_brand = facts.make;
  event.computer_model = facts.model;
  event.bios_revision = facts.bios;
  event.processor_architecture = ArchitectureWord(facts);
  const auto number = [](std::uint32_t value) { return static_cast<std::int32_t>(value); };
  event.os_version = {number(facts.os_version.part[0]), number(facts.os_version.part[1]),
                      number(facts.os_version.part[2]), number(facts.os_version.part[3]),
                      number(facts.service_pack_major), number(facts.service_pack_minor)};
  event.os_locale_id = facts.LocaleId();
  return event;
}

// "U=<guid>;<guid>", upper case; a key without ids is left out.
void AddIds(ReportingEvent& event, std::string_view key, const std::vector<Guid>& ids) {
  if (ids.empty()) return;
  std::string text(key);
  text += '=';
  for (const Guid& id : ids) {
    if (text.back() != '=') text += ';';
    text += ToUpperAscii(id.ToString());
  }
  event.misc_data.push_back(std::move(text));
}

ReportingEvent EventOf(const PendingEvent& pending, const Facts& facts, const Guid& client_id) {
  ReportingEvent event =
      BaseEvent(facts, client_id, pending.time, pending.event_id, pending.is_bundle);
  event.event_instance_id = pending.instance;
  event.update = pending.update;
  event.win32_hresult = pending.hresult;
  if (pending.event_id == 162) event.misc_data.push_back(fmt::format("B={}", pending.bytes));
  switch (pending.event_id) {
    case 181:  // started
    case 183:  // installed
    case 222:  // removed
    case 226:  // removal started
      event.replacement_strings = {pending.title};
      break;
    case 182:  // failed
    case 221:  // removal failed
      event.replacement_strings = {
          fmt::format("0x{:08x}", static_cast<std::uint32_t>(pending.hresult)), pending.title};
      event.misc_data.push_back(fmt::format("C={}", pending.earlier_failures));
      break;
    default:
      break;
  }
  return event;
}

}  // namespace

std::vector<ReportingEvent> ScanEvents(const ScanResult& scan, const Facts& facts,
                                       const Guid& client_id, UtcTime when) {
  ReportingEvent found = BaseEvent(facts, client_id, when, 147, /*is_bundle=*/false);
  found.replacement_strings = {std::to_string(scan.offered.size())};
  found.misc_data.push_back(fmt::format("D={}", scan.offered.size()));
  ReportingEvent status = BaseEvent(facts, client_id, when, 156, /*is_bundle=*/false);
  AddIds(status, "U", scan.needed);
  AddIds(status, "V", scan.installed);
  AddIds(status, "W", scan.restart_pending);
  AddIds(status, "g", scan.failed);
  AddIds(status, "h", scan.downloaded);
  return {std::move(found), std::move(status)};
}

Result<ReportResult> Report(WuspSession& session, ClientState& state, const Facts& facts,
                            const Clock& clock) {
  if (!state.last_scan()) return Fail(ErrorCode::kUsage, "this client has not scanned yet");
  const ScanResult scan = Judge(state, facts);
  std::vector<ReportingEvent> events;
  for (const PendingEvent& pending : state.pending_events()) {
    events.push_back(EventOf(pending, facts, state.client_id()));
  }
  const std::size_t queued = events.size();
  std::ranges::move(ScanEvents(scan, facts, state.client_id(), clock.Now()),
                    std::back_inserter(events));

  ReportResult result;
  result.needed = scan.needed.size();
  result.installed = scan.installed.size();
  for (std::size_t at = 0; at < events.size(); at += kMaxBatch) {
    const auto first = events.begin() + static_cast<std::ptrdiff_t>(at);
    const std::vector<ReportingEvent> batch(
        first, first + static_cast<std::ptrdiff_t>(std::min(kMaxBatch, events.size() - at)));
    TRY(session.ReportEvents(batch));
    for (const ReportingEvent& event : batch) result.event_ids.push_back(event.event_id);
    const std::size_t taken = std::min(batch.size(), queued - std::min(queued, at));
    auto& queue = state.pending_events();
    queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(taken));
    TRY(state.Save());
  }
  return result;
}

}  // namespace gapferry::client
