// One golden file per message: written by us exactly so, and read back to the same. ACCEPT=1
// rewrites the files and reports the tests as skipped.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "base/file.h"
#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::protocol {
namespace {

const fs::path kGolden = fs::path(GAPFERRY_SOURCE_DIR) / "tests/golden/soap";
const Guid kOne = *Guid::Parse("01234567-89ab-cdef-0123-456789abcdef");
const Guid kTwo = *Guid::Parse("fedcba98-7654-3210-fedc-ba9876543210");
const UtcTime kTime = *UtcTime::ParseXml("2026-10-04T16:03:35.9967236Z");
const Cookie kCookie{kTime, {1, 2, 3, 4}};
const Sha1Digest kSha1 = Sha1(std::string_view("file"));

template <class Message>
void Check(const std::string& name, const Message& message) {
  SCOPED_TRACE(name);
  const fs::path path = kGolden / (name + ".xml");
  const auto text = Flatten(EncodeBody(message), 1 << 20);
  ASSERT_TRUE(text.has_value());
  if (std::getenv("ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, AsBytes(*text)).has_value());
    return;
  }
  const auto golden = ReadTextFile(path, 1 << 20);
  ASSERT_TRUE(golden.has_value()) << golden.error().message;
  EXPECT_EQ(*text, *golden);
  auto parsed = SoapMessage::Parse(*golden, SoapLimits::Answer());
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const auto decoded = Decode<Message>(*parsed);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(Flatten(EncodeBody(*decoded), 1 << 20).value_or(""), *golden);
}

class SoapGolden : public testing::Test {
 protected:
  void TearDown() override {
    if (std::getenv("ACCEPT") != nullptr) GTEST_SKIP() << "golden files rewritten";
  }
};

Deployment Install() {
  Deployment deployment;
  deployment.id = 34100;
  deployment.action = DeploymentAction::kInstall;
  deployment.deadline = kTime;
  deployment.last_change_time = kTime;
  return deployment;
}

TEST_F(SoapGolden, ClientService) {
  Check("get_config_request", GetConfigRequest{"2.90"});
  GetConfigResponse config;
  config.last_change = kTime;
  config.auth_info = {{"SimpleTargeting", "SimpleAuthWebService/SimpleAuth.asmx", ""}};
  config.properties = {{"ProtocolVersion", "3.2"}};
  Check("get_config_response", config);
  Check("simple_authorization_request",
        SimpleAuthorizationRequest{kOne.ToString(), "Ring <0>", "pc.example"});
  Check("simple_authorization_response", SimpleAuthorizationResponse{{"SimpleTargeting", {9, 9}}});
  GetCookieRequest get_cookie;
  get_cookie.auth_cookies = {{"SimpleTargeting", {9, 9}}};
  get_cookie.old_cookie = Cookie{kTime, {}};
  get_cookie.last_change = get_cookie.current_time = kTime;
  get_cookie.protocol_version = "2.90";
  Check("get_cookie_request", get_cookie);
  Check("get_cookie_response", GetCookieResponse{kCookie});
  RegisterComputerRequest registration;
  registration.cookie = kCookie;
  registration.computer.dns_name = "pc.example";
  registration.computer.os_build_number = 26100;
  registration.computer.os_locale = "en-US";
  Check("register_computer_request", registration);
  Check("register_computer_response", RegisterComputerResponse{});
  Check("start_category_scan_request", StartCategoryScanRequest{{{0, kOne}}});
  Check("start_category_scan_response", StartCategoryScanResponse{{kOne}, {kTwo}});
}

TEST_F(SoapGolden, Scan) {
  SyncUpdatesRequest request;
  request.cookie = kCookie;
  auto& parameters = request.parameters;
  parameters.installed_non_leaf_update_ids = {1, 2};
  parameters.other_cached_update_ids = {3};
  InstalledDriver driver;
  driver.driver_ver_version = 2814751477604196;
  driver.device_class = "{4d36e97d-e325-11ce-bfc1-08002be10318}";
  parameters.system_spec = {{{"PCI\\VEN_8086"}, {"PCI\\CC_0601"}, driver}};
  parameters.skip_software_sync = true;
  parameters.filter_category_ids = {kOne};
  parameters.need_two_group_out_of_scope_updates = true;
  parameters.computer_spec = std::vector<Guid>{kTwo};
  Check("sync_updates_request", request);
  SyncUpdatesResponse answer;
  answer.result.new_updates.push_back({108226, Install(), false, PlainText{"<a b=\"&amp;\" />"}});
  answer.result.out_of_scope_revision_ids = {7};
  answer.result.changed_updates.push_back({9, Install(), true, std::nullopt});
  answer.result.truncated = true;
  answer.result.new_cookie = kCookie;
  answer.result.deployed_out_of_scope_revision_ids = {8};
  Check("sync_updates_response", answer);
  Check("sync_printer_catalog_request", SyncPrinterCatalogRequest{kCookie, {1}, {2}});
  SyncPrinterCatalogResponse printers;
  printers.result.driver_sync_not_needed = true;
  Check("sync_printer_catalog_response", printers);
  Check("refresh_cache_request", RefreshCacheRequest{kCookie, {{kOne, 100}}});
  Check("refresh_cache_response", RefreshCacheResponse{{{5, {kOne, 100}, true, Install()}}});
}

TEST_F(SoapGolden, ExtendedInformation) {
  GetExtendedUpdateInfoRequest request;
  request.cookie = kCookie;
  request.revision_ids = {5, 6};
  request.info_types = {FragmentType::kExtended, FragmentType::kLocalizedProperties};
  request.locales = {"en-US", "en"};
  Check("get_extended_update_info_request", request);
  Check("get_extended_update_info_response",
        GetExtendedUpdateInfoResponse{
            {{5, PlainText{"<ExtendedProperties />"}}}, {{kSha1, "http://s/Content/x", {}}}, {6}});
  GetExtendedUpdateInfo2Request request2;
  request2.cookie = kCookie;
  request2.update_ids = {{kOne, 100}};
  request2.info_types = {FragmentType::kFileUrl, FragmentType::kFileDecryption};
  Check("get_extended_update_info2_request", request2);
  Check("get_extended_update_info2_response",
        GetExtendedUpdateInfo2Response{
            {}, {{kSha1, "http://s/Content/x", "SHA1"}}, {{kSha1, Bytes{1, 2}, {}}}});
  Check("get_file_locations_request",
        GetFileLocationsRequest{kCookie, {Bytes(kSha1.bytes.begin(), kSha1.bytes.end())}});
  Check("get_file_locations_response",
        GetFileLocationsResponse{{{kSha1, "http://s/Content/x", {}}}, kCookie});
}

TEST_F(SoapGolden, ServerSync) {
  Check("get_auth_config_request", GetAuthConfigRequest{});
  Check("get_auth_config_response",
        GetAuthConfigResponse{kTime, {{"DssTargeting", "D/d.asmx", ""}}});
  Check("dss_authorization_request", DssAuthorizationRequest{"dss.example", kOne.ToString()});
  Check("dss_authorization_response", DssAuthorizationResponse{{"DssTargeting", {9}}});
  Check("dss_get_cookie_request", DssGetCookieRequest{{{"DssTargeting", {9}}}, kCookie, "1.20"});
  Check("dss_get_cookie_response", DssGetCookieResponse{kCookie});
  Check("get_config_data_request", GetConfigDataRequest{kCookie, "1,2026-10-04 16:33:26.668"});
  GetConfigDataResponse config;
  config.new_config_anchor = "1,2026-10-04 16:33:26.668";
  config.protocol_version = "1.20";
  config.languages = {{1033, "en", "English", true}};
  Check("get_config_data_response", config);
  GetRevisionIdListRequest list;
  list.cookie = kCookie;
  list.filter.anchor = "1,2026-10-04 16:33:26.668";
  list.filter.get_63_language_only = false;
  list.filter.categories = {{kOne, true}};
  list.filter.classifications = {{kTwo, true}};
  list.filter.languages = {{1033, true}};
  Check("get_revision_id_list_request", list);
  Check("get_revision_id_list_response",
        GetRevisionIdListResponse{"2,2026-10-04 16:33:27.000", {{kOne, 200}}});
  Check("get_update_data_request", GetUpdateDataRequest{kCookie, {{kOne, 200}}});
  GetUpdateDataResponse data;
  data.updates.push_back({{kOne, 200}, PlainText{"<upd:Update />"}, {kSha1}, nullptr});
  data.updates.push_back({{kTwo, 100}, std::nullopt, {}, StoreInMemory({'M', 'S', 'C', 'F'})});
  data.file_urls = {{kSha1, "http://vendor/x.cab", ""}};
  Check("get_update_data_response", data);
  Check("get_update_decryption_data_request",
        GetUpdateDecryptionDataRequest{kCookie, {{kOne, 200}}});
  Check("get_update_decryption_data_response",
        GetUpdateDecryptionDataResponse{{{{kOne, 200}, {{kSha1, Bytes{7}}}}}});
  Check("download_files_request",
        DownloadFilesRequest{kCookie, {Bytes(kSha1.bytes.begin(), kSha1.bytes.end())}});
  Check("download_files_response", DownloadFilesResponse{});
}

TEST_F(SoapGolden, Deployments) {
  Check("get_deployments_request", GetDeploymentsRequest{kCookie, "1,a", "2,b"});
  GetDeploymentsResponse answer;
  answer.anchor = "2,b";
  answer.groups = {{kOne, kTwo, "Ring 0", false}};
  SyncDeployment deployment;
  deployment.update = {kOne, 200};
  deployment.admin_name = "WUS Server";
  deployment.deadline = kEndOfTime;
  deployment.go_live_time = kTime;
  deployment.deployment_guid = kTwo;
  deployment.target_group_id = kOne;
  answer.deployments = {deployment};
  answer.hidden_updates = {kTwo};
  Check("get_deployments_response", answer);
  DriverFilter filter;
  filter.anchor = "1,2026-10-04 16:33:26.668";
  filter.categories = {{kOne, true}};
  filter.computer_ids = {{kTwo, false}};
  filter.pnp_hardware_ids = {{"pci\\ven_8086", true}};
  Check("get_driver_id_list_request", GetDriverIdListRequest{kCookie, filter});
  Check("get_driver_id_list_response", GetDriverIdListResponse{"2,b", {{kOne, 1}}, {kTwo}, {}});
  Check("get_driver_set_data_request", GetDriverSetDataRequest{kCookie, {kOne}});
  Check("get_driver_set_data_response", GetDriverSetDataResponse{{{kOne, "<d />"}}});
  Check("get_related_revisions_request", GetRelatedRevisionsRequest{kCookie, {kOne}});
  Check("get_related_revisions_response", GetRelatedRevisionsResponse{{{kOne, 200}}});
  Check("ping_request", PingRequest{1});
  Check("ping_response", PingResponse{true, kTime});
}

TEST_F(SoapGolden, Events) {
  ReportingEvent event;
  event.target_sid = kOne.ToString();
  event.time_at_target = kTime;
  event.event_instance_id = kTwo;
  event.event_id = 156;
  event.win32_hresult = -2145124329;
  event.replacement_strings = {"3"};
  event.misc_data = {"U=A;B", "c=1"};
  event.computer_brand = "Contoso";
  event.processor_architecture = "Amd64Compatible";
  event.os_version = {10, 0, 26100, 0, 0, 0};
  event.os_locale_id = 1033;
  Check("report_event_batch_request", ReportEventBatchRequest{kCookie, kTime, {event}});
  Check("report_event_batch_response", ReportEventBatchResponse{});
  Check("report_event_batch2_request", ReportEventBatch2Request{"pc", kTime, {event}});
  Check("report_event_batch2_response", ReportEventBatch2Response{});
  Check("get_required_inventory_type_request",
        GetRequiredInventoryTypeRequest{kCookie, kOne, "1.0"});
  Check("get_required_inventory_type_response", GetRequiredInventoryTypeResponse{});
  Check("report_inventory_request",
        ReportInventoryRequest{kCookie, kTime, true, std::nullopt, Bytes{1}});
  Check("report_inventory_response", ReportInventoryResponse{});
}

TEST_F(SoapGolden, Rollup) {
  Check("get_rollup_configuration_request", GetRollupConfigurationRequest{RollupCookie()});
  GetRollupConfigurationResponse config;
  config.rollup_reset_guid = kOne;
  config.server_id = kTwo;
  Check("get_rollup_configuration_response", config);
  DownstreamServerRollup server;
  server.server_id = kOne;
  server.full_domain_name = "dss.example";
  server.last_sync_time = server.last_rollup_time = kTime;
  server.version = "0.1.0";
  server.summary.emplace().update_count = 3;
  ClientSummary client;
  client.os_major_version = 10;
  client.os_locale = "en-US";
  client.processor_architecture = "Amd64Compatible";
  client.count = 2;
  client.activity = {{{kTwo, 200}, 1, 0}};
  server.client_summaries = {client};
  Check("rollup_downstream_servers_request",
        RollupDownstreamServersRequest{RollupCookie(), kTime, {server}});
  Check("rollup_downstream_servers_response", RollupDownstreamServersResponse{});
  ComputerRollup computer;
  computer.computer_id = kOne.ToString();
  computer.last_sync_time = computer.last_reported_status_time = kTime;
  computer.last_reported_reboot_time = computer.last_inventory_time = kNever;
  computer.last_sync_result = 1;
  computer.parent_server_id = kTwo;
  computer.details.emplace();
  computer.details->full_domain_name = "pc.example";
  computer.details->bios_release_date = kNever;
  computer.details->target_group_ids = {kOne};
  computer.details->requested_target_group_names = {"Ring 0"};
  Check("rollup_computers_request", RollupComputersRequest{RollupCookie(), kTime, {computer}});
  Check("rollup_computers_response", RollupComputersResponse{{{"pc", ComputerChange::kDeleted},
                                                              {"q", ComputerChange::kNewParent}}});
  Check("get_out_of_sync_computers_request",
        GetOutOfSyncComputersRequest{RollupCookie(), kOne, {{"pc", 3}}});
  Check("get_out_of_sync_computers_response", GetOutOfSyncComputersResponse{{"pc"}});
  Check("rollup_computer_status_request",
        RollupComputerStatusRequest{
            RollupCookie(), kTime, kOne, {{kTwo, "pc", kTime, 4, true, {{kOne, 2, kTime}}}}});
  Check("rollup_computer_status_response", RollupComputerStatusResponse{});
}

TEST_F(SoapGolden, Faults) {
  for (const SoapVersion version : {SoapVersion::k11, SoapVersion::k12}) {
    for (const SoapStyle style : {SoapStyle::kClient, SoapStyle::kClassic}) {
      SoapFault fault;
      fault.code = FaultCode::kInvalidCookie;
      fault.id = kOne;
      fault.method = SoapActionHeader(ns::kServerSync, "GetUpdateData");
      fault.actor = "http://server:8530/x.asmx";
      const std::string name = std::string("fault_") +
                               (style == SoapStyle::kClient ? "client" : "classic") +
                               (version == SoapVersion::k11 ? "_11.xml" : "_12.xml");
      const std::string text = EncodeFault(fault, style, version);
      if (std::getenv("ACCEPT") != nullptr) {
        ASSERT_TRUE(WriteFileAtomically(kGolden / name, AsBytes(text)).has_value());
      } else {
        EXPECT_EQ(text, ReadTextFile(kGolden / name, 1 << 20).value_or("missing")) << name;
      }
    }
  }
}

}  // namespace
}  // namespace gapferry::protocol
