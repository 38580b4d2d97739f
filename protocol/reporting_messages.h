#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/common_messages.h"

// Messages of the Reporting service: events of clients ([MS-WUSP] 3.1.5.14, 6.3) and the rollup of
// update servers ([MS-WSUSSS] 3.1.4.13 to 3.1.4.17). Members in the order of the WSDL.

namespace gapferry::protocol {

struct OsVersion {
  std::int32_t major = 0;
  std::int32_t minor = 0;
  std::int32_t build = 0;
  std::int32_t revision = 0;
  std::int32_t service_pack_major = 0;
  std::int32_t service_pack_minor = 0;
};

/// One event, its three parts flattened.
struct ReportingEvent {
  // BasicData
  std::string target_sid;  ///< the client id
  std::int32_t sequence_number = 0;
  UtcTime time_at_target;
  Guid event_instance_id;  ///< deduplicate on it
  std::int32_t namespace_id = 1;
  std::int32_t event_id = 0;
  std::int32_t source_id = 101;
  UpdateId update;  ///< zero GUID and 0 when there is none
  std::int32_t win32_hresult = 0;
  std::optional<std::string> app_name;
  // ExtendedData
  std::vector<std::string> replacement_strings;
  std::vector<std::string> misc_data;  ///< Key=Value, keys are case-sensitive
  std::optional<std::string> computer_brand;
  std::optional<std::string> computer_model;
  std::optional<std::string> bios_revision;
  std::string processor_architecture = "Unknown";  ///< kept as sent, unknown words too
  OsVersion os_version;
  std::int32_t os_locale_id = 0;
  std::optional<std::string> device_id;
  // PrivateData
  std::optional<std::string> computer_dns_name;
  std::optional<std::string> user_account_name;
};

struct ReportEventBatchRequest {
  std::optional<Cookie> cookie;
  UtcTime client_time;
  std::vector<ReportingEvent> events;
};
struct ReportEventBatchResponse {
  bool result = true;
};

/// Without cookie, so unauthenticated.
struct ReportEventBatch2Request {
  std::string computer_id;
  UtcTime client_time;
  std::vector<ReportingEvent> events;
};
struct ReportEventBatch2Response {
  bool result = true;
};

struct GetRequiredInventoryTypeRequest {
  std::optional<Cookie> cookie;
  Guid rules_id;
  std::string rules_version;
};
struct GetRequiredInventoryTypeResponse {
  std::int32_t result = 0;
};

struct ReportInventoryRequest {
  std::optional<Cookie> cookie;
  UtcTime client_time;
  bool is_compressed = false;
  std::optional<std::string> raw_xml;
  std::optional<Bytes> compressed_xml;
};
struct ReportInventoryResponse {
  bool result = true;
};

// ---- Rollup ------------------------------------------------------------------------------------

/// The cookie of every rollup call, [MS-WSUSSS] 3.2.4.5: end of time, no data.
Cookie RollupCookie();

struct GetRollupConfigurationRequest {
  std::optional<Cookie> cookie;
};
struct GetRollupConfigurationResponse {
  bool do_detailed_rollup = true;
  Guid rollup_reset_guid;
  Guid server_id;
  std::int32_t downstream_servers_max_batch_size = 5000;  ///< counts client summaries
  std::int32_t computers_max_batch_size = 1500;
  std::int32_t out_of_sync_computers_max_batch_size = 20000;
  std::int32_t computer_status_max_batch_size = 500;
};

struct ServerSummary {
  std::int32_t update_count = 0;
  std::int32_t declined_update_count = 0;
  std::int32_t approved_update_count = 0;  ///< for install or uninstall
  std::int32_t not_approved_update_count = 0;
  std::int32_t updates_with_stale_update_approvals_count = 0;
  std::int32_t expired_update_count = 0;
  std::int32_t critical_or_security_updates_not_approved_for_install_count = 0;
  std::int32_t wsus_infrastructure_updates_not_approved_for_install_count = 0;
  std::int32_t updates_with_client_errors_count = 0;
  std::int32_t updates_with_server_errors_count = 0;
  std::int32_t updates_needing_files_count = 0;
  std::int32_t updates_needed_by_computers_count = 0;
  std::int32_t updates_up_to_date_count = 0;
  std::int32_t custom_computer_target_group_count = 0;
  std::int32_t computer_target_count = 0;
  std::int32_t computer_targets_needing_updates_count = 0;
  std::int32_t computer_targets_with_update_errors_count = 0;
  std::int32_t computers_up_to_date_count = 0;
};
struct ClientActivitySummary {
  UpdateId update;
  std::int32_t install_success_count = 0;
  std::int32_t install_failure_count = 0;
};
struct ClientSummary {
  std::int32_t os_major_version = 0;
  std::int32_t os_minor_version = 0;
  std::int32_t os_build_number = 0;
  std::int32_t os_service_pack_major = 0;
  std::int32_t os_service_pack_minor = 0;
  std::string os_locale;
  std::int32_t suite_mask = 0;
  std::int32_t old_product_type = 0;
  std::int32_t new_product_type = 0;
  std::int32_t system_metrics = 0;
  std::string processor_architecture;
  std::int32_t count = 0;
  std::vector<ClientActivitySummary> activity;
};
struct DownstreamServerRollup {
  Guid server_id;
  std::string full_domain_name;
  UtcTime last_sync_time;
  Guid parent_server_id;  ///< zero: the server that is being told
  std::string version;
  bool is_replica = false;
  UtcTime last_rollup_time;
  std::optional<ServerSummary> summary;
  std::vector<ClientSummary> client_summaries;
};
struct RollupDownstreamServersRequest {
  std::optional<Cookie> cookie;
  UtcTime client_time;
  std::vector<DownstreamServerRollup> servers;
};
struct RollupDownstreamServersResponse {};

/// Scalars are XML attributes on the wire.
struct ComputerRollupDetails {
  std::vector<Guid> target_group_ids;
  std::vector<std::string> requested_target_group_names;
  std::string ip_address;
  std::string full_domain_name;
  std::int32_t os_major_version = 0;
  std::int32_t os_minor_version = 0;
  std::int32_t os_build_number = 0;
  std::int32_t os_service_pack_major = 0;
  std::int32_t os_service_pack_minor = 0;
  std::string os_locale;
  std::string os_family;
  std::string os_description;
  std::string computer_make;
  std::string computer_model;
  std::string bios_version;
  std::string bios_name;
  UtcTime bios_release_date;
  std::string processor_architecture;
  std::int32_t suite_mask = 0;
  std::int32_t old_product_type = 0;
  std::int32_t new_product_type = 0;
  std::int32_t system_metrics = 0;
  std::string client_version;
};
struct ComputerRollup {
  std::optional<ComputerRollupDetails> details;
  std::string computer_id;
  UtcTime last_sync_time;
  std::int32_t last_sync_result = 0;  ///< 0 unknown, 1 succeeded, 2 failed
  UtcTime last_reported_reboot_time;
  UtcTime last_reported_status_time;
  UtcTime last_inventory_time;
  Guid parent_server_id;
};
struct RollupComputersRequest {
  std::optional<Cookie> cookie;
  UtcTime client_time;
  std::vector<ComputerRollup> computers;
};
enum class ComputerChange { kDeleted, kNewParent };
struct ChangedComputer {
  std::string computer_id;
  ComputerChange change = ComputerChange::kNewParent;
};
struct RollupComputersResponse {
  std::vector<ChangedComputer> changes;
};

struct ComputerRollupNumber {
  std::string computer_id;
  std::int32_t rollup_number = 0;
};
struct GetOutOfSyncComputersRequest {
  std::optional<Cookie> cookie;
  Guid parent_server_id;
  std::vector<ComputerRollupNumber> last_rollup_numbers;
};
struct GetOutOfSyncComputersResponse {
  std::vector<std::string> computer_ids;
};

struct UpdateStatusRollup {
  Guid update_id;
  std::int32_t state = 0;  ///< 0 unknown .. 6 installed pending reboot
  UtcTime last_change_time;
};
struct ComputerStatusRollup {
  Guid instance_id;
  std::string computer_id;
  UtcTime effective_last_detection_time;
  std::int32_t rollup_number = 0;
  bool is_full_rollup = false;
  std::vector<UpdateStatusRollup> update_status;
};
struct RollupComputerStatusRequest {
  std::optional<Cookie> cookie;
  UtcTime client_time;
  Guid parent_server_id;
  std::vector<ComputerStatusRollup> computers;
};
struct RollupComputerStatusResponse {
  bool result = true;  ///< false: busy, ask again in a minute
};

}  // namespace gapferry::protocol
