// SyncUpdates and SyncPrinterCatalog, MS-WUSP 3.1.5.7 and 3.1.5.13.
#include <algorithm>
#include <tuple>

#include "base/log.h"
#include "base/text.h"
#include "mirror/fragment_store.h"
#include "protocol/fragments.h"
#include "server/client_service.h"

namespace gapferry::server {

using protocol::FaultCode;

namespace {

constexpr std::size_t kMaxDevices = 4096;
constexpr std::size_t kMaxComputerIds = 256;       // Windows has about fifteen
constexpr std::size_t kMaxFilterCategories = 199;  // as many as StartCategoryScan takes

protocol::TextValue ToText(mirror::StoredFragment fragment) {
  if (fragment.prepared) return std::move(fragment.prepared);
  return protocol::EscapedText{std::move(fragment.escaped_text)};
}

bool HasAutoFields(const ClientCookie& cookie) {
  return cookie.protocol_version >= PackProtocolVersion("1.8");
}

/// From `client scan --dry-run`, which counts what a scan costs and leaves nothing behind. It tells
/// no more than anybody hears who registers under any name.
bool IsSurvey(const protocol::SyncUpdatesParameters& parameters) {
  const auto& products = parameters.products_parameters;
  return products && products->caller_attributes.find("Survey=1;") != std::string::npos;
}

}  // namespace

Result<void> ClientService::CheckClient(CallContext& call, const ClientCookie& cookie) {
  if (cookie.config_last_change < shared_.config_last_change) {
    return FailFault(FaultCode::kConfigChanged);
  }
  TRY_ASSIGN(mirror::Activity * activity, call.worker.mirror.activity());
  TRY_ASSIGN(const bool registered, computers_.IsRegistered(*activity, cookie.client_id));
  if (!registered) return FailFault(FaultCode::kRegistrationRequired);
  return {};
}

Result<void> ClientService::CheckLists(const protocol::SyncUpdatesParameters& parameters) {
  if (!parameters.skip_software_sync && !parameters.system_spec.empty()) {
    return FailFault(FaultCode::kInvalidParameters, "parameters.SystemSpec");
  }
  const std::size_t limit = shared_.config.serve.max_ids_per_request;
  const std::tuple<std::size_t, std::size_t, const char*> lists[] = {
      {parameters.installed_non_leaf_update_ids.size(), limit, "InstalledNonLeafUpdateIDs"},
      {parameters.other_cached_update_ids.size(), limit, "OtherCachedUpdateIDs"},
      {parameters.cached_driver_ids.size(), limit, "CachedDriverIDs"},
      {parameters.filter_category_ids.size(), kMaxFilterCategories, "FilterCategoryIds"},
      {parameters.system_spec.size(), kMaxDevices, "SystemSpec"},
      {parameters.computer_spec ? parameters.computer_spec->size() : 0, kMaxComputerIds,
       "ComputerSpec"}};
  for (const auto& [size, most, name] : lists) {
    if (size > most) {
      return FailFault(FaultCode::kInvalidParameters, std::string("parameters.") + name);
    }
  }
  return {};
}

Result<bool> ClientService::FillPage(CallContext& call, const SoftwareScanAnswer& found,
                                     bool auto_fields, protocol::SyncInfo& info) {
  TRY_ASSIGN(mirror::FragmentStore * fragments, call.worker.mirror.fragments());
  const bool xpress = call.request.AcceptsCoding("xpress");
  const PageWish wish{
      *call.index,
      *found.scope,
      found.fresh,
      found.more,
      auto_fields,
      shared_.config.serve.page_bytes,
      xpress ? protocol::ContentEncoding::kXpress : protocol::ContentEncoding::kIdentity};
  TRY_ASSIGN(FilledPage page, chunks_.Fill(wish, *fragments));
  // Never truncated without an update: the client would ask for ever (wusp.md 7.6).
  info.truncated = (page.taken < found.fresh.size() || found.more) && page.updates > 0;
  info.prepared_updates = std::move(page.pieces);
  return info.truncated || page.has_non_leaf;
}

Result<protocol::SyncInfo> ClientService::SoftwarePass(
    CallContext& call, ClientCookie& cookie, const protocol::SyncUpdatesParameters& parameters) {
  SoftwareScan scan;
  scan.installed = parameters.installed_non_leaf_update_ids;
  scan.other = parameters.other_cached_update_ids;
  scan.filter_categories = parameters.filter_category_ids;
  scan.two_groups_out_of_scope = parameters.need_two_group_out_of_scope_updates.value_or(false);
  const bool filtered = !parameters.filter_category_ids.empty();
  scan.anchor = filtered && cookie.category_anchor ? cookie.category_anchor : cookie.anchor;
  scan.page_updates = std::max<std::size_t>(1, shared_.config.serve.page_updates);
  SoftwareScanAnswer found = call.index->ScanSoftware(GroupsOf(call, cookie), scan);

  const bool auto_fields = HasAutoFields(cookie);
  protocol::SyncInfo info;
  TRY_ASSIGN(const bool goes_on, FillPage(call, found, auto_fields, info));
  for (const std::uint32_t position : found.changed) {
    const PlacedRevision& placed = found.scope->placed[position];
    protocol::UpdateInfo changed;
    changed.id = call.index->catalog().revisions()[placed.revision].id;
    changed.deployment = call.index->Present(placed, auto_fields);
    changed.is_leaf = call.index->catalog().IsLeaf(placed.revision);
    info.changed_updates.push_back(std::move(changed));
  }
  info.out_of_scope_revision_ids = std::move(found.out_of_scope);
  info.deployed_out_of_scope_revision_ids = std::move(found.deployed_out_of_scope);

  info.driver_sync_not_needed = filtered || found.scope->drivers.empty();
  cookie.category_anchor = call.index->AnchorOf(*found.scope, call.now);
  if (!filtered) {
    // Only a call that lists everything cached was told all changes.
    cookie.anchor = cookie.category_anchor;
    if (!goes_on && !IsSurvey(parameters)) NoteScanCompleted(call, cookie);
  }
  return info;
}

Result<protocol::SyncInfo> ClientService::DriverPass(
    CallContext& call, const ClientCookie& cookie,
    const protocol::SyncUpdatesParameters& parameters) {
  DriverScan scan;
  scan.installed = parameters.installed_non_leaf_update_ids;
  scan.cached_drivers = parameters.cached_driver_ids;
  scan.devices = parameters.system_spec;
  if (parameters.computer_spec) scan.computer_ids = *parameters.computer_spec;
  // Not value_or: the view must not outlive a temporary string.
  if (const auto& key = parameters.feature_score_matching_key) scan.feature_key = *key;
  scan.anchor = cookie.anchor;
  return PresentDrivers(call, cookie, call.index->ScanDrivers(GroupsOf(call, cookie), scan),
                        /*paged=*/false);
}

Result<protocol::SyncInfo> ClientService::PresentDrivers(CallContext& call,
                                                         const ClientCookie& cookie,
                                                         DriverScanAnswer found, bool paged) {
  TRY_ASSIGN(mirror::FragmentStore * fragments, call.worker.mirror.fragments());
  const bool with_hardware_ids = cookie.protocol_version >= PackProtocolVersion("1.6");
  const auto present = [&](DriverScanAnswer::Match& match) {
    const PlacedRevision& placed = found.scope->drivers[match.driver];
    protocol::UpdateInfo update;
    update.id = call.index->catalog().revisions()[placed.revision].id;
    update.deployment = call.index->Present(placed, HasAutoFields(cookie));
    if (with_hardware_ids) update.deployment->hardware_ids = std::move(match.hardware_ids);
    update.is_leaf = call.index->catalog().IsLeaf(placed.revision);
    return update;
  };
  protocol::SyncInfo info;
  std::uint64_t bytes = 0;
  for (DriverScanAnswer::Match& match : found.fresh) {
    protocol::UpdateInfo update = present(match);
    TRY_ASSIGN(auto fragment, fragments->FindCore(update.id));
    if (!fragment) continue;
    bytes += fragment->decoded_bytes();
    const bool full = info.new_updates.size() >= shared_.config.serve.page_updates ||
                      bytes > shared_.config.serve.page_bytes;
    if (paged && full && !info.new_updates.empty()) {
      info.truncated = true;
      break;
    }
    update.xml = ToText(std::move(*fragment));
    info.new_updates.push_back(std::move(update));
  }
  for (DriverScanAnswer::Match& match : found.changed) {
    info.changed_updates.push_back(present(match));
  }
  info.out_of_scope_revision_ids = std::move(found.out_of_scope);
  info.driver_sync_not_needed = info.new_updates.empty() && info.changed_updates.empty();
  return info;
}

void ClientService::NoteScanCompleted(CallContext& call, const ClientCookie& cookie) {
  const mirror::Generation generation = call.index->intent().state.name.generation;
  const UtcTime synced_at = call.index->intent().synced_at;
  const Result<void> posted = shared_.activity.Post(
      [id = cookie.client_id, generation, synced_at](mirror::Activity& activity) {
        return activity.ScanCompleted(id, generation, synced_at);
      },
      [](const Result<void>& done) {
        if (!done.has_value()) {
          Log(LogLevel::kWarning, "scan not recorded", {{"error", done.error().message}});
        }
      });
  // The scan itself is answered all the same: the next one is recorded.
  if (!posted.has_value()) {
    Log(LogLevel::kDebug, "scan not recorded", {{"error", posted.error().message}});
  }
}

Result<protocol::SyncUpdatesResponse> ClientService::SyncUpdates(
    CallContext& call, const protocol::SyncUpdatesRequest& ask) {
  TRY_ASSIGN(ClientCookie cookie, cookies_.Open(call, ask.cookie));
  const bool survey = IsSurvey(ask.parameters);
  if (!survey) TRY(CheckClient(call, cookie));
  TRY(CheckLists(ask.parameters));
  // Only by dropping its cache does a client come to fragments that are derived otherwise. A
  // category scan need not list what is cached.
  const bool lists_cache = ask.parameters.skip_software_sync ||
                           !ask.parameters.installed_non_leaf_update_ids.empty() ||
                           !ask.parameters.other_cached_update_ids.empty();
  if (lists_cache && !survey) {
    TRY_ASSIGN(const bool old, CachesOldFragments(call, cookie));
    if (old) return FailFault(FaultCode::kServerChanged);
  }
  if (lists_cache || ask.parameters.filter_category_ids.empty()) {
    cookie.derivation = protocol::kFragmentDerivation;
  }
  protocol::SyncUpdatesResponse answer;
  if (ask.parameters.skip_software_sync) {
    TRY_ASSIGN(answer.result, DriverPass(call, cookie, ask.parameters));
  } else {
    TRY_ASSIGN(answer.result, SoftwarePass(call, cookie, ask.parameters));
  }
  TRY_ASSIGN(answer.result.new_cookie, cookies_.Seal(call, std::move(cookie)));
  return answer;
}

Result<protocol::SyncPrinterCatalogResponse> ClientService::SyncPrinterCatalog(
    CallContext& call, const protocol::SyncPrinterCatalogRequest& ask) {
  TRY_ASSIGN(ClientCookie cookie, cookies_.Open(call, ask.cookie));
  TRY(CheckClient(call, cookie));
  const std::size_t limit = shared_.config.serve.max_ids_per_request;
  if (ask.installed_non_leaf_update_ids.size() > limit) {
    return FailFault(FaultCode::kInvalidParameters, "installedNonLeafUpdateIDs");
  }
  if (ask.printer_update_ids.size() > limit) {
    return FailFault(FaultCode::kInvalidParameters, "printerUpdateIDs");
  }
  PrinterScan scan;
  scan.installed = ask.installed_non_leaf_update_ids;
  scan.cached_drivers = ask.printer_update_ids;
  scan.anchor = cookie.anchor;
  protocol::SyncPrinterCatalogResponse answer;
  TRY_ASSIGN(answer.result,
             PresentDrivers(call, cookie, call.index->ScanPrinters(GroupsOf(call, cookie), scan),
                            /*paged=*/true));
  TRY_ASSIGN(answer.result.new_cookie, cookies_.Seal(call, std::move(cookie)));
  return answer;
}

}  // namespace gapferry::server
