#include "protocol/hresult.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace gapferry::protocol {
namespace {

struct KnownResult {
  std::uint32_t code;
  std::string_view name;
  std::string_view words;
};

/// Ascending. What agents report in practice; names as in Microsoft's headers.
constexpr std::array kResults = std::to_array<KnownResult>({
    {0x00000000, "S_OK", "no error"},
    {0x00240005, "WU_S_REBOOT_REQUIRED", "done, a restart is required"},
    {0x80004004, "E_ABORT", "the operation was aborted"},
    {0x80004005, "E_FAIL", "unspecified failure"},
    {0x80070002, "ERROR_FILE_NOT_FOUND", "a file was not found"},
    {0x80070003, "ERROR_PATH_NOT_FOUND", "a path was not found"},
    {0x80070005, "E_ACCESSDENIED", "access was denied"},
    {0x8007000D, "ERROR_INVALID_DATA", "data is invalid"},
    {0x8007000E, "E_OUTOFMEMORY", "out of memory"},
    {0x80070020, "ERROR_SHARING_VIOLATION", "a file is in use"},
    {0x80070057, "E_INVALIDARG", "an argument is invalid"},
    {0x80070070, "ERROR_DISK_FULL", "the disk is full"},
    {0x80070422, "ERROR_SERVICE_DISABLED", "a service that is needed is disabled"},
    {0x80070490, "ERROR_NOT_FOUND",
     "a component was not found: the component store may be damaged"},
    {0x80070570, "ERROR_FILE_CORRUPT", "a file is damaged"},
    {0x80070643, "ERROR_INSTALL_FAILURE", "the installer failed"},
    {0x80070645, "ERROR_UNKNOWN_PRODUCT", "the product is not installed"},
    {0x80070652, "ERROR_INSTALL_ALREADY_RUNNING", "another installation is running"},
    {0x80070666, "ERROR_PRODUCT_VERSION", "another version of the product is installed"},
    {0x800706BA, "RPC_S_SERVER_UNAVAILABLE", "a service did not answer"},
    {0x80070BC9, "ERROR_FAIL_REBOOT_REQUIRED",
     "failed, a restart is required before a new attempt"},
    {0x80072EE2, "ERROR_WINHTTP_TIMEOUT", "the server did not answer in time"},
    {0x80072EE7, "ERROR_WINHTTP_NAME_NOT_RESOLVED", "the name of the server is not known"},
    {0x80072EFD, "ERROR_WINHTTP_CANNOT_CONNECT", "no connection to the server"},
    {0x80072EFE, "ERROR_WINHTTP_CONNECTION_ERROR", "the connection was aborted"},
    {0x80072F0D, "ERROR_WINHTTP_SECURE_INVALID_CA",
     "the server's certificate is from an unknown authority"},
    {0x80072F8F, "ERROR_WINHTTP_SECURE_FAILURE", "TLS failed: certificate or clock"},
    {0x800B0100, "TRUST_E_NOSIGNATURE", "a file is not signed"},
    {0x800B0101, "CERT_E_EXPIRED", "a certificate has expired, or the clock is wrong"},
    {0x800B0109, "CERT_E_UNTRUSTEDROOT", "a certificate chain ends in an untrusted root"},
    {0x800F0805, "CBS_E_INVALID_PACKAGE", "the package is invalid"},
    {0x800F081E, "CBS_E_NOT_APPLICABLE", "the package is not for this computer"},
    {0x800F081F, "CBS_E_SOURCE_MISSING", "source files of the component store are missing"},
    {0x800F0823, "CBS_E_NEW_SERVICING_STACK_REQUIRED", "a newer servicing stack is needed first"},
    {0x800F0831, "CBS_E_STORE_CORRUPTION", "the component store is damaged"},
    {0x800F0922, "CBS_E_INSTALLERS_FAILED", "an installer in the package failed"},
    {0x800F0988, "PSFX_E_INVALID_DELTA_COMBINATION", "express files do not fit what is installed"},
    {0x80240001, "WU_E_NO_SERVICE", "the agent could not serve the request"},
    {0x80240004, "WU_E_NOT_INITIALIZED", "the agent is not initialized"},
    {0x80240007, "WU_E_INVALIDINDEX", "an index is invalid"},
    {0x80240009, "WU_E_OPERATIONINPROGRESS", "another operation is running"},
    {0x8024000B, "WU_E_CALL_CANCELLED", "the operation was cancelled"},
    {0x8024000C, "WU_E_NOOP", "nothing was to be done"},
    {0x8024000D, "WU_E_XML_MISSINGDATA", "metadata lacks something"},
    {0x8024000E, "WU_E_XML_INVALID", "metadata is invalid"},
    {0x80240010, "WU_E_TOO_DEEP_RELATION", "updates depend on each other too deeply"},
    {0x80240016, "WU_E_INSTALL_NOT_ALLOWED", "another installation is running or a restart is due"},
    {0x80240017, "WU_E_NOT_APPLICABLE", "the update is not for this computer"},
    {0x80240019, "WU_E_EXCLUSIVE_INSTALL_CONFLICT", "the update must be installed alone"},
    {0x8024001A, "WU_E_POLICY_NOT_SET", "the agent's policy is not set"},
    {0x8024001E, "WU_E_SERVICE_STOP", "the agent was stopped"},
    {0x8024001F, "WU_E_NO_CONNECTION", "there is no connection"},
    {0x80240020, "WU_E_NO_INTERACTIVE_USER", "nobody is logged on"},
    {0x80240022, "WU_E_ALL_UPDATES_FAILED", "all updates failed"},
    {0x80240023, "WU_E_EULAS_DECLINED", "the licence was declined"},
    {0x80240024, "WU_E_NO_UPDATE", "there is no update"},
    {0x80240026, "WU_E_INVALID_UPDATE_TYPE", "the type of update is invalid"},
    {0x80240028, "WU_E_UNINSTALL_NOT_ALLOWED", "uninstallation is not allowed"},
    {0x8024002C, "WU_E_BIN_SOURCE_ABSENT", "the source of a patch is not there"},
    {0x8024002E, "WU_E_WU_DISABLED", "the agent may not use this server"},
    {0x80240034, "WU_E_DOWNLOAD_FAILED", "the download failed"},
    {0x80240035, "WU_E_UPDATE_NOT_PROCESSED", "the update was not processed"},
    {0x80240037, "WU_E_NOT_SUPPORTED", "not supported"},
    {0x80240042, "WU_E_UNKNOWN_SERVICE", "the service is not known to the agent"},
    {0x80240044, "WU_E_PER_MACHINE_UPDATE_ACCESS_DENIED", "only administrators may do this"},
    {0x80240438, "WU_E_PT_ENDPOINT_UNREACHABLE", "the server was not reached; the agent waits"},
    {0x80240439, "WU_E_PT_INVALID_FORMAT", "the server's answer has an invalid format"},
    {0x80240FFF, "WU_E_UNEXPECTED", "unexpected failure"},
    {0x80241001, "WU_E_MSI_WRONG_VERSION", "Windows Installer is too old"},
    {0x80242000, "WU_E_UH_REMOTEUNAVAILABLE", "the installer's process did not answer"},
    {0x80242006, "WU_E_UH_INVALIDMETADATA", "the installer's metadata is invalid"},
    {0x80242007, "WU_E_UH_INSTALLERHUNG", "the installer took too long"},
    {0x80242009, "WU_E_UH_BADHANDLERXML", "the installer's instructions are invalid"},
    {0x8024200B, "WU_E_UH_INSTALLERFAILURE", "the installer failed"},
    {0x8024200D, "WU_E_UH_NEEDANOTHERDOWNLOAD", "the update must be downloaded again"},
    {0x80242014, "WU_E_UH_POSTREBOOTSTILLPENDING", "a restart is still due"},
    {0x80242015, "WU_E_UH_POSTREBOOTRESULTUNKNOWN", "the result after the restart is not known"},
    {0x80242016, "WU_E_UH_POSTREBOOTUNEXPECTEDSTATE", "an unexpected state after the restart"},
    {0x80242FFF, "WU_E_UH_UNEXPECTED", "the installer failed unexpectedly"},
    {0x80244007, "WU_E_PT_SOAPCLIENT_SOAPFAULT", "the server answered with a fault"},
    {0x80244010, "WU_E_PT_EXCEEDED_MAX_SERVER_TRIPS", "the scan took more than 200 calls"},
    {0x80244015, "WU_E_PT_REFRESH_CACHE_REQUIRED",
     "the server asked for the cache to be refreshed"},
    {0x80244016, "WU_E_PT_HTTP_STATUS_BAD_REQUEST", "the server answered 400"},
    {0x80244017, "WU_E_PT_HTTP_STATUS_DENIED", "the server answered 401"},
    {0x80244018, "WU_E_PT_HTTP_STATUS_FORBIDDEN", "the server answered 403"},
    {0x80244019, "WU_E_PT_HTTP_STATUS_NOT_FOUND", "the server answered 404"},
    {0x8024401C, "WU_E_PT_HTTP_STATUS_REQUEST_TIMEOUT", "the server answered 408"},
    {0x8024401F, "WU_E_PT_HTTP_STATUS_SERVER_ERROR", "the server answered 500"},
    {0x80244021, "WU_E_PT_HTTP_STATUS_BAD_GATEWAY", "a proxy answered 502"},
    {0x80244022, "WU_E_PT_HTTP_STATUS_SERVICE_UNAVAIL", "the server answered 503"},
    {0x80244023, "WU_E_PT_HTTP_STATUS_GATEWAY_TIMEOUT", "a proxy answered 504"},
    {0x8024402C, "WU_E_PT_WINHTTP_NAME_NOT_RESOLVED", "the name of the server is not known"},
    {0x80246001, "WU_E_DM_URLNOTAVAILABLE", "a file has no address"},
    {0x80246002, "WU_E_DM_INCORRECTFILEHASH", "a file has another digest than declared"},
    {0x80246005, "WU_E_DM_NONETWORK", "there is no network"},
    {0x80246007, "WU_E_DM_NOTDOWNLOADED", "a file is not downloaded"},
    {0x80246008, "WU_E_DM_FAILTOCONNECTTOBITS", "the download service does not run"},
    {0x80246013, "WU_E_DM_UNAUTHORIZED", "downloads need authorization"},
    {0x80248007, "WU_E_DS_NODATA", "the agent's store lacks data"},
    {0x80248014, "WU_E_DS_UNKNOWNSERVICE", "the service is not in the agent's store"},
    {0x8024A005, "WU_E_AU_NO_REGISTERED_SERVICE", "no service is registered"},
    {0xC1900200, "MOSETUP_E_COMPAT_SYSREQ_BLOCK", "the computer is too small for the upgrade"},
    {0xC1900208, "MOSETUP_E_COMPAT_INSTALLREQ_BLOCK",
     "a program on the computer blocks the upgrade"},
});
static_assert(std::ranges::is_sorted(kResults, {}, &KnownResult::code));

struct KnownEvent {
  std::int32_t id;
  std::string_view words;
  bool is_failure;
};

constexpr std::array kEvents = std::to_array<KnownEvent>({
    {147, "scan succeeded", false},
    {148, "scan failed", true},
    {156, "status", false},
    {161, "download failed", true},
    {162, "download succeeded", false},
    {163, "download cancelled", false},
    {164, "download succeeded with peers", false},
    {167, "download started", false},
    {181, "installation started", false},
    {182, "installation failed", true},
    {183, "installation succeeded", false},
    {184, "installation succeeded, restart required", false},
    {201, "installation done, restart pending", false},
    {202, "restart completed", false},
    {203, "installation succeeded after the restart", false},
    {204, "installation failed after the restart", true},
    {221, "uninstallation failed", true},
    {222, "uninstallation succeeded", false},
    {223, "uninstallation cancelled", false},
    {224, "uninstallation succeeded, restart required", false},
    {225, "uninstallation killed", true},
    {226, "uninstallation started", false},
});

const KnownEvent* FindEvent(std::int32_t id) {
  const auto found = std::ranges::find(kEvents, id, &KnownEvent::id);
  return found == kEvents.end() ? nullptr : &*found;
}

}  // namespace

std::string HresultText(std::int32_t hresult) {
  const auto code = static_cast<std::uint32_t>(hresult);
  const auto found = std::ranges::lower_bound(kResults, code, {}, &KnownResult::code);
  if (found == kResults.end() || found->code != code) return fmt::format("0x{:08X}", code);
  return fmt::format("0x{:08X} {}: {}", code, found->name, found->words);
}

std::string ClientEventText(std::int32_t event_id) {
  const KnownEvent* event = FindEvent(event_id);
  return event == nullptr ? fmt::format("event {}", event_id) : std::string(event->words);
}

bool IsFailureEvent(std::int32_t event_id) {
  const KnownEvent* event = FindEvent(event_id);
  return event != nullptr && event->is_failure;
}

}  // namespace gapferry::protocol
