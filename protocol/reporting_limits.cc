#include "protocol/reporting_limits.h"

#include <algorithm>
#include <limits>

#include "base/text.h"

namespace gapferry::protocol {
namespace {

constexpr std::size_t kMaxListed = 100;

std::int32_t NotNegative(std::int32_t value) { return std::max(0, value); }
std::int32_t AsShort(std::int32_t value) {
  return std::clamp<std::int32_t>(value, std::numeric_limits<std::int16_t>::min(),
                                  std::numeric_limits<std::int16_t>::max());
}
std::int32_t AsUnsignedByte(std::int32_t value) { return std::clamp(value, 0, 255); }

// Bytes of the character that begins with `lead`; 1 for what begins none.
std::size_t CharacterBytes(unsigned char lead) {
  if (lead >= 0xF0) return 4;
  if (lead >= 0xE0) return 3;
  return lead >= 0xC0 ? 2 : 1;
}

}  // namespace

std::string CutCharacters(std::string_view text, std::size_t units) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t bytes = CharacterBytes(static_cast<unsigned char>(text[at]));
    const std::size_t needed = bytes == 4 ? 2 : 1;
    if (units < needed || at + bytes > text.size()) break;
    units -= needed;
    at += bytes;
  }
  return std::string(text.substr(0, at));
}

ComputerRollupDetails Fit(ComputerRollupDetails d) {
  if (d.target_group_ids.size() > kMaxListed) d.target_group_ids.resize(kMaxListed);
  auto& names = d.requested_target_group_names;
  if (names.size() > kMaxListed) names.resize(kMaxListed);
  for (std::string& name : names) name = CutCharacters(name, 256);
  d.ip_address = CutCharacters(d.ip_address, 56);
  d.full_domain_name = CutCharacters(d.full_domain_name, 256);
  for (std::int32_t* number : {&d.os_major_version, &d.os_minor_version, &d.os_build_number,
                               &d.os_service_pack_major, &d.os_service_pack_minor}) {
    *number = NotNegative(*number);
  }
  d.os_locale = CutCharacters(d.os_locale, 10);
  d.os_family = CutCharacters(d.os_family, 256);
  d.os_description = CutCharacters(d.os_description, 256);
  d.computer_make = CutCharacters(d.computer_make, 64);
  d.computer_model = CutCharacters(d.computer_model, 64);
  d.bios_version = CutCharacters(d.bios_version, 64);
  d.bios_name = CutCharacters(d.bios_name, 64);
  d.bios_release_date = FitTime(d.bios_release_date);
  d.processor_architecture = CutCharacters(d.processor_architecture, 50);
  d.suite_mask = AsShort(d.suite_mask);
  d.old_product_type = AsUnsignedByte(d.old_product_type);
  d.client_version = CutCharacters(d.client_version, 20);
  return d;
}

ClientSummary Fit(ClientSummary k) {
  for (std::int32_t* number : {&k.os_major_version, &k.os_minor_version, &k.os_build_number,
                               &k.os_service_pack_major, &k.os_service_pack_minor, &k.count}) {
    *number = NotNegative(*number);
  }
  k.os_locale = CutCharacters(k.os_locale, 10);
  k.suite_mask = AsShort(k.suite_mask);
  k.old_product_type = AsUnsignedByte(k.old_product_type);
  k.processor_architecture = CutCharacters(k.processor_architecture, 50);
  return k;
}

ServerSummary Fit(ServerSummary s) {
  for (std::int32_t* number :
       {&s.update_count, &s.declined_update_count, &s.approved_update_count,
        &s.not_approved_update_count, &s.updates_with_stale_update_approvals_count,
        &s.expired_update_count, &s.critical_or_security_updates_not_approved_for_install_count,
        &s.wsus_infrastructure_updates_not_approved_for_install_count,
        &s.updates_with_client_errors_count, &s.updates_with_server_errors_count,
        &s.updates_needing_files_count, &s.updates_needed_by_computers_count,
        &s.updates_up_to_date_count, &s.custom_computer_target_group_count,
        &s.computer_target_count, &s.computer_targets_needing_updates_count,
        &s.computer_targets_with_update_errors_count, &s.computers_up_to_date_count}) {
    *number = NotNegative(*number);
  }
  return s;
}

std::string FitVersion(std::string_view version) {
  const auto parts = Split(version, '.');
  const bool numbers = std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
    return ParseInt<std::uint32_t>(part).has_value();
  });
  if (version.empty() || version.size() > 32 || parts.size() > 4 || !numbers) return "0.0.0.0";
  return std::string(version);
}

UtcTime FitTime(UtcTime time) { return std::max(time, kNever); }

}  // namespace gapferry::protocol
