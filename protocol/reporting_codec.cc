#include "protocol/reporting_codec.h"

#include "protocol/soap_fields.h"

namespace gapferry::protocol {

Cookie RollupCookie() { return {kEndOfTime, {}}; }

// ---- Events of clients -------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, OsVersion> m) {
  io.Lenient("Major", m.major);
  io.Lenient("Minor", m.minor);
  io.Lenient("Build", m.build);
  io.Lenient("Revision", m.revision);
  io.Lenient("ServicePackMajor", m.service_pack_major);
  io.Lenient("ServicePackMinor", m.service_pack_minor);
}

template <class Io>
static void BasicData(Io& io, Ref<Io, ReportingEvent> m) {
  io.Group("TargetID", [&] { io.Lenient("Sid", m.target_sid); });
  io.Lenient("SequenceNumber", m.sequence_number);
  io.Value("TimeAtTarget", m.time_at_target);
  io.Value("EventInstanceID", m.event_instance_id);
  io.Lenient("NamespaceID", m.namespace_id);
  io.Value("EventID", m.event_id);
  io.Lenient("SourceID", m.source_id);
  io.LenientStruct("UpdateID", m.update);
  io.Lenient("Win32HResult", m.win32_hresult);
  io.Optional("AppName", m.app_name);
}

template <class Io>
static void ExtendedData(Io& io, Ref<Io, ReportingEvent> m) {
  io.List("ReplacementStrings", "string", m.replacement_strings, EmptyList::kOmit);
  io.List("MiscData", "string", m.misc_data, EmptyList::kOmit);
  io.Optional("ComputerBrand", m.computer_brand);
  io.Optional("ComputerModel", m.computer_model);
  io.Optional("BiosRevision", m.bios_revision);
  io.Lenient("ProcessorArchitecture", m.processor_architecture);
  io.LenientStruct("OSVersion", m.os_version);
  io.Lenient("OSLocaleID", m.os_locale_id);
  io.Optional("DeviceID", m.device_id);
}

template <class Io>
void Fields(Io& io, Ref<Io, ReportingEvent> m) {
  io.Group("BasicData", [&] { BasicData<Io>(io, m); });
  bool present = true;
  io.LenientGroup("ExtendedData", present, [&] { ExtendedData<Io>(io, m); });
  io.LenientGroup("PrivateData", present, [&] {
    io.Optional("ComputerDnsName", m.computer_dns_name);
    io.Optional("UserAccountName", m.user_account_name);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportEventBatchRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Lenient("clientTime", m.client_time);
  io.List("eventBatch", "ReportingEvent", m.events, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportEventBatchResponse> m) {
  io.Value("ReportEventBatchResult", m.result);
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportEventBatch2Request> m) {
  io.Lenient("computerId", m.computer_id);
  io.Lenient("clientTime", m.client_time);
  io.List("eventBatch", "ReportingEvent", m.events, EmptyList::kOmit);
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportEventBatch2Response> m) {
  io.Value("ReportEventBatch2Result", m.result);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRequiredInventoryTypeRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Lenient("rulesId", m.rules_id);
  io.Lenient("rulesVersion", m.rules_version);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRequiredInventoryTypeResponse> m) {
  io.Value("GetRequiredInventoryTypeResult", m.result);
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportInventoryRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Lenient("clientTime", m.client_time);
  bool present = true;
  io.LenientGroup("inventory", present, [&] {
    io.Lenient("IsCompressed", m.is_compressed);
    io.Optional("RawXml", m.raw_xml);
    io.Optional("CompressedXml", m.compressed_xml);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, ReportInventoryResponse> m) {
  io.Value("ReportInventoryResult", m.result);
}

// ---- Rollup of servers -------------------------------------------------------------------------

template <class Io>
void Fields(Io& io, Ref<Io, GetRollupConfigurationRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetRollupConfigurationResponse> m) {
  io.Group("GetRollupConfigurationResult", [&] {
    io.Value("DoDetailedRollup", m.do_detailed_rollup);
    io.Value("RollupResetGuid", m.rollup_reset_guid);
    io.Value("ServerId", m.server_id);
    io.Lenient("RollupDownstreamServersMaxBatchSize", m.downstream_servers_max_batch_size);
    io.Lenient("RollupComputersMaxBatchSize", m.computers_max_batch_size);
    io.Lenient("GetOutOfSyncComputersMaxBatchSize", m.out_of_sync_computers_max_batch_size);
    io.Lenient("RollupComputerStatusMaxBatchSize", m.computer_status_max_batch_size);
  });
}
template <class Io>
void Fields(Io& io, Ref<Io, ServerSummary> m) {
  io.Lenient("UpdateCount", m.update_count);
  io.Lenient("DeclinedUpdateCount", m.declined_update_count);
  io.Lenient("ApprovedUpdateCount", m.approved_update_count);
  io.Lenient("NotApprovedUpdateCount", m.not_approved_update_count);
  io.Lenient("UpdatesWithStaleUpdateApprovalsCount", m.updates_with_stale_update_approvals_count);
  io.Lenient("ExpiredUpdateCount", m.expired_update_count);
  io.Lenient("CriticalOrSecurityUpdatesNotApprovedForInstallCount",
             m.critical_or_security_updates_not_approved_for_install_count);
  io.Lenient("WsusInfrastructureUpdatesNotApprovedForInstallCount",
             m.wsus_infrastructure_updates_not_approved_for_install_count);
  io.Lenient("UpdatesWithClientErrorsCount", m.updates_with_client_errors_count);
  io.Lenient("UpdatesWithServerErrorsCount", m.updates_with_server_errors_count);
  io.Lenient("UpdatesNeedingFilesCount", m.updates_needing_files_count);
  io.Lenient("UpdatesNeededByComputersCount", m.updates_needed_by_computers_count);
  io.Lenient("UpdatesUpToDateCount", m.updates_up_to_date_count);
  io.Lenient("CustomComputerTargetGroupCount", m.custom_computer_target_group_count);
  io.Lenient("ComputerTargetCount", m.computer_target_count);
  io.Lenient("ComputerTargetsNeedingUpdatesCount", m.computer_targets_needing_updates_count);
  io.Lenient("ComputerTargetsWithUpdateErrorsCount", m.computer_targets_with_update_errors_count);
  io.Lenient("ComputersUpToDateCount", m.computers_up_to_date_count);
}
template <class Io>
void Fields(Io& io, Ref<Io, ClientActivitySummary> m) {
  io.Value("UpdateId", m.update.guid);
  io.Lenient("RevisionNumber", m.update.revision);
  io.Lenient("InstallSuccessCount", m.install_success_count);
  io.Lenient("InstallFailureCount", m.install_failure_count);
}
template <class Io>
void Fields(Io& io, Ref<Io, ClientSummary> m) {
  io.Lenient("OSMajorVersion", m.os_major_version);
  io.Lenient("OSMinorVersion", m.os_minor_version);
  io.Lenient("OSBuildNumber", m.os_build_number);
  io.Lenient("OSServicePackMajorNumber", m.os_service_pack_major);
  io.Lenient("OSServicePackMinorNumber", m.os_service_pack_minor);
  io.Lenient("OSLocale", m.os_locale);
  io.Lenient("SuiteMask", m.suite_mask);
  io.Lenient("OldProductType", m.old_product_type);
  io.Lenient("NewProductType", m.new_product_type);
  io.Lenient("SystemMetrics", m.system_metrics);
  io.Lenient("ProcessorArchitecture", m.processor_architecture);
  io.Lenient("Count", m.count);
  io.List("ActivitySummaries", "DownstreamServerRollupClientActivitySummary", m.activity,
          EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, DownstreamServerRollup> m) {
  io.Value("ServerId", m.server_id);
  io.Lenient("FullDomainName", m.full_domain_name);
  io.Lenient("LastSyncTime", m.last_sync_time);
  io.Value("ParentServerId", m.parent_server_id);
  io.Lenient("Version", m.version);
  io.Lenient("IsReplica", m.is_replica);
  io.Value("LastRollupTime", m.last_rollup_time);
  io.OptionalStruct("ServerSummary", m.summary);
  io.List("ClientSummaries", "DownstreamServerRollupClientSummary", m.client_summaries,
          EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, RollupDownstreamServersRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Value("clientTime", m.client_time);
  io.List("downstreamServers", "DownstreamServerRollupInfo", m.servers, EmptyList::kWrite);
}
template <class Io>
void Fields(Io&, Ref<Io, RollupDownstreamServersResponse>) {}

// ---- Rollup of computers: scalars are attributes (MS-WSUSSS 3.1.4.15.3) ------------------------

template <class Io>
void Fields(Io& io, Ref<Io, ComputerRollupDetails> m) {
  io.LenientAttribute("IPAddress", m.ip_address);
  io.LenientAttribute("FullDomainName", m.full_domain_name);
  io.LenientAttribute("OSMajorVersion", m.os_major_version);
  io.LenientAttribute("OSMinorVersion", m.os_minor_version);
  io.LenientAttribute("OSBuildNumber", m.os_build_number);
  io.LenientAttribute("OSServicePackMajorNumber", m.os_service_pack_major);
  io.LenientAttribute("OSServicePackMinorNumber", m.os_service_pack_minor);
  io.LenientAttribute("OSLocale", m.os_locale);
  io.LenientAttribute("OSFamily", m.os_family);
  io.LenientAttribute("OSDescription", m.os_description);
  io.LenientAttribute("ComputerMake", m.computer_make);
  io.LenientAttribute("ComputerModel", m.computer_model);
  io.LenientAttribute("BiosVersion", m.bios_version);
  io.LenientAttribute("BiosName", m.bios_name);
  io.LenientAttribute("BiosReleaseDate", m.bios_release_date);
  io.LenientAttribute("ProcessorArchitecture", m.processor_architecture);
  io.LenientAttribute("SuiteMask", m.suite_mask);
  io.LenientAttribute("OldProductType", m.old_product_type);
  io.LenientAttribute("NewProductType", m.new_product_type);
  io.LenientAttribute("SystemMetrics", m.system_metrics);
  io.LenientAttribute("ClientVersion", m.client_version);
  io.List("TargetGroupIdList", "guid", m.target_group_ids, EmptyList::kWrite);
  io.List("RequestedTargetGroupNames", "string", m.requested_target_group_names, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, ComputerRollup> m) {
  io.Attribute("ComputerId", m.computer_id);
  io.Attribute("LastSyncTime", m.last_sync_time);
  io.LenientAttribute("LastSyncResult", m.last_sync_result);
  io.LenientAttribute("LastReportedRebootTime", m.last_reported_reboot_time);
  io.LenientAttribute("LastReportedStatusTime", m.last_reported_status_time);
  io.LenientAttribute("LastInventoryTime", m.last_inventory_time);
  io.Attribute("ParentServerId", m.parent_server_id);
  io.OptionalStruct("Details", m.details);
}
template <class Io>
void Fields(Io& io, Ref<Io, RollupComputersRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Value("clientTime", m.client_time);
  io.List("computers", "ComputerRollupInfo", m.computers, EmptyList::kWrite);
}

static bool ParseScalar(std::string_view text, ComputerChange& out) {
  out = text == "Deleted" ? ComputerChange::kDeleted : ComputerChange::kNewParent;
  return text == "Deleted" || text == "NewParent";
}
static std::string FormatScalar(ComputerChange change) {
  return change == ComputerChange::kDeleted ? "Deleted" : "NewParent";
}

template <class Io>
void Fields(Io& io, Ref<Io, ChangedComputer> m) {
  io.Attribute("ComputerId", m.computer_id);
  io.Attribute("Change", m.change);
}
template <class Io>
void Fields(Io& io, Ref<Io, RollupComputersResponse> m) {
  io.List("RollupComputersResult", "ChangedComputer", m.changes, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, ComputerRollupNumber> m) {
  io.Value("ComputerId", m.computer_id);
  io.Value("RollupNumber", m.rollup_number);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetOutOfSyncComputersRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Value("parentServerId", m.parent_server_id);
  io.List("lastRollupNumbers", "ComputerLastRollupNumber", m.last_rollup_numbers,
          EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, GetOutOfSyncComputersResponse> m) {
  io.List("GetOutOfSyncComputersResult", "string", m.computer_ids, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, UpdateStatusRollup> m) {
  io.Value("UpdateId", m.update_id);
  io.Value("SummarizationState", m.state);
  io.Value("LastChangeTime", m.last_change_time);
}
template <class Io>
void Fields(Io& io, Ref<Io, ComputerStatusRollup> m) {
  io.Value("InstanceId", m.instance_id);
  io.Value("ComputerId", m.computer_id);
  io.Lenient("EffectiveLastDetectionTime", m.effective_last_detection_time);
  io.Value("RollupNumber", m.rollup_number);
  io.Value("IsFullRollup", m.is_full_rollup);
  io.List("UpdateStatus", "ComputerStatusRollupUpdateStatus", m.update_status, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, RollupComputerStatusRequest> m) {
  io.OptionalStruct("cookie", m.cookie);
  io.Value("clientTime", m.client_time);
  io.Value("parentServerId", m.parent_server_id);
  io.List("computers", "ComputerStatusRollupInfo", m.computers, EmptyList::kWrite);
}
template <class Io>
void Fields(Io& io, Ref<Io, RollupComputerStatusResponse> m) {
  io.Value("RollupComputerStatusResult", m.result);
}

// ---- The messages ------------------------------------------------------------------------------

#define REPORTING_MESSAGES(Operation, request_style)                                   \
  GAPFERRY_SOAP_MESSAGE(Operation##Request, ns::kReporting, #Operation, request_style) \
  GAPFERRY_SOAP_MESSAGE(Operation##Response, ns::kReporting, #Operation "Response",    \
                        SoapStyle::kClassic)

REPORTING_MESSAGES(ReportEventBatch, SoapStyle::kAgent)
REPORTING_MESSAGES(ReportEventBatch2, SoapStyle::kAgent)
REPORTING_MESSAGES(GetRequiredInventoryType, SoapStyle::kAgent)
REPORTING_MESSAGES(ReportInventory, SoapStyle::kAgent)
REPORTING_MESSAGES(GetRollupConfiguration, SoapStyle::kClassic)
REPORTING_MESSAGES(RollupDownstreamServers, SoapStyle::kClassic)
REPORTING_MESSAGES(RollupComputers, SoapStyle::kClassic)
REPORTING_MESSAGES(GetOutOfSyncComputers, SoapStyle::kClassic)
REPORTING_MESSAGES(RollupComputerStatus, SoapStyle::kClassic)

}  // namespace gapferry::protocol
