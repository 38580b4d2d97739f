#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/activity.h"
#include "mirror/document_store.h"
#include "mirror/mirror.h"
#include "protocol/soap.h"
#include "server/cookie_box.h"
#include "server/http_message.h"
#include "server/index_keeper.h"

namespace gapferry::server {

/// What every service of one server shares. Constant after construction; the parts are thread-safe.
struct ServiceShared {
  mirror::Identity identity;
  mirror::Config config;
  CookieBox cookies;
  UtcTime config_last_change;  ///< of what GetConfig answers
  const Clock& clock;
  IndexKeeper& keeper;
  mirror::ActivityWriter& activity;
  std::uint16_t http_port = 0;  ///< where content is served without TLS; 0: nowhere
};

/// What one worker thread owns.
class ServiceWorker : public WorkerContext {
 public:
  ServiceWorker(mirror::Mirror opened, mirror::DocumentStore opened_documents)
      : mirror(std::move(opened)), documents(std::move(opened_documents)) {}
  mirror::Mirror mirror;
  mirror::DocumentStore documents;
};

/// One call of one operation.
struct CallContext {
  const Request& request;
  ServiceWorker& worker;
  std::shared_ptr<const ScanIndex> index;  ///< one picture for the whole call
  UtcTime now;
};

/// An error that becomes a SOAP fault with this code; `message` is what the peer is told (the
/// parameter's name for InvalidParameters), so it must hold nothing else. Every other error becomes
/// InternalServerError without a message and is logged.
[[nodiscard]] std::unexpected<Error> FailFault(protocol::FaultCode code,
                                               std::string message = std::string());

/// "http://host:port/Content/", where clients of this request find files: the configured address,
/// else the one they came by, without TLS where that is possible (MS-WUSP note 5).
std::string ContentBaseUrl(const ServiceShared& shared, const Request& request);

}  // namespace gapferry::server
