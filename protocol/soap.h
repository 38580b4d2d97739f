#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/guid.h"
#include "base/result.h"

namespace gapferry::protocol {

enum class SoapVersion { k11, k12 };

/// Three shapes of envelopes are on the wire (captures; MS-WUSP companion 3.3).
enum class SoapStyle {
  kAgent,    ///< requests of the Windows Update Agent: `s:`, no declaration, <X/>
  kClient,   ///< answers of the Client service: as kAgent, xsi and xsd declared on Body
  kClassic,  ///< the older services and their callers: `soap:`, XML declaration, xsi and xsd, <X />
};

/// Namespaces of operations.
namespace ns {
inline constexpr std::string_view kClient =
    "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService";
inline constexpr std::string_view kSimpleAuth =
    "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService";
inline constexpr std::string_view kDssAuth =
    "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService";
/// Server Sync and Reporting.
inline constexpr std::string_view kServerSync = "http://www.microsoft.com/SoftwareDistribution";
inline constexpr std::string_view kReporting = kServerSync;
inline constexpr std::string_view kMonitorable =
    "http://www.microsoft.com/SoftwareDistribution/Server/IMonitorable";
}  // namespace ns

/// Paths of the services as their callers spell them, without leading slash; servers compare
/// case-insensitively.
namespace path {
inline constexpr std::string_view kClient = "ClientWebService/client.asmx";
inline constexpr std::string_view kSimpleAuth = "SimpleAuthWebService/SimpleAuth.asmx";
inline constexpr std::string_view kReporting = "ReportingWebService/ReportingWebService.asmx";
inline constexpr std::string_view kReportingAlias = "ReportingWebService/WebService.asmx";
inline constexpr std::string_view kServerSync = "ServerSyncWebService/ServerSyncWebService.asmx";
inline constexpr std::string_view kDssAuth = "DssAuthWebService/DssAuthWebService.asmx";
}  // namespace path

/// What a message may cost before it is parsed.
struct SoapLimits {
  std::size_t max_bytes;
  std::size_t max_nodes;  ///< start tags, attributes and text runs
  int max_depth = 64;

  /// For requests that anybody may send.
  static SoapLimits Request() { return {8u << 20, 1'000'000}; }
  /// For answers of the server that we asked: revision lists of whole catalogues, 47 MB fragments.
  static SoapLimits Answer() { return {512u << 20, 40'000'000}; }
};

/// One parsed envelope, request or answer. Move-only; the decoders of *_codec.h read from it.
/// Thread-compatible.
class SoapMessage {
 public:
  /// Takes the text (parsed in place). Fails with kCorrupt: larger, deeper or more nodes than
  /// `limits`, no UTF-8, a DOCTYPE or entity declaration, no well-formed XML, no SOAP 1.1 or 1.2
  /// envelope, not exactly one element in the body.
  static Result<SoapMessage> Parse(std::string text, const SoapLimits& limits);
  SoapMessage(SoapMessage&&) noexcept;
  SoapMessage& operator=(SoapMessage&&) noexcept;
  ~SoapMessage();

  SoapVersion version() const;
  /// Local name and namespace of the body's element, "SyncUpdates" or "SyncUpdatesResponse".
  const std::string& name() const;
  const std::string& name_space() const;
  bool IsFault() const;

  struct Impl;  ///< for the decoders (protocol/soap_fields.h)
  const Impl& impl() const { return *impl_; }

 private:
  explicit SoapMessage(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Namespace and operation of a SOAPAction header value, quoted or not; nothing when it has no '/'.
/// The header is only a hint: the body's element decides, as requests without it are accepted.
struct SoapAction {
  std::string_view name_space;
  std::string_view operation;
};
std::optional<SoapAction> ParseSoapAction(std::string_view header);
/// Value of the SOAPAction header of a request: "namespace/operation" with the quotes.
std::string SoapActionHeader(std::string_view name_space, std::string_view operation);

/// Value of Content-Type for bodies of that version.
std::string_view SoapContentType(SoapVersion version);

// ---- Faults (MS-WUSP 2.2.2.4, MS-WSUSSS 2.2.9) -------------------------------------------------

/// Every ErrorCode of both protocols.
enum class FaultCode {
  kUnknown,  ///< absent or a text we do not know
  kConfigChanged,
  kCookieExpired,
  kFileDigestsMissing,
  kFileLocationChanged,
  kIncompatibleProtocolVersion,
  kInternalServerError,
  kInvalidAuthorizationCookie,
  kInvalidCookie,
  kInvalidParameters,
  kRegistrationNotRequired,
  kRegistrationRequired,
  kServerBusy,
  kServerChanged,
  kTooManyIds,
};
std::string_view FaultCodeName(FaultCode code);
FaultCode FaultCodeFromName(std::string_view name);

struct SoapFault {
  FaultCode code = FaultCode::kUnknown;
  std::string message;         ///< for InvalidParameters the parameter's name
  Guid id;                     ///< fresh for each fault; in the server's log too
  std::string method;          ///< the SOAPAction of the call, quotes included
  std::string actor;           ///< URL of the service; written in kClassic shape only
  std::string text;            ///< faultstring as received; written is always "Fault occurred"
  std::string code_text = {};  ///< ErrorCode as received, for codes that nobody knows
};

/// The answer's body, HTTP status 500. kClient: `s:` without faultactor. kClassic: `soap:` with it.
std::string EncodeFault(const SoapFault& fault, SoapStyle style, SoapVersion version);
/// Lenient: takes `detail` and `Detail`, SOAP 1.1 and 1.2; what is missing stays empty.
/// Fails with kCorrupt when `message` is no fault.
Result<SoapFault> DecodeFault(const SoapMessage& message);

/// A fault as an Error of ours: reason is FaultCodeName, code kTransient for ServerBusy and
/// InternalServerError, kExpired for cookies and ServerChanged, kUnsupported for
/// IncompatibleProtocolVersion, kUsage for InvalidParameters, kInternal otherwise.
Error FaultError(const SoapFault& fault, std::string_view operation);
/// The code behind an Error made by FaultError; nothing for other errors.
std::optional<FaultCode> FaultCodeOf(const Error& error);

}  // namespace gapferry::protocol
